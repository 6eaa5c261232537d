"""The home agent's desired kernel state, from its Binding Cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import fragments, marks
from mrouter.dataplane.flow_choice import make_flow_choice
from mrouter.dataplane.fragments import has_mark, set_mark
from mrouter.dataplane.nft import Chain, NftSet, NftTable
from mrouter.dataplane.state import (
    DataplaneState,
    Encapsulation,
    Ip6Encapsulation,
    ProxyNeighbour,
    Route,
    RouteKind,
    Rule,
    Seg6Encapsulation,
)
from mrouter.dataplane.way_back import make_downlink_chains, make_uplink_chains, map_slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.flow_bindings import FlowBinding

#: How long after its last packet a slot still gets its copy of a bicast flow's downlink.
_MEMBER_TIMEOUT = "30s"


@dataclass(frozen=True, slots=True)
class HomeAgentView:
    """All that the home agent's kernel state is made from.

    ``served`` are the home addresses and prefixes of every mobile router, registered or not: what
    is for them never leaves in the clear. ``device`` is the way to the Internet (formal: an
    encapsulating route must name a device; the outer packet is routed again). ``home_link`` is the
    interface of a real home link: there the kernel answers for the ``defended`` addresses, and a
    home address that is not bound belongs to a mobile router that is at home. ``flows`` are the
    mobile routers' flow bindings, each router's by priority. ``at_home`` tells the home address
    by which a prefix is reached when its mobile router is at home, where there is a home link.
    """

    encapsulation: Encapsulation
    address: IPv6Address
    local_addresses: tuple[IPv6Address, ...]
    device: str
    served: tuple[IPv6Network, ...]
    bindings: tuple[CacheEntry, ...]
    home_link: str | None = None
    defended: frozenset[IPv6Address] = frozenset()
    flows: tuple[FlowBinding, ...] = ()
    at_home: Mapping[IPv6Network, IPv6Address] = field(default_factory=dict)


def build_home_agent(view: HomeAgentView) -> DataplaneState:
    """Build the whole kernel state that ``view`` asks for; pure."""
    bindings = _find_bindings(view)
    routes, rules = _build_routing(view, bindings)
    # a link-local address that is defended has its home address's interface identifier
    routers = {_identify(each.home_address) for each in view.bindings if each.mobile_router}
    return DataplaneState(
        table=_build_table(view, bindings),
        routes=routes,
        rules=rules,
        proxy_neighbours=frozenset(
            ProxyNeighbour(address, view.home_link, router=_identify(address) in routers)
            for address in view.defended
            if view.home_link
        ),
        tunnel_device=view.encapsulation is Encapsulation.IP6TNL,
        tunnel_source=fragments.find_tunnel_source(view.encapsulation),
    )


def _identify(address: IPv6Address) -> int:
    return int(address) & 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What one binding adds to the whole state; ``sources`` are (length, key, verdict)."""

    slot: int
    networks: tuple[IPv6Network, ...]
    routes: tuple[Route, ...]
    primary_routes: tuple[Route, ...]
    sources: tuple[tuple[int, str, str], ...]
    care_of_address: str


@dataclass(frozen=True, slots=True)
class _Bindings:
    """All bindings' pieces, and those of the primary care-of addresses alone."""

    all: tuple[_Pieces, ...]
    primary: tuple[_Pieces, ...]

    @property
    def slots(self) -> list[int]:
        """The slots in use."""
        return sorted({pieces.slot for pieces in self.all})


def _find_bindings(view: HomeAgentView) -> _Bindings:
    """Find every binding's pieces; primary is the best priority, lower is better (draft §3)."""
    everything: list[_Pieces] = []
    best: dict[IPv6Address, tuple[int, int]] = {}
    primary: dict[IPv6Address, _Pieces] = {}
    for binding in view.bindings:
        pieces = _make_pieces(
            view.encapsulation,
            view.address,
            view.device,
            binding.home_address,
            binding.prefixes,
            binding.care_of_address,
            binding.slot,
        )
        everything.append(pieces)
        rank = (binding.ifpri, binding.slot)
        known = best.get(binding.home_address)
        if known is None or rank < known:
            best[binding.home_address] = rank
            primary[binding.home_address] = pieces
    return _Bindings(tuple(everything), tuple(primary.values()))


@lru_cache(maxsize=1 << 16)
def _make_pieces(
    encapsulation: Encapsulation,
    address: IPv6Address,
    device: str,
    home_address: IPv6Address,
    prefixes: tuple[IPv6Network, ...],
    care_of_address: IPv6Address,
    slot: int,
) -> _Pieces:
    """Make a binding's pieces once: the whole state is built anew at each change of any."""
    networks = (IPv6Network(home_address), *prefixes)
    tunnel: Seg6Encapsulation | Ip6Encapsulation
    if encapsulation is Encapsulation.SEG6:
        tunnel = Seg6Encapsulation(care_of_address)
    else:
        tunnel = Ip6Encapsulation(address, care_of_address)
        device = fragments.TUNNEL_DEVICE
    routes, primary_routes = (
        tuple(Route(table, network, device, tunnel=tunnel) for network in networks)
        for table in (marks.slot_table(slot), marks.PRIMARY_TABLE)
    )
    sources = tuple(
        (length, f"{care_of_address} . {prefix:#x}", f"goto from_{slot}")
        for network in networks
        for length, prefix in _split_octets(network)
    )
    return _Pieces(slot, networks, routes, primary_routes, sources, str(care_of_address))


