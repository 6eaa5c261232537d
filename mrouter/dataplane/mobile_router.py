"""The mobile router's desired kernel state, from its bindings, its links and its policies."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import fragments, marks, mip6, optimized_routes
from mrouter.dataplane.classify import compile_classification
from mrouter.dataplane.fragments import has_mark, set_mark
from mrouter.dataplane.nft import Chain, NftSet, NftTable
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
from mrouter.policy.model import Bicast, Drop
from mrouter.policy.resolve import resolve
from mrouter.protocol.bindings import MAX_SLOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mrouter.dataplane.optimized_routes import OptimizedRoute
    from mrouter.policy.model import Action, PolicyTable

_DEFAULT = IPv6Network("::/0")
#: No binding's.
_HOME_SLOT = 0
#: The outer and the inner IPv6 header, and TCP's own without options.
_MSS_OVERHEAD = 40 + 40 + 20


@dataclass(frozen=True, slots=True)
class TunnelPath:
    """One care-of address and the way out of it.

    ``usable``: the home agent has accepted the binding, so that flows may take it. A path that
    is not (or no longer) usable still accepts what the home agent sends to it.
    """

    slot: int
    link: str
    interface: str
    care_of_address: IPv6Address
    gateway: IPv6Address | None
    mtu: int
    usable: bool


@dataclass(frozen=True, slots=True)
class HomePath:
    """The home link: from here packets go as they are (RFC 6275 §11.5.5)."""

    link: str
    interface: str
    gateway: IPv6Address | None


@dataclass(frozen=True, slots=True)
class MobileRouterView:
    """All that the mobile router's kernel state is made from.

    ``paths`` in order of preference: where a link has several usable ones the first is used.
    ``local_addresses`` are the router's own that a tunnelled packet may be for. ``device`` is any
    interface that is up, for routes that must name one.
    ``numbers`` from ``number_policies``. ``correspondents`` may tunnel to us by themselves,
    ``optimized`` are the routes to those of them that have accepted a binding. ``home_path`` is
    there while the primary interface is at home: then every flow that is not dropped takes it.
    """

    encapsulation: Encapsulation
    home_agent: IPv6Address
    home_address: IPv6Address
    prefixes: tuple[IPv6Network, ...]
    ingress: tuple[str, ...]
    egress: tuple[str, ...]
    links: tuple[str, ...]
    paths: tuple[TunnelPath, ...]
    local_addresses: tuple[IPv6Address, ...]
    device: str
    policies: PolicyTable
    numbers: Mapping[str, int]
    correspondents: tuple[IPv6Address, ...] = ()
    optimized: tuple[OptimizedRoute, ...] = ()
    optimization: RouteOptimization = RouteOptimization.TUNNEL
    home_path: HomePath | None = None

    @property
    def outside(self) -> tuple[str, ...]:
        """The egress interfaces that nothing of the mobile network's passes without a tunnel."""
        home = None if self.home_path is None else self.home_path.interface
        return tuple(interface for interface in self.egress if interface != home)

    @property
    def by_headers(self) -> bool:
        """Tell whether correspondent nodes are sent headers of `mip6`, not tunnels."""
        return bool(self.correspondents) and self.optimization is RouteOptimization.MIP6


def choose_paths(paths: Iterable[TunnelPath]) -> dict[str, TunnelPath]:
    """Return each link's path: the first usable one."""
    chosen: dict[str, TunnelPath] = {}
    for path in paths:
        if path.usable:
            chosen.setdefault(path.link, path)
    return chosen


def build_mobile_router(view: MobileRouterView) -> DataplaneState:
    """Build the whole kernel state that ``view`` asks for; pure."""
    routes, rules = _build_routing(view)
    return DataplaneState(
        table=_build_table(view),
        routes=routes,
        rules=rules,
        tunnel_device=view.encapsulation is Encapsulation.IP6TNL,
        tunnel_source=fragments.find_tunnel_source(view.encapsulation),
        router_advertisement_interfaces=view.egress,
        transformations=(
            mip6.transform_mobile_router(
                view.home_address, view.correspondents, view.paths, view.optimized
            )
            if view.by_headers
            else Transformations()
        ),
    )


