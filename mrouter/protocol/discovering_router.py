"""A mobile router that finds its home agent by itself (RFC 6275 §11.4.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mrouter.protocol.bindings import BindingState
from mrouter.protocol.events import (
    BindingsChanged,
    CorrespondentsChanged,
    Counted,
    DiscoveryReceived,
    EgressChanged,
    FlowsWanted,
    Noted,
    StopRequested,
)
from mrouter.protocol.home_search import HomeAgentSearch
from mrouter.protocol.mobile_router import MobileRouter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.bindings import RouteEntry, UpdateListEntry
    from mrouter.protocol.events import Effect, EgressAddress, Event, Instant
    from mrouter.protocol.flow_bindings import FlowState, WantedFlow
    from mrouter.protocol.ipv4_networks import IPv4State
    from mrouter.protocol.settings import MobileRouterSettings
    from mrouter.protocol.update_list import Binding

#: How long a home agent may leave us without a binding while there are links: the first Binding
#: Update and two repetitions, each after twice as long (RFC 6275 §11.8: 1.5, 3 and 6 s).
_PATIENCE = 1 + 2 + 4  # in times of the first one's wait for its answer
#: Before a search that follows one whose home agents all were of no use, in seconds; doubled.
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 960.0


class DiscoveringMobileRouter:
    """``MobileRouter``'s interface, with the first of the home agents found that accepts.

    ``settings`` have the home agents' anycast address as home agent. A home agent that refuses
    every care-of address, or leaves us without a binding, makes room for the next in the list;
    after the last one the search begins anew. ``kept`` are a former run's bindings at ``known``.
    """

    def __init__(
        self,
        settings: MobileRouterSettings,
        random: Random,
        kept: Iterable[Binding] = (),
        known: IPv6Address | None = None,
    ) -> None:
        self._settings = settings
        self._random = random
        self._search = HomeAgentSearch(
            settings.home_agent, random, mobile_router=bool(settings.prefixes)
        )
        self._addresses: tuple[EgressAddress, ...] = ()
        self._flows: tuple[WantedFlow, ...] = ()
        self._candidates: list[IPv6Address] = []
        self._router: MobileRouter | None = None
        self._home_agent = settings.home_agent
        self._impatient_at: float | None = None
        self._pause = _FIRST_PAUSE
        self._stopped = False
        if known is not None:
            self._home_agent = known
            self._router = MobileRouter(replace(settings, home_agent=known), random, kept)

    @property
    def home_agent(self) -> IPv6Address:
        """The home agent in use; the anycast address while there is none."""
        return self._home_agent

    @property
    def entries(self) -> tuple[UpdateListEntry, ...]:
        """The Binding Update List for the home agent, by slot."""
        return () if self._router is None else self._router.entries

    @property
    def routes(self) -> tuple[RouteEntry, ...]:
        """The Binding Update List for correspondent nodes, by their address and slot."""
        return () if self._router is None else self._router.routes

    def restore_routes(self, entries: Iterable[RouteEntry], now: float) -> None:
        """Take over a former run's bindings at correspondent nodes; ``now``: monotonic seconds."""
        if self._router is not None:
            self._router.restore_routes(entries, now)

    @property
    def flow_states(self) -> tuple[FlowState, ...]:
        """Where each of the wanted flows stands at the home agent, in their order."""
        return () if self._router is None else self._router.flow_states

    @property
    def ipv4_states(self) -> tuple[IPv4State, ...]:
        """Where each IPv4 network on board stands at the home agent."""
        return () if self._router is None else self._router.ipv4_states

    def next_deadline(self) -> float | None:
        """Return when ``handle`` wants a ``TimerFired``, in monotonic seconds; None for never."""
        if self._stopped:
            return None
        own = self._router.next_deadline() if self._router else None
        moments = (own, self._search.due_at, self._impatient_at)
        return min((at for at in moments if at is not None), default=None)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Take one event in at ``now`` and return what to do about it, in this order."""
        if self._stopped:
            return []
        effects: list[Effect] = []
        if isinstance(event, EgressChanged):
            self._take_addresses(event, now.monotonic)
        elif isinstance(event, FlowsWanted):
            self._flows = event.flows
        elif isinstance(event, CorrespondentsChanged):
            self._settings = replace(self._settings, correspondents=event.addresses)
        if isinstance(event, DiscoveryReceived):
            effects += self._take_reply(event, now)
        elif self._router is not None:
            effects += self._router.handle(event, now)
        if isinstance(event, StopRequested):
            self._stopped = True
            return effects
        return effects + self._pursue(now)

    def _take_addresses(self, event: EgressChanged, now: float) -> None:
        changed = event.addresses != self._addresses
        self._addresses = event.addresses
        if not self._addresses:
            self._search.stop()
        elif self._router is None and changed:
            self._search.start(now)  # a link may lead where the others do not

    def _take_reply(self, event: DiscoveryReceived, now: Instant) -> list[Effect]:
        if self._router is not None:
            return [Counted("discovery-dropped", "unexpected-message")]
        found = self._search.take(event.packet)
        if isinstance(found, Counted):
            return [found]
        self._candidates = [each for each in found if each != self._settings.home_address]
        return self._try_next(now)

    def _try_next(self, now: Instant) -> list[Effect]:
        """Register with the next home agent of the list, or search anew."""
        self._impatient_at = None
        if not self._candidates:
            self._home_agent, self._router = self._settings.home_agent, None
            if self._addresses:
                self._search.start(now.monotonic + self._pause)
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            return [BindingsChanged()]
        self._home_agent = self._candidates.pop(0)
        self._router = MobileRouter(
            replace(self._settings, home_agent=self._home_agent), self._random
        )
        effects = self._router.handle(FlowsWanted(self._flows), now)
        effects += self._router.handle(EgressChanged(self._addresses), now)
        others = [effect for effect in effects if effect != BindingsChanged()]
        found = Noted("home-agent-tried", (("home_agent", str(self._home_agent)),))
        return [BindingsChanged(), found, *others]

    def _pursue(self, now: Instant) -> list[Effect]:
        """Leave a home agent that does not take us; ask while there is none."""
        effects: list[Effect] = []
        if self._router is not None:
            entries = self._router.entries
            if any(entry.usable for entry in entries):
                self._impatient_at, self._pause = None, _FIRST_PAUSE
            elif not self._addresses:
                self._impatient_at = None
            elif self._is_refused() or (
                self._impatient_at is not None and self._impatient_at <= now.monotonic
            ):
                effects += [Counted("home-agent-left", "no-binding"), *self._try_next(now)]
            elif self._impatient_at is None:
                wait = self._settings.first_registration_timeout
                self._impatient_at = now.monotonic + _PATIENCE * wait
        due_at = self._search.due_at
        if self._router is None and due_at is not None and due_at <= now.monotonic:
            effects += self._search.ask(self._addresses, now.monotonic)
        return effects

    def _is_refused(self) -> bool:
        return bool(self.entries) and all(
            entry.state is BindingState.REFUSED for entry in self.entries
        )
