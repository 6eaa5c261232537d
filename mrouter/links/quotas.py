"""How many bytes links may carry in a day or a month, and how many they have.

A period is named by the date that it began at, in the zone of the quota. So what is counted while
the clock is wrong, as it is at boot where no battery keeps it, stands under a date of its own, and
the real period is found again as it was left.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: So many periods of a link are kept, those that were counted in last.
KEPT_PERIODS = 8


class PeriodLength(Enum):
    """How often a quota begins anew."""

    MONTHLY = "monthly"
    DAILY = "daily"


class QuotaState(Enum):
    """How much of a quota is used, in rising order."""

    UNDER = "under"
    WARNED = "warned"
    OVER = "over"

    @property
    def rank(self) -> int:
        """Return 0, 1 or 2: the more is used, the higher."""
        return list(QuotaState).index(self)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a link may carry: ``limit`` bytes in a period, both directions together.

    A monthly period begins on ``reset_day``, 1 to 28, a daily one at midnight, both in ``zone``.
    ``warn`` and ``stop`` are in percent of the limit.
    """

    limit: int
    length: PeriodLength
    reset_day: int = 1
    warn: int = 80
    stop: int = 100
    zone: tzinfo = UTC


@dataclass(frozen=True, slots=True)
class Period:
    """A day or a month that began on ``start``."""

    length: PeriodLength
    start: date


@dataclass(frozen=True, slots=True)
class Reading:
    """What an interface has carried since it appeared, in bytes, both directions together.

    ``boot`` names the machine's start; within it the kernel gives no index to two interfaces.
    """

    boot: str
    interface: str
    index: int
    octets: int


def find_period(quota: Quota, now: float) -> Period:
    """Return the period of ``quota`` at ``now``, wall clock in seconds since 1970."""
    today = datetime.fromtimestamp(now, quota.zone).date()
    if quota.length is PeriodLength.DAILY:
        return Period(quota.length, today)
    if today.day < quota.reset_day:
        today = today.replace(day=1) - timedelta(days=1)
    return Period(quota.length, today.replace(day=quota.reset_day))


def find_start(quota: Quota, period: Period) -> datetime:
    """Return the midnight that ``period`` began at."""
    return datetime.combine(period.start, time(), quota.zone)


def judge(quota: Quota, used: int) -> QuotaState:
    """Return the state of ``quota`` with ``used`` bytes."""
    if used * 100 >= quota.limit * quota.stop:
        return QuotaState.OVER
    if used * 100 >= quota.limit * quota.warn:
        return QuotaState.WARNED
    return QuotaState.UNDER


class QuotaLedger:
    """Adds up what links have carried, by period, from what their interfaces have counted."""

    def __init__(
        self,
        usage: Mapping[str, Iterable[tuple[Period, int]]] | None = None,
        seen: Mapping[str, Reading] | None = None,
    ) -> None:
        """Go on from the ``usage`` and ``seen`` of an earlier ledger."""
        self._usage = {link: dict(periods) for link, periods in (usage or {}).items()}
        self._seen = dict(seen or {})

    @property
    def usage(self) -> dict[str, tuple[tuple[Period, int], ...]]:
        """Return each link's periods with their bytes; that which was counted in last is last."""
        return {link: tuple(periods.items()) for link, periods in self._usage.items()}

    @property
    def seen(self) -> dict[str, Reading]:
        """Return each link's last reading: what is in it has been counted."""
        return dict(self._seen)

    def used(self, link: str, period: Period) -> int:
        """Return the bytes that ``link`` has carried in ``period``."""
        return self._usage.get(link, {}).get(period, 0)

    def count(self, link: str, period: Period, reading: Reading) -> bool:
        """Add what is new in ``reading`` to ``period``; return whether anything has changed."""
        before = self._seen.get(link)
        if before == reading:
            return False
        self._seen[link] = reading
        octets = _find_news(before, reading)
        if octets:
            periods = self._usage.setdefault(link, {})
            periods[period] = periods.pop(period, 0) + octets
            # not the oldest dates: wrong clocks have dates from everywhere
            for forgotten in list(periods)[:-KEPT_PERIODS]:
                del periods[forgotten]
        return True


def _find_news(before: Reading | None, now: Reading) -> int:
    if before is None:
        return 0  # what it carried before anybody looked belongs to no period that we know
    if before.boot == now.boot:
        if before.index == now.index:
            began_anew = now.octets < before.octets
            return now.octets if began_anew else now.octets - before.octets
        if before.interface != now.interface:
            return 0  # the link was given another interface, which may be an old one
    return now.octets  # it appeared after the last look