def _build_routing(view: MobileRouterView) -> tuple[frozenset[Route], frozenset[Rule]]:
    routes = set(fragments.decapsulation_routes(view.encapsulation, view.device))
    rules = set(fragments.decapsulation_rule_set(view.encapsulation))
    home_agent = IPv6Network(view.home_agent)
    for path in view.paths:
        if not path.usable:
            continue
        table, outer = marks.slot_table(path.slot), marks.outer_table(path.slot)
        bits = marks.ENCAP | marks.mark_slot(path.slot)
        mask = marks.ENCAP | marks.SLOT_MASK | marks.OUTER
        rules.add(Rule(table, bits, mask))
        routes.add(Route(outer, home_agent, path.interface, path.gateway))
        if view.encapsulation is Encapsulation.SEG6:
            seg6 = Seg6Encapsulation(view.home_agent)
            routes.add(Route(table, _DEFAULT, path.interface, path.gateway, seg6))
            # the outer packet is routed again by its mark: not by the same table, where what the
            # mobile network sends to the home agent itself would then go in the clear
            rules.add(Rule(outer, bits | marks.OUTER, mask))
        else:
            ip6 = Ip6Encapsulation(path.care_of_address, view.home_agent)
            routes.add(Route(table, _DEFAULT, fragments.TUNNEL_DEVICE, tunnel=ip6))
            rules.add(Rule(outer, source=path.care_of_address))
    direct = optimized_routes.list_direct_paths(view.optimized)
    ways = view.encapsulation, view.optimization
    routes.update(optimized_routes.make_optimized_routes(*ways, view.optimized))
    rules.update(optimized_routes.make_optimized_rules(*ways, direct))
    if view.home_path is not None:
        home = view.home_path
        table = marks.slot_table(_HOME_SLOT)
        mask = marks.ENCAP | marks.SLOT_MASK | marks.OUTER
        rules.add(Rule(table, marks.ENCAP | marks.mark_slot(_HOME_SLOT), mask))
        routes.add(Route(table, _DEFAULT, home.interface, home.gateway))
    # never leak: what was to be encapsulated and has no tunnel goes nowhere
    rules.add(Rule(marks.STRICT_TABLE, marks.ENCAP, marks.ENCAP, unreachable=True))
    return frozenset(routes), frozenset(rules)


def _build_table(view: MobileRouterView) -> NftTable:
    chosen = choose_paths(view.paths)
    classification = compile_classification(view.policies, dict(view.numbers))
    actions = {action: f"action_{n}" for n, action in enumerate(_distinct(view.policies))}
    slots = [path.slot for path in view.paths]
    direct = optimized_routes.list_direct_paths(view.optimized)
    sets = (
        fragments.network_set("home", (IPv6Network(view.home_address), *view.prefixes)),
        NftSet("ingress", "type ifname;", "set", {f'"{name}"': "" for name in view.ingress}),
        NftSet("egress", "type ifname;", "set", {f'"{name}"': "" for name in view.outside}),
        NftSet(
            "decap",
            "type ipv6_addr : verdict;",
            "map",
            {str(path.care_of_address): f"goto decap_{path.slot}" for path in view.paths},
        ),
        # named, so that a change of one path touches no packet of the others
        _slot_map("unseen", "jump unseen", view.paths),
        _slot_map("outer", "goto outer", view.paths if view.by_headers else (*view.paths, *direct)),
        NftSet(
            "actions",
            # an element's counter is its policy's
            "type mark : verdict; counter;",
            "map",
            {
                f"{marks.mark_policy(view.numbers[policy.name]):#010x}": (
                    f"goto {actions[policy.action]}"
                )
                for policy in view.policies.policies
            },
        ),
        NftSet("received", "typeof ct mark . meta mark; flags dynamic; size 65536; counter;"),
        *fragments.duplicate_sets(slots),
        *(
            optimized_routes.make_optimized_sets(view.correspondents, view.optimized)
            if view.correspondents
            else ()
        ),
        *(
            mip6.make_mobile_router_sets(view.paths, view.optimized, direct)
            if view.by_headers
            else ()
        ),
        *classification.sets,
    )
    chains = (
        *(
            mip6.make_mobile_router_chains(
                view.home_address, view.correspondents, view.paths, _clamp_rules(view)
            )
            if view.by_headers
            else fragments.raw_chains()
        ),
        fragments.input_chain(view.encapsulation),
        *_entry_chains(view, actions),
        *_path_chains(view),
        *fragments.duplicate_chains(slots),
        *classification.chains,
        *_home_chains(view.home_path),
        *(
            Chain(name, _action_rules(action, chosen, view.home_path))
            for action, name in actions.items()
        ),
    )
    counters = (
        *fragments.BASE_COUNTERS,
        "unencapsulated_rejected",
        "foreign_source_dropped",
        "leaks_prevented",
        "no_link_dropped",
        "policy_dropped",
        *(f"uplink-{link}" for link in view.links),
        *(f"downlink-{link}" for link in view.links),
    )
    return NftTable(counters, sets, chains)


