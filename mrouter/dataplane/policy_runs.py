"""Policies to rules, long runs of them to maps.

A run is some neighbouring policies that all ask for a key of the same kind: destinations, sources,
devices, or protocol and destination port. Their keys are cut into spans that do not overlap, each
with the policies, in the order of the file, that ask for it. A span leads to its policy, or to a
chain of its own which asks the rest: again in rules and maps. Every other policy is a rule, or some
rules with the same verdict.

A chain that a map has jumped to may find no policy. Then the policies behind the run are asked; so
the connection mark's number is taken away first, and looked at behind the map.
"""

from __future__ import annotations

import hashlib
import socket
from bisect import bisect_left, insort
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from mrouter.dataplane import marks
from mrouter.dataplane.flow_sizes import make_verdict_chain
from mrouter.dataplane.fragments import set_connection_mark
from mrouter.dataplane.match_rules import render_rules
from mrouter.dataplane.nft import Chain, NftSet
from mrouter.policy.model import Match
from mrouter.policy.ranges import join_ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mrouter.dataplane.family import Family
    from mrouter.dataplane.flow_sizes import SizeSteps
    from mrouter.policy.model import Network
    from mrouter.policy.ranges import Range

#: A run of fewer policies is quicker as rules.
LEAST_RUN = 5
#: A run may grow to so many times its size, where many of its keys overlap, before it is halved.
MOST_GROWTH = 16

_HAS_NUMBER = f"ct mark & {marks.CONNECTION_MASK:#010x} != 0 return"
_TAKE_NUMBER = set_connection_mark(marks.CONNECTION_MASK, 0)
_ANYTHING = Match()


class Asking(NamedTuple):
    """A policy's ``number``, and what is still to be asked for it."""

    number: int
    match: Match


