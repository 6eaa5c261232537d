"""Route optimization with every correspondent node that is asked for (RFC 6275 §11.6, §11.7)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mrouter.protocol.events import (
    BindingsChanged,
    CorrespondentsChanged,
    Counted,
    EgressChanged,
    PacketReceived,
    PeerWithoutMobility,
    StopRequested,
)
from mrouter.protocol.route import Route
from mrouter.protocol.route_list import Situation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.bindings import RouteEntry
    from mrouter.protocol.events import Effect, EgressAddress, Event
    from mrouter.protocol.settings import MobileRouterSettings


class RouteOptimizer:
    """One ``Route`` a correspondent node: ``handle`` events, obey ``next_deadline``.

    ``find_ifids`` tells which IFIDs any destination knows a care-of address by.
    """

    def __init__(
        self,
        settings: MobileRouterSettings,
        random: Random,
        find_ifids: Callable[[IPv6Address], set[int]],
    ) -> None:
        self._settings = settings
        self._random = random
        self._find_ifids = find_ifids
        self._wanted: frozenset[IPv6Address] = frozenset()
        self._routes: dict[IPv6Address, Route] = {}
        self._addresses: tuple[EgressAddress, ...] = ()
        self._registered = False
        self._take_correspondents(settings.correspondents)

    @property
    def entries(self) -> tuple[RouteEntry, ...]:
        """The Binding Update List for all correspondent nodes, by address and slot."""
        routes = sorted(self._routes.items())
        return tuple(entry for _, route in routes for entry in route.entries)

    def restore(self, entries: Iterable[RouteEntry], now: float) -> None:
        """Take over a former run's bindings with those correspondent nodes that are wanted."""
        found = defaultdict(list)
        for entry in entries:
            found[entry.correspondent].append(entry.binding)
        for address in found.keys() & self._routes.keys():
            self._routes[address].restore(found[address], now)

    def serves(self, address: IPv6Address) -> bool:
        """Say whether packets from ``address`` are about an optimized route."""
        return address in self._routes

    def next_deadline(self) -> float | None:
        """Return when ``handle`` wants a ``TimerFired``, in monotonic seconds; None for never."""
        deadlines = (route.next_deadline() for route in self._routes.values())
        return min((at for at in deadlines if at is not None), default=None)

    def handle(self, event: Event, now: float, *, registered: bool) -> list[Effect]:
        """Take one event in at ``now``, monotonic seconds, and return what to do about it.

        ``registered`` says whether the home agent has accepted a binding; without one no home
        address is reachable, and no route can be optimized (RFC 6275 §11.7.2).
        """
        before = self._describe()
        effects: list[Effect] = []
        self._registered = registered
        if isinstance(event, EgressChanged):
            self._addresses = event.addresses
        elif isinstance(event, CorrespondentsChanged):
            self._take_correspondents(event.addresses)
        self._place(now)
        if isinstance(event, PacketReceived | PeerWithoutMobility):
            effects += self._hear(event, now)
        elif isinstance(event, StopRequested):
            if event.deregister:
                effects += [e for route in self._routes.values() for e in route.farewell(now)]
            self._routes = {}
        for route in self._routes.values():
            effects += route.run(now)
        self._routes = {
            address: route for address, route in self._routes.items() if not route.is_over
        }
        if self._describe() != before:
            effects.insert(0, BindingsChanged())
        return effects

    def _hear(self, event: PacketReceived | PeerWithoutMobility, now: float) -> list[Effect]:
        peer = event.packet.source if isinstance(event, PacketReceived) else event.address
        route = self._routes.get(peer)
        if route is None:
            return [Counted("signalling-dropped", "not-a-correspondent")]
        if isinstance(event, PacketReceived):
            return route.receive(event, now)
        return route.hear_of_no_mobility(now)

    def _take_correspondents(self, addresses: Iterable[IPv6Address]) -> None:
        # The home agent has a way of its own, and is no correspondent node.
        taken = (self._settings.home_agent, self._settings.home_address)
        self._wanted = frozenset(address for address in addresses if address not in taken)
        for address in sorted(self._wanted - self._routes.keys()):
            self._routes[address] = Route(address, self._settings, self._random, self._find_ifids)

    def _place(self, now: float) -> None:
        primary = min(self._addresses, key=lambda address: address.ifpri, default=None)
        at_home = primary is not None and primary.address == self._settings.home_address
        situation = Situation(self._addresses, self._registered, at_home)
        for address, route in self._routes.items():
            route.place(situation, wanted=address in self._wanted, now=now)

    def _describe(self) -> list[tuple[IPv6Address, tuple[object, ...]]]:
        routes = self._routes.items()
        return [(address, each) for address, route in routes for each in route.describe()]
