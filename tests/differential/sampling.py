"""Many values of a hypothesis strategy at once, for an oracle that is slow to start."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings


def draw_samples(strategy, count):
    """Return up to ``count`` different values, other ones in each run."""
    samples = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(value):
        samples.append(value)

    keep()
    return samples
