"""The mobile router's desired kernel state, from its bindings, its links and its policies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import balance, fragments, marks, mip6, optimized_routes
from mrouter.dataplane.classify import compile_classification
from mrouter.dataplane.family import Family
from mrouter.dataplane.flow_sizes import make_dispatch
from mrouter.dataplane.ipv4_sizes import make_size_routing
from mrouter.dataplane.mobile_router_chains import (
    HOME_SLOT,
    ICMP_ERRORS,
    find_narrowest,
    make_action_rules,
    make_entry_chains,
    make_home_chains,
    make_link_chain,
    make_path_chains,
    make_waiting_chains,
    make_way_chains,
    match_interfaces,
    restrict_paths,
)
from mrouter.dataplane.name_sets import make_name_rules
from mrouter.dataplane.nft import Chain, NftSet, NftTable
from mrouter.dataplane.path_mtu import make_fragment_memory
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
from mrouter.protocol.bindings import MAX_SLOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mrouter.dataplane.flow_sizes import SizeSteps
    from mrouter.dataplane.name_sets import KnownNames
    from mrouter.dataplane.optimized_routes import OptimizedRoute
    from mrouter.dataplane.steering import Treatment
    from mrouter.policy.model import PolicyTable

_DEFAULT = IPv6Network("::/0")
_COUNTERS = (
    "unencapsulated_rejected",
    "foreign_source_dropped",
    "leaks_prevented",
    "no_link_dropped",
    "policy_dropped",
    "rate_limited",
    "waiting",
)


@dataclass(frozen=True, slots=True)
class TunnelPath:
    """One care-of address and the way out of it.

    ``mtu`` is what it takes in octets, with the tunnel's header; ``learnt`` if that is less than
    the interface takes. ``usable``: the home agent has accepted the binding, so that flows may
    take it. A path that is not (or no longer) usable still accepts what the home agent sends to it.
    ``ipv4``: the home agent takes IPv4 by it as well.
    """

    slot: int
    link: str
    interface: str
    care_of_address: IPv6Address
    gateway: IPv6Address | None
    mtu: int
    usable: bool
    ipv4: bool = False
    learnt: bool = False

    @property
    def route_mtu(self) -> int | None:
        """What its routes must say that they take."""
        return self.mtu if self.learnt else None


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
    ``numbers`` are those of each policy's new flows, ``treatments`` by number (`Steering`).
    ``correspondents`` may tunnel to us by themselves,
    ``optimized`` are the routes to those of them that have accepted a binding. ``home_path`` is
    there while the primary interface is at home: then every flow that is not dropped takes it,
    but those of IPv4, for which there is no way then. ``waiting`` is the interface that packets go
    to which wait for a link, None where there is none. ``ipv4_prefixes`` are the IPv4 networks on
    board; without any nothing is done about IPv4. ``size_steps`` are those of numbers
    (`Steering`), ``known_names`` what is known of the policies' domains.
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
    treatments: Mapping[int, Treatment]
    correspondents: tuple[IPv6Address, ...] = ()
    optimized: tuple[OptimizedRoute, ...] = ()
    optimization: RouteOptimization = RouteOptimization.TUNNEL
    home_path: HomePath | None = None
    waiting: str | None = None
    ipv4_prefixes: tuple[IPv4Network, ...] = ()
    size_steps: Mapping[int, SizeSteps] = field(default_factory=dict)
    known_names: KnownNames = field(default_factory=dict)

    @property
    def entrances(self) -> tuple[str, ...]:
        """The interfaces that the mobile network's packets come in by."""
        return self.ingress if self.waiting is None else (*self.ingress, self.waiting)

    @property
    def families(self) -> tuple[Family, ...]:
        """What the tunnels carry."""
        return tuple(Family) if self.ipv4_prefixes else (Family.IPV6,)

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
        ipv4_table=_build_ipv4_table(view) if view.ipv4_prefixes else None,
        tunnel_interfaces=_list_tunnel_interfaces(view) if view.ipv4_prefixes else (),
        flow_accounting=bool(view.size_steps),
    )


def _list_tunnel_interfaces(view: MobileRouterView) -> tuple[str, ...]:
    waiting = () if view.waiting is None else (view.waiting,)
    if view.encapsulation is Encapsulation.IP6TNL:
        return (fragments.TUNNEL_DEVICE, *waiting)
    return (*view.egress, *waiting)


