"""Find the policies that no packet ever reaches, since earlier ones match all that they match.

Sound, not complete: whatever is found is never reached, and a policy that several earlier ones
cover together is found only if these look at protocol and destination port alone. Takes about
n log n for n policies: earlier ones are looked up, not gone through.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from mrouter.policy.conditions import KINDS
from mrouter.policy.model import Match, PortRange, SizeRange, WeekSpan, number_address
from mrouter.policy.prefix_sets import covers_range
from mrouter.policy.ranges import join_ranges

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence

    from mrouter.policy.model import Network, Policy, PolicyTable, PrefixSet
    from mrouter.policy.ranges import Range

_PORT_COUNT = 65536
#: Of an address's number.
_ADDRESS_BITS = 128


@dataclass(frozen=True, slots=True)
class Shadowed:
    """The policy at ``position`` is never reached: those at ``by`` match what it matches.

    ``redundant`` says that they do the same with it.
    """

    position: int
    by: tuple[int, ...]
    redundant: bool


def find_shadowed(table: PolicyTable) -> Iterator[Shadowed]:
    """Yield each policy of ``table`` that is never reached, in file order."""
    claims = _PortClaims()
    indexes: dict[Hashable, _Index] = {}
    for position, policy in enumerate(table.policies):
        asked = _ask(policy.match)
        by = claims.find_owners(asked) or _look_up(indexes.values(), asked, policy.match)
        if by:
            same = all(_same_outcome(table.policies[each], policy) for each in by)
            yield Shadowed(position, by, same)
        elif policy.match.none_of is None and asked.keys() in _CLAIMS:
            claims.add(position, asked)
        else:
            kinds, keyed = frozenset(asked), _choose_keyed(asked)
            if (kinds, keyed) not in indexes:
                indexes[kinds, keyed] = _Index(kinds, keyed)
            indexes[kinds, keyed].add(position, asked, policy.match)


def _same_outcome(one: Policy, other: Policy) -> bool:
    return replace(one, name=other.name, match=other.match) == other


def _look_up(indexes: Iterable[_Index], asked: dict[str, _Asked], match: Match) -> tuple[int, ...]:
    found = [index.find_covering(asked, match) for index in indexes]
    return tuple(sorted(place for place in found if place is not None)[:1])


# --- what one policy asks for -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Values:
    """Any of ``values``."""

    values: frozenset[Hashable]


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Any number in ``ranges``: (first, last), sorted, with gaps between them."""

    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class _Addresses:
    """Any address in ``prefixes`` or ``sets``; ``ranges`` are the prefixes', sorted, with gaps."""

    prefixes: tuple[Network, ...]
    sets: tuple[PrefixSet, ...]
    ranges: tuple[Range, ...]


_Asked = _Values | _Numbers | _Addresses


def _ask(match: Match) -> dict[str, _Asked]:
    """Return what ``match`` asks for by kind of condition, its negation left out."""
    asked: dict[str, _Asked] = {}
    for kind, (fields, _) in KINDS.items():
        for field in fields:
            if getattr(match, field):
                asked[kind] = _read([getattr(match, each) for each in fields])
                break
    return asked


def _read(values: list[Any]) -> _Asked:
    if len(values) == 2:
        prefixes, sets = values
        return _Addresses(prefixes, sets, join_ranges(_span(prefix) for prefix in prefixes))
    (items,) = values
    if isinstance(items[0], PortRange | SizeRange | WeekSpan):
        return _Numbers(join_ranges((each.first, each.last) for each in items))
    return _Values(frozenset(items))


def _span(prefix: Network) -> Range:
    first = number_address(prefix.network_address)
    return first, first + (1 << _ADDRESS_BITS - prefix.prefixlen) - 1


# --- does one cover another -------------------------------------------------------------


