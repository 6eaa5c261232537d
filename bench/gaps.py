"""The longest time without an arrival, inside a window."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise


def find_longest_gap(arrivals: Sequence[float], begin: float, end: float) -> float:
    """Give the longest time without an arrival between ``begin`` and ``end``, in seconds.

    ``arrivals`` is sorted. The gap may have begun before ``begin``, with the last arrival until
    then; one that no arrival ends lasts until ``end``.
    """
    first = bisect_left(arrivals, begin)
    last = bisect_left(arrivals, end)
    before = [arrivals[first - 1]] if first else [begin]
    times = [*before, *arrivals[first:last], end]
    return max(later - earlier for earlier, later in pairwise(times))