def _split_octets(network: IPv6Network) -> Iterator[tuple[int, int]]:
    """Yield (length, prefix as a number) of the prefixes in whole octets that make ``network``."""
    length = (network.prefixlen + 7) // 8 * 8
    first = int(network.network_address) >> (128 - length)
    for prefix in range(first, first + (1 << (length - network.prefixlen))):
        yield length, prefix


@lru_cache(maxsize=4)
def _find_refusing_routes(
    served: tuple[IPv6Network, ...],
) -> tuple[dict[IPv6Network, Route], frozenset[Route]]:
    """Return what takes the place of a missing primary binding, and what ends strict copies."""
    unreachable = {
        network: Route(marks.PRIMARY_TABLE, network, kind=RouteKind.UNREACHABLE)
        for network in served
    }
    strict = (Route(marks.STRICT_TABLE, network, kind=RouteKind.BLACKHOLE) for network in served)
    return unreachable, frozenset(strict)


def _build_routing(
    view: HomeAgentView, bindings: _Bindings
) -> tuple[frozenset[Route], frozenset[Rule]]:
    routes = set(fragments.decapsulation_routes(view.encapsulation, view.device))
    primary: set[IPv6Network] = set()
    for pieces in bindings.primary:
        routes.update(pieces.primary_routes)
        primary.update(pieces.networks)
    for pieces in bindings.all:
        routes.update(pieces.routes)
    # never leak: what is for a mobile router that is away and unreachable goes nowhere
    unreachable, strict = _find_refusing_routes(view.served)
    for network, route in unreachable.items():
        if network in primary or _may_be_at_home(view, network):
            continue
        router = view.at_home.get(network)
        if router is not None and view.home_link is not None:
            routes.add(Route(marks.PRIMARY_TABLE, network, view.home_link, router))
        else:
            routes.add(route)
    routes.update(strict)
    rules = {
        *fragments.decapsulation_rule_set(view.encapsulation),
        Rule(marks.STRICT_TABLE, marks.STRICT, marks.STRICT),
        Rule(marks.PRIMARY_TABLE, marks.ENCAP, marks.ENCAP),
        # what the home agent itself sends is looked up once before the output hook can mark it
        Rule(marks.PRIMARY_TABLE, input_interface="lo"),
    }
    for slot in bindings.slots:
        bits = marks.ENCAP | marks.mark_slot(slot)
        rules.add(Rule(marks.slot_table(slot), bits, marks.ENCAP | marks.SLOT_MASK))
    nested_routes, nested_rules = _build_nested_routing(view)
    return frozenset(routes | nested_routes), frozenset(rules | nested_rules)


def _build_nested_routing(view: HomeAgentView) -> tuple[set[Route], set[Rule]]:
    """Return the way by which ip6tnl finds a care-of address that lies behind a mobile router.

    The device refuses to send to itself ("Local routing loop"). It looks for its way without a
    mark, so it is shown another interface; the output hook then marks the outer packet, which is
    routed again, by the primary care-of address of the mobile router in front.
    """
    if view.encapsulation is not Encapsulation.IP6TNL:
        return set(), set()
    by_length = _group_by_length(view.served)
    nested = {
        binding.care_of_address
        for binding in view.bindings
        if any(
            int(binding.care_of_address) >> (128 - length) in prefixes
            for length, prefixes in by_length.items()
        )
    }
    return (
        {Route(marks.NESTED_TABLE, IPv6Network(address), view.device) for address in nested},
        {Rule(marks.NESTED_TABLE, 0, marks.ENCAP, input_interface="lo")} if nested else set(),
    )


@lru_cache(maxsize=4)
def _group_by_length(served: tuple[IPv6Network, ...]) -> dict[int, frozenset[int]]:
    """Return the prefixes of ``served`` as numbers, by their length."""
    grouped: dict[int, set[int]] = {}
    for network in served:
        length = network.prefixlen
        grouped.setdefault(length, set()).add(int(network.network_address) >> (128 - length))
    return {length: frozenset(prefixes) for length, prefixes in grouped.items()}


def _may_be_at_home(view: HomeAgentView, network: IPv6Network) -> bool:
    return view.home_link is not None and network.prefixlen == network.max_prefixlen


@lru_cache(maxsize=4)
def _mobile_set(served: tuple[IPv6Network, ...]) -> NftSet:
    return fragments.network_set("mobile", served)


