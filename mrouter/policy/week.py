"""The week by the clocks of a time zone: when a policy is active, and how that is written."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from itertools import groupby
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from mrouter.policy.model import WeekSpan
from mrouter.policy.ranges import join_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mrouter.policy.ranges import Range

UTC_NAME = "UTC"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
WEEK_MINUTES = len(DAYS) * DAY_MINUTES


def find_zone(name: str) -> tzinfo:
    """Return the time zone ``name``.

    :raises KeyError, ValueError, OSError: if there is none.
    """
    # known even where the machine has no time zone database
    return UTC if name == UTC_NAME else ZoneInfo(name)


def read_minute(now: float, zone: str) -> int:
    """Return the minute of the week that the clocks of ``zone`` show at ``now``, Unix time."""
    local = datetime.fromtimestamp(now, find_zone(zone))
    return local.weekday() * DAY_MINUTES + local.hour * 60 + local.minute


def make_spans(days: Iterable[int], times: Sequence[Range], zone: str) -> tuple[WeekSpan, ...]:
    """Return ``times`` of each of ``days``; a time that ends before it begins ends the next day.

    Both ends of a time are minutes of the day and belong to it.
    """
    spans: list[Range] = []
    for day in days:
        for first, last in times:
            begin = day * DAY_MINUTES + first
            end = day * DAY_MINUTES + last + (DAY_MINUTES if last < first else 0)
            spans.append((begin, min(end, WEEK_MINUTES - 1)))
            if end >= WEEK_MINUTES:  # from Sunday into Monday
                spans.append((0, end - WEEK_MINUTES))
    return tuple(WeekSpan(first, last, zone) for first, last in join_ranges(spans))


def join_spans(spans: Sequence[WeekSpan]) -> tuple[WeekSpan, ...]:
    """Join the spans, all of one zone, that touch or overlap."""
    joined = join_ranges((span.first, span.last) for span in spans)
    return tuple(WeekSpan(first, last, spans[0].zone) for first, last in joined)


def format_minute(minute: int) -> str:
    """Write a minute of the week as in "fri 22:00"."""
    return f"{DAYS[minute // DAY_MINUTES]} {_format_time(minute % DAY_MINUTES)}"


def format_spans(spans: Sequence[WeekSpan]) -> str:
    """Write ``spans`` by the days that they begin on, as in "mon-fri 06:00-09:30 (UTC)"."""
    days: dict[Range, list[int]] = {}
    for first, last in _cut(_join_week(spans)):
        day, begin = divmod(first, DAY_MINUTES)
        days.setdefault((begin, last - day * DAY_MINUTES), []).append(day)
    shown = ", ".join(f"{_format_days(on)}{_format_span(time)}" for time, on in days.items())
    return f"{shown} ({spans[0].zone})"


def _join_week(spans: Sequence[WeekSpan]) -> Iterator[Range]:
    """Yield the spans, what goes on from Sunday to Monday as one with an end after the week's."""
    ranges = [(span.first, span.last) for span in spans]
    if len(ranges) > 1 and ranges[0][0] == 0 and ranges[-1][1] == WEEK_MINUTES - 1:
        (_, end), *ranges = ranges
        ranges[-1] = ranges[-1][0], end + WEEK_MINUTES
    yield from ranges


def _cut(ranges: Iterable[Range]) -> Iterator[Range]:
    """Cut whole days off what is longer than one."""
    for first, last in ranges:
        while last - first >= DAY_MINUTES:
            end = first - first % DAY_MINUTES + DAY_MINUTES - 1
            yield first, end
            first = (end + 1) % WEEK_MINUTES
            last -= WEEK_MINUTES if first == 0 else 0
        yield first, last


def _format_days(days: Sequence[int]) -> str:
    if len(days) == len(DAYS):
        return ""
    runs = [
        [day for _, day in run]
        for _, run in groupby(enumerate(sorted(days)), lambda each: each[1] - each[0])
    ]
    names = (DAYS[run[0]] + (f"-{DAYS[run[-1]]}" if len(run) > 1 else "") for run in runs)
    return "+".join(names) + " "


def _format_span(time: Range) -> str:
    first, last = time
    end = (last + 1) % DAY_MINUTES or DAY_MINUTES
    return f"{_format_time(first)}-{_format_time(end)}"


def _format_time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
