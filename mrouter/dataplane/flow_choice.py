"""Flow bindings at the home agent as nftables: which bindings a packet goes by (RFC 6089)."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

from mrouter.dataplane import fragments
from mrouter.dataplane.nft import Chain, NftSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv6Address

    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.flow_bindings import FlowBinding
    from mrouter.wire.traffic_selectors import Range, TrafficSelector

    #: What one mobile router has: its slots by IFID, its networks, its flow bindings.
    Router = tuple[dict[int | None, int], set[IPv6Network], list[FlowBinding]]

#: Where a packet for a mobile router is looked up.
FIRST_CHAIN = "by_flow"
_OWNERS = "flow_owners"
#: Protocols whose header begins with two ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
_WITH_PORTS = "meta l4proto { 6, 17, 33, 132, 136 }"


def find_without(slot: int) -> str:
    """Return the name of the set of networks with flow bindings and without ``slot``."""
    return f"flows_without_{slot}"


def make_flow_choice(
    flows: Iterable[FlowBinding], bindings: Iterable[CacheEntry], slots: Iterable[int]
) -> tuple[tuple[NftSet, ...], tuple[Chain, ...]]:
    """Return sets and chains that hand a packet to ``flow_<slot>``, or to copies and a last slot.

    A flow binding goes by those of its bindings that stand; without one it is passed over. A
    packet that none matches comes to the end of its chain.
    """
    routers = _group(flows, bindings)
    owners: dict[str, str] = {}
    chains = [Chain(FIRST_CHAIN, (f"ip6 daddr vmap @{_OWNERS}",))]
    several: dict[tuple[int, ...], None] = {}
    without: dict[int, list[IPv6Network]] = {slot: [] for slot in slots}
    for home_address, (by_ifid, networks, own) in routers.items():
        name = f"flows_{int(home_address):032x}"
        rules = []
        for flow in own:
            chosen = tuple(by_ifid[ifid] for ifid in flow.ifids if ifid in by_ifid)
            if not chosen:
                continue
            if len(chosen) > 1:
                several[chosen] = None
            match = _render_selector(flow.selector)
            rules.append(f"{match} goto {_name_action(chosen)}".strip())
        chains.append(Chain(name, tuple(rules)))
        outermost = fragments.network_set(name, networks).elements
        owners.update(dict.fromkeys(outermost, f"goto {name}"))
        for slot, networks_without in without.items():
            if slot not in by_ifid.values():
                networks_without += networks
    chains += [
        Chain(
            _name_action(chosen),
            (*(f"jump copy_{slot}" for slot in chosen[:-1]), f"goto last_{chosen[-1]}"),
        )
        for chosen in several
    ]
    sets = [NftSet(_OWNERS, "type ipv6_addr : verdict; flags interval;", "map", owners)]
    sets += [fragments.network_set(find_without(slot), each) for slot, each in without.items()]
    return tuple(sets), tuple(chains)


def _group(
    flows: Iterable[FlowBinding], bindings: Iterable[CacheEntry]
) -> Mapping[IPv6Address, Router]:
    routers: dict[IPv6Address, Router] = {}
    for flow in flows:
        routers.setdefault(flow.home_address, ({}, set(), []))[2].append(flow)
    for binding in bindings:
        router = routers.get(binding.home_address)
        if router is not None:
            router[0][binding.ifid] = binding.slot
            router[1].update((IPv6Network(binding.home_address), *binding.prefixes))
    return routers


def _name_action(slots: tuple[int, ...]) -> str:
    if len(slots) == 1:
        return f"flow_{slots[0]}"
    return "copies_" + "_".join(map(str, slots))


@lru_cache(maxsize=1 << 16)
def _render_selector(selector: TrafficSelector) -> str:
    parts = []
    if selector.source is not None:
        parts.append(f"ip6 saddr {_render_range(selector.source)}")
    if selector.destination is not None:
        parts.append(f"ip6 daddr {_render_range(selector.destination)}")
    if selector.traffic_class is not None:
        parts.append(f"@nh,4,8 {_render_range(selector.traffic_class)}")
    if selector.flow_label is not None:
        parts.append(f"@nh,12,20 {_render_range(selector.flow_label)}")
    if selector.next_header is not None:
        parts.append(f"meta l4proto {_render_range(selector.next_header)}")
    if selector.spi is not None:
        parts.append(f"meta l4proto 50 @th,0,32 {_render_range(selector.spi)}")
    if selector.source_ports is not None or selector.destination_ports is not None:
        parts.append(_WITH_PORTS)
    if selector.source_ports is not None:
        parts.append(f"@th,0,16 {_render_range(selector.source_ports)}")
    if selector.destination_ports is not None:
        parts.append(f"@th,16,16 {_render_range(selector.destination_ports)}")
    return " ".join(parts)


def _render_range(both_ends: Range | tuple[IPv6Address, IPv6Address]) -> str:
    first, last = both_ends
    return str(first) if first == last else f"{first}-{last}"
