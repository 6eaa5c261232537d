"""What a stream lost: time without an arrival, packets that never came, packets that came twice."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Packet:
    """One arrival: the sender's number and clock, the receiver's clock; seconds."""

    number: int
    sent_at: float
    arrived_at: float


@dataclass(frozen=True, slots=True)
class Loss:
    """``count`` packets, one after the other, that never came; the first was sent at ``at``."""

    at: float
    count: int


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


def find_losses(packets: Sequence[Packet]) -> list[Loss]:
    """Find the numbers that are missing between those that came, in whatever order they came.

    When a missing packet was sent is taken from its neighbours, as all are sent at one rate.
    """
    losses = []
    by_number = sorted({packet.number: packet.sent_at for packet in packets}.items())
    for (number, sent_at), (next_number, next_sent_at) in pairwise(by_number):
        steps = next_number - number
        if steps > 1:
            losses.append(Loss(sent_at + (next_sent_at - sent_at) / steps, steps - 1))
    return losses


def count_lost(losses: Sequence[Loss], begin: float, end: float) -> int:
    """Count the packets lost in those losses that began between ``begin`` and ``end``."""
    return sum(loss.count for loss in losses if begin <= loss.at < end)


def count_duplicates(packets: Sequence[Packet], begin: float, end: float) -> int:
    """Count the arrivals between ``begin`` and ``end`` of packets that had come before."""
    seen: set[int] = set()
    duplicates = 0
    for packet in packets:
        if packet.number in seen and begin <= packet.arrived_at < end:
            duplicates += 1
        seen.add(packet.number)
    return duplicates
