"""Which egress links are up, with which care-of addresses, and by which gateway."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from mrouter.links.snapshot import AddressState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Set
    from ipaddress import IPv6Network

    from mrouter.links.snapshot import Address, Interface, MainRoute, Snapshot


#: Matched by a default route alone.
_ANYWHERE = IPv6Address("::")


@dataclass(frozen=True, slots=True)
class EgressLink:
    """An egress link as it stands; ``reason`` says why it is not up.

    ``addresses`` are its usable care-of addresses, in the kernel's order; empty unless up. Those of
    them that are ``deprecated`` are left as soon as there are registered ones to take their place.
    At those that it has ``left``, what is on its way still arrives.
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
    deprecated: tuple[IPv6Address, ...] = ()
    left: tuple[IPv6Address, ...] = ()


def find_egress_links(
    links: Iterable[tuple[str, str]],
    snapshot: Snapshot,
    home_agent: IPv6Address,
    home_address: IPv6Address,
    prefixes: Iterable[IPv6Network],
    registered: Set[IPv6Address] = frozenset(),
) -> tuple[EgressLink, ...]:
    """Return the state of each of ``links``, given as (name, interface).

    The home address says that its link is the home link (RFC 6275 §11.5.5). An address inside the
    mobile network ``prefixes`` is on board, and no care-of address.

    A deprecated address is used on if it is ``registered``, until what takes its place is, and if
    there is nothing else at all.
    """
    links = tuple(links)
    found = _find_addresses(links, snapshot, home_address, tuple(prefixes))
    return tuple(
        _find_egress_link(
            name, interface, snapshot, home_agent, home_address, _choose(name, found, registered)
        )
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


def _find_addresses(
    links: Iterable[tuple[str, str]],
    snapshot: Snapshot,
    home_address: IPv6Address,
    on_board: tuple[IPv6Network, ...],
) -> dict[str, list[Address]]:
    """Return what each link has, in the kernel's order; nothing of links that are down."""

    def list_addresses(interface: Interface | None) -> Iterator[Address]:
        if interface is None or not interface.up or not interface.carrier:
            return
        for item in snapshot.addresses:
            inside = item.address != home_address and any(item.address in net for net in on_board)
            if item.index == interface.index and not inside:
                yield item

    return {name: list(list_addresses(snapshot.interfaces.get(each))) for name, each in links}


@dataclass(frozen=True, slots=True)
class _Choice:
    """The addresses to use, which of them are deprecated, and deprecated ones not to use."""

    usable: tuple[IPv6Address, ...]
    deprecated: tuple[IPv6Address, ...]
    left: tuple[IPv6Address, ...]


def _choose(name: str, found: Mapping[str, list[Address]], registered: Set[IPv6Address]) -> _Choice:
    """Choose among the addresses of the link ``name``."""

    def has(items: Iterable[Address], *, among: Set[IPv6Address] | None = None) -> bool:
        preferred = (each.address for each in items if each.state is AddressState.PREFERRED)
        return any(among is None or address in among for address in preferred)

    mine = found[name]
    every = [each for items in found.values() for each in items]
    is_awaited = any(each.state is AddressState.TENTATIVE for each in mine) or has(mine)
    is_overlapping = is_awaited and not has(mine, among=registered)
    is_last = not has(every, among=registered)
    deprecated = [each.address for each in mine if each.state is AddressState.DEPRECATED]
    kept = tuple(
        address
        for address in deprecated
        if not has(every) or (address in registered and (is_overlapping or is_last))
    )
    usable = tuple(
        each.address
        for each in mine
        if each.state is AddressState.PREFERRED or each.address in kept
    )
    return _Choice(usable, kept, tuple(each for each in deprecated if each not in kept))


def _find_egress_link(
    name: str,
    interface_name: str,
    snapshot: Snapshot,
    home_agent: IPv6Address,
    home_address: IPv6Address,
    choice: _Choice,
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
    route = _find_route(snapshot.routes, interface.index, home_agent)
    if not choice.usable and choice.left and route is not None:
        return EgressLink(
            name, interface_name, up=False, reason="address deprecated", gateway=route.gateway,
            mtu=interface.mtu, left=choice.left,
        )  # fmt: skip
    if not choice.usable:
        has_some = any(item.index == interface.index for item in snapshot.addresses)
        return down("address tentative or unfit" if has_some else "no global address")
    if route is None:
        return down("no route to the home agent")
    if home_address in choice.usable:
        default = _find_route(snapshot.routes, interface.index, _ANYWHERE)
        gateway = (default or route).gateway or home_agent
        return EgressLink(
            name, interface_name, up=True, reason="", addresses=(home_address,), gateway=gateway,
            mtu=interface.mtu, at_home=True,
        )  # fmt: skip
    return EgressLink(
        name, interface_name, up=True, reason="", addresses=choice.usable, gateway=route.gateway,
        mtu=interface.mtu, deprecated=choice.deprecated, left=choice.left,
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
