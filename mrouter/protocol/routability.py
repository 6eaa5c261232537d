"""Home and Care-of Tests from the mobile node's side (RFC 6275 §11.6, the draft §6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mrouter.protocol.node_keys import MAX_TOKEN_LIFETIME
from mrouter.protocol.update_list import INITIAL_BINDACK_TIMEOUT, MAX_BINDACK_TIMEOUT

if TYPE_CHECKING:
    from random import Random

    from mrouter.protocol.send_rate import SendRate
    from mrouter.wire.messages import CareOfTest, HomeTest

_COOKIE_OCTETS = 8
#: Repetitions (RFC 6275 §12) after which return routability has failed.
MAX_RO_FAILURE = 3


@dataclass(slots=True)
class RoutabilityTest:
    """One test, and the keygen token that it has yielded.

    Times are monotonic seconds. ``due_at`` is when the Init is to be sent (again), None while no
    test is in progress; ``tries`` is how often it has been sent. ``token`` and ``nonce_index`` may
    be used until ``fresh_until``, which counts from when the Init was sent: the safe side of
    MAX_TOKEN_LIFETIME.
    """

    due_at: float | None = None
    interval: float = INITIAL_BINDACK_TIMEOUT
    tries: int = 0
    sent_at: float | None = None
    cookie: bytes = b""
    nonce_index: int = 0
    token: bytes = field(default=b"", repr=False)
    fresh_until: float | None = None

    def is_fresh(self, now: float) -> bool:
        """Say whether there is a token that may be used at ``now`` (RFC 6275 §5.2.7)."""
        return self.fresh_until is not None and now < self.fresh_until

    @property
    def has_failed(self) -> bool:
        """Say whether it is in progress, and has not been answered for too long."""
        return self.due_at is not None and self.tries > 1 + MAX_RO_FAILURE

    def begin(self, now: float) -> None:
        """Ask for a token, unless that is going on already."""
        if self.due_at is None:
            self.interval = INITIAL_BINDACK_TIMEOUT
            self.tries = 0
            self.due_at = now

    def stop(self) -> None:
        """Ask no more; what comes back is ignored."""
        self.due_at = self.sent_at = None

    def forget(self) -> None:
        """Use the token no more, and take none that is on its way."""
        self.fresh_until = None
        self.stop()

    def is_due(self, rate: SendRate, now: float) -> bool:
        """Say whether the Init is to be sent now; if ``rate`` has it wait, it is due then."""
        if self.due_at is not None and self.due_at <= now:
            self.due_at = rate.find_time(now)
        return self.due_at is not None and self.due_at <= now

    def mark_sent(self, now: float, random: Random, rate: SendRate) -> bytes:
        """Book an Init that goes out now, and return its cookie.

        "Retransmitted Home Test Init and Care-of Test Init messages MUST use new cookie values",
        and the time between them doubles (RFC 6275 §11.8).
        """
        self.cookie = random.randbytes(_COOKIE_OCTETS)
        rate.book(now)
        self.sent_at = now
        self.tries += 1
        self.due_at = now + self.interval
        self.interval = min(2 * self.interval, MAX_BINDACK_TIMEOUT)
        return self.cookie

    def take(self, test: HomeTest | CareOfTest) -> bool:
        """Take the token over; return whether ``test`` answers the last Init (RFC 6275 §11.6.2)."""
        if self.sent_at is None or test.cookie != self.cookie:
            return False
        self.nonce_index = test.nonce_index
        self.token = test.keygen_token
        self.fresh_until = self.sent_at + MAX_TOKEN_LIFETIME
        self.stop()
        return True