def _build_routing(view: MobileRouterView) -> tuple[frozenset[Route], frozenset[Rule]]:
    routes = set(fragments.decapsulation_routes(view.encapsulation, view.device, view.families))
    rules = set(fragments.decapsulation_rule_set(view.encapsulation))
    home_agent = IPv6Network(view.home_agent)
    for path in view.paths:
        if not path.usable:
            continue
        table, outer = marks.slot_table(path.slot), marks.outer_table(path.slot)
        bits = marks.ENCAP | marks.mark_slot(path.slot)
        mask = marks.ENCAP | marks.SLOT_MASK | marks.OUTER
        rules.add(Rule(table, bits, mask))
        routes.add(Route(outer, home_agent, path.interface, path.gateway, mtu=path.route_mtu))
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
        table = marks.slot_table(HOME_SLOT)
        mask = marks.ENCAP | marks.SLOT_MASK | marks.OUTER
        rules.add(Rule(table, marks.ENCAP | marks.mark_slot(HOME_SLOT), mask))
        routes.add(Route(table, _DEFAULT, home.interface, home.gateway))
    if view.waiting is not None:
        table = marks.slot_table(marks.WAITING_SLOT)
        mask = marks.ENCAP | marks.SLOT_MASK | marks.OUTER
        rules.add(Rule(table, marks.ENCAP | marks.mark_slot(marks.WAITING_SLOT), mask))
        routes.add(Route(table, _DEFAULT, view.waiting))
    # never leak: what was to be encapsulated and has no tunnel goes nowhere
    rules.add(Rule(marks.STRICT_TABLE, marks.ENCAP, marks.ENCAP, unreachable=True))
    if view.ipv4_prefixes:
        routes.update(_list_ipv4_routes(view))
        rules.update(_list_ipv4_rules(view))
    return frozenset(routes), frozenset(rules)


def _list_ipv4_paths(view: MobileRouterView) -> list[TunnelPath]:
    return [path for path in view.paths if path.usable and path.ipv4]


def _list_ipv4_routes(view: MobileRouterView) -> Iterator[Route]:
    """Yield the ways of IPv4 into the tunnels; their devices are formal.

    An interface loses its IPv4 routes with its last IPv4 address, and an egress interface need not
    have any: but for `lo`.
    """
    everything, lo = Family.IPV4.everything, "lo"
    for path in _list_ipv4_paths(view):
        table = marks.slot_table(path.slot)
        if view.encapsulation is Encapsulation.SEG6:
            yield Route(table, everything, lo, tunnel=Seg6Encapsulation(view.home_agent))
        else:
            ip6 = Ip6Encapsulation(path.care_of_address, view.home_agent)
            yield Route(table, everything, fragments.TUNNEL_DEVICE, tunnel=ip6)
        yield make_size_routing(path.mtu, path.slot)[0]
    if view.waiting is not None:
        yield Route(marks.slot_table(marks.WAITING_SLOT), everything, view.waiting)
    # what the router itself sends is looked up once before the output hook can mark it
    yield Route(marks.PRIMARY_TABLE, everything, lo)


def _list_ipv4_rules(view: MobileRouterView) -> Iterator[Rule]:
    mask, family = marks.ENCAP | marks.SLOT_MASK | marks.OUTER, Family.IPV4
    for path in _list_ipv4_paths(view):
        slot = marks.mark_slot(path.slot)
        yield Rule(marks.slot_table(path.slot), marks.ENCAP | slot, mask, family=family)
        yield make_size_routing(path.mtu, path.slot)[1]
    if view.waiting is not None:
        slot = marks.mark_slot(marks.WAITING_SLOT)
        table = marks.slot_table(marks.WAITING_SLOT)
        yield Rule(table, marks.ENCAP | slot, mask, family=family)
    yield Rule(marks.STRICT_TABLE, marks.ENCAP, marks.ENCAP, unreachable=True, family=family)
    for network in view.ipv4_prefixes:
        own = Rule(marks.PRIMARY_TABLE, source=network, input_interface="lo", family=family)
        yield replace(own, table=marks.LOCAL_RULE, local=True)
        yield own


def _build_ipv4_table(view: MobileRouterView) -> NftTable:
    paths = _list_ipv4_paths(view)
    sets, chains = _build_policies(view, Family.IPV4, choose_paths(paths))
    return NftTable(
        (*fragments.BASE_COUNTERS, *_COUNTERS),
        (fragments.network_set("home", view.ipv4_prefixes, Family.IPV4), *sets),
        (
            *chains,
            *make_way_chains(view, paths, Family.IPV4),
            *make_waiting_chains(view.waiting),
            fragments.ipv4_postrouting_chain(),
        ),
        Family.IPV4,
    )


