"""Probes of one way to the home agent: when to send, what the answers say; pure.

Times are monotonic seconds, all of this node's clock: the far end's is not asked.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

    from mrouter.links.link_health import LinkState


class ProbeProfile(Enum):
    """How a link is probed."""

    NORMAL = "normal"
    AGGRESSIVE = "aggressive"
    FRUGAL = "frugal"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class ProbeTiming:
    """Seconds between two probes, and of silence that says that a link is dead.

    ``sparing``: nothing is sent while nothing else goes by the link.
    """

    interval: float
    silence: float
    sparing: bool = False


TIMINGS = {
    ProbeProfile.NORMAL: ProbeTiming(0.2, 0.5),
    ProbeProfile.AGGRESSIVE: ProbeTiming(0.05, 0.15),
    ProbeProfile.FRUGAL: ProbeTiming(10.0, 30.0, sparing=True),
}

#: A probe without an answer after so many seconds is lost.
LOST_AFTER = 2.0
#: How many probes the loss is counted over.
LOSS_WINDOW = 50
#: What is taken for the round-trip time before one is known (RFC 6298 §2).
_UNKNOWN_RTT = 1.0
#: The weights of a new sample (RFC 6298 §2, RFC 3550 §6.4.1).
_RTT_GAIN, _VARIATION_GAIN, _JITTER_GAIN = 1 / 8, 1 / 4, 1 / 16
#: An interval varies by this share either way, so that no two trains keep step.
_INTERVAL_SPREAD = 0.1
#: How many probes would go out in the time of silence, at the pace of doubt.
_PROBES_PER_LIMIT = 10
_SEQUENCES = 1 << 16


@dataclass(frozen=True, slots=True)
class Quality:
    """How a link is, as far as is known: milliseconds, and the share of probes lost."""

    rtt_ms: float | None
    jitter_ms: float | None
    loss: float
    state: LinkState


@dataclass(frozen=True, slots=True)
class Probe:
    """What one probe carries, and what its answer must bring back."""

    identifier: int
    sequence: int
    cookie: bytes


class ProbeTrain:
    """The probes of one way, and their answers.

    ``identifier`` tells its answers from other trains'; the cookie shows that an answer is to a
    probe of ours. ``base`` is when the silence began that ``limit`` is the measure of,
    ``waiting_since`` when the first probe after the last answered one was sent. From
    ``unbroken_since`` on answers came to one probe after the other, until that which was sent at
    ``answered_until``.
    """

    def __init__(self, timing: ProbeTiming, identifier: int, random: Random, now: float) -> None:
        self.timing = timing
        self.identifier = identifier
        self.next_at = now
        self.is_urgent = False
        self.waiting_since: float | None = None
        self.base = now
        self.answered_until = float("-inf")
        self.unbroken_since = float("-inf")
        self.answers_in_row = 0
        self.sent = self.answered = self.lost = 0
        self._random = random
        self._cookie = random.getrandbits(64).to_bytes(8)
        self._sequence = random.randrange(_SEQUENCES)
        self._outstanding: dict[int, float] = {}
        self._outcomes: deque[bool] = deque(maxlen=LOSS_WINDOW)
        self._last_sent_at: float | None = None
        self._last_answered: int | None = None
        self._rtt: float | None = None
        self._last_rtt = self._variation = self._jitter = 0.0

    # --- what is known ------------------------------------------------------------------

    @property
    def rtt(self) -> float | None:
        """The smoothed round-trip time in seconds, None before the first answer."""
        return self._rtt

    @property
    def jitter(self) -> float | None:
        """How much the round-trip time varies from one probe to the next, in seconds."""
        return None if self._rtt is None else self._jitter

    @property
    def samples(self) -> int:
        """How many probes the loss is counted over."""
        return len(self._outcomes)

    @property
    def loss(self) -> float:
        """The share of the last probes that was lost, from 0 to 1."""
        return self._outcomes.count(False) / len(self._outcomes) if self._outcomes else 0.0

    @property
    def limit(self) -> float:
        """For how long nothing may be heard, in seconds.

        A slow link is given its time, and what is sent when an answer is missed the same time.
        """
        chances = 1 if self._rtt is None else 2
        return max(self.timing.silence, self.timing.interval + chances * self._patience)

    @property
    def overdue_at(self) -> float | None:
        """When what is waited for should have come; None if nothing is."""
        return None if self.waiting_since is None else self.waiting_since + self._patience

    @property
    def _patience(self) -> float:
        """How long an answer may take (RFC 6298 §2)."""
        return _UNKNOWN_RTT if self._rtt is None else self._rtt + 4 * self._variation

    def is_silent(self, now: float) -> bool:
        """Say whether nothing has been heard for too long though probes were sent."""
        return self.waiting_since is not None and now - self.base >= self.limit

    def is_doubtful(self, now: float) -> bool:
        """Say whether half of that time is over."""
        return self.waiting_since is not None and now - self.base >= self.limit / 2

    # --- what happens -------------------------------------------------------------------

    def send(self, now: float) -> Probe:
        """Book a probe that goes out at ``now``, and when the next one is due."""
        interval = self.timing.interval
        if self._last_sent_at is None:
            self.base = now  # nobody could have been heard before
        elif now - self._last_sent_at > 2 * interval:
            # nor while nobody was asked: the link was idle, or this machine busy
            self.base = min(now, self.base + now - self._last_sent_at - interval)
        self._last_sent_at = now
        self._sequence = (self._sequence + 1) % _SEQUENCES
        self._outstanding[self._sequence] = now
        if self.waiting_since is None:
            self.waiting_since = now
        self.skip(now)
        self.is_urgent = False
        self.sent += 1
        return Probe(self.identifier, self._sequence, self._cookie)

    def skip(self, now: float) -> None:
        """Let the next probe wait for an interval from ``now``."""
        spread = self._random.uniform(1 - _INTERVAL_SPREAD, 1 + _INTERVAL_SPREAD)
        self.next_at = now + self.timing.interval * spread

    def hurry(self, since: float, now: float) -> None:
        """Let the next probe go at once, unless one has been sent after ``since``."""
        if self._last_sent_at is None or self._last_sent_at < since:
            self.next_at = min(self.next_at, now)
            self.is_urgent = True

    def press(self, now: float) -> None:
        """Ask often while there is doubt, so that a way which only loses packets can show it."""
        if self._last_sent_at is not None and not self.is_silent(now):
            asked_again_at = self._last_sent_at + self.limit / _PROBES_PER_LIMIT
            self.next_at = min(self.next_at, max(now, asked_again_at))

    def take_answer(self, probe: Probe, at: float) -> float | None:
        """Take in the answer to ``probe`` that came at ``at``; return its round-trip time.

        None if it comes a second time, or so late that the probe counts as lost.
        """
        sent_at = self._outstanding.pop(probe.sequence, None)
        if sent_at is None:
            return None
        follows = self._last_answered == (probe.sequence - 1) % _SEQUENCES
        self.answers_in_row = self.answers_in_row + 1 if follows else 1
        self._last_answered = probe.sequence
        is_first = self.answered_until == float("-inf")
        if is_first or (self.waiting_since is not None and sent_at > self.waiting_since):
            self.unbroken_since = at  # what was sent before has had no answer
        self.answered_until = max(self.answered_until, sent_at)
        self.base = max(self.base, at)
        later = (other for other in self._outstanding.values() if other > self.answered_until)
        self.waiting_since = min(later, default=None)
        self._outcomes.append(True)
        self.answered += 1
        rtt = max(0.0, at - sent_at)
        self._smooth(rtt)
        return rtt

    def is_expected(self, probe: Probe) -> bool:
        """Say whether ``probe``, which came back, is one of ours."""
        return (probe.identifier, probe.cookie) == (self.identifier, self._cookie)

    def expire(self, now: float) -> None:
        """Count what has gone without an answer for too long as lost."""
        while self._outstanding:
            sequence, sent_at = next(iter(self._outstanding.items()))
            if now - sent_at < LOST_AFTER:
                return
            del self._outstanding[sequence]
            self._outcomes.append(False)
            self.lost += 1
            if sent_at > self.answered_until:
                self.answers_in_row = 0

    def pause(self) -> None:
        """Wait for nothing more: what is on its way may find no way back."""
        self._outstanding.clear()
        self.waiting_since = None
        self._last_sent_at = None

    def forget_losses(self) -> None:
        """Count the loss anew: the way has been dead, and no longer is."""
        self._outcomes.clear()

    def _smooth(self, rtt: float) -> None:
        if self._rtt is None:
            self._rtt, self._variation = rtt, rtt / 2
        else:
            self._jitter += _JITTER_GAIN * (abs(rtt - self._last_rtt) - self._jitter)
            self._variation += _VARIATION_GAIN * (abs(self._rtt - rtt) - self._variation)
            self._rtt += _RTT_GAIN * (rtt - self._rtt)
        self._last_rtt = rtt