def _covers(one: _Asked, other: _Asked) -> bool:
    """Say whether ``one`` is met by all that meets ``other``."""
    match one, other:
        case _Values(), _Values():
            return one.values >= other.values
        case _Numbers(), _Numbers():
            return all(_lies_within(each, one.ranges) for each in other.ranges)
        case _Addresses(), _Addresses():
            known = {each.digest for each in one.sets}
            return all(each.digest in known for each in other.sets) and all(
                _lies_within(_span(prefix), one.ranges)
                or any(covers_range(each, _span(prefix)) for each in one.sets)
                for prefix in other.prefixes
            )
    return False


def _lies_within(inner: Range, ranges: Sequence[Range]) -> bool:
    place = bisect_right(ranges, inner[0], key=lambda each: each[0]) - 1
    return place >= 0 and inner[1] <= ranges[place][1]


# --- looking up earlier policies --------------------------------------------------------

#: Kinds of conditions whose values lie within one another, the most telling first.
_RANGED = (
    "destination",
    "destination-port",
    "source",
    "source-port",
    "time",
    "packet-size",
    "flow-bytes",
)
_MOST_RANGED = 2
_MOST_KEYS = 1024


class _Index:
    """The earlier policies that ask for the same kinds of things.

    Each is kept under all combinations of the values that it asks for by the ``keyed`` kinds, a
    range of numbers under the least block around it that is aligned.
    """

    def __init__(self, kinds: frozenset[str], keyed: tuple[str, ...]) -> None:
        self._kinds = kinds
        self._keyed = keyed
        self._places: dict[Hashable, list[int]] = {}
        self._asked: dict[int, tuple[dict[str, _Asked], Match]] = {}
        #: Of each keyed kind the sizes that there are, and the sets by their digests.
        self._sizes: dict[str, set[int]] = {kind: set() for kind in keyed}
        self._named: dict[str, dict[str, PrefixSet]] = {kind: {} for kind in keyed}

    def add(self, position: int, asked: dict[str, _Asked], match: Match) -> None:
        self._asked[position] = asked, match
        for kind in self._keyed:
            each = asked[kind]
            if isinstance(each, _Addresses):
                self._named[kind].update({named.digest: named for named in each.sets})
            if not isinstance(each, _Values):
                self._sizes[kind].update(
                    key[0] for key in _list_keys(each) if isinstance(key, tuple)
                )
        for key in product(*(_list_keys(asked[kind]) for kind in self._keyed)):
            self._places.setdefault(key, []).append(position)

    def find_covering(self, asked: dict[str, _Asked], match: Match) -> int | None:
        """Return the first policy that matches all that ``match`` does; ``asked`` is its own."""
        if not self._kinds <= asked.keys():
            return None
        samples = product(*(self._list_samples(kind, asked[kind]) for kind in self._keyed))
        places = sorted({place for key in samples for place in self._places.get(key, ())})
        return next((place for place in places if self._is_covering(place, asked, match)), None)

    def _is_covering(self, place: int, asked: dict[str, _Asked], match: Match) -> bool:
        theirs, their_match = self._asked[place]
        return all(_covers(theirs[kind], asked[kind]) for kind in self._kinds) and _refuses_all(
            match.none_of, their_match.none_of
        )

    def _list_samples(self, kind: str, asked: _Asked) -> Iterator[Hashable]:
        """Yield keys, under one of which there is whatever covers what is ``asked`` for."""
        match asked:
            case _Values(values):
                yield next(iter(values))
            case _Numbers(((first, _), *_)):
                yield from ((size, first >> size) for size in self._sizes[kind])
            case _Addresses((prefix, *_)):
                address = number_address(prefix.network_address)
                for size in self._sizes[kind]:
                    yield size, address >> _ADDRESS_BITS - size
                for digest, named in self._named[kind].items():
                    if covers_range(named, _span(prefix)):
                        yield digest
            case _Addresses(sets=(named, *_)):
                yield named.digest


