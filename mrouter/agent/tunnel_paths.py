"""The ways that tunnels take, from bindings, links, and what was learnt of paths."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from mrouter.dataplane.mobile_router import TunnelPath
from mrouter.dataplane.optimized_routes import choose_optimized
from mrouter.dataplane.path_mtu import NarrowPath
from mrouter.links.egress import find_main_route

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv6Address, IPv6Network

    from mrouter.dataplane.optimized_routes import OptimizedRoute
    from mrouter.links.egress import EgressLink
    from mrouter.links.path_mtus import PathMtus
    from mrouter.links.snapshot import Snapshot
    from mrouter.protocol.bindings import RouteEntry, UpdateListEntry


def rank_entry(entry: UpdateListEntry) -> tuple[int, int]:
    """Return the place of ``entry`` in the order of preference."""
    return entry.ifpri, entry.slot


def find_paths(
    entries: Iterable[UpdateListEntry],
    links: Iterable[EgressLink],
    home_agent: IPv6Address,
    learnt: PathMtus,
) -> tuple[TunnelPath, ...]:
    """Return the mobile router's paths to its home agent, in order of preference."""
    by_name = {link.name: link for link in links}
    return tuple(
        _narrow(
            TunnelPath(
                slot=entry.slot,
                link=entry.link,
                interface=entry.interface,
                care_of_address=entry.care_of_address,
                gateway=by_name[entry.link].gateway,
                mtu=by_name[entry.link].mtu,
                usable=entry.usable,
                ipv4=bool(entry.ipv4_prefixes),
            ),
            [home_agent],
            learnt,
        )
        for entry in sorted(entries, key=rank_entry)
        if entry.link in by_name
        and entry.care_of_address in (*by_name[entry.link].addresses, *by_name[entry.link].left)
    )


def find_optimized(
    entries: Iterable[RouteEntry],
    paths: Iterable[TunnelPath],
    links: Iterable[EgressLink],
    learnt: PathMtus,
) -> tuple[OptimizedRoute, ...]:
    """Return the routes past the home agent; those by one path share what the least takes."""
    routes = choose_optimized(entries, paths)
    mtus = {link.name: link.mtu for link in links}
    ends: dict[int, list[IPv6Address]] = defaultdict(list)
    for route in routes:
        ends[route.path.slot].append(route.correspondent)
    return tuple(
        replace(
            route,
            path=_narrow(
                replace(route.path, mtu=mtus[route.path.link], learnt=False),
                ends[route.path.slot],
                learnt,
            ),
        )
        for route in routes
    )


def _narrow(path: TunnelPath, ends: Iterable[IPv6Address], learnt: PathMtus) -> TunnelPath:
    """Return ``path`` with what it takes to the far ``ends``, where less was learnt."""
    found = (learnt.find(path.care_of_address, end) for end in ends)
    least = min((mtu for mtu in found if mtu is not None), default=path.mtu)
    return path if least >= path.mtu else replace(path, mtu=least, learnt=True)


def find_narrow_paths(
    learnt: Mapping[IPv6Address, int],
    mtu: int,
    snapshot: Snapshot,
    tunnelled: Iterable[IPv6Network] = (),
) -> tuple[NarrowPath, ...]:
    """Return the paths to care-of addresses that were ``learnt`` to take less than ``mtu``.

    What is in the ``tunnelled`` networks is reached by another tunnel.
    """
    networks = tuple(tunnelled) if learnt else ()
    narrow = []
    for address, taken in learnt.items():
        if taken >= mtu:
            continue
        found = None
        if not any(address in network for network in networks):
            found = find_main_route(snapshot, address)
        if found is None:
            narrow.append(NarrowPath(address, taken))
        else:
            narrow.append(NarrowPath(address, taken, found[0], found[1].gateway))
    return tuple(narrow)
