"""The mobile router's own way to a correspondent node, past the home agent.

A tunnel between care-of address and correspondent node (or `mip6`'s headers instead), for packets
between the home address and the correspondent node alone: RFC 3963 has no route optimization for
the mobile network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import fragments, marks
from mrouter.dataplane.fragments import set_mark
from mrouter.dataplane.nft import Chain, NftSet
from mrouter.dataplane.state import (
    Encapsulation,
    Ip6Encapsulation,
    Route,
    RouteOptimization,
    Rule,
    Seg6Encapsulation,
)
from mrouter.protocol.bindings import MAX_SLOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mrouter.dataplane.mobile_router import TunnelPath
    from mrouter.protocol.bindings import RouteEntry


@dataclass(frozen=True, slots=True)
class OptimizedRoute:
    """``path`` is a home registration's, with a slot of its own; routes by the same share it."""

    correspondent: IPv6Address
    path: TunnelPath


def choose_optimized(
    entries: Iterable[RouteEntry], paths: Iterable[TunnelPath]
) -> tuple[OptimizedRoute, ...]:
    """Return each correspondent node's best route: usable, by one of ``paths``, lowest IFPRI.

    The slots mirror those of the home registrations from the top. More than half of all slots
    taken by these leave some paths without.
    """
    by_address = {path.care_of_address: path for path in paths}
    taken = {path.slot for path in by_address.values()}
    chosen: dict[IPv6Address, OptimizedRoute] = {}
    for entry in sorted(entries, key=lambda entry: (entry.binding.ifpri, entry.binding.slot)):
        path = by_address.get(entry.binding.care_of_address)
        if path is None or not entry.binding.usable:
            continue
        slot = MAX_SLOT + 1 - path.slot
        if slot not in taken:
            route = OptimizedRoute(entry.correspondent, replace(path, slot=slot))
            chosen.setdefault(entry.correspondent, route)
    return tuple(chosen.values())


def list_direct_paths(routes: Iterable[OptimizedRoute]) -> tuple[TunnelPath, ...]:
    """Return the paths of ``routes``, each once."""
    return tuple({route.path.slot: route.path for route in routes}.values())


def make_optimized_routes(
    encapsulation: Encapsulation,
    optimization: RouteOptimization,
    routes: Iterable[OptimizedRoute],
) -> Iterator[Route]:
    """Yield the routes that encapsulate, and those of the outer packets.

    XFRM transforms packets of a route that leads out just as the transformed ones' does.
    """
    for route in routes:
        path = route.path
        table, network = marks.slot_table(path.slot), IPv6Network(route.correspondent)
        outer = marks.outer_table(path.slot)
        yield Route(outer, network, path.interface, path.gateway, mtu=path.route_mtu)
        if optimization is RouteOptimization.MIP6:
            yield Route(table, network, path.interface, path.gateway)
        elif encapsulation is Encapsulation.SEG6:
            seg6 = Seg6Encapsulation(route.correspondent)
            yield Route(table, network, path.interface, path.gateway, seg6)
        else:
            ip6 = Ip6Encapsulation(path.care_of_address, route.correspondent)
            yield Route(table, network, fragments.TUNNEL_DEVICE, tunnel=ip6)


def make_optimized_rules(
    encapsulation: Encapsulation, optimization: RouteOptimization, paths: Iterable[TunnelPath]
) -> Iterator[Rule]:
    """Yield the rules that lead to the routes of direct ``paths``."""
    for path in paths:
        bits = marks.ENCAP | marks.mark_slot(path.slot)
        mask = marks.ENCAP | marks.SLOT_MASK | marks.OUTER
        outer = marks.outer_table(path.slot)
        yield Rule(marks.slot_table(path.slot), bits, mask)
        if encapsulation is Encapsulation.SEG6 or optimization is RouteOptimization.MIP6:
            yield Rule(outer, bits | marks.OUTER, mask)
        else:
            yield Rule(outer, source=path.care_of_address)


def make_optimized_sets(
    correspondents: Iterable[IPv6Address], routes: Iterable[OptimizedRoute]
) -> tuple[NftSet, ...]:
    """Return whom to send to directly, and whose tunnelled packets to take."""
    return (
        NftSet(
            "optimized",
            "type ipv6_addr : verdict;",
            "map",
            {str(route.correspondent): f"goto link_{route.path.slot}" for route in routes},
        ),
        NftSet(
            "correspondents",
            "typeof ip6 saddr . @nh,384,128;",
            "set",
            {f"{address} . {int(address):#034x}": "" for address in correspondents},
        ),
    )


def make_uplink_rules(home_address: IPv6Address, best: TunnelPath | None) -> tuple[str, ...]:
    """Return the rules for what the mobile router itself sends.

    ``best`` is the path for its signalling from the home address, which goes by the home agent
    (RFC 6275 §11.6.3) whatever the policies say.
    """
    signalling = f"ip6 saddr {home_address} meta l4proto 135"
    return (
        *([] if best is None else [f"{signalling} goto link_{best.slot}"]),
        f"ip6 saddr {home_address} meta l4proto != 135 ip6 daddr vmap @optimized",
    )


def make_decapsulation_chain(
    path: TunnelPath, home_address: IPv6Address, correspondents: Iterable[IPv6Address]
) -> Chain:
    """Return the chain for what comes to ``path`` tunnelled, and not from the home agent.

    A correspondent node may tunnel its own packets, and to the home address alone. It may before
    its acknowledgement has arrived: an inner source that is the outer one can't be forged any
    better than that of a packet without a tunnel.
    """
    known = ", ".join(map(str, sorted(correspondents)))
    return Chain(
        f"direct_{path.slot}",
        (
            "ip6 nexthdr != 41 counter name outer_rejected drop",
            f"ip6 saddr != {{ {known} }} counter name outer_rejected drop",
            f"@nh,512,128 != {int(home_address):#034x} counter name inner_rejected drop",
            "@nh,368,8 41 counter name inner_rejected drop",
            "ip6 saddr . @nh,384,128 != @correspondents counter name inner_rejected drop",
            set_mark(0, marks.DECAP),
            f"counter name downlink-{path.link}",
            "goto outer",
        ),
    )