def _choose_keyed(asked: dict[str, _Asked]) -> tuple[str, ...]:
    """Return the kinds by which what is ``asked`` for is found again."""
    ranged = [kind for kind in _RANGED if kind in asked][:_MOST_RANGED]
    keyed = sorted(kind for kind in asked if kind in ranged or kind not in _RANGED)
    counts = {kind: len(_list_keys(asked[kind])) for kind in keyed}
    while prod(counts.values()) > _MOST_KEYS and len(counts) > 1:
        del counts[max(counts, key=counts.__getitem__)]
    return tuple(counts)


def _list_keys(asked: _Asked) -> list[Hashable]:
    match asked:
        case _Values(values):
            return list(values)
        case _Numbers(ranges):
            return list({_find_block(first, last) for first, last in ranges})
        case _Addresses(prefixes, sets):
            return [*map(_key, prefixes), *(named.digest for named in sets)]


def _key(prefix: Network) -> tuple[int, int]:
    number = number_address(prefix.network_address)
    return prefix.prefixlen, number >> _ADDRESS_BITS - prefix.prefixlen


def _find_block(first: int, last: int) -> tuple[int, int]:
    """Return size, as a power of two, and place of the least aligned block around a range."""
    size = (first ^ last).bit_length()
    return size, first >> size


def _refuses_all(ours: Match | None, theirs: Match | None) -> bool:
    """Say whether what ``theirs`` keeps out is kept out by ``ours``."""
    kept_out = {} if ours is None else _ask(ours)
    return theirs is None or all(
        kind in kept_out and _covers(kept_out[kind], asked) for kind, asked in _ask(theirs).items()
    )


_CLAIMS: Collection[Collection[str]] = ({"protocol"}, {"protocol", "destination-port"})


class _PortClaims:
    """Which protocols and destination ports are taken by earlier policies that ask nothing else."""

    def __init__(self) -> None:
        self._whole: dict[int, int] = {}
        self._owners: dict[int, list[int | None]] = {}
        #: Of each port the next that is free, or a step on the way there.
        self._next: dict[int, list[int]] = {}

    def add(self, position: int, asked: dict[str, _Asked]) -> None:
        for protocol in _protocols_of(asked):
            if "destination-port" not in asked:
                self._whole.setdefault(protocol, position)
                continue
            if protocol not in self._owners:
                self._owners[protocol] = [None] * _PORT_COUNT
                self._next[protocol] = list(range(_PORT_COUNT + 1))
            owners, following = self._owners[protocol], self._next[protocol]
            for first, last in _ranges_of(asked):
                port = _find_free(following, first)
                while port <= last:
                    owners[port] = position
                    following[port] = port + 1
                    port = _find_free(following, port)

    def find_owners(self, asked: dict[str, _Asked]) -> tuple[int, ...]:
        """Return who takes all that is ``asked`` for, in file order; none if some is free."""
        owners: set[int] = set()
        protocols = _protocols_of(asked)
        for protocol in protocols:
            if protocol in self._whole:
                owners.add(self._whole[protocol])
                continue
            ranges = _ranges_of(asked)
            if not ranges or protocol not in self._next:
                return ()
            following = self._next[protocol]
            if any(_find_free(following, first) <= last for first, last in ranges):
                return ()
            for first, last in ranges:
                taken = self._owners[protocol][first : last + 1]
                owners.update(owner for owner in set(taken) if owner is not None)
        return tuple(sorted(owners))


def _protocols_of(asked: dict[str, _Asked]) -> Collection[Any]:
    protocols = asked.get("protocol")
    return protocols.values if isinstance(protocols, _Values) else ()


def _ranges_of(asked: dict[str, _Asked]) -> tuple[Range, ...]:
    ports = asked.get("destination-port")
    return ports.ranges if isinstance(ports, _Numbers) else ()


def _find_free(following: list[int], port: int) -> int:
    """Follow the steps from ``port`` to a free one, and shorten the way for the next time."""
    free = port
    while following[free] != free:
        free = following[free]
    while following[port] != free:
        following[port], port = free, following[port]
    return free
