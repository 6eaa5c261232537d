"""Ranges of numbers, such as ports or addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The first and the last, both included.
Range = tuple[int, int]


def join_ranges(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Join the ranges that touch or overlap: those returned are sorted, with gaps between them."""
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return tuple(joined)
