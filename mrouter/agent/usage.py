"""Which policy's packets took which link: totals that outlive slots, policies and rulesets."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from mrouter.dataplane import marks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: What was not (yet) a policy's or a link's: begun from outside, or its policy has gone.
_UNKNOWN = ""

Count = tuple[int, int]
KeyT = TypeVar("KeyT")


class UsageLedger:
    """Adds up the kernel's counters, which know numbers and slots, under the names of today.

    What a number or a slot means may change: add what the kernel has counted before it does.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._totals: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        self._sent: Mapping[int, Count] = {}
        self._by_slot: dict[str, Mapping[tuple[int, ...], Count]] = {}

    def add_sent(
        self,
        counted: Mapping[int, Count],
        policies: Mapping[int, str],
        links: Mapping[int, Iterable[str]],
    ) -> None:
        """Add what has been ``counted`` since last time, by connection mark.

        ``policies`` names policy numbers, ``links`` are those that the flows of each number have
        used since last time: a bicast policy's packets have taken all of them, and those of a
        number that is not there are left to ``add_by_slot``.
        """
        for mark, (packets, octets) in _find_news(self._sent, counted):
            number = marks.policy_of_mark(mark)
            policy = policies.get(number, _UNKNOWN)
            for link in links.get(number, ()):
                self._add(policy, link, "uplink", packets, octets)
        self._sent = dict(counted)

    def add_by_slot(
        self,
        direction: str,
        counted: Mapping[tuple[int, ...], Count],
        policies: Mapping[int, str],
        links: Mapping[int, str],
    ) -> None:
        """Add what has been ``counted`` since last time, by (connection mark, firewall mark).

        ``direction`` is "uplink" or "downlink"; ``policies`` names policy numbers, ``links`` names
        slots.
        """
        before = self._by_slot.get(direction, {})
        for (connection_mark, mark), (packets, octets) in _find_news(before, counted):
            policy = policies.get(marks.policy_of_mark(connection_mark), _UNKNOWN)
            link = links.get(marks.slot_of_mark(mark), _UNKNOWN)
            self._add(policy, link, direction, packets, octets)
        self._by_slot[direction] = dict(counted)

    def __iter__(self) -> Iterator[tuple[str, str, str, int, int]]:
        """Yield (policy, link, direction, packets, bytes), sorted."""
        for (policy, link, direction), (packets, octets) in sorted(self._totals.items()):
            yield policy, link, direction, packets, octets

    def _add(self, policy: str, link: str, direction: str, packets: int, octets: int) -> None:
        total = self._totals[policy, link, direction]
        total[0] += packets
        total[1] += octets


def _find_news(
    before: Mapping[KeyT, Count], now: Mapping[KeyT, Count]
) -> Iterator[tuple[KeyT, Count]]:
    for key, (packets, octets) in now.items():
        seen_packets, seen_octets = before.get(key, (0, 0))
        if packets < seen_packets:
            seen_packets = seen_octets = 0  # the ruleset was replaced, its counters began anew
        if packets > seen_packets:
            yield key, (packets - seen_packets, octets - seen_octets)