def _distinct(table: PolicyTable) -> list[Action]:
    """Return each action once, in file order: a failover rewrites one chain an action."""
    return list(dict.fromkeys(policy.action for policy in table.policies))


def _entry_chains(view: MobileRouterView, actions: Mapping[Action, str]) -> tuple[Chain, ...]:
    default_action = actions[view.policies.policies[-1].action]
    decapsulated = has_mark(marks.DECAP)
    return (
        Chain(
            "prerouting",
            (
                *fragments.tunnel_guard_rules(view.encapsulation),
                f"{_match_interfaces('iifname', 'ingress', view.ingress)} goto ingress",
                "meta l4proto 41 ip6 daddr vmap @decap",
                f"{decapsulated} goto inner",
                "iifname @egress ip6 daddr @home counter name unencapsulated_rejected drop",
            ),
            "type filter hook prerouting priority mangle;",
        ),
        # the short way for all but a flow's first packets; a SYN may be sent twice, and clamped
        Chain(
            "ingress",
            (
                "tcp flags & syn == syn goto uplink",
                f"ct mark & {marks.CONNECTION_MASK:#010x} vmap @actions",
                "goto uplink",
            ),
        ),
        Chain(
            "outer",
            (
                fragments.bicast_label_rule(),
                *fragments.decapsulation_rules(view.encapsulation, view.local_addresses),
                "accept",
            ),
        ),
        Chain(
            "inner",
            (
                "ip6 daddr != @home counter name inner_rejected drop",
                "ip6 saddr @home counter name inner_rejected drop",
                f"{has_mark(marks.BICAST)} meta mark & {marks.SLOT_MASK:#010x} vmap @unseen",
                *_received_rules(view),
                *_clamp_rules(view),
                set_mark(0, 0),
            ),
        ),
        Chain(
            "uplink",
            (
                f"{fragments.UNSTEERED_ICMPV6} return",
                "ip6 daddr { fe80::/10, ff00::/8 } return",
                "ip6 daddr @home return",
                "fib daddr type local return",
                # the home agent would drop it anyway, after it has cost a radio link
                "ip6 saddr != @home counter name foreign_source_dropped drop",
                *_clamp_rules(view),
                *_optimization_rules(view),
                f"ct mark & {marks.CONNECTION_MASK:#010x} vmap @actions",
                # an error goes as the flow that it speaks of, and never chooses for it
                f"icmpv6 type < 128 goto {default_action}",
                "jump classify",
                f"ct mark & {marks.CONNECTION_MASK:#010x} vmap @actions",
                # connection tracking does not know this packet: it has no verdict to keep
                f"goto {default_action}",
            ),
        ),
        Chain(
            "output",
            (
                fragments.route_copy_rule(),
                "oifname @egress ip6 daddr @home counter name leaks_prevented drop",
                "ip6 saddr @home jump uplink",
            ),
            "type route hook output priority mangle;",
        ),
        Chain(
            "forward",
            (f"meta mark & {marks.OUTER:#010x} == 0 oifname @egress goto clear",),
            "type filter hook forward priority filter;",
        ),
        # what is for a part of our prefix that is on no interface would come back by the tunnel
        Chain(
            "clear",
            (
                "iifname @ingress counter name leaks_prevented drop",
                "ip6 daddr @home counter name leaks_prevented drop",
            ),
        ),
    )


