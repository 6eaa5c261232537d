"""Which policy's packets took which link: totals that outlive slots, policies and rulesets."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mrouter.dataplane import marks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: What was not (yet) a policy's or a link's: locally begun, or its policy has gone.
_UNKNOWN = ""


class UsageLedger:
    """Adds up the kernel's counters, which are kept by connection mark and firewall mark.

    A slot may be another link's tomorrow: ``add`` what the kernel has counted before the names
    change.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._totals: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        self._seen: dict[tuple[int, ...], tuple[int, int]] = {}

    def add(
        self,
        counted: Mapping[tuple[int, ...], tuple[int, int]],
        policies: Mapping[int, str],
        links: Mapping[int, str],
    ) -> None:
        """Add what has been ``counted`` since last time.

        ``policies`` names policy numbers, ``links`` names slots.
        """
        for key, (packets, octets) in counted.items():
            before = self._seen.get(key, (0, 0))
            if packets < before[0]:
                before = (0, 0)  # the ruleset was replaced, its counters began anew
            connection_mark, mark = key
            direction = "downlink" if mark & marks.DECAP else "uplink"
            policy = policies.get(marks.policy_of_mark(connection_mark), _UNKNOWN)
            link = links.get(marks.slot_of_mark(mark), _UNKNOWN)
            total = self._totals[policy, link, direction]
            total[0] += packets - before[0]
            total[1] += octets - before[1]
        self._seen = dict(counted)

    def __iter__(self) -> Iterator[tuple[str, str, str, int, int]]:
        """Yield (policy, link, direction, packets, bytes), sorted."""
        for (policy, link, direction), (packets, octets) in sorted(self._totals.items()):
            yield policy, link, direction, packets, octets
