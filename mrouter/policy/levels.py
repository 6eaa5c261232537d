"""What is measured of links in steps: links of one step are as good as each other.

Two links that measure about the same would else change places all the time, and flows with them. A
measure that lies at the edge of a step stays in the one where it was.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A measure leaves its step when it is beyond the edge by this share.
_MARGIN = 0.15
#: Round trips in milliseconds, from 5 to 2,500: each edge a half more than the one before.
_LATENCIES = tuple(5 * 1.5**step for step in range(16))
#: Shares of packets that are lost.
_LOSSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)


class Levels:
    """The level of each link that is measured, 0 for the lowest measures."""

    def __init__(self, edges: tuple[float, ...]) -> None:
        """Cut measures at ``edges``, which rise."""
        self._edges = edges
        self._levels: dict[str, int] = {}

    def update(self, measures: Mapping[str, float]) -> Mapping[str, int]:
        """Return the levels while the links have these ``measures``."""
        self._levels = {link: self._find_level(link, each) for link, each in measures.items()}
        return self._levels

    def _find_level(self, link: str, measure: float) -> int:
        level = bisect_right(self._edges, measure)
        known = self._levels.get(link, level)
        if level > known and measure < self._edges[known] * (1 + _MARGIN):
            return known
        if level < known and measure > self._edges[known - 1] * (1 - _MARGIN):
            return known
        return level


def level_latencies() -> Levels:
    """Return the levels of round trips in milliseconds."""
    return Levels(_LATENCIES)


def level_losses() -> Levels:
    """Return the levels of shares of packets that are lost, 0 to 1."""
    return Levels(_LOSSES)
