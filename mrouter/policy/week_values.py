"""Read what a policy file says of times: zones, times of day, days of the week."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from mrouter.policy.week import DAY_MINUTES, DAYS, UTC_NAME, find_zone
from mrouter.toml_source import MistakeError, show, suggest

if TYPE_CHECKING:
    from mrouter.policy.ranges import Range

_CLOCK = "([01]?[0-9]|2[0-3]):([0-5][0-9])"
_TIME = re.compile(rf"\s*{_CLOCK}\s*-\s*(?:{_CLOCK}|24:00)\s*")
_MOMENT = re.compile(rf"\s*([A-Za-z]+)\s+{_CLOCK}\s*")
_DAYS = re.compile(r"\s*([A-Za-z]+)\s*(?:-\s*([A-Za-z]+)\s*)?")
_TIME_EXAMPLE = 'as in "06:00-09:30" or "22:00-06:00"'
_DAYS_EXAMPLE = 'as in "mon" or "mon-fri"'
_MOMENT_EXAMPLE = 'as in "fri 22:00"'


def parse_zone(value: Any) -> str:
    """Read the name of a time zone that this machine knows, or raise `MistakeError`."""
    if not isinstance(value, str):
        raise MistakeError("must be a time zone in quotes", 'as in "Europe/Berlin"')
    try:
        find_zone(value)
    except (KeyError, ValueError, OSError):
        message = f"unknown time zone {show(value)}"
        raise MistakeError(message, suggest_zone(value)) from None
    return value


def suggest_zone(name: str) -> str:
    """Return what to write instead of ``name``, which is no time zone."""
    known = sorted(available_timezones())
    if not known:
        return f'install the package tzdata, or write "{UTC_NAME}"'
    close = suggest(name, known)
    return close if close.startswith("did you mean") else 'as in "Europe/Berlin"'


def parse_time(value: Any) -> Range:
    """Read a time of day as its first and last minute, or raise `MistakeError`.

    The last minute is before the first where the time goes on past midnight.
    """
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise MistakeError(f"{show(value)} is not a time of day", _TIME_EXAMPLE)
    first = int(found[1]) * 60 + int(found[2])
    end = DAY_MINUTES if found[3] is None else int(found[3]) * 60 + int(found[4])
    if first == end:
        message = f"{show(value)} ends when it begins"
        raise MistakeError(message, 'write "00:00-24:00", or leave it out')
    return first, (end - 1) % DAY_MINUTES


def parse_weekdays(value: Any) -> tuple[int, ...]:
    """Read a day of the week or a range of them, 0 being Monday, or raise `MistakeError`."""
    found = _DAYS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise MistakeError(f"{show(value)} is not a day of the week", _DAYS_EXAMPLE)
    first = _read_day(found[1])
    last = first if found[2] is None else _read_day(found[2])
    return tuple((first + step) % len(DAYS) for step in range((last - first) % len(DAYS) + 1))


def parse_moment(value: Any) -> int:
    """Read a minute of the week as in "fri 22:00", or raise `MistakeError`."""
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise MistakeError(f"{show(value)} is not a time of the week", _MOMENT_EXAMPLE)
    return _read_day(found[1]) * DAY_MINUTES + int(found[2]) * 60 + int(found[3])


def _read_day(word: str) -> int:
    if word.lower() not in DAYS:
        raise MistakeError(f"unknown day {show(word)}", suggest(word, DAYS))
    return DAYS.index(word.lower())
