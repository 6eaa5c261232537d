"""Ranges of sizes in octets, and how they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.policy.model import SizeRange
from mrouter.policy.ranges import join_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What stands for "or more", which no packet and no flow reaches.
LARGEST_PACKET = 2**32 - 1
LARGEST_FLOW = 2**64 - 1
#: A packet's size in its header; larger ones are written with a unit.
MAX_PACKET = 65535
_UNITS = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "kB": 10**3}


def join_sizes(sizes: Iterable[SizeRange]) -> tuple[SizeRange, ...]:
    """Join those of ``sizes`` that touch or overlap."""
    joined = join_ranges((size.first, size.last) for size in sizes)
    return tuple(SizeRange(first, last) for first, last in joined)


def format_sizes(sizes: SizeRange) -> str:
    """Write a range as a policy file does, a single size as its number."""
    first = format_size(sizes.first)
    if sizes.last in (LARGEST_PACKET, LARGEST_FLOW):
        return f"{first}-"
    return first if sizes.first == sizes.last else f"{first}-{format_size(sizes.last)}"


def format_size(size: int) -> str:
    """Write a size by the largest unit that it is a whole number of; a packet's has none."""
    if size > MAX_PACKET:
        for unit, factor in _UNITS.items():
            if size % factor == 0:
                return f"{size // factor}{unit}"
    return str(size)
