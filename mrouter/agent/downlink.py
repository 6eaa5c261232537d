"""The policy file as the home agent is asked to obey it, for what is sent to the vehicle."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING, TypeVar

from mrouter.policy.model import Bicast, Drop
from mrouter.protocol.flow_bindings import MAX_FLOW_BINDINGS, WantedFlow
from mrouter.wire.traffic_selectors import TrafficSelector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from ipaddress import IPv6Network

    from mrouter.policy.model import Match, Policy, PolicyTable, PortRange
    from mrouter.protocol.flow_bindings import FlowState
    from mrouter.wire.traffic_selectors import AddressRange, Range

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DownlinkFlow:
    """One of the flows that a policy comes to."""

    policy: str
    wanted: WantedFlow


def compile_downlink(table: PolicyTable) -> tuple[DownlinkFlow, ...]:
    """Turn the policies round: what is their destination is now the packet's source.

    A policy with lists becomes one flow for each combination, since a traffic selector holds one
    range of each kind (RFC 6088 §3.2). A policy that asks which interface a packet came in by, or
    that drops, has no counterpart there: what it matches obeys the policies after it. So do those
    past the most that a home agent takes.
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
    return not policy.match.ingress and not isinstance(policy.action, Drop)


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
        _or_any([_span(prefix) for prefix in match.source_prefixes]),
        _or_any([_span(prefix) for prefix in match.destination_prefixes]),
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


def _span(prefix: IPv6Network) -> AddressRange:
    return prefix.network_address, prefix.broadcast_address


def _join_numbers(numbers: Iterable[int]) -> list[Range]:
    return _join([(number, number) for number in numbers])


def _join_ports(ports: Iterable[PortRange]) -> list[Range]:
    return _join([(each.first, each.last) for each in ports])


def _join(ranges: Iterable[Range]) -> list[Range]:
    """Join ranges that touch or overlap."""
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return joined
