"""A limit of how often something is done."""

from __future__ import annotations


class TokenBucket:
    """Lets ``rate`` a second pass, and ``burst`` at once; times are monotonic seconds."""

    def __init__(self, rate: float, burst: float) -> None:
        """Begin full."""
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_at = 0.0

    def take(self, now: float) -> bool:
        """Tell whether one more may pass; it is counted if so."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
