"""Policies to nftables: which policy a flow's first packet meets.

Runs of neighbouring policies that look at protocol and destination port alone become one hash
map of single ports and one interval map of ranges, flattened so that no two keys overlap and the
first match stays the first match. Every other policy is a rule, in its place in the file, or some
rules with the same verdict. The sets of addresses that a policy file names are shared by all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from itertools import product
from typing import TYPE_CHECKING

from mrouter.dataplane import marks
from mrouter.dataplane.family import Family
from mrouter.dataplane.flow_sizes import make_verdict_chain
from mrouter.dataplane.name_sets import name_set_of
from mrouter.dataplane.nft import Chain, NftSet
from mrouter.policy.families import restrict_match
from mrouter.policy.model import (
    Match,
    Network,
    Policy,
    PolicyTable,
    PortRange,
    PrefixSet,
    SizeRange,
    show_address,
)
from mrouter.policy.prefix_sets import list_spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mrouter.dataplane.flow_sizes import SizeSteps

#: As octets: by name, nft refuses it beside whatever else a policy says of the protocol.
_ICMPV6_TYPE = "meta l4proto 58 @th,0,8"
#: Where a packet has not what is looked at, no comparison holds, nor does "!=": what else says so.
_WITHOUT = {
    _ICMPV6_TYPE: ("meta l4proto != 58",),
    # by another kind of interface, or by none: the router's own packets
    "ether saddr": ("meta iiftype != ether", "meta iif 0"),
}


@dataclass(frozen=True, slots=True)
class Classification:
    """``chains`` hold one named "classify" that leaves a policy's number in the connection mark."""

    chains: tuple[Chain, ...]
    sets: tuple[NftSet, ...]


def number_policies(table: PolicyTable) -> dict[str, int]:
    """Give every policy a number that lasts as long as nothing before it in the file changes.

    Connection marks outlive a reload and a restart: a flow keeps its verdict exactly if its
    policy and all that could have matched before it are unchanged; the number is drawn from a
    digest of just these, so no state is kept. All other flows are classified again.
    """
    numbers: dict[str, int] = {}
    taken: set[int] = set()
    digest = hashlib.sha256()
    for policy in table.policies:
        digest.update(repr((policy.name, policy.match, policy.action)).encode())
        number = int.from_bytes(digest.digest()[:4], "big") % marks.MAX_POLICY_NUMBER + 1
        while number in taken:
            number = number % marks.MAX_POLICY_NUMBER + 1
        taken.add(number)
        numbers[policy.name] = number
    return numbers


def compile_classification(
    table: PolicyTable,
    numbers: dict[str, int],
    family: Family = Family.IPV6,
    steps: Mapping[int, SizeSteps] | None = None,
) -> Classification:
    """Compile what ``table`` asks of one family's packets to chains and maps.

    ``numbers`` are the policies' connection marks, ``steps`` those of `find_size_steps`. ``table``
    has no times: it holds just the policies that are active.
    """
    rules: list[str] = []
    sets: list[NftSet] = []
    run: list[Policy] = []

    def flush_run() -> None:
        if run:
            new_sets, new_rules = _compile_ports(run, numbers, f"ports_{len(sets)}")
            sets.extend(new_sets)
            rules.extend(new_rules)
            run.clear()

    policies = _restrict(table, family)
    for policy in policies:
        if _is_port_match(policy.match):
            run.append(policy)
        else:
            flush_run()
            verdict = f"goto {_chain_name(numbers[policy.name])}"
            rules += [f"{tests} {verdict}".strip() for tests in _render_rules(policy.match, family)]
    flush_run()
    verdicts = []
    for number in (numbers[policy.name] for policy in policies):
        mine = steps.get(number) if steps else None
        verdicts.append(make_verdict_chain(_chain_name(number), number, mine))
    sets += _make_sets(_find_sets(policies), family)
    return Classification((*verdicts, Chain("classify", tuple(rules))), tuple(sets))


