"""The simulated network: access links that lose, delay, reorder and duplicate, around a core."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from fleet_plan import HOME_AGENT, KINDS

if TYPE_CHECKING:
    from fleet import Fleet
    from fleet_plan import Kind

#: Places that a link may be attached at; few, so that an address soon has another owner.
_CELLS = 40
_ACCESS_NET = int(IPv6Address("2001:db8:1000::"))


@dataclass(slots=True)
class Datagram:
    """A packet on its way: its bytes and, for the checks, which Binding Update it is.

    ``order`` counts the Binding Updates as they were first sent. ``outer`` are source and
    destination of the tunnel that it is in.
    """

    data: bytes
    order: int | None = None
    outer: tuple[IPv6Address, IPv6Address] | None = None
    forged: bool = False

    @property
    def destination(self) -> bytes:
        return self.data[24:40] if self.outer is None else self.outer[1].packed


@dataclass(slots=True, eq=False)
class Link:
    """An egress link of a router; ``good_since`` is None while it is down or in an outage."""

    owner: int
    kind: Kind
    ifpri: int
    addresses: list[IPv6Address] = field(default_factory=list)
    outage_until: float = 0.0
    good_since: float | None = None

    @property
    def up(self) -> bool:
        return bool(self.addresses)


class Network:
    """Carries datagrams from node to node; never in a quiet time does it lose one."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._random = fleet.random
        self.links: dict[bytes, Link] = {}
        self.nodes: dict[bytes, object] = {}
        self.homes: set[bytes] = set()
        cells = [(kind, cell) for kind in range(len(KINDS)) for cell in range(_CELLS)]
        self._free: dict[tuple[int, int], list[IPv6Address]] = {cell: [] for cell in cells}
        self._next_host = dict.fromkeys(cells, 1)

    # --- addresses ------------------------------------------------------------------------

    def lease(self, link: Link, kind: int) -> IPv6Address:
        """Attach ``link`` at a new place; the address may have been another's a moment ago."""
        cell = kind, self._random.randrange(_CELLS)
        free = self._free[cell]
        while free and free[0].packed in self.links:
            free.pop(0)  # whoever gave it back has come again
        if free and self._random.random() < 0.7:
            address = free.pop(0)
        else:
            number = (kind << 16 | cell[1]) << 64 | self._next_host[cell]
            self._next_host[cell] += 1
            address = IPv6Address(_ACCESS_NET + number)
        self.attach(link, address)
        return address

    def attach(self, link: Link, address: IPv6Address) -> None:
        link.addresses.append(address)
        self.links[address.packed] = link

    def release(self, link: Link, address: IPv6Address) -> None:
        link.addresses.remove(address)
        del self.links[address.packed]
        number = int(address) - _ACCESS_NET
        cell = number >> 80, number >> 64 & 0xFFFF
        if cell in self._free:  # the home address is no lease
            self._free[cell].append(address)

    # --- packets --------------------------------------------------------------------------

    def send(self, datagram: Datagram, by: Link | None = None) -> None:
        """Send ``datagram`` by a router's link, or from a node in the core."""
        fleet, plan, draw = self._fleet, self._fleet.plan, self._random.random
        fleet.count["packets sent"] += 1
        link = by or self._find_link(datagram)
        if link is not None and self._loses(link):
            fleet.count["packets lost"] += 1
            return
        fleet.call_later(self._delay(link), self._deliver, datagram)
        if fleet.quiet:
            return
        if draw() < plan.duplicates:
            fleet.count["packets duplicated"] += 1
            fleet.call_later(self._delay(link), self._deliver, datagram)
        if draw() < plan.late_duplicates:
            fleet.count["packets replayed late"] += 1
            delay = self._random.uniform(2.0, plan.latest_duplicate)
            fleet.call_later(delay, self._deliver, datagram)

    def _loses(self, link: Link) -> bool:
        if not link.up:
            return True
        if self._fleet.quiet:
            return False
        return self._fleet.now < link.outage_until or self._random.random() < self._fleet.plan.loss

    def _delay(self, link: Link | None) -> float:
        random = self._random
        core = 0.002 + 0.02 * random.random()
        if link is None:
            return core
        delay = core + link.kind.delay + random.expovariate(1 / link.kind.jitter)
        if not self._fleet.quiet and random.random() < self._fleet.plan.stragglers:
            delay += random.uniform(0.0, 2.0)
        return delay

    def _find_link(self, datagram: Datagram) -> Link | None:
        """Return by which link ``datagram`` gets to a router, None if it goes to the core.

        While there are bindings the home agent intercepts what comes for a home address, also
        from a router that has an interface on the home link, but for its own messages.
        """
        destination = datagram.destination
        link = self.links.get(destination)
        if link is not None and destination in self.homes:
            own = datagram.data[8:24] == HOME_AGENT.packed
            if not own and self._fleet.agent.has_bindings(destination):
                return None
        return link

    def _deliver(self, datagram: Datagram) -> None:
        destination = datagram.destination
        link = self._find_link(datagram)
        if link is not None:
            self._fleet.routers[link.owner].receive(datagram, link)
        elif destination in self.nodes:
            self.nodes[destination].receive(datagram)
        elif destination in self.homes:
            self._fleet.agent.forward(datagram)
        else:
            self._fleet.count["packets to nobody"] += 1
