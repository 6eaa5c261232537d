"""The home agent's desired kernel state, from its Binding Cache."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import fragments, marks
from mrouter.dataplane.fragments import has_mark, set_connection_mark, set_mark
from mrouter.dataplane.nft import Chain, NftSet, NftTable
from mrouter.dataplane.state import (
    DataplaneState,
    Encapsulation,
    Ip6Encapsulation,
    Route,
    RouteKind,
    Rule,
    Seg6Encapsulation,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrouter.dataplane.marks import FlowDirection
    from mrouter.protocol.bindings import CacheEntry

#: How long after its last packet a slot still gets its copy of a bicast flow's downlink.
_MEMBER_TIMEOUT = "30s"


@dataclass(frozen=True, slots=True)
class HomeAgentView:
    """All that the home agent's kernel state is made from.

    ``served`` are the home addresses and prefixes of every mobile router, registered or not: what
    is for them never leaves in the clear. ``device`` is the way to the Internet (formal: an
    encapsulating route must name a device; the outer packet is routed again).
    """

    encapsulation: Encapsulation
    address: IPv6Address
    local_addresses: tuple[IPv6Address, ...]
    device: str
    served: tuple[IPv6Network, ...]
    bindings: tuple[CacheEntry, ...]


def build_home_agent(view: HomeAgentView) -> DataplaneState:
    """Build the whole kernel state that ``view`` asks for; pure."""
    routes, rules = _build_routing(view)
    return DataplaneState(
        table=_build_table(view),
        routes=routes,
        rules=rules,
        tunnel_device=view.encapsulation is Encapsulation.IP6TNL,
    )


def _networks(binding: CacheEntry) -> tuple[IPv6Network, ...]:
    return (IPv6Network(binding.home_address), *binding.prefixes)


def _choose_primary(bindings: Iterable[CacheEntry]) -> dict[IPv6Address, CacheEntry]:
    """Return each home address's binding with the best priority: lower is better (draft §3)."""
    primary: dict[IPv6Address, CacheEntry] = {}
    for binding in bindings:
        best = primary.get(binding.home_address)
        if best is None or (binding.ifpri, binding.slot) < (best.ifpri, best.slot):
            primary[binding.home_address] = binding
    return primary


def _build_routing(view: HomeAgentView) -> tuple[frozenset[Route], frozenset[Rule]]:
    def tunnel(table: int, network: IPv6Network, binding: CacheEntry) -> Route:
        if view.encapsulation is Encapsulation.SEG6:
            seg6 = Seg6Encapsulation(binding.care_of_address)
            return Route(table, network, view.device, tunnel=seg6)
        ip6 = Ip6Encapsulation(view.address, binding.care_of_address)
        return Route(table, network, fragments.TUNNEL_DEVICE, tunnel=ip6)

    routes = set(fragments.decapsulation_routes(view.encapsulation, view.device))
    primary = {
        network: binding
        for binding in _choose_primary(view.bindings).values()
        for network in _networks(binding)
    }
    for binding in view.bindings:
        table = marks.slot_table(binding.slot)
        routes.update(tunnel(table, network, binding) for network in _networks(binding))
    routes.update(
        tunnel(marks.PRIMARY_TABLE, network, binding) for network, binding in primary.items()
    )
    # never leak: what is for a mobile router that is away and unreachable goes nowhere
    routes.update(
        Route(marks.PRIMARY_TABLE, network, kind=RouteKind.UNREACHABLE)
        for network in view.served
        if network not in primary
    )
    routes.update(
        Route(marks.STRICT_TABLE, network, kind=RouteKind.BLACKHOLE)
        for network in {*view.served, *primary}
    )
    rules = {
        *fragments.decapsulation_rule_set(view.encapsulation),
        Rule(marks.STRICT_TABLE, marks.STRICT, marks.STRICT),
        Rule(marks.PRIMARY_TABLE, marks.ENCAP, marks.ENCAP),
        # what the home agent itself sends is looked up once before the output hook can mark it
        Rule(marks.PRIMARY_TABLE, input_interface="lo"),
    }
    for slot in _slots(view):
        bits = marks.ENCAP | marks.mark_slot(slot)
        rules.add(Rule(marks.slot_table(slot), bits, marks.ENCAP | marks.SLOT_MASK))
    return frozenset(routes), frozenset(rules)


def _slots(view: HomeAgentView) -> list[int]:
    return sorted({binding.slot for binding in view.bindings})


