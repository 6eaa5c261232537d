"""How often messages of one type may go to one node (RFC 6275 §11.8)."""

from __future__ import annotations

from collections import deque

#: Messages (RFC 6275 §12) of one type within a period, in seconds.
MAX_UPDATE_RATE = 3
_PERIOD = 1.0


class SendRate:
    """Knows when the next message may go out; times are monotonic seconds.

    "The mobile node MUST NOT send Mobility Header messages of a particular type to a particular
    correspondent node more than MAX_UPDATE_RATE times within a second" (RFC 6275 §11.8); nor a
    Binding Update about a new care-of address to its home agent (RFC 6275 §11.5.3).
    """

    def __init__(self) -> None:
        self._sent: deque[float] = deque(maxlen=MAX_UPDATE_RATE)

    def find_time(self, now: float) -> float:
        """Return when the next message may go out: ``now`` or later."""
        if len(self._sent) < MAX_UPDATE_RATE:
            return now
        return max(now, self._sent[0] + _PERIOD)

    def is_idle(self, now: float) -> bool:
        """Say whether no message has gone out within the last period."""
        return not self._sent or now - self._sent[-1] >= _PERIOD

    def book(self, now: float) -> None:
        """Book a message that goes out now."""
        self._sent.append(now)
