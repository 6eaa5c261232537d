"""The correspondent node's desired kernel state, from its Binding Cache.

Between the correspondent node and a care-of address packets go in a tunnel of the two: it carries
what the Home Address option and the type 2 routing header would, on every kernel. Where it is
asked for, the headers themselves are used: `mip6`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import fragments, marks, mip6
from mrouter.dataplane.fragments import has_mark, set_mark
from mrouter.dataplane.nft import Chain, NftSet, NftTable
from mrouter.dataplane.path_mtu import (
    SYN,
    NarrowPath,
    NarrowTunnels,
    group_networks,
    make_narrow_routing,
)
from mrouter.dataplane.state import (
    DataplaneState,
    Encapsulation,
    Ip6Encapsulation,
    Route,
    RouteOptimization,
    Rule,
    Seg6Encapsulation,
)
from mrouter.dataplane.transformations import Transformations

if TYPE_CHECKING:
    from mrouter.protocol.bindings import CacheEntry

#: What is dropped as no binding vouches for it is answered with a Binding Error: so many a second
#: reach the agent, which limits its answers further (RFC 6275 §9.3.3).
_REPORTS_A_SECOND = 10


@dataclass(frozen=True, slots=True)
class CorrespondentNodeView:
    """All that the correspondent node's kernel state is made from.

    Packets are taken from every care-of address of ``bindings``, and sent to those of ``routes``,
    at most one for a home address. A home address without goes by the ordinary routes, through its
    home agent. ``device`` has ``address`` (formal: an encapsulating route must name a device; the
    outer packet is routed again). ``mtu`` is what ``device`` takes, ``narrow`` are the paths
    that take less.
    """

    encapsulation: Encapsulation
    address: IPv6Address
    device: str
    bindings: tuple[CacheEntry, ...]
    routes: tuple[CacheEntry, ...]
    optimization: RouteOptimization = RouteOptimization.TUNNEL
    mtu: int = 1500
    narrow: tuple[NarrowPath, ...] = ()

    @property
    def by_headers(self) -> bool:
        """Tell whether packets go with headers of their own, not in a tunnel."""
        return self.optimization is RouteOptimization.MIP6


def build_correspondent_node(view: CorrespondentNodeView) -> DataplaneState:
    """Build the whole kernel state that ``view`` asks for; pure."""
    chosen = _choose_routes(view)
    routes = set(fragments.decapsulation_routes(view.encapsulation, view.device))
    rules = set(fragments.decapsulation_rule_set(view.encapsulation))
    transformations = Transformations()
    if view.by_headers:
        transformations = mip6.transform_correspondent_node(view.address, view.bindings, chosen)
    else:
        routes.update(_make_route(view, route) for route in chosen)
        rules.add(Rule(marks.PRIMARY_TABLE, marks.ENCAP, marks.ENCAP))
        # a socket's own look-up, before the output hook can mark the packet: so it knows what
        # fits into the tunnel
        rules.add(Rule(marks.PRIMARY_TABLE, 0, marks.OUTER, input_interface="lo"))
        narrow_routes, narrow_rules = make_narrow_routing(view.encapsulation, view.narrow)
        routes |= narrow_routes
        rules |= narrow_rules
    return DataplaneState(
        table=_build_table(view, chosen),
        routes=frozenset(routes),
        rules=frozenset(rules),
        tunnel_device=view.encapsulation is Encapsulation.IP6TNL,
        tunnel_source=fragments.find_tunnel_source(view.encapsulation),
        forwarding=False,
        transformations=transformations,
    )


def _choose_routes(view: CorrespondentNodeView) -> tuple[CacheEntry, ...]:
    """Leave out what would lead from one tunnel into another, and perhaps round in a circle.

    Anybody may bind his home address to an address that is somebody's home address.
    """
    homes = {entry.home_address for entry in view.bindings}
    return tuple(route for route in view.routes if route.care_of_address not in homes)


def _make_route(view: CorrespondentNodeView, route: CacheEntry) -> Route:
    home = IPv6Network(route.home_address)
    if view.encapsulation is Encapsulation.SEG6:
        seg6 = Seg6Encapsulation(route.care_of_address)
        return Route(marks.PRIMARY_TABLE, home, view.device, tunnel=seg6)
    ip6 = Ip6Encapsulation(view.address, route.care_of_address)
    return Route(marks.PRIMARY_TABLE, home, fragments.TUNNEL_DEVICE, tunnel=ip6)


def _build_table(view: CorrespondentNodeView, routes: tuple[CacheEntry, ...]) -> NftTable:
    sets = (
        NftSet(
            "mobile",
            # an element's counter says that the binding is in use
            "type ipv6_addr; counter;",
            "set",
            {str(route.home_address): "" for route in routes},
        ),
        NftSet(
            "care_of",
            "type ipv6_addr;",
            "set",
            {str(entry.care_of_address): "" for entry in view.bindings},
        ),
        # the inner source is read at its place behind the outer header; an element's counter says
        # that its care-of address is heard of
        NftSet(
            "sources",
            "typeof ip6 saddr . @nh,384,128; counter;",
            "set",
            {
                f"{entry.care_of_address} . {int(entry.home_address):#034x}": ""
                for entry in view.bindings
            },
        ),
        *([mip6.make_correspondent_node_set(view.bindings)] if view.by_headers else []),
    )
    narrow = _find_narrow_tunnels(view, routes)
    counters = (*fragments.BASE_COUNTERS, "optimized_received", "optimized_sent")
    return NftTable(counters, (*sets, *narrow.make_sets()), _build_chains(view, narrow))


def _find_narrow_tunnels(
    view: CorrespondentNodeView, routes: tuple[CacheEntry, ...]
) -> NarrowTunnels:
    mtus = {path.destination: path.mtu for path in view.narrow}
    tunnels = [(0, entry.care_of_address, (IPv6Network(entry.home_address),)) for entry in routes]
    return NarrowTunnels(view.encapsulation, view.mtu, group_networks(tunnels, mtus))


def _build_chains(view: CorrespondentNodeView, narrow: NarrowTunnels) -> tuple[Chain, ...]:
    address = view.address
    report = fragments.report(_REPORTS_A_SECOND)
    return (
        *(
            mip6.make_correspondent_node_chains(view.encapsulation, address, view.bindings, report)
            if view.by_headers
            else fragments.raw_chains(view.encapsulation)
        ),
        fragments.input_chain(view.encapsulation),
        Chain(
            "prerouting",
            (
                *fragments.tunnel_guard_rules(view.encapsulation),
                # a look at connection tracking has the kernel put fragments together first
                f"meta l4proto 41 ip6 daddr {address} ct state untracked goto outer",
                f"{has_mark(marks.DECAP)} goto inner",
            ),
            "type filter hook prerouting priority mangle;",
        ),
        Chain(
            "outer",
            (
                "ip6 nexthdr != 41 counter name outer_rejected drop",
                "ip6 saddr . @nh,384,128 @sources goto decap",
                # a binding that has ended here and not at its other end
                f"@nh,512,128 {int(address):#034x} {report}",
                "ip6 saddr @care_of counter name inner_rejected drop",
                "counter name outer_rejected drop",
            ),
        ),
        Chain(
            "decap",
            (
                # only what is for this very node, and no tunnel in the tunnel
                f"@nh,512,128 != {int(address):#034x} counter name inner_rejected drop",
                "@nh,368,8 41 counter name inner_rejected drop",
                "counter name optimized_received",
                set_mark(0, marks.DECAP),
                *fragments.decapsulation_rules(view.encapsulation, (address,)),
                "accept",
            ),
        ),
        Chain("inner", (f"{SYN} jump clamp_up", set_mark(0, 0))),
        Chain("output", ("ip6 daddr @mobile goto out",), "type route hook output priority mangle;"),
        Chain(
            "out",
            (
                # the mobile node takes tunnelled packets from the address that it knows alone
                f"ip6 saddr != {address} goto plain",
                # signalling for the home address goes there: a Home Test would prove nothing else,
                # and a Binding Refresh Request "is always sent to the home address" (RFC 6275
                # §9.5.5)
                "meta l4proto 135 goto plain",
                f"{fragments.UNSTEERED_ICMPV6} goto plain",
                *([] if view.by_headers else [set_mark(0, marks.ENCAP)]),
                "counter name optimized_sent",
            ),
        ),
        # the changed mark has the packet routed again, by the ordinary routes
        Chain("plain", (set_mark(0, marks.OUTER),)),
        *fragments.make_tunnel_chains(
            view.encapsulation, narrow.enter_rules(), (f"ip6 saddr set {address}",)
        ),
        *narrow.make_chains(),
    )
