"""Which egress links are up, with which care-of addresses, and by which gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address, IPv6Network

    from mrouter.links.snapshot import MainRoute, Snapshot


@dataclass(frozen=True, slots=True)
class EgressLink:
    """An egress link as it stands; ``reason`` says why it is not up.

    ``addresses`` are its usable care-of addresses, in the kernel's order; empty unless up.
    ``gateway`` is the next hop to the home agent, None if that is on-link.
    """

    name: str
    interface: str
    up: bool
    reason: str
    addresses: tuple[IPv6Address, ...] = ()
    gateway: IPv6Address | None = None
    mtu: int = 1280


def find_egress_links(
    links: Iterable[tuple[str, str]],
    snapshot: Snapshot,
    home_agent: IPv6Address,
    home_networks: Iterable[IPv6Network],
) -> tuple[EgressLink, ...]:
    """Return the state of each of ``links``, given as (name, interface).

    An address inside ``home_networks`` is at home, and no care-of address.
    """
    home = tuple(home_networks)
    return tuple(
        _find_egress_link(name, interface, snapshot, home_agent, home) for name, interface in links
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


def _find_egress_link(
    name: str,
    interface_name: str,
    snapshot: Snapshot,
    home_agent: IPv6Address,
    home: tuple[IPv6Network, ...],
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
        if item.usable and not any(item.address in network for network in home)
    )
    if not usable:
        return down("address tentative or deprecated" if addresses else "no global address")
    route = _find_route(snapshot.routes, interface.index, home_agent)
    if route is None:
        return down("no route to the home agent")
    return EgressLink(
        name, interface_name, up=True, reason="", addresses=usable, gateway=route.gateway,
        mtu=interface.mtu,
    )  # fmt: skip


def _find_route(
    routes: Iterable[MainRoute], index: int, home_agent: IPv6Address
) -> MainRoute | None:
    candidates = [
        route for route in routes if route.index == index and home_agent in route.destination
    ]
    return max(
        candidates, key=lambda route: (route.destination.prefixlen, -route.metric), default=None
    )
