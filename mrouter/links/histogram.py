"""Counts of durations in buckets, as Prometheus takes them."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

#: Seconds up to which each bucket counts: from a cable to a queue that is a satellite's.
RTT_BUCKETS = (
    0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0,
)  # fmt: skip


class RttHistogram:
    """How often a round trip took how long."""

    def __init__(self) -> None:
        self._counts = [0] * (len(RTT_BUCKETS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one round trip."""
        self._counts[bisect_left(RTT_BUCKETS, seconds)] += 1
        self.total += seconds

    def list_buckets(self) -> list[tuple[str, int]]:
        """Return each bucket's upper end, "+Inf" at last, and how many took no longer."""
        ends = [*map(str, RTT_BUCKETS), "+Inf"]
        return list(zip(ends, accumulate(self._counts), strict=True))