class Piece(NamedTuple):
    """The keys from ``first`` to ``last``, both included, that ``owners`` ask for: positions."""

    first: int
    last: int
    owners: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of keys: the ``fields`` of a match that it answers, and how nft looks it up.

    ``list_spans`` gives the keys of a match as ranges of numbers, none where it has no such key.
    """

    name: str
    fields: tuple[str, ...]
    selector: str
    key_type: str
    list_spans: Callable[[Match], Iterable[Range]]
    render: Callable[[int, int], str]

    def take_from(self, asking: Asking) -> Asking:
        """Return what is left to ask of a packet with the key."""
        answered: dict[str, Any] = dict.fromkeys(self.fields, ())
        return Asking(asking.number, replace(asking.match, **answered))


class PolicyRules:
    """The rules, and the ``chains`` and ``sets`` that they need, of one family's policies."""

    def __init__(self, family: Family, steps: Mapping[int, SizeSteps]) -> None:
        """Begin with none; ``steps`` are those of `find_size_steps`."""
        self.chains: list[Chain] = []
        self.sets: list[NftSet] = []
        self._family = family
        self._steps = steps
        self._kinds = _list_kinds(family)
        self._verdicts: dict[str, str] = {}
        self._looks_at_numbers = False

    def compile_chain(self, name: str, policies: Sequence[Asking]) -> None:
        """Add the chain that leaves the number of the first of ``policies`` that matches.

        The last one matches everything.
        """
        rules = self._compile(policies, self._kinds, "", MOST_GROWTH)
        if self._looks_at_numbers:
            rules.insert(0, _TAKE_NUMBER)
        self.chains.append(Chain(name, tuple(rules)))

    def _compile(
        self, policies: Sequence[Asking], kinds: Sequence[_Kind], place: str, growth: float
    ) -> list[str]:
        """Return the rules of ``policies``, which stand in the chain ``place``."""
        rules: list[str] = []
        for kind_choices, run in _find_runs(policies, kinds):
            if kind_choices:
                rules += self._compile_run(run, kind_choices, kinds, place, growth)
            else:
                rules += [rule for asking in run for rule in self._render(asking)]
        return rules

    def _render(self, asking: Asking) -> Iterator[str]:
        verdict = self._lead_to_number(asking.number)
        for tests in render_rules(asking.match, self._family):
            yield f"{tests} {verdict}".strip()

    def _compile_run(
        self,
        run: Sequence[Asking],
        choices: Sequence[_Kind],
        kinds: Sequence[_Kind],
        place: str,
        growth: float,
    ) -> list[str]:
        cuts = [cut for kind in choices if (cut := _cut_run(run, kind, growth)) is not None]
        if not cuts:
            middle = len(run) // 2
            halves = run[:middle], run[middle:]
            return [rule for half in halves for rule in self._compile(half, kinds, place, growth)]
        # of what comes to the same, few chains with many policies can be maps again
        cut = min(cuts, key=lambda each: (each.size, len(each.pieces)))
        others = [each for each in kinds if each is not cut.kind]
        room = growth * len(run) / max(cut.size, len(run))
        verdicts: dict[tuple[int, ...], str] = {}
        for piece in cut.pieces:
            if piece.owners not in verdicts:
                asked = [cut.rest[owner] for owner in piece.owners]
                verdicts[piece.owners] = self._lead_to(asked, others, room)
        name = f"{cut.kind.name}{place}_{run[0].number}"
        return self._add_maps(
            name, cut.kind, [(piece, verdicts[piece.owners]) for piece in cut.pieces]
        )

    def _add_maps(self, name: str, kind: _Kind, verdicts: list[tuple[Piece, str]]) -> list[str]:
        """Add a map of single keys and one of ranges; return the rules that look them up."""
        exact: dict[str, str] = {}
        ranges: dict[str, str] = {}
        for (first, last, _), verdict in verdicts:
            (exact if first == last else ranges)[kind.render(first, last)] = verdict
        rules = []
        for suffix, flags, elements in (
            ("exact", "", exact),
            ("ranges", " flags interval;", ranges),
        ):
            if elements:
                declaration = f"type {kind.key_type} : verdict;{flags}"
                self.sets.append(NftSet(f"{name}_{suffix}", declaration, "map", elements))
                rules.append(f"{kind.selector} vmap @{name}_{suffix}")
        if any(verdict.startswith("jump") for _, verdict in verdicts):
            self._looks_at_numbers = True
            rules.append(_HAS_NUMBER)
        return rules

    def _lead_to(self, asked: Sequence[Asking], kinds: Sequence[_Kind], growth: float) -> str:
        """Return the verdict that leads to the first of ``asked`` that matches."""
        if asked[0].match == _ANYTHING:
            return self._lead_to_number(asked[0].number)
        left = " ".join(kind.name for kind in kinds)
        what = f"{left} {' '.join(str(asking.number) for asking in asked)}"
        place = hashlib.sha256(what.encode()).hexdigest()[:16]
        name = f"rest_{place}"
        if name not in self._verdicts:
            rules = self._compile(asked, kinds, f"_{place}", growth)
            if rules[-1] == _HAS_NUMBER:  # the end of the chain does the same
                rules.pop()
            self.chains.append(Chain(name, tuple(rules)))
            verb = "goto" if asked[-1].match == _ANYTHING else "jump"
            self._verdicts[name] = f"{verb} {name}"
        return self._verdicts[name]

    def _lead_to_number(self, number: int) -> str:
        name = f"policy_{number}"
        if name not in self._verdicts:
            self.chains.append(make_verdict_chain(name, number, self._steps.get(number)))
            self._verdicts[name] = f"goto {name}"
        return self._verdicts[name]


def _find_runs(
    policies: Sequence[Asking], kinds: Sequence[_Kind]
) -> Iterator[tuple[list[_Kind], Sequence[Asking]]]:
    """Cut ``policies`` into runs, each with the kinds of keys that all of it have.

    What is in no long run comes without any.
    """
    if len(policies) < LEAST_RUN:
        yield [], policies
        return
    ends = [_find_ends(policies, kind) for kind in kinds]
    start = single = 0
    while start < len(policies):
        longest = max((end[start] for end in ends), default=0)
        if longest - start < LEAST_RUN:
            start += 1
            continue
        if single < start:
            yield [], policies[single:start]
        choices = [kind for kind, end in zip(kinds, ends, strict=True) if end[start] == longest]
        yield choices, policies[start:longest]
        start = single = longest
    if single < start:
        yield [], policies[single:start]


def _find_ends(policies: Sequence[Asking], kind: _Kind) -> list[int]:
    """Return at each policy where the keys of ``kind`` that follow one another end; 0 for none."""
    ends = [0] * len(policies)
    following = 0
    for position in range(len(policies) - 1, -1, -1):
        has_key = any(True for _ in kind.list_spans(policies[position].match))
        following = (following or position + 1) if has_key else 0
        ends[position] = following
    return ends


class _Cut(NamedTuple):
    """A run cut by the keys of a kind; ``rest`` is what is left to ask.

    ``size`` is how many policies there are in the chains that its pieces lead to.
    """

    kind: _Kind
    rest: list[Asking]
    pieces: list[Piece]
    size: int


