"""Whether one way to the home agent may carry traffic: quick to fall, slow to rise.

Each fall adds to a penalty that holds the way down for twice as long as the last one, and that
decays with time, as RFC 2439 has it for routes.
"""

from __future__ import annotations

from enum import Enum


class LinkState(Enum):
    """How good a way is."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


#: So many answers in a row bring a way up again.
ANSWERS_TO_RISE = 5
#: Seconds that the first fall holds a way down at least, doubled with each further one.
FIRST_HOLD, LONGEST_HOLD = 1.0, 64.0
#: The penalty that holds for ``LONGEST_HOLD``; it grows no further.
_HIGHEST_PENALTY = 7.0
#: Seconds in which the penalty decays to its half.
PENALTY_HALF_LIFE = 60.0
#: The share of lost probes that degrades a way, the share that is good again, and how many
#: probes must have been judged.
DEGRADED_LOSS, GOOD_LOSS = 0.1, 0.02
SAMPLES_TO_JUDGE = 20


class LinkHealth:
    """The state of one way, and for how long it must stay down; times are monotonic seconds."""

    def __init__(self) -> None:
        self.state = LinkState.UP
        self.held_until = 0.0
        self._penalty = 0.0
        self._penalty_at = 0.0

    def find_penalty(self, now: float) -> float:
        """Return what the falls until ``now`` weigh: 1.0 for a fresh one."""
        age = max(0.0, now - self._penalty_at)
        return float(self._penalty * 0.5 ** (age / PENALTY_HALF_LIFE))

    def fall(self, now: float) -> None:
        """Go down, and stay down for as long as the falls until now weigh."""
        self._penalty = min(self.find_penalty(now) + 1.0, _HIGHEST_PENALTY)
        self._penalty_at = now
        self.held_until = now + min(FIRST_HOLD * 2.0 ** (self._penalty - 1.0), LONGEST_HOLD)
        self.state = LinkState.DOWN

    def forget(self) -> None:
        """Be up again, as what was known is no longer of use; the penalty stays."""
        self.state = LinkState.UP

    def rise(self, answers_in_row: int, now: float, *, needed_at_once: bool) -> bool:
        """Come up after enough answers; return whether it has.

        ``needed_at_once``: there is no other way, so nothing is held down.
        """
        if self.state is not LinkState.DOWN or answers_in_row < ANSWERS_TO_RISE:
            return False
        if now < self.held_until and not needed_at_once:
            return False
        self.state = LinkState.UP
        return True

    def weigh(self, loss: float, samples: int) -> bool:
        """Judge a way that is not down by its ``loss`` among ``samples``; return what changed."""
        before = self.state
        if before is LinkState.UP and samples >= SAMPLES_TO_JUDGE and loss >= DEGRADED_LOSS:
            self.state = LinkState.DEGRADED
        elif before is LinkState.DEGRADED and loss <= GOOD_LOSS:
            self.state = LinkState.UP
        return self.state is not before