def _restrict(table: PolicyTable, family: Family) -> list[Policy]:
    """Return the policies that take packets of ``family``, with what they ask of these."""
    restricted = []
    for policy in table.policies:
        match = restrict_match(policy.match, family.value)
        if match is not None:
            restricted.append(policy if match is policy.match else replace(policy, match=match))
    return restricted


def _chain_name(number: int) -> str:
    return f"policy_{number}"


def _is_port_match(match: Match) -> bool:
    ports = Match(protocols=match.protocols, destination_ports=match.destination_ports)
    return bool(match.protocols and match.destination_ports) and match == ports


def _compile_ports(
    run: Sequence[Policy], numbers: dict[str, int], name: str
) -> tuple[list[NftSet], list[str]]:
    wanted: dict[int, list[tuple[PortRange, int]]] = {}
    for policy in run:
        for protocol in policy.match.protocols:
            claims = wanted.setdefault(protocol, [])
            claims += [(ports, numbers[policy.name]) for ports in policy.match.destination_ports]
    exact: dict[str, str] = {}
    ranges: dict[str, str] = {}
    for protocol, claims in wanted.items():
        for ports, number in flatten_ranges(claims):
            verdict = f"goto {_chain_name(number)}"
            if ports.first == ports.last:
                exact[f"{protocol} . {ports.first}"] = verdict
            else:
                ranges[f"{protocol} . {ports.first}-{ports.last}"] = verdict
    sets: list[NftSet] = []
    rules: list[str] = []
    for suffix, flags, elements in (("exact", "", exact), ("ranges", " flags interval;", ranges)):
        if elements:
            declaration = f"type inet_proto . inet_service : verdict;{flags}"
            sets.append(NftSet(f"{name}_{suffix}", declaration, "map", elements))
            rules.append(f"meta l4proto . th dport vmap @{name}_{suffix}")
    return sets, rules


def flatten_ranges(claims: Iterable[tuple[PortRange, int]]) -> list[tuple[PortRange, int]]:
    """Cut overlapping port ranges into disjoint ones; where they overlap the first claim wins.

    Neighbours with the same claim are joined. O(n log n + cuts).
    """
    edges: dict[int, tuple[list[int], list[int]]] = {}
    owners: list[int] = []
    for index, (ports, number) in enumerate(claims):
        owners.append(number)
        edges.setdefault(ports.first, ([], []))[0].append(index)
        edges.setdefault(ports.last + 1, ([], []))[1].append(index)
    flat: list[tuple[PortRange, int]] = []
    active: set[int] = set()
    points = sorted(edges)
    for position, point in enumerate(points):
        opened, closed = edges[point]
        active.difference_update(closed)
        active.update(opened)
        if not active:
            continue
        piece = PortRange(point, points[position + 1] - 1)
        number = owners[min(active)]
        if flat and flat[-1][1] == number and flat[-1][0].last + 1 == piece.first:
            flat[-1] = (PortRange(flat[-1][0].first, piece.last), number)
        else:
            flat.append((piece, number))
    return flat


def _render_rules(match: Match, family: Family) -> Iterator[str]:
    """Yield what stands before the verdict in each of the rules that ``match`` comes to.

    A look-up asks one set alone: of several, each has a rule of its own.
    """
    choices = [
        [f"{selector} {values}" for values in alternatives]
        for selector, alternatives in _list_tests(match, family)
    ]
    for selector, alternatives in _list_tests(match.none_of or Match(), family):
        none = " ".join(f"{selector} != {values}" for values in alternatives)
        choices.append([none, *_WITHOUT.get(selector, ())])
    for tests in product(*choices):
        yield " ".join(tests)


