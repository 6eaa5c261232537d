"""Links in order of what is measured of them, which changes only for a clear advantage.

Two links that measure about the same would else change places all the time, and flows with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ranking:
    """The links that have a measure, the lowest first.

    One overtakes another if it is lower by more than ``share`` of the other's, and by ``least``.
    """

    def __init__(self, share: float, least: float) -> None:
        self._share, self._least = share, least
        self._order: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[str, ...]:
        """The links, the best first."""
        return self._order

    def update(self, measures: Mapping[str, float]) -> bool:
        """Take in the links' measures of now; return whether their order has changed."""
        order = [link for link in self._order if link in measures]
        order += sorted(measures.keys() - set(order), key=lambda link: (measures[link], link))
        moved = True
        while moved:  # every exchange brings two that are clearly apart into their order
            moved = False
            for place in range(len(order) - 1):
                first, second = order[place : place + 2]
                if self._is_clearly_lower(measures[second], measures[first]):
                    order[place : place + 2] = second, first
                    moved = True
        before, self._order = self._order, tuple(order)
        return self._order != before

    def _is_clearly_lower(self, one: float, other: float) -> bool:
        return one < other * (1 - self._share) and one <= other - self._least


def rank_latencies() -> Ranking:
    """Return an empty ranking of round trips in milliseconds."""
    return Ranking(share=0.2, least=5.0)


def rank_losses() -> Ranking:
    """Return an empty ranking of shares of packets that are lost, 0 to 1."""
    return Ranking(share=0.3, least=0.01)
