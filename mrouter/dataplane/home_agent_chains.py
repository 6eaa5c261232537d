"""The home agent's nft tables: which tunnelled packets it takes, and by which it sends."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from mrouter.dataplane import fragments, marks
from mrouter.dataplane.echo_answers import EchoAnswers
from mrouter.dataplane.family import Family
from mrouter.dataplane.flow_choice import make_flow_choice
from mrouter.dataplane.fragments import has_mark, set_mark
from mrouter.dataplane.ipv4_sizes import STRAY_RULE, make_size_chain, make_size_rule
from mrouter.dataplane.nft import Chain, NftSet, NftTable
from mrouter.dataplane.path_mtu import SYN, NarrowTunnels, group_networks
from mrouter.dataplane.state import Encapsulation, IPv4Exit
from mrouter.dataplane.way_back import (
    make_arrival_chains,
    make_downlink_chains,
    make_uplink_chains,
    map_slots,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrouter.dataplane.home_agent import HomeAgentView
    from mrouter.dataplane.home_bindings import BindingPieces, Pieces
    from mrouter.policy.model import Network

#: How long after its last packet a slot still gets its copy of a bicast flow's downlink.
_MEMBER_TIMEOUT = "30s"

#: What comes from no care-of address may be of a mobile router whose bindings are forgotten: so
#: much of it reaches the agent, which limits its answers further.
_REPORTS_A_SECOND = 100

#: No binding's.
NO_SLOT = 0

#: Where the inner source address stands behind the outer header, in bits.
_INNER_SOURCE = {Family.IPV6: 320 + 64, Family.IPV4: 320 + 96}
#: The hook's priority: IPv4 comes back to what the exit has translated its source to, and has its
#: own destination again when connection tracking has looked at it (-100).
_PRIORITY = {Family.IPV6: "mangle", Family.IPV4: "-90"}


@lru_cache(maxsize=4)
def _mobile_set(served: tuple[Network, ...], family: Family) -> NftSet:
    return fragments.network_set("mobile", served, family)


def make_table(view: HomeAgentView, pieces: BindingPieces, ipv4: BindingPieces) -> NftTable:
    """Return the table of IPv6, which the tunnels of IPv4 pass as well."""
    sources = _make_source_maps(pieces.all, Family.IPV6)
    ipv4_sources = _make_source_maps(ipv4.all, Family.IPV4)
    answers = EchoAnswers(view.encapsulation, pieces.slots)
    narrow = _find_narrow_tunnels(view, pieces)
    flow_sets: tuple[NftSet, ...] = ()
    flow_chains: tuple[Chain, ...] = ()
    if view.flows:
        flow_sets, flow_chains = make_flow_choice(view.flows, view.bindings, pieces.slots)
    return NftTable(
        (
            *fragments.BASE_COUNTERS,
            *(f"uplink-{slot}" for slot in pieces.slots),
            *(f"downlink-{slot}" for slot in pieces.slots),
        ),
        (
            _mobile_set(view.served, Family.IPV6),
            NftSet(
                "care_of",
                "type ipv6_addr;",
                "set",
                {str(each.care_of_address): "" for each in pieces.all},
            ),
            *sources,
            *ipv4_sources,
            *narrow.make_sets(),
            *_make_slot_sets(pieces.slots, Family.IPV6),
            *flow_sets,
            *answers.sets,
        ),
        (
            *fragments.raw_chains(view.encapsulation, view.families),
            fragments.input_chain(view.encapsulation, answers.delivered),
            *_make_outer_chains(view, sources, ipv4_sources, narrow),
            *make_arrival_chains(pieces.slots),
            *_make_entry_chains(view, pieces.slots, Family.IPV6, answers.rules),
            *answers.chains,
            *narrow.make_chains(),
            *fragments.duplicate_chains(pieces.slots),
            *make_uplink_chains(pieces.slots),
            *make_downlink_chains(pieces.slots, by_flow=bool(view.flows)),
            *flow_chains,
        ),
    )


def make_ipv4_table(view: HomeAgentView, pieces: BindingPieces) -> NftTable:
    """Return the table of IPv4, of packets without their outer headers."""
    slots, family = pieces.slots, Family.IPV4
    return NftTable(
        (*fragments.BASE_COUNTERS, *(f"downlink-{slot}" for slot in slots)),
        (_mobile_set(view.served_ipv4, family), *_make_slot_sets(slots, family)),
        (
            *_make_entry_chains(view, slots, family),
            *fragments.duplicate_chains(slots, family),
            *make_uplink_chains(slots),
            *make_downlink_chains(slots, by_flow=False, family=family),
            make_size_chain(NO_SLOT),
            Chain("forward", (STRAY_RULE,), "type filter hook forward priority filter;"),
            *([_make_translation_chain()] if view.ipv4_exit is IPv4Exit.NAT else []),
        ),
        family,
    )


def _find_narrow_tunnels(view: HomeAgentView, pieces: BindingPieces) -> NarrowTunnels:
    mtus = {path.destination: path.mtu for path in view.narrow}
    if not mtus:
        return NarrowTunnels(view.encapsulation, view.mtu, {})
    tunnels = [(each.slot, each.care_of_address, each.networks) for each in pieces.all]
    # what has no slot goes by the primary care-of address
    tunnels += [(0, each.care_of_address, each.networks) for each in pieces.primary]
    return NarrowTunnels(view.encapsulation, view.mtu, group_networks(tunnels, mtus))


def _make_slot_sets(slots: list[int], family: Family) -> tuple[NftSet, ...]:
    return (
        *fragments.duplicate_sets(slots, family),
        *(
            NftSet(
                f"bicast_{direction.name}_{slot}",
                f"typeof ct id; flags dynamic,timeout; timeout {_MEMBER_TIMEOUT}; size 65536;",
            )
            for slot in slots
            for direction in (marks.ORIGINAL, marks.REPLY)
        ),
    )


def _make_translation_chain() -> Chain:
    """Give what leaves by no tunnel a source address of ours."""
    out = f"ip saddr @mobile meta mark & {marks.ENCAP:#010x} == 0 masquerade"
    return Chain("translation", (out,), "type nat hook postrouting priority srcnat;")


def _make_source_maps(bindings: Iterable[Pieces], family: Family) -> tuple[NftSet, ...]:
    """Map (care-of address, inner source prefix) to the binding's slot, a map a prefix length.

    The inner source is read at its place behind the outer header, in whole octets as nft can: a
    prefix that ends within an octet is cut into those that do not. RFC 3963 §6.1.2 and RFC 6275
    §10.4.5: the home agent must see that the inner source is one that this mobile router may use.
    """
    name = "sources" if family is Family.IPV6 else "sources_ipv4"
    maps: dict[int, dict[str, str]] = {}
    for pieces in bindings:
        for length, key, verdict in pieces.sources:
            maps.setdefault(length, {})[key] = verdict
    return tuple(
        NftSet(
            f"{name}_{length}",
            f"typeof ip6 saddr . @nh,{_INNER_SOURCE[family]},{length} : verdict;",
            "map",
            elements,
        )
        for length, elements in sorted(maps.items())
    )


def _look_up_source(sources: Iterable[NftSet], family: Family, *stranger: str) -> tuple[str, ...]:
    """Return the rules that ask the maps, and drop what is in none.

    ``stranger`` are rules for what comes from no care-of address.
    """
    return (
        *(
            f"ip6 saddr . @nh,{_INNER_SOURCE[family]},{item.name.rpartition('_')[2]} "
            f"vmap @{item.name}"
            for item in sources
        ),
        "ip6 saddr @care_of counter name inner_rejected drop",
        *stranger,
        "counter name outer_rejected drop",
    )


def _make_outer_chains(
    view: HomeAgentView,
    sources: Iterable[NftSet],
    ipv4_sources: Iterable[NftSet],
    narrow: NarrowTunnels,
) -> Iterable[Chain]:
    """Yield the chains of outer packets, from the check of their sources to decapsulation."""
    carried = fragments.list_next_headers(view.families)
    carries_ipv4 = Family.IPV4 in view.families
    yield Chain(
        "outer",
        (
            f"ip6 nexthdr != {carried} counter name outer_rejected drop",
            *(["ip6 nexthdr 4 goto outer_ipv4"] if carries_ipv4 else []),
            *_look_up_source(sources, Family.IPV6, fragments.report(_REPORTS_A_SECOND)),
        ),
    )
    if carries_ipv4:
        yield Chain("outer_ipv4", _look_up_source(ipv4_sources, Family.IPV4))
    yield Chain(
        "decap",
        (
            fragments.bicast_label_rule(),
            *fragments.decapsulation_rules(view.encapsulation, view.local_addresses, view.families),
            "accept",
        ),
    )
    yield from fragments.make_tunnel_chains(
        view.encapsulation,
        narrow.enter_rules(),
        (f"ip6 saddr set {view.address}",),
        families=view.families,
    )


def _make_entry_chains(
    view: HomeAgentView, slots: list[int], family: Family, answer_rules: tuple[str, ...] = ()
) -> tuple[Chain, ...]:
    by_slot = f"meta mark & {marks.SLOT_MASK:#010x} vmap"
    destination = f"{family.word} daddr"
    outer = f"{fragments.match_tunnelled(view.families)} ip6 daddr {view.address} goto outer"
    is_ipv6 = family is Family.IPV6
    downlink = "downlink" if is_ipv6 else "down"
    return (
        Chain(
            "prerouting",
            (
                *fragments.tunnel_guard_rules(view.encapsulation),
                *([outer] if is_ipv6 else []),
                f"{has_mark(marks.DECAP)} jump inner",
                f"{destination} @mobile goto {downlink}",
            ),
            f"type filter hook prerouting priority {_PRIORITY[family]};",
        ),
        Chain(
            "inner",
            (
                *([f"{SYN} jump clamp_up"] if is_ipv6 else []),
                *([f"{by_slot} {map_slots(slots, 'jump inner')}"] if slots else []),
                set_mark(0, 0),
            ),
        ),
        Chain(
            "output",
            (fragments.route_copy_rule(), f"{destination} @mobile goto out"),
            "type route hook output priority mangle;",
        ),
        # an outer packet passes here, too: if it is for a mobile router behind a mobile router
        # its way is that one's primary care-of address, and it stays an outer packet
        Chain(
            "out",
            (
                *(_outer_rules(view.encapsulation) if is_ipv6 else ()),
                *answer_rules,
                f"goto {downlink}",
            ),
        ),
        *([] if is_ipv6 else _make_ipv4_chains(view)),
    )


def _make_ipv4_chains(view: HomeAgentView) -> tuple[Chain, ...]:
    return (
        Chain("down", (make_size_rule(view.mtu, NO_SLOT), "goto downlink")),
        fragments.ipv4_postrouting_chain(),
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
