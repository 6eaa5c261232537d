"""The mobile router: home registrations and optimized routes (RFC 6275 §11, RFC 3963 §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.events import (
    BindingsChanged,
    EgressChanged,
    FlowsWanted,
    PacketReceived,
    StopRequested,
    TimerFired,
)
from mrouter.protocol.registrar import HomeRegistrar
from mrouter.protocol.route_optimization import RouteOptimizer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.bindings import RouteEntry, UpdateListEntry
    from mrouter.protocol.events import Effect, Event, Instant
    from mrouter.protocol.flow_bindings import FlowState
    from mrouter.protocol.ipv4_networks import IPv4State
    from mrouter.protocol.settings import MobileRouterSettings
    from mrouter.protocol.update_list import Binding


class MobileRouter:
    """The mobile router's machine: ``handle`` events, obey ``next_deadline``.

    Read ``entries`` for the bindings at its home agent, ``routes`` for those at correspondent
    nodes. ``random`` must be unpredictable: cookies and IFIDs come from it. ``kept`` are bindings
    of a former run (``restore_binding``).
    """

    def __init__(
        self, settings: MobileRouterSettings, random: Random, kept: Iterable[Binding] = ()
    ) -> None:
        self.home_agent = settings.home_agent
        self._home = HomeRegistrar(settings, random, self._find_ifids, kept)
        self._routes = RouteOptimizer(settings, random, self._find_ifids)
        self._placed = False
        self._stopped = False

    @property
    def entries(self) -> tuple[UpdateListEntry, ...]:
        """The Binding Update List for the home agent, by slot."""
        return self._home.entries

    @property
    def routes(self) -> tuple[RouteEntry, ...]:
        """The Binding Update List for correspondent nodes, by their address and slot."""
        return self._routes.entries

    def restore_routes(self, entries: Iterable[RouteEntry], now: float) -> None:
        """Take over a former run's bindings at correspondent nodes; ``now``: monotonic seconds."""
        self._routes.restore(entries, now)

    @property
    def flow_states(self) -> tuple[FlowState, ...]:
        """Where each of the wanted flows stands at the home agent, in their order."""
        return self._home.flow_states

    @property
    def ipv4_states(self) -> tuple[IPv4State, ...]:
        """Where each IPv4 network on board stands at the home agent."""
        return self._home.ipv4_states

    def next_deadline(self) -> float | None:
        """Return when ``handle`` wants a ``TimerFired``, in monotonic seconds; None for never."""
        if not self._placed:
            return None
        deadlines = (self._home.next_deadline(), self._routes.next_deadline())
        return min((at for at in deadlines if at is not None), default=None)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """Take one event in at ``now`` and return what to do about it, in this order.

        Before the first ``EgressChanged`` nothing is done, so that kept bindings are not taken for
        those of links that have gone.
        """
        if isinstance(event, FlowsWanted):
            self._home.want_flows(event.flows)
        self._placed = self._placed or isinstance(event, EgressChanged)
        if self._stopped or not self._placed:
            return []
        home_event = route_event = event
        if isinstance(event, PacketReceived):
            if self._routes.serves(event.packet.source):
                home_event = TimerFired()
            else:
                route_event = TimerFired()
        elif isinstance(event, StopRequested):
            self._stopped = True
        effects = self._home.handle(home_event, now)
        effects += self._routes.handle(
            route_event, now.monotonic, registered=self._home.is_registered
        )
        if BindingsChanged() in effects:
            # First of all: traffic leaves a dead link before anybody is told.
            others = [effect for effect in effects if effect != BindingsChanged()]
            return [BindingsChanged(), *others]
        return effects

    def _find_ifids(self, care_of_address: IPv6Address) -> set[int]:
        """Return every IFID that some destination knows ``care_of_address`` by (the draft §3)."""
        entries = (*self.entries, *(route.binding for route in self.routes))
        return {entry.ifid for entry in entries if entry.care_of_address == care_of_address}
