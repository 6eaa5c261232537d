"""Probes of every binding's way to the home agent and back: sent, heard and judged.

A binding is probed through its tunnel. A way that was found dead has no binding any more, as the
home agent must not send by it either; it is probed past the tunnel, from its care-of address, until
it has answered long enough to be registered again. So is a way that is being registered: its
Binding Updates may be lost for a while, and are repeated ever more slowly.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from mrouter.agent.journal import note
from mrouter.dataplane import marks
from mrouter.links.histogram import RttHistogram
from mrouter.links.link_health import LinkState
from mrouter.links.probe_board import ProbeBoard, Way
from mrouter.links.probe_socket import ProbeSocket
from mrouter.links.probes import Probe, ProbeProfile, Quality
from mrouter.wire.echo import Echo

if TYPE_CHECKING:
    import asyncio
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping
    from ipaddress import IPv6Address

    from mrouter.config.model import LinkConfig
    from mrouter.dataplane.mobile_router import TunnelPath
    from mrouter.links.egress import EgressLink
    from mrouter.protocol.settings import MobileRouterSettings

#: After a mistake of ours, in seconds.
_RETRY = 1.0


class Prober:
    """Probes the ways of the mobile router's ``links``.

    ``by_default``: links without a profile of their own are probed, too; may change at any time
    before ``follow``. ``read_counters`` returns (packets, octets) by the kernel's counter,
    ``on_change`` is called when the state of a way has changed, ``on_reached`` when care-of
    addresses have answers again after a silence, ``events`` counts what is wrong.
    """

    def __init__(
        self,
        settings: MobileRouterSettings,
        links: Iterable[LinkConfig],
        read_counters: Callable[[], Mapping[str, tuple[int, int]]],
        on_change: Callable[[], None],
        on_reached: Callable[[frozenset[IPv6Address]], None],
        events: Counter[tuple[str, str]],
        *,
        by_default: bool = False,
    ) -> None:
        """Open the sockets."""
        self.by_default = by_default
        self._home_address = settings.home_address
        self._home_agent = settings.home_agent
        self._links = {link.name: link for link in links}
        self._read_counters = read_counters
        self._on_change = on_change
        self._on_reached = on_reached
        self._events = events
        self._board = ProbeBoard(random.SystemRandom())
        self._histograms = {name: RttHistogram() for name in self._links}
        self._socket = ProbeSocket()
        self._ways: tuple[Way, ...] = ()
        self._slots: dict[Way, int] = {}
        self._own = dict.fromkeys(self._links, 0)
        self._others = dict.fromkeys(self._links, 0)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    # --- what is known ------------------------------------------------------------------

    def is_down(self, link: str, address: IPv6Address) -> bool:
        """Say whether the way by a care-of address was found dead, and has not come back."""
        return self._board.is_down((link, address))

    def is_dead(self, link: EgressLink) -> bool:
        """Say whether ``link`` has care-of addresses, and all ways by them were found dead."""
        ways = [self.is_down(link.name, address) for address in link.addresses]
        return bool(ways) and all(ways)

    @property
    def quality(self) -> Mapping[str, Quality]:
        """How each link is that is probed: by its best way."""
        found: dict[str, Quality] = {}
        for way in self._ways:
            quality = self._board.find_quality(way)
            known = found.get(way[0])
            if quality is not None and (known is None or known.state is LinkState.DOWN):
                found[way[0]] = quality
        return found

    def describe(self, link: str) -> dict[str, Any]:
        """Return what of a link's status is known from probes."""
        quality = self.quality.get(link)
        if quality is None:
            return {"quality": None}
        histogram = self._histograms[link]
        return {
            "quality": {
                "rtt_ms": _round(quality.rtt_ms),
                "jitter_ms": _round(quality.jitter_ms),
                "loss": round(quality.loss, 4),
                "state": quality.state.value,
            },
            "rtt_seconds": {"buckets": histogram.list_buckets(), "sum": histogram.total},
        }

    # --- what happens -------------------------------------------------------------------

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to send and to hear."""
        self._loop = loop
        loop.add_reader(self._socket.fileno(), self._work)

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """End it."""
        loop.remove_reader(self._socket.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._loop = None
        self._socket.close()

    def follow(
        self,
        home_agent: IPv6Address,
        paths: Iterable[TunnelPath],
        links: Iterable[EgressLink],
    ) -> None:
        """Take over what the kernel holds now: the tunnels, and the links below them."""
        self._home_agent = home_agent
        self._ways = tuple(
            (link.name, address) for link in links if not link.at_home for address in link.addresses
        )
        self._slots = {}
        for path in paths:
            if path.usable:
                self._slots.setdefault((path.link, path.care_of_address), path.slot)
        profiles = {way: self._find_profile(way[0]) for way in self._ways}
        changed = self._board.follow(profiles, self._slots.keys(), time.monotonic())
        self._set_timer(0.0)
        if changed and self._loop is not None:
            self._loop.call_soon(self._on_change)

    def _find_profile(self, link: str) -> ProbeProfile:
        otherwise = ProbeProfile.NORMAL if self.by_default else ProbeProfile.OFF
        return self._links[link].probe or otherwise

    def _work(self) -> None:
        """Hear, send, judge: in this order, for what waits to be heard is no silence."""
        self._set_timer(_RETRY)
        self._hear()
        now = time.monotonic()
        for way, probe in self._board.take_due(now, self._is_idle):
            self._send(way, probe)
        changed = self._board.judge(now)
        deadline = self._board.next_deadline(now)
        self._set_timer(None if deadline is None else max(0.0, deadline - now))
        for way in changed:
            self._note(way)
        if changed:
            self._on_change()
        reached = frozenset(address for _link, address in self._board.take_reached())
        if reached:
            self._on_reached(reached)

    def _set_timer(self, delay: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if delay is not None and self._loop is not None:
            self._timer = self._loop.call_later(delay, self._work)

    def _hear(self) -> None:
        for sender, echo in self._socket.receive():
            if sender != self._home_agent or not self._board.knows(echo.identifier):
                continue  # somebody else's
            probe = Probe(echo.identifier, echo.sequence, echo.data)
            found = self._board.take_answer(probe, time.monotonic())
            if found is None:
                self._events["probe-answer-ignored", "wrong-cookie"] += 1
                continue
            way, rtt = found
            if self._is_tunnelled(way):
                self._own[way[0]] += 1
            if rtt is None:
                self._events["probe-answer-ignored", "late"] += 1
            else:
                self._histograms[way[0]].add(rtt)

    def _send(self, way: Way, probe: Probe) -> None:
        link, address = way
        echo = Echo(probe.identifier, probe.sequence, probe.cookie)
        try:
            if self._is_tunnelled(way):
                self._own[link] += 1
                mark = marks.ENCAP | marks.mark_slot(self._slots[way])
                self._socket.send(self._home_address, self._home_agent, echo, mark)
            else:
                interface = self._links[link].interface
                self._socket.send_outside(address, self._home_agent, echo, interface)
        except OSError:
            # a probe that is lost at once; why, the link monitor tells
            self._events["probe-not-sent", "kernel-refused"] += 1

    def _is_tunnelled(self, way: Way) -> bool:
        return way in self._slots and not self._board.is_down(way)

    def _is_idle(self, way: Way) -> bool:
        """Say whether nothing but probes has gone by a link since it was asked for last."""
        link = way[0]
        counted = self._read_counters()
        passed = sum(
            counted.get(f"{direction}-{link}", (0, 0))[0] for direction in ("uplink", "downlink")
        )
        before, self._others[link] = self._others[link], passed - self._own[link]
        return before == self._others[link]

    def _note(self, way: Way) -> None:
        link, address = way
        quality = self._board.find_quality(way)
        state = "" if quality is None else quality.state.value
        note("link-health", link=link, care_of_address=str(address), state=state)


def _round(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)
