"""Named sets of prefixes: what they hold, and whether an address is in one."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING

from mrouter.policy.model import PrefixSet, pack_prefix, unpack_prefix
from mrouter.policy.ranges import join_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address, IPv6Network

    from mrouter.policy.ranges import Range

_ADDRESS_BITS = 128


def make_prefix_set(name: str, prefixes: Iterable[IPv6Network]) -> PrefixSet:
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
    digest = hashlib.sha256(b"".join(number.to_bytes(17) for number in outermost)).hexdigest()
    return PrefixSet(name, tuple(map(unpack_prefix, outermost)), digest)


def contains(prefix_set: PrefixSet, address: IPv6Address) -> bool:
    """Say whether ``address`` is in one of the set's prefixes."""
    return covers_range(prefix_set, (int(address), int(address)))


def covers_range(prefix_set: PrefixSet, inner: Range) -> bool:
    """Say whether every address of ``inner`` is in one of the set's prefixes; one bisection."""
    firsts, lasts = list_ranges(prefix_set)
    index = bisect_right(firsts, inner[0]) - 1
    return index >= 0 and inner[1] <= lasts[index]


@lru_cache(maxsize=256)
def list_ranges(prefix_set: PrefixSet) -> tuple[list[int], list[int]]:
    """Return the first and the last address of each range, sorted, with gaps between them."""
    packed = map(pack_prefix, prefix_set.prefixes)
    ranges = join_ranges((number >> 8, _last_address(number)) for number in packed)
    return [first for first, _ in ranges], [last for _, last in ranges]


def _last_address(packed: int) -> int:
    return (packed >> 8) + (1 << (_ADDRESS_BITS - (packed & 0xFF))) - 1