def _path_chains(view: MobileRouterView) -> Iterable[Chain]:
    others = "counter name outer_rejected drop"
    for path in view.paths:
        slot = marks.mark_slot(path.slot)
        if view.correspondents:
            others = f"goto direct_{path.slot}"
            yield optimized_routes.make_decapsulation_chain(
                path, view.home_address, view.correspondents
            )
        # accept tunnelled packets from the home agent alone, with no header in between
        yield Chain(
            f"decap_{path.slot}",
            (
                f"ip6 saddr != {view.home_agent} {others}",
                "ip6 nexthdr != 41 counter name outer_rejected drop",
                set_mark(0, marks.DECAP | slot),
                f"counter name downlink-{path.link}",
                "goto outer",
            ),
        )
        yield Chain(f"copy_{path.slot}", fragments.copy_rules(path.slot))
    for path in (*view.paths, *optimized_routes.list_direct_paths(view.optimized)):
        slot = marks.mark_slot(path.slot)
        yield Chain(f"link_{path.slot}", (set_mark(0, marks.ENCAP | slot), "accept"))
        # several care-of addresses may stand on one interface: the kernel's choice is not ours
        yield Chain(
            f"outer_{path.slot}",
            (f"counter name uplink-{path.link}", f"ip6 saddr set {path.care_of_address}"),
        )
    yield Chain(
        "postrouting",
        (
            *([mip6.transformed_rule()] if view.by_headers else []),
            *fragments.outer_packet_rules(view.encapsulation),
            f"meta mark & {marks.SLOT_MASK:#010x} vmap @outer",
        ),
        "type filter hook postrouting priority mangle;",
    )


def _received_rules(view: MobileRouterView) -> tuple[str, ...]:
    """Count what came by which slot; signalling keeps its mark, by which the agent knows it."""
    count = "update @received { ct mark . meta mark }"
    if not view.correspondents:
        return (count,)
    from_home_agent = f"meta mark & {marks.SLOT_MASK:#010x} != 0"
    # seg6 delivers it without its passing here
    keep = [f"ip6 daddr {view.home_address} meta l4proto 135 accept"]
    return (
        *(keep if view.encapsulation is Encapsulation.IP6TNL else []),
        f"{from_home_agent} {count}",
    )


def _optimization_rules(view: MobileRouterView) -> tuple[str, ...]:
    if not view.correspondents:
        return ()
    best = next((path for path in view.paths if path.usable), None)
    return optimized_routes.make_uplink_rules(view.home_address, best)


def _slot_map(name: str, verdict: str, paths: Iterable[TunnelPath]) -> NftSet:
    elements = {f"{marks.mark_slot(path.slot):#010x}": f"{verdict}_{path.slot}" for path in paths}
    # of a known size, the kernel makes it as fast a hash as it makes an unnamed one
    return NftSet(name, f"type mark : verdict; size {MAX_SLOT + 1};", "map", elements)


def _match_interfaces(key: str, set_name: str, names: tuple[str, ...]) -> str:
    """Return the match; one name is compared, which is cheaper than a look-up."""
    return f'{key} "{names[0]}"' if len(names) == 1 else f"{key} @{set_name}"


def _home_chains(home: HomePath | None) -> tuple[Chain, ...]:
    if home is None:
        return ()
    bits = marks.ENCAP | marks.mark_slot(_HOME_SLOT)
    rules = (set_mark(0, bits), f"counter name uplink-{home.link}", "accept")
    return (Chain("link_home", rules),)


def _action_rules(
    action: Action, chosen: Mapping[str, TunnelPath], home: HomePath | None
) -> tuple[str, ...]:
    if isinstance(action, Drop):
        return ("counter name policy_dropped drop",)
    if home is not None:
        return ("goto link_home",)
    paths = [chosen[link] for link in resolve(action, chosen)]
    if not paths:
        return ("counter name no_link_dropped drop",)
    if not isinstance(action, Bicast):
        return (f"goto link_{paths[0].slot}",)
    # the last "copy" is the packet itself; alone it needs no looking for duplicates
    *copies, last = paths
    if not copies:
        return (f"goto link_{last.slot}",)
    bits = marks.ENCAP | marks.BICAST | marks.mark_slot(last.slot)
    return (
        *(f"jump copy_{path.slot}" for path in copies),
        set_mark(0, bits),
        "accept",
    )


def _clamp_rules(view: MobileRouterView) -> tuple[str, ...]:
    """Clamp TCP's segment size to what the narrowest path takes with the outer header."""
    if not view.paths:
        return ()
    size = min(path.mtu for path in view.paths) - _MSS_OVERHEAD
    return (
        f"tcp flags & syn == syn tcp option maxseg size > {size} tcp option maxseg size set {size}",
    )
