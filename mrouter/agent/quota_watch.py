"""Looks at what the links with a quota carry, and says which have used it up."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mrouter.agent.journal import note
from mrouter.agent.private_file import read_boot_id
from mrouter.agent.quota_file import QuotaFile, encode_ledger
from mrouter.links.counters import read_counters
from mrouter.links.quotas import (
    QuotaLedger,
    QuotaState,
    Reading,
    find_period,
    find_start,
    judge,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mrouter.config.model import LinkConfig
    from mrouter.links.counters import InterfaceCounter
    from mrouter.links.quotas import Period, Quota
    from mrouter.netlink import RouteSocket

#: How often the interfaces are looked at, in seconds.
_INTERVAL = 10.0
#: How long what changes all the time may stay unsaved, in seconds: flash memory wears.
_SAVE_INTERVAL = 60.0

_EVENTS = {QuotaState.WARNED: "quota-warned", QuotaState.OVER: "quota-exceeded"}


@dataclass(frozen=True, slots=True)
class _Standing:
    period: Period
    used: int
    state: QuotaState


class QuotaWatch:
    """Counts from ``start`` to ``stop``; without a quota it does nothing at all."""

    def __init__(
        self,
        links: Iterable[LinkConfig],
        directory: Path,
        route_socket: RouteSocket,
        on_change: Callable[[], None],
    ) -> None:
        """Count for the ``links`` that have a quota, and remember it in ``directory``.

        ``on_change`` is called whenever ``over`` or ``warned`` has changed after the start;
        ``route_socket`` may be used by others between two looks.
        """
        self._links = {
            link.name: (link.interface, link.quota) for link in links if link.quota is not None
        }
        self._routes = route_socket
        self._on_change = on_change
        self._boot = read_boot_id()
        self._file = QuotaFile(directory)
        self._ledger = QuotaLedger()
        self._standings: dict[str, _Standing] = {}
        self._unsaved = self._failing = False
        self._save_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        # one thread: a disk may take its time, and what is saved last must be written last
        self._writer = ThreadPoolExecutor(1, "quotas")

    @property
    def over(self) -> frozenset[str]:
        """Return the names of the links that have reached the stop threshold."""
        return self._find(QuotaState.OVER)

    @property
    def warned(self) -> frozenset[str]:
        """Return the names of the links that have reached the warn threshold, and not the other."""
        return self._find(QuotaState.WARNED)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Load what was counted before, look for the first time, and go on looking."""
        if self._links:
            self._ledger = self._file.load()
            self._watch(loop)

    def stop(self) -> None:
        """Look for the last time, and save; returns when that is done."""
        if self._timer is not None:
            self._timer.cancel()
            self._look()
            self._writer.submit(self._file.save, encode_ledger(self._ledger))
        self._writer.shutdown()

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return how the quotas stand by link, as JSON can carry it."""
        return {
            link: {
                "used": standing.used,
                "limit": self._links[link][1].limit,
                "state": standing.state.value,
                "period": standing.period.length.value,
                "period_start": find_start(self._links[link][1], standing.period).isoformat(),
            }
            for link, standing in self._standings.items()
        }

    def _find(self, state: QuotaState) -> frozenset[str]:
        return frozenset(
            link for link, standing in self._standings.items() if standing.state is state
        )

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        before = self.over, self.warned
        self._watch(loop)
        if (self.over, self.warned) != before:
            self._on_change()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(_INTERVAL, self._on_timer, loop)
        crossed = self._look()
        if crossed or (self._unsaved and loop.time() >= self._save_at):
            self._unsaved = False
            self._save_at = loop.time() + _SAVE_INTERVAL
            content = encode_ledger(self._ledger)
            saving = loop.run_in_executor(self._writer, self._file.save, content)
            saving.add_done_callback(self._on_saved)

    def _on_saved(self, saving: asyncio.Future[bool]) -> None:
        if not saving.result():
            self._unsaved = True

    def _look(self) -> bool:
        """Count what has passed since the last look; return whether a threshold was crossed."""
        counters = self._read_counters()
        now = time.time()
        crossed = False
        for link, (interface, quota) in self._links.items():
            period = find_period(quota, now)
            counter = counters.get(interface)
            if counter is not None:
                reading = Reading(self._boot, interface, counter.index, counter.octets)
                self._unsaved = self._ledger.count(link, period, reading) or self._unsaved
            used = self._ledger.used(link, period)
            standing = _Standing(period, used, judge(quota, used))
            crossed = self._tell(link, quota, standing) or crossed
            self._standings[link] = standing
        return crossed

    def _read_counters(self) -> dict[str, InterfaceCounter]:
        try:
            counters = read_counters(self._routes)
        except OSError as error:
            if not self._failing:
                note("quotas-not-counted", logging.ERROR, error=str(error))
            self._failing = True
            return {}
        self._failing = False
        return counters

    def _tell(self, link: str, quota: Quota, standing: _Standing) -> bool:
        """Log what is new in ``standing``; return whether that is another state."""
        before = self._standings.get(link)
        known = told = QuotaState.UNDER if before is None else before.state
        period = standing.period.start.isoformat()
        if before is not None and before.period != standing.period:
            note("quota-renewed", link=link, period=period, used_before=before.used)
            told = QuotaState.UNDER
        if standing.state.rank > told.rank:
            note(
                _EVENTS[standing.state],
                logging.WARNING,
                link=link,
                period=period,
                used=standing.used,
                limit=quota.limit,
            )
        return standing.state is not known
