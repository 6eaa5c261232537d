"""Keeps what is known of the links' radios, and says which signals are weak."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from mrouter.agent.journal import note
from mrouter.agent.modem_watch import ModemWatch
from mrouter.links.radio import RadioFacts, RadioKind, WeakSignals
from mrouter.links.wifi import read_stations

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping

    from mrouter.config.model import LinkConfig

#: How often Wi-Fi is looked at, in seconds: the kernel does not tell of signals by itself.
_INTERVAL = 3.0
_INSTALL = "pip install 'mrouter[modem]'"


class RadioWatch:
    """Watches from ``start`` to ``stop``; where no link asks for it, it does nothing at all."""

    def __init__(
        self,
        links: Iterable[LinkConfig],
        events: Counter[tuple[str, str]],
        on_change: Callable[[], None],
    ) -> None:
        """Watch those of ``links`` that have a ``radio``; count failures in ``events``.

        ``on_change`` is called whenever ``weak`` has changed.
        """
        self._links = {link.name: link for link in links if link.radio is not None}
        self._events = events
        self._on_change = on_change
        self._signals = WeakSignals(
            {
                name: link.least_signal
                for name, link in self._links.items()
                if link.least_signal is not None
            }
        )
        self._facts: dict[RadioKind, Mapping[str, RadioFacts]] = {}
        self._failing: set[RadioKind] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._running = False
        modems, self._wifi = (self._list_interfaces(kind) for kind in RadioKind)
        self._modems = (
            ModemWatch(
                modems,
                partial(self._take, RadioKind.MODEM),
                partial(self._fail, RadioKind.MODEM),
            )
            if modems
            else None
        )

    def _list_interfaces(self, kind: RadioKind) -> tuple[str, ...]:
        return tuple(link.interface for link in self._links.values() if link.radio is kind)

    @property
    def weak(self) -> frozenset[str]:
        """The names of the links whose signal is weak."""
        return self._signals.names

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch."""
        self._running = True
        if self._modems is not None:
            self._modems.start(loop)
        if self._wifi:
            self._look_at_wifi(loop)

    def stop(self) -> None:
        """Watch no more."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        if self._modems is not None:
            self._modems.stop()

    def describe(self, name: str) -> dict[str, Any] | None:
        """Return what is known of a link's radio, as JSON can carry it; None if it has none."""
        link = self._links.get(name)
        if link is None or link.radio is None:
            return None
        facts = self._facts.get(link.radio, {}).get(link.interface, RadioFacts())
        return {
            "kind": link.radio.value,
            **asdict(facts),
            "least_signal": link.least_signal,
            "weak": name in self.weak,
        }

    def _look_at_wifi(self, loop: asyncio.AbstractEventLoop) -> None:
        # a driver may have to ask its device: nobody waits for that
        looking = loop.run_in_executor(None, read_stations, self._wifi)
        looking.add_done_callback(self._on_wifi)

    def _on_wifi(self, looking: asyncio.Future[dict[str, RadioFacts]]) -> None:
        if not self._running or looking.cancelled():
            return
        loop = looking.get_loop()
        self._timer = loop.call_later(_INTERVAL, self._look_at_wifi, loop)
        error = looking.exception()
        if error is None:
            self._take(RadioKind.WIFI, looking.result())
        else:
            self._fail(RadioKind.WIFI, error)

    def _take(self, kind: RadioKind, facts: Mapping[str, RadioFacts]) -> None:
        self._failing.discard(kind)
        self._judge(kind, facts)

    def _fail(self, kind: RadioKind, error: BaseException) -> None:
        """Count a failure, and tell of the first one after all was well."""
        self._events["radio-not-read", f"{kind.value}: {type(error).__name__}"] += 1
        if kind not in self._failing:
            advice = {"install": _INSTALL} if isinstance(error, ImportError) else {}
            note("radio-not-read", logging.ERROR, kind=kind.value, error=repr(error), **advice)
        self._failing.add(kind)
        self._judge(kind, {})

    def _judge(self, kind: RadioKind, facts: Mapping[str, RadioFacts]) -> None:
        if not self._running:
            return
        self._facts[kind] = facts
        known = {
            interface: each for table in self._facts.values() for interface, each in table.items()
        }
        percents = {
            name: percent
            for name, link in self._links.items()
            if (percent := known.get(link.interface, RadioFacts()).signal_percent) is not None
        }
        before = self.weak
        self._signals.update(percents)
        for name in sorted(self.weak ^ before):
            level = logging.WARNING if name in self.weak else logging.INFO
            what = "signal-weak" if name in self.weak else "signal-recovered"
            least = self._links[name].least_signal
            note(what, level, link=name, percent=percents.get(name, "unknown"), least=least)
        if self.weak != before:
            self._on_change()
