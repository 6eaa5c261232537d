"""Which egress links are up, with which care-of addresses, and by which gateway."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Network

    from mrouter.links.snapshot import MainRoute, Snapshot


#: Matched by a default route alone.
_ANYWHERE = IPv6Address("::")


@dataclass(frozen=True, slots=True)
class EgressLink:
    """An egress link as it stands; ``reason`` says why it is not up.

    ``addresses`` are its usable care-of addresses, in the kernel's order; empty unless up.
    ``gateway`` is the next hop to the home agent, None if that is on-link. A link that is
    ``at_home`` is the home link: it has the home address alone, and ``gateway`` leads anywhere.
    """

    name: str
    interface: str
    up: bool
    reason: str
    addresses: tuple[IPv6Address, ...] = ()
    gateway: IPv6Address | None = None
    mtu: int = 1280
    at_home: bool = False


def find_egress_links(
    links: Iterable[tuple[str, str]],
    snapshot: Snapshot,
    home_agent: IPv6Address,
    home_address: IPv6Address,
    prefixes: Iterable[IPv6Network],
) -> tuple[EgressLink, ...]:
    """Return the state of each of ``links``, given as (name, interface).

    The home address says that its link is the home link (RFC 6275 §11.5.5). An address inside the
    mobile network ``prefixes`` is on board, and no care-of address.
    """
    on_board = tuple(prefixes)
    return tuple(
        _find_egress_link(name, interface, snapshot, home_agent, home_address, on_board)
        for name, interface in links
    )


def find_local_addresses(
    snapshot: Snapshot, networks: Iterable[IPv6Network]
) -> tuple[IPv6Address, ...]:
    """Return this machine's own addresses inside ``networks``, sorted."""
    inside = tuple(networks)
    return tuple(
        sorted(
            {
                item.address
                for item in snapshot.addresses
                if any(item.address in network for network in inside)
            }
        )
    )


def find_interface_of(snapshot: Snapshot, address: IPv6Address) -> str | None:
    """Return the interface that has ``address`` and is administratively up."""
    by_index = {item.index: item for item in snapshot.interfaces.values()}
    for item in snapshot.addresses:
        if item.address == address and by_index[item.index].up:
            return by_index[item.index].name
    return None


def find_up_interface(snapshot: Snapshot, names: Iterable[str]) -> str | None:
    """Return the first of ``names`` that is administratively up."""
    for name in names:
        interface = snapshot.interfaces.get(name)
        if interface is not None and interface.up:
            return name
    return None


def find_main_route(snapshot: Snapshot, destination: IPv6Address) -> tuple[str, MainRoute] | None:
    """Return the interface and the route of the main table by which ``destination`` is reached."""
    up = {item.index: item.name for item in snapshot.interfaces.values() if item.up}
    route = _choose_route(
        each for each in snapshot.routes if each.index in up and destination in each.destination
    )
    return None if route is None else (up[route.index], route)


def _find_egress_link(
    name: str,
    interface_name: str,
    snapshot: Snapshot,
    home_agent: IPv6Address,
    home_address: IPv6Address,
    on_board: tuple[IPv6Network, ...],
) -> EgressLink:
    def down(reason: str) -> EgressLink:
        return EgressLink(name, interface_name, up=False, reason=reason)

    interface = snapshot.interfaces.get(interface_name)
    if interface is None:
        return down("no such interface")
    if not interface.up:
        return down("interface is down")
    if not interface.carrier:
        return down("no carrier")
    addresses = [item for item in snapshot.addresses if item.index == interface.index]
    usable = tuple(
        item.address
        for item in addresses
        if item.usable
        and (item.address == home_address or not any(item.address in net for net in on_board))
    )
    if not usable:
        return down("address tentative or deprecated" if addresses else "no global address")
    route = _find_route(snapshot.routes, interface.index, home_agent)
    if route is None:
        return down("no route to the home agent")
    if home_address in usable:
        default = _find_route(snapshot.routes, interface.index, _ANYWHERE)
        gateway = (default or route).gateway or home_agent
        return EgressLink(
            name, interface_name, up=True, reason="", addresses=(home_address,), gateway=gateway,
            mtu=interface.mtu, at_home=True,
        )  # fmt: skip
    return EgressLink(
        name, interface_name, up=True, reason="", addresses=usable, gateway=route.gateway,
        mtu=interface.mtu,
    )  # fmt: skip


def _find_route(
    routes: Iterable[MainRoute], index: int, destination: IPv6Address
) -> MainRoute | None:
    return _choose_route(
        route for route in routes if route.index == index and destination in route.destination
    )


def _choose_route(candidates: Iterable[MainRoute]) -> MainRoute | None:
    return max(
        candidates, key=lambda route: (route.destination.prefixlen, -route.metric), default=None
    )
