"""The desired state as text that a person can read: for tests, and to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.dataplane.family import Family
from mrouter.dataplane.state import Ip6Encapsulation, RouteKind, Seg6Encapsulation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mrouter.dataplane.nft import NftTable
    from mrouter.dataplane.state import (
        DataplaneState,
        Route,
        Rule,
        Seg6Decapsulation,
    )
    from mrouter.dataplane.transformations import (
        Transformation,
        TransformationPolicy,
        Transformations,
    )


def render_state(state: DataplaneState) -> str:
    """Render ``state``, always in the same order: rules, routes, XFRM, then the nft table."""
    lines = [*_render_routing(state)]
    for table in state.tables.values():
        lines += _render_table(table)
    return "\n".join(lines) + "\n"


def render_routing(state: DataplaneState) -> str:
    """Render the rules, as the kernel asks them, the routes and the XFRM states of ``state``."""
    return "\n".join(_render_routing(state)) + "\n"


def _render_routing(state: DataplaneState) -> Iterator[str]:
    if state.tunnel_device:
        yield "device ip6tnl"
    if state.flow_accounting:
        yield "count what flows carry"
    for name in state.router_advertisement_interfaces:
        yield f"accept router advertisements on {name}"
    for name in state.tunnel_interfaces:
        yield f"accept any source on {name}"
    yield from sorted(map(_render_rule, state.rules))
    for proxy in sorted(state.proxy_neighbours, key=lambda proxy: (proxy.device, proxy.address)):
        yield f"answer for {proxy.address} on {proxy.device}"
    yield from map(_render_route, sorted(state.routes, key=_find_place))
    yield from _render_transformations(state.transformations)


def _find_place(route: Route) -> tuple[int, int, str, int]:
    network = route.destination
    return route.table, -network.version, network.network_address.exploded, network.prefixlen


def _render_rule(rule: Rule) -> str:
    parts = [f"rule {rule.table}:"]
    if rule.family is Family.IPV4:
        parts.append("IPv4")
    if rule.mask:
        parts.append(f"mark {rule.mark:#010x}/{rule.mask:#010x}")
    if rule.source is not None:
        parts.append(f"from {rule.source}")
    if rule.input_interface:
        parts.append(f"iif {rule.input_interface}")
    if rule.local:
        parts.append("lookup main without its default route")
    else:
        parts.append("unreachable" if rule.unreachable else f"lookup {rule.table}")
    return " ".join(parts)


def _render_route(route: Route) -> str:
    parts = [f"route {route.table}:"]
    if route.kind is not RouteKind.UNICAST:
        parts.append(route.kind.value)
    parts.append(str(route.destination))
    if route.tunnel is not None:
        parts.append(_render_tunnel(route.tunnel))
    if route.via is not None:
        parts.append(f"via {route.via}")
    if route.device:
        parts.append(f"dev {route.device}")
    if route.mtu is not None:
        parts.append(f"mtu {route.mtu}")
    return " ".join(parts)


def _render_transformations(wanted: Transformations) -> Iterator[str]:
    if wanted.home_address is not None:
        yield f"home address {wanted.home_address}"
    yield from sorted(map(_render_policy, wanted.policies))
    yield from sorted(map(_render_transformation, wanted.states))


def _render_policy(policy: TransformationPolicy) -> str:
    return f"xfrm policy {policy.direction.name.lower()}: {_render_header(policy)}"


def _render_transformation(state: Transformation) -> str:
    marked = f" then mark {state.output_mark:#010x}" if state.output_mark else ""
    return f"xfrm state: {_render_header(state)}{marked}"


def _render_header(item: Transformation | TransformationPolicy) -> str:
    name = item.header.name.lower().replace("_", " ")
    marked = f" mark {item.mark:#010x}/{item.mask:#010x}" if item.mask else ""
    return f"{name} from {item.source} to {item.destination} by {item.care_of_address}{marked}"


def _render_tunnel(tunnel: Seg6Encapsulation | Ip6Encapsulation | Seg6Decapsulation) -> str:
    if isinstance(tunnel, Seg6Encapsulation):
        return f"encapsulate to {tunnel.segment}"
    if isinstance(tunnel, Ip6Encapsulation):
        return f"encapsulate from {tunnel.source} to {tunnel.destination}"
    if tunnel.family is Family.IPV4:
        return "decapsulate IPv4"
    return "decapsulate" if tunnel.table is None else f"decapsulate, lookup {tunnel.table}"


def _render_table(table: NftTable) -> Iterator[str]:
    if table.family is Family.IPV4:
        yield "table for IPv4"
    for name in sorted(table.counters):
        yield f"counter {name}"
    for item in sorted(table.sets, key=lambda item: item.name):
        yield f"{item.kind} {item.name}: {item.declaration}"
        for key, value in sorted(item.elements.items()):
            yield f"    {key} : {value}" if value else f"    {key}"
    for chain in sorted(table.chains, key=lambda chain: chain.name):
        yield f"chain {chain.name}: {chain.hook}".rstrip(" ")
        yield from (f"    {rule}" for rule in chain.rules)