def _build_table(view: HomeAgentView) -> NftTable:
    slots = _slots(view)
    mobile = {*view.served, *(n for binding in view.bindings for n in _networks(binding))}
    sources = _source_maps(view.bindings)
    sets = (
        fragments.network_set("mobile", mobile),
        NftSet(
            "care_of",
            "type ipv6_addr;",
            "set",
            {str(binding.care_of_address): "" for binding in view.bindings},
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
        *_uplink_chains(slots),
        *_downlink_chains(slots),
    )
    return NftTable(counters, sets, chains)


def _source_maps(bindings: Iterable[CacheEntry]) -> tuple[NftSet, ...]:
    """Map (care-of address, inner source prefix) to the binding's slot, a map a prefix length.

    The inner source is read at its place behind the outer header, in whole octets as nft can: a
    prefix that ends within an octet is cut into those that do not. RFC 3963 §6.1.2 and RFC 6275
    §10.4.5: the home agent must see that the inner source is one that this mobile router may use.
    """
    maps: dict[int, dict[str, str]] = {}
    for binding in bindings:
        for network in _networks(binding):
            length = (network.prefixlen + 7) // 8 * 8
            first = int(network.network_address) >> (128 - length)
            for prefix in range(first, first + (1 << (length - network.prefixlen))):
                key = f"{binding.care_of_address} . {prefix:#x}"
                maps.setdefault(length, {})[key] = f"goto from_{binding.slot}"
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
                *([f"{by_slot} {_slot_map(slots, 'jump inner')}"] if slots else []),
                set_mark(0, 0),
            ),
        ),
        Chain(
            "output",
            (fragments.route_copy_rule(), "ip6 daddr @mobile jump downlink"),
            "type route hook output priority mangle;",
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


def _slot_map(slots: Iterable[int], verdict: str, shift: FlowDirection | None = None) -> str:
    def place(slot: int) -> int:
        return marks.mark_slot(slot) if shift is None else shift.mark_slot(slot)

    return "{ " + ", ".join(f"{place(slot):#010x} : {verdict}_{slot}" for slot in slots) + " }"


def _uplink_chains(slots: list[int]) -> Iterable[Chain]:
    """Learn the way back: the slot that a packet came by goes into the connection mark.

    Each direction of a flow has a field of its own, since both ends may be mobile routers.
    """
    for slot in slots:
        yield Chain(
            f"from_{slot}",
            (
                set_mark(0, marks.DECAP | marks.mark_slot(slot)),
                f"counter name uplink-{slot}",
                "goto decap",
            ),
        )
        yield Chain(
            f"inner_{slot}",
            (
                f"{has_mark(marks.BICAST)} goto inner_bicast_{slot}",
                f"ct direction original goto learn_original_{slot}",
                f"ct direction reply goto learn_reply_{slot}",
            ),
        )
        yield Chain(
            f"inner_bicast_{slot}",
            (
                *(
                    f"ct direction {way.name} update @bicast_{way.name}_{slot} {{ ct id }}"
                    for way in (marks.ORIGINAL, marks.REPLY)
                ),
                f"jump unseen_{slot}",
                f"ct direction original goto learn_bicast_original_{slot}",
                f"ct direction reply goto learn_bicast_reply_{slot}",
            ),
        )
        for way in (marks.ORIGINAL, marks.REPLY):
            field = way.slot_mask | way.bicast
            for name, value in (
                (f"learn_{way.name}_{slot}", way.mark_slot(slot)),
                (f"learn_bicast_{way.name}_{slot}", way.mark_slot(slot) | way.bicast),
            ):
                yield Chain(
                    name,
                    (
                        f"ct mark & {field:#010x} == {value:#010x} return",
                        set_connection_mark(field, value),
                    ),
                )


def _downlink_chains(slots: list[int]) -> Iterable[Chain]:
    """Send a flow back by the slot that its other direction came by.

    Where it came by none, or by one that has gone, the mark's slot finds no route and the primary
    care-of address's table takes it (draft §8.1: choose by priority).
    """
    ways = ((marks.ORIGINAL, marks.REPLY), (marks.REPLY, marks.ORIGINAL))
    yield Chain(
        "downlink",
        (
            f"{fragments.UNSTEERED_ICMPV6} return",
            set_mark(0, marks.ENCAP),
            *(
                f"ct direction {here.name} ct mark & {back.bicast:#010x} != 0 "
                f"goto downlink_bicast_{here.name}"
                for here, back in ways
            ),
            *(
                f"ct direction {here.name} ct mark & {back.slot_mask:#010x} vmap "
                f"{_slot_map(slots, 'goto to', back)}"
                for here, back in ways
                if slots
            ),
        ),
    )
    for here, back in ways:
        yield Chain(
            f"downlink_bicast_{here.name}",
            (
                *(
                    f"ct mark & {back.slot_mask:#010x} != {back.mark_slot(slot):#010x} "
                    f"ct id @bicast_{back.name}_{slot} jump copy_{slot}"
                    for slot in slots
                ),
                *(
                    [f"ct mark & {back.slot_mask:#010x} vmap {_slot_map(slots, 'goto last', back)}"]
                    if slots
                    else []
                ),
            ),
        )
    for slot in slots:
        yield Chain(
            f"to_{slot}",
            (
                set_mark(0, marks.ENCAP | marks.mark_slot(slot)),
                f"counter name downlink-{slot}",
            ),
        )
        yield Chain(f"copy_{slot}", (*fragments.copy_rules(slot), f"counter name downlink-{slot}"))
        # STRICT stays set if a copy was made: should this slot be gone, the others carry the flow
        yield Chain(
            f"last_{slot}",
            (
                set_mark(marks.STRICT, marks.ENCAP | marks.BICAST | marks.mark_slot(slot)),
                f"counter name downlink-{slot}",
            ),
        )