def _build_table(view: HomeAgentView, bindings: _Bindings) -> NftTable:
    slots = bindings.slots
    sources = _source_maps(bindings.all)
    flow_sets: tuple[NftSet, ...] = ()
    flow_chains: tuple[Chain, ...] = ()
    if view.flows:
        flow_sets, flow_chains = make_flow_choice(view.flows, view.bindings, slots)
    sets = (
        _mobile_set(view.served),
        NftSet(
            "care_of",
            "type ipv6_addr;",
            "set",
            {pieces.care_of_address: "" for pieces in bindings.all},
        ),
        *sources,
        *fragments.duplicate_sets(slots),
        *(
            NftSet(
                f"bicast_{direction.name}_{slot}",
                f"typeof ct id; flags dynamic,timeout; timeout {_MEMBER_TIMEOUT}; size 65536;",
            )
            for slot in slots
            for direction in (marks.ORIGINAL, marks.REPLY)
        ),
        *flow_sets,
    )
    counters = (
        *fragments.BASE_COUNTERS,
        *(f"uplink-{slot}" for slot in slots),
        *(f"downlink-{slot}" for slot in slots),
    )
    chains = (
        *fragments.raw_chains(),
        fragments.input_chain(view.encapsulation),
        *_entry_chains(view, sources, slots),
        *fragments.duplicate_chains(slots),
        *make_uplink_chains(slots),
        *make_downlink_chains(slots, by_flow=bool(view.flows)),
        *flow_chains,
    )
    return NftTable(counters, sets, chains)


def _source_maps(bindings: Iterable[_Pieces]) -> tuple[NftSet, ...]:
    """Map (care-of address, inner source prefix) to the binding's slot, a map a prefix length.

    The inner source is read at its place behind the outer header, in whole octets as nft can: a
    prefix that ends within an octet is cut into those that do not. RFC 3963 §6.1.2 and RFC 6275
    §10.4.5: the home agent must see that the inner source is one that this mobile router may use.
    """
    maps: dict[int, dict[str, str]] = {}
    for pieces in bindings:
        for length, key, verdict in pieces.sources:
            maps.setdefault(length, {})[key] = verdict
    return tuple(
        NftSet(
            f"sources_{length}",
            f"typeof ip6 saddr . @nh,384,{length} : verdict;",
            "map",
            elements,
        )
        for length, elements in sorted(maps.items())
    )


def _entry_chains(
    view: HomeAgentView, sources: tuple[NftSet, ...], slots: list[int]
) -> tuple[Chain, ...]:
    by_slot = f"meta mark & {marks.SLOT_MASK:#010x} vmap"
    return (
        Chain(
            "prerouting",
            (
                *fragments.tunnel_guard_rules(view.encapsulation),
                f"meta l4proto 41 ip6 daddr {view.address} goto outer",
                f"{has_mark(marks.DECAP)} jump inner",
                "ip6 daddr @mobile goto downlink",
            ),
            "type filter hook prerouting priority mangle;",
        ),
        Chain(
            "outer",
            (
                "ip6 nexthdr != 41 counter name outer_rejected drop",
                *(
                    f"ip6 saddr . @nh,384,{item.name.removeprefix('sources_')} vmap @{item.name}"
                    for item in sources
                ),
                "ip6 saddr @care_of counter name inner_rejected drop",
                "counter name outer_rejected drop",
            ),
        ),
        Chain(
            "decap",
            (
                fragments.bicast_label_rule(),
                *fragments.decapsulation_rules(view.encapsulation, view.local_addresses),
                "accept",
            ),
        ),
        Chain(
            "inner",
            (
                *([f"{by_slot} {map_slots(slots, 'jump inner')}"] if slots else []),
                set_mark(0, 0),
            ),
        ),
        Chain(
            "output",
            (fragments.route_copy_rule(), "ip6 daddr @mobile goto out"),
            "type route hook output priority mangle;",
        ),
        # an outer packet passes here, too: if it is for a mobile router behind a mobile router
        # its way is that one's primary care-of address, and it stays an outer packet
        Chain(
            "out",
            (
                *_outer_rules(view.encapsulation),
                "goto downlink",
            ),
        ),
        Chain(
            "postrouting",
            (
                *fragments.outer_packet_rules(view.encapsulation),
                f"ip6 saddr set {view.address}",
            ),
            "type filter hook postrouting priority mangle;",
        ),
    )


def _outer_rules(encapsulation: Encapsulation) -> tuple[str, ...]:
    """Send an outer packet by the primary care-of address of the mobile router in front."""
    is_outer, kept = has_mark(marks.OUTER), marks.OUTER | marks.BICAST
    if encapsulation is Encapsulation.SEG6:
        return (f"{is_outer} {set_mark(kept, marks.ENCAP)} accept",)
    # ip6tnl has found the outer packet's route already: a changed mark has it routed again. No
    # binding has the slot of all ones
    no_slot = f"meta mark & {marks.SLOT_MASK:#010x} == {marks.SLOT_MASK:#010x}"
    return (
        f"{is_outer} {no_slot} {set_mark(kept, marks.ENCAP)} accept",
        f"{is_outer} {set_mark(kept, marks.ENCAP | marks.SLOT_MASK)} accept",
    )