def _list_tests(match: Match, family: Family) -> Iterator[tuple[str, list[str]]]:
    """Yield what each field looks at, and the sets of values that it takes, the quickest first.

    Ports stand only beside protocols that have them, so every packet that comes to be asked for
    one has it.
    """
    if match.ingress:
        yield "iifname", [_anonymous_set(f'"{name}"' for name in match.ingress)]
    if match.protocols:
        yield "meta l4proto", [_anonymous_set(map(str, match.protocols))]
    if match.icmpv6_types:
        yield _ICMPV6_TYPE, [_anonymous_set(map(str, match.icmpv6_types))]
    if match.source_ports:
        yield "th sport", [_anonymous_set(map(_render_numbers, match.source_ports))]
    if match.destination_ports:
        yield "th dport", [_anonymous_set(map(_render_numbers, match.destination_ports))]
    if match.dscp:
        yield f"{family.word} dscp", [_anonymous_set(map(str, match.dscp))]
    if match.source_macs:
        yield "ether saddr", [_anonymous_set(match.source_macs)]
    yield from _list_size_tests(match)
    yield from _list_address_tests(match, family)


def _list_address_tests(match: Match, family: Family) -> Iterator[tuple[str, list[str]]]:
    if match.source_prefixes or match.source_sets:
        sets = _list_address_sets(match.source_prefixes, match.source_sets, family)
        yield f"{family.word} saddr", list(sets)
    if match.destination_prefixes or match.destination_sets:
        sets = _list_address_sets(match.destination_prefixes, match.destination_sets, family)
        yield f"{family.word} daddr", list(sets)
    if match.destination_domains:
        yield f"{family.word} daddr", [f"@{name_set_of(match.destination_domains, family)}"]


def _list_size_tests(match: Match) -> Iterator[tuple[str, list[str]]]:
    if match.packet_sizes:
        yield "meta length", [_anonymous_set(map(_render_numbers, match.packet_sizes))]
    if match.flow_sizes:
        yield "ct bytes", [_anonymous_set(map(_render_numbers, match.flow_sizes))]


def _list_address_sets(
    prefixes: tuple[Network, ...], sets: tuple[PrefixSet, ...], family: Family
) -> Iterator[str]:
    if prefixes:
        # nft refuses a prefix inside another one of the same set
        yield _anonymous_set(map(str, _collapse(prefixes)))
    yield from (f"@{_name_set(prefix_set, family)}" for prefix_set in sets)


def _collapse(prefixes: tuple[Network, ...]) -> Iterator[Network]:
    yield from collapse_addresses(each for each in prefixes if isinstance(each, IPv4Network))
    yield from collapse_addresses(each for each in prefixes if isinstance(each, IPv6Network))


def _find_sets(policies: Iterable[Policy]) -> tuple[PrefixSet, ...]:
    """Return each set that a policy names, once."""
    found: dict[PrefixSet, None] = {}
    for policy in policies:
        for match in (policy.match, policy.match.none_of):
            if match is not None:
                found.update(dict.fromkeys((*match.source_sets, *match.destination_sets)))
    return tuple(found)


@lru_cache(maxsize=len(Family))
def _make_sets(sets: tuple[PrefixSet, ...], family: Family) -> tuple[NftSet, ...]:
    """Return the nftables' sets; they are made again when they change, not for each event."""
    return tuple(
        NftSet(
            _name_set(prefix_set, family),
            f"type {family.address_type}; flags interval;",
            "set",
            {_render_range(*ends): "" for ends in list_spans(prefix_set, family.value)},
        )
        for prefix_set in sets
    )


def _name_set(prefix_set: PrefixSet, family: Family) -> str:
    return f"set{family.value}_{prefix_set.name}"


def _render_range(first: int, last: int) -> str:
    ends = dict.fromkeys(show_address(end) for end in (first, last))
    return "-".join(ends)


def _render_numbers(numbers: PortRange | SizeRange) -> str:
    first, last = numbers.first, numbers.last
    return str(first) if first == last else f"{first}-{last}"


def _anonymous_set(items: Iterable[str]) -> str:
    return "{ " + ", ".join(items) + " }"
