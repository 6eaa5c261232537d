"""Policies to nftables: which policy a flow's first packet meets.

Runs of neighbouring policies that look at protocol and destination port alone become one hash
map of single ports and one interval map of ranges, flattened so that no two keys overlap and the
first match stays the first match. Every other policy is one rule, in its place in the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from ipaddress import IPv6Network, collapse_addresses
from typing import TYPE_CHECKING

from mrouter.dataplane import marks
from mrouter.dataplane.nft import Chain, NftSet
from mrouter.policy.model import Match, Policy, PolicyTable, PortRange

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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


def compile_classification(table: PolicyTable, numbers: dict[str, int]) -> Classification:
    """Compile ``table`` to chains and maps; ``numbers`` are the policies' connection marks."""
    rules: list[str] = []
    sets: list[NftSet] = []
    run: list[Policy] = []

    def flush_run() -> None:
        if run:
            new_sets, new_rules = _compile_ports(run, numbers, f"ports_{len(sets)}")
            sets.extend(new_sets)
            rules.extend(new_rules)
            run.clear()

    for policy in table.policies:
        if _is_port_match(policy.match):
            run.append(policy)
        else:
            flush_run()
            match = " ".join(_render_match(policy.match))
            rules.append(f"{match} goto {_chain_name(numbers[policy.name])}".strip())
    flush_run()
    verdicts = [
        Chain(
            _chain_name(number),
            (
                f"ct mark set ct mark & {~marks.CONNECTION_MASK & 0xFFFFFFFF:#010x} "
                f"| {marks.mark_policy(number):#010x}",
            ),
        )
        for number in numbers.values()
    ]
    return Classification((*verdicts, Chain("classify", tuple(rules))), tuple(sets))


def _chain_name(number: int) -> str:
    return f"policy_{number}"


def _is_port_match(match: Match) -> bool:
    return bool(match.protocols and match.destination_ports) and not (
        match.source_ports
        or match.source_prefixes
        or match.destination_prefixes
        or match.dscp
        or match.ingress
    )


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


def _render_match(match: Match) -> list[str]:
    parts = []
    if match.ingress:
        parts.append("iifname " + _anonymous_set(f'"{name}"' for name in match.ingress))
    if match.source_prefixes:
        parts.append(f"ip6 saddr {_anonymous_set(_render_prefixes(match.source_prefixes))}")
    if match.destination_prefixes:
        parts.append(f"ip6 daddr {_anonymous_set(_render_prefixes(match.destination_prefixes))}")
    if match.dscp:
        parts.append(f"ip6 dscp {_anonymous_set(map(str, match.dscp))}")
    if match.protocols:
        parts.append(f"meta l4proto {_anonymous_set(map(str, match.protocols))}")
    if match.source_ports:
        parts.append(f"th sport {_anonymous_set(map(_render_ports, match.source_ports))}")
    if match.destination_ports:
        parts.append(f"th dport {_anonymous_set(map(_render_ports, match.destination_ports))}")
    return parts


def _render_prefixes(prefixes: Iterable[IPv6Network]) -> Iterable[str]:
    # nft refuses a prefix inside another one of the same set
    return map(str, collapse_addresses(prefixes))


def _render_ports(ports: PortRange) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


def _anonymous_set(items: Iterable[str]) -> str:
    return "{ " + ", ".join(items) + " }"
