"""Named sets of prefixes: what they hold, and whether an address is in one."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING

from mrouter.policy.model import (
    FIRST_IPV4,
    PrefixSet,
    number_address,
    pack_prefix,
)
from mrouter.policy.ranges import join_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrouter.policy.model import Address, Network
    from mrouter.policy.ranges import Range

_ADDRESS_BITS = 128


def make_prefix_set(name: str, prefixes: Iterable[Network]) -> PrefixSet:
    """Make the set of all addresses in ``prefixes``, which may be nested and in any order.

    Two sets of the same prefixes have the same digest, but for prefixes inside others.
    """
    return make_packed_set(name, map(pack_prefix, prefixes))


def make_packed_set(name: str, packed: Iterable[int]) -> PrefixSet:
    """Make the set of prefixes that `pack_prefix` has made numbers of, ten thousands a moment."""
    outermost: list[int] = []
    covered = -1
    for number in sorted(packed):
        if number >> 8 > covered:
            outermost.append(number)
            covered = _last_address(number)
    digest = hashlib.sha256(b"".join(number.to_bytes(18) for number in outermost)).hexdigest()
    return PrefixSet(name, tuple(outermost), digest)


def contains(prefix_set: PrefixSet, address: Address) -> bool:
    """Say whether ``address`` is in one of the set's prefixes."""
    number = number_address(address)
    return covers_range(prefix_set, (number, number))


def covers_range(prefix_set: PrefixSet, inner: Range) -> bool:
    """Say whether every address's number of ``inner`` is in a prefix of the set; one bisection."""
    firsts, lasts = list_ranges(prefix_set)
    index = bisect_right(firsts, inner[0]) - 1
    return index >= 0 and inner[1] <= lasts[index]


@lru_cache(maxsize=256)
def list_ranges(prefix_set: PrefixSet) -> tuple[list[int], list[int]]:
    """Return the first and the last number of each range, sorted, with gaps between them."""
    ranges = join_ranges((number >> 8, _last_address(number)) for number in prefix_set.packed)
    return [first for first, _ in ranges], [last for _, last in ranges]


def list_spans(prefix_set: PrefixSet, version: int) -> list[Range]:
    """Return the ranges of IP ``version``, as numbers of addresses."""
    firsts, lasts = list_ranges(prefix_set)
    middle = bisect_left(firsts, FIRST_IPV4)
    part = slice(middle) if version == 6 else slice(middle, None)
    return list(zip(firsts[part], lasts[part], strict=True))


def _last_address(packed: int) -> int:
    return (packed >> 8) + (1 << (_ADDRESS_BITS - (packed & 0xFF))) - 1
