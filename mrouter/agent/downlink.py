"""The policy file as the home agent is asked to obey it, for what is sent to the vehicle."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Network
from itertools import islice, product
from typing import TYPE_CHECKING, TypeVar

from mrouter.policy.families import restrict_match
from mrouter.policy.model import Bicast, Drop
from mrouter.policy.ranges import join_ranges
from mrouter.protocol.flow_bindings import MAX_FLOW_BINDINGS, WantedFlow
from mrouter.wire.traffic_selectors import TrafficSelector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mrouter.policy.model import Match, Network, Policy, PolicyTable, PortRange, PrefixSet
    from mrouter.protocol.flow_bindings import FlowState
    from mrouter.wire.traffic_selectors import AddressRange, Range

T = TypeVar("T")

#: Of the sets of one end of a policy, all together.
_MOST_SET_PREFIXES = 8


@dataclass(frozen=True, slots=True)
class DownlinkFlow:
    """One of the flows that a policy comes to."""

    policy: str
    wanted: WantedFlow


def compile_downlink(table: PolicyTable) -> tuple[DownlinkFlow, ...]:
    """Turn the policies round: what is their destination is now the packet's source.

    A policy with lists becomes one flow for each combination, since a traffic selector holds one
    range of each kind (RFC 6088 §3.2). What asks which interface or device a packet came in from,
    for an ICMPv6 type, a size, a domain or for what it is not, or drops, has no counterpart there,
    nor have IPv4 and a large set of prefixes: what such a policy matches obeys those after it. So
    does what is past the most that a home agent takes. What the vehicle shares by weight comes by
    the link of the greatest weight: a flow binding names links in order, without weights.
    """
    return tuple(islice(_list_flows(table), MAX_FLOW_BINDINGS))


def describe_downlink(
    table: PolicyTable, flows: Sequence[DownlinkFlow], states: Sequence[FlowState]
) -> dict[str, str]:
    """Say of each policy where it stands at the home agent.

    ``states`` are those of ``flows``, none of them while there is no home agent. A policy is as its
    worst flow is: "accepted" only if all are; "not-expressible" or "too-many" if it has none.
    """
    described = {
        policy.name: "too-many" if _is_expressible(policy) else "not-expressible"
        for policy in table.policies
    }
    for index, flow in enumerate(flows):
        name = states[index].name if index < len(states) else "no-link"
        if described[flow.policy] in ("too-many", "accepted"):
            described[flow.policy] = name
    return described


def _is_expressible(policy: Policy) -> bool:
    match = restrict_match(policy.match, 6)
    return match is not None and not (
        match.ingress
        or match.source_macs
        or match.icmpv6_types
        or match.packet_sizes
        or match.flow_sizes
        or match.destination_domains
        or match.none_of is not None
        or isinstance(policy.action, Drop)
        # it would leave no room for the policies after it
        or _count_prefixes(match.source_sets) > _MOST_SET_PREFIXES
        or _count_prefixes(match.destination_sets) > _MOST_SET_PREFIXES
    )


def _count_prefixes(sets: Iterable[PrefixSet]) -> int:
    return sum(len(_list_ipv6((), (prefix_set,))) for prefix_set in sets)


def _list_flows(table: PolicyTable) -> Iterator[DownlinkFlow]:
    for policy in table.policies:
        action = policy.action
        if isinstance(action, Drop) or not _is_expressible(policy):
            continue
        copies = action.copies if isinstance(action, Bicast) else 1
        for selector in _turn_round(policy.match):
            yield DownlinkFlow(policy.name, WantedFlow(selector, action.links, copies))


def _turn_round(match: Match) -> Iterator[TrafficSelector]:
    for protocol, here, there, ours, theirs, traffic_class in product(
        _or_any(_join_numbers(match.protocols)),
        _or_any(_join_ports(match.source_ports)),
        _or_any(_join_ports(match.destination_ports)),
        _or_any(_list_spans(match.source_prefixes, match.source_sets)),
        _or_any(_list_spans(match.destination_prefixes, match.destination_sets)),
        # the two lowest bits of a traffic class are not the DSCP's
        _or_any([(4 * first, 4 * last + 3) for first, last in _join_numbers(match.dscp)]),
    ):
        yield TrafficSelector(
            source=theirs,
            destination=ours,
            source_ports=there,
            destination_ports=here,
            traffic_class=traffic_class,
            next_header=protocol,
        )


def _or_any(choices: Sequence[T]) -> Sequence[T | None]:
    return choices or (None,)


def _list_spans(prefixes: tuple[Network, ...], sets: Iterable[PrefixSet]) -> list[AddressRange]:
    every = _list_ipv6(prefixes, sets)
    return [(prefix.network_address, prefix.broadcast_address) for prefix in every]


def _list_ipv6(prefixes: Iterable[Network], sets: Iterable[PrefixSet]) -> list[IPv6Network]:
    every = (*prefixes, *(prefix for prefix_set in sets for prefix in prefix_set.prefixes))
    return [prefix for prefix in every if isinstance(prefix, IPv6Network)]


def _join_numbers(numbers: Iterable[int]) -> Sequence[Range]:
    return join_ranges((number, number) for number in numbers)


def _join_ports(ports: Iterable[PortRange]) -> Sequence[Range]:
    return join_ranges((each.first, each.last) for each in ports)