def _build_policies(
    view: MobileRouterView, family: Family, chosen: Mapping[str, TunnelPath]
) -> tuple[tuple[NftSet, ...], tuple[Chain, ...]]:
    """Return the sets and chains from a packet's arrival to its policy's action.

    ``chosen`` are the paths by link that the actions may take.
    """
    classification = compile_classification(
        view.policies, dict(view.numbers), family, view.size_steps
    )
    treatments = dict.fromkeys(view.treatments.values())
    actions = {each: f"action_{number}" for number, each in enumerate(treatments)}
    default = actions[view.treatments[view.numbers[view.policies.policies[-1].name]]]
    dispatch = make_dispatch(
        {number: actions[treatment] for number, treatment in view.treatments.items()},
        view.size_steps,
        default,
        ICMP_ERRORS[family],
    )
    name_sets, name_chains = make_name_rules(view.policies, view.known_names, family)
    slots = [path.slot for path in view.paths]
    sets = (
        NftSet("ingress", "type ifname;", "set", {f'"{name}"': "" for name in view.entrances}),
        NftSet("egress", "type ifname;", "set", {f'"{name}"': "" for name in view.outside}),
        # named, so that a change of one path touches no packet of the others
        _slot_map("unseen", "jump unseen", view.paths),
        NftSet(
            "actions",
            # an element's counter is its policy's
            "type mark : verdict; counter;",
            "map",
            dispatch.elements,
        ),
        NftSet("received", "typeof ct mark . meta mark; flags dynamic; size 65536; counter;"),
        balance.balanced_set(),
        *fragments.duplicate_sets(slots, family),
        *classification.sets,
        *dispatch.sets,
        *name_sets,
    )
    chains = (
        *make_entry_chains(view, family, default),
        *fragments.duplicate_chains(slots, family),
        *classification.chains,
        *dispatch.chains,
        *name_chains,
        *(
            Chain(name, make_action_rules(treatment, chosen, view, family))
            for treatment, name in actions.items()
        ),
    )
    return sets, chains


def _build_table(view: MobileRouterView) -> NftTable:
    direct = optimized_routes.list_direct_paths(view.optimized)
    chosen = choose_paths(view.paths)
    sets, chains = _build_policies(view, Family.IPV6, chosen)
    fragment_sets, fragment_chains = make_fragment_memory(
        view.encapsulation,
        [path.mtu for path in (*view.paths, *direct)],
        match_interfaces("iifname", "ingress", view.entrances),
    )
    sets = (
        fragments.network_set("home", (IPv6Network(view.home_address), *view.prefixes)),
        NftSet(
            "decap",
            "type ipv6_addr : verdict;",
            "map",
            {str(path.care_of_address): f"goto decap_{path.slot}" for path in view.paths},
        ),
        _slot_map("clamp", "jump clamp", (*view.paths, *direct)),
        _slot_map("outer", "goto outer", view.paths if view.by_headers else (*view.paths, *direct)),
        *sets,
        *fragment_sets,
        NftSet(
            "narrowest",
            "type mark : verdict;",
            "map",
            {
                f"{marks.mark_policy(number):#010x}": f"jump clamp_{path.slot}"
                for number, treatment in view.treatments.items()
                if (path := find_narrowest(treatment.action, restrict_paths(treatment, chosen)))
                is not None
            },
        ),
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
    )
    chains = (
        *(
            mip6.make_mobile_router_chains(
                view.encapsulation,
                view.home_address,
                view.correspondents,
                view.paths,
                view.families,
            )
            if view.by_headers
            else fragments.raw_chains(view.encapsulation, view.families)
        ),
        fragments.input_chain(view.encapsulation),
        *chains,
        *make_path_chains(view),
        *fragment_chains,
        *make_way_chains(view, view.paths, Family.IPV6),
        *(make_link_chain(path.slot) for path in direct),
        *make_home_chains(view.home_path),
        *make_waiting_chains(view.waiting),
    )
    counters = (
        *fragments.BASE_COUNTERS,
        *_COUNTERS,
        *(f"uplink-{link}" for link in view.links),
        *(f"downlink-{link}" for link in view.links),
    )
    return NftTable(counters, sets, chains)


def _slot_map(name: str, verdict: str, paths: Iterable[TunnelPath]) -> NftSet:
    elements = {f"{marks.mark_slot(path.slot):#010x}": f"{verdict}_{path.slot}" for path in paths}
    # of a known size, the kernel makes it as fast a hash as it makes an unnamed one
    return NftSet(name, f"type mark : verdict; size {MAX_SLOT + 1};", "map", elements)
