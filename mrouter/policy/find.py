"""Find the policy that a flow falls under, by plain reading of the file from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrouter.policy.domains import matches_domain
from mrouter.policy.prefix_sets import contains

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mrouter.policy.model import (
        Address,
        Match,
        Network,
        Policy,
        PolicyTable,
        PortRange,
        PrefixSet,
        SizeRange,
        WeekSpan,
    )


@dataclass(frozen=True, slots=True)
class Flow:
    """A packet as it leaves the vehicle: source is on board, destination is far.

    ``protocol`` is a next header number, ``dscp`` 0 to 63, ``ingress`` the interface it came
    in by. Ports are None where the protocol has none, or where a fragment does not show them,
    ``icmpv6_type`` and ``source_mac`` (as in "02:00:00:00:00:01") where there is none.
    ``time`` is the minute of the week, in the zone of the policies' times; None is no time at all.
    ``packet_size`` is in octets, its IP header included, ``flow_size`` what its flow has carried
    in both directions, this packet too; None is a flow that has only just begun.
    ``destination_domain`` is the name whose address the destination is, in lower case.
    """

    protocol: int
    source: Address
    destination: Address
    source_port: int | None = None
    destination_port: int | None = None
    dscp: int = 0
    ingress: str = ""
    icmpv6_type: int | None = None
    source_mac: str | None = None
    time: int | None = None
    packet_size: int | None = None
    flow_size: int | None = None
    destination_domain: str | None = None


def find_policy(table: PolicyTable, flow: Flow) -> Policy:
    """Return the first policy that ``flow`` matches; the table's last one matches everything."""
    return next(policy for policy in table.policies if matches(policy.match, flow))


def matches(match: Match, flow: Flow) -> bool:
    """Say whether ``flow`` meets every condition of ``match``."""
    return all(_test_fields(match, flow)) and not (
        match.none_of is not None and any(_test_fields(match.none_of, flow))
    )


def _test_fields(match: Match, flow: Flow) -> Iterator[bool]:
    """Say of each field that ``match`` fills whether ``flow`` meets it."""
    if match.protocols:
        yield flow.protocol in match.protocols
    if match.source_ports:
        yield _number_matches(match.source_ports, flow.source_port)
    if match.destination_ports:
        yield _number_matches(match.destination_ports, flow.destination_port)
    if match.source_prefixes or match.source_sets:
        yield _address_matches(match.source_prefixes, match.source_sets, flow.source)
    if match.destination_prefixes or match.destination_sets:
        yield _address_matches(match.destination_prefixes, match.destination_sets, flow.destination)
    if match.dscp:
        yield flow.dscp in match.dscp
    if match.ingress:
        yield flow.ingress in match.ingress
    if match.icmpv6_types:
        yield flow.icmpv6_type in match.icmpv6_types
    if match.source_macs:
        yield flow.source_mac in match.source_macs
    yield from _test_circumstances(match, flow)


def _test_circumstances(match: Match, flow: Flow) -> Iterator[bool]:
    """Say the same of what is not in a header."""
    if match.times:
        yield contains_minute(match.times, flow.time)
    if match.packet_sizes:
        yield _number_matches(match.packet_sizes, flow.packet_size)
    if match.flow_sizes:
        yield _number_matches(match.flow_sizes, flow.flow_size or 0)
    if match.destination_domains:
        name = flow.destination_domain or ""
        yield any(matches_domain(domain, name) for domain in match.destination_domains)


def contains_minute(spans: tuple[WeekSpan, ...], minute: int | None) -> bool:
    """Say whether ``minute`` of the week lies in one of ``spans``."""
    return minute is not None and any(span.first <= minute <= span.last for span in spans)


def _number_matches(
    ranges: tuple[PortRange, ...] | tuple[SizeRange, ...], number: int | None
) -> bool:
    return number is not None and any(each.first <= number <= each.last for each in ranges)


def _address_matches(
    prefixes: tuple[Network, ...], sets: tuple[PrefixSet, ...], address: Address
) -> bool:
    return any(address in prefix for prefix in prefixes) or any(
        contains(prefix_set, address) for prefix_set in sets
    )
