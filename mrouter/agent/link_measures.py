"""How good links are, by what is measured and what is configured of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.policy.levels import level_latencies, level_losses
from mrouter.policy.model import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mrouter.links.probes import Quality
    from mrouter.policy.resolve import Measures


class LinkMeasures:
    """Keeps the levels of what is measured."""

    def __init__(self, costs: Mapping[str, int]) -> None:
        """Begin without measures; ``costs`` are what the links cost."""
        self._costs = costs
        self._latencies, self._losses = level_latencies(), level_losses()

    def level(self, quality: Mapping[str, Quality]) -> Measures:
        """Return how good links are while those that are probed have this ``quality``."""
        latencies = {link: q.rtt_ms for link, q in quality.items() if q.rtt_ms is not None}
        return {
            Choice.CHEAPEST: self._costs,
            Choice.LOWEST_LATENCY: self._latencies.update(latencies),
            Choice.LOWEST_LOSS: self._losses.update({n: q.loss for n, q in quality.items()}),
        }