def _cut_run(run: Sequence[Asking], kind: _Kind, growth: float) -> _Cut | None:
    """Cut ``run`` by the keys of ``kind``; None if it comes to too much."""
    rest = [kind.take_from(asking) for asking in run]
    claims = [join_ranges(kind.list_spans(asking.match)) for asking in run]
    most = MOST_GROWTH * sum(map(len, claims))
    pieces = flatten_claims(claims, [asking.match == _ANYTHING for asking in rest], most)
    if pieces is None:
        return None
    size = sum(len(owners) for owners in {piece.owners for piece in pieces})
    return _Cut(kind, rest, pieces, size) if size <= growth * len(run) else None


def flatten_claims(
    claims: Sequence[Sequence[Range]], takes_all: Sequence[bool], most: int
) -> list[Piece] | None:
    """Cut the ranges of ``claims`` into disjoint ones, each with the claims that it lies in.

    An owner that ``takes_all`` is the last of a piece. Neighbours with the same owners are joined.
    Returns None if there are more than ``most`` owners in all pieces together, which takes no
    longer to find out.
    """
    edges: dict[int, tuple[list[int], list[int]]] = {}
    for owner, ranges in enumerate(claims):
        for first, last in ranges:
            edges.setdefault(first, ([], []))[0].append(owner)
            edges.setdefault(last + 1, ([], []))[1].append(owner)
    points = sorted(edges)
    pieces: list[Piece] = []
    active: list[int] = []
    count = 0
    for position, point in enumerate(points):
        opened, closed = edges[point]
        for owner in closed:
            del active[bisect_left(active, owner)]
        for owner in opened:
            insort(active, owner)
        if not active:
            continue
        owners = _cut(active, takes_all)
        last = points[position + 1] - 1
        count += len(owners)
        if count > most:
            return None
        if pieces and pieces[-1].last + 1 == point and pieces[-1].owners == owners:
            pieces[-1] = Piece(pieces[-1].first, last, owners)
        else:
            pieces.append(Piece(point, last, owners))
    return pieces


def _cut(active: Sequence[int], takes_all: Sequence[bool]) -> tuple[int, ...]:
    """Return those of ``active`` up to the first that takes all."""
    for count, owner in enumerate(active, start=1):
        if takes_all[owner]:
            return tuple(active[:count])
    return tuple(active)


# --- kinds of keys ----------------------------------------------------------------------


def _list_kinds(family: Family) -> tuple[_Kind, ...]:
    bits = family.everything.max_prefixlen

    def render_addresses(first: int, last: int) -> str:
        ends = dict.fromkeys((first, last))
        return "-".join(
            socket.inet_ntop(family.socket_family, end.to_bytes(bits // 8)) for end in ends
        )

    word, address = family.word, family.address_type
    return (
        _Kind(
            "destinations",
            ("destination_prefixes",),
            f"{word} daddr",
            address,
            lambda match: () if match.destination_sets else map(_span, match.destination_prefixes),
            render_addresses,
        ),
        _Kind(
            "ports",
            ("protocols", "destination_ports"),
            "meta l4proto . th dport",
            "inet_proto . inet_service",
            _list_ports,
            _render_ports,
        ),
        _Kind(
            "sources",
            ("source_prefixes",),
            f"{word} saddr",
            address,
            lambda match: () if match.source_sets else map(_span, match.source_prefixes),
            render_addresses,
        ),
        _Kind(
            "devices",
            ("source_macs",),
            "ether saddr",
            "ether_addr",
            _list_macs,
            _render_mac,
        ),
    )


def _span(prefix: Network) -> Range:
    first = int(prefix.network_address)
    return first, first + (1 << prefix.max_prefixlen - prefix.prefixlen) - 1


#: The distance from a protocol's ports to the next one's, with a gap, so that no range spans two.
_PROTOCOL_SHIFT = 17
#: No two devices' addresses are neighbours, so that all are single keys.
_MAC_DISTANCE = 2


def _list_ports(match: Match) -> Iterator[Range]:
    for protocol in match.protocols:
        base = protocol << _PROTOCOL_SHIFT
        for ports in match.destination_ports:
            yield base + ports.first, base + ports.last


def _render_ports(first: int, last: int) -> str:
    protocol, port = first >> _PROTOCOL_SHIFT, first & 0xFFFF
    return f"{protocol} . {port}" if first == last else f"{protocol} . {port}-{last & 0xFFFF}"


def _list_macs(match: Match) -> Iterator[Range]:
    for mac in match.source_macs:
        number = int(mac.replace(":", ""), 16) * _MAC_DISTANCE
        yield number, number


def _render_mac(first: int, _last: int) -> str:
    return (first // _MAC_DISTANCE).to_bytes(6).hex(":")
