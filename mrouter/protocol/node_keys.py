"""A correspondent node's secrets: node keys and nonces by index (RFC 6275 §5.2.1 to §5.2.7)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

#: Seconds (RFC 6275 §12): how long a mobile node may use a token, and how long after its first
#: use a nonce may be accepted.
MAX_TOKEN_LIFETIME = 210
MAX_NONCE_LIFETIME = 240

#: "a convenient way to enforce the above lifetimes is to generate a new nonce every 30 seconds"
#: (RFC 6275 §5.2.7).
_NONCE_INTERVAL = MAX_NONCE_LIFETIME - MAX_TOKEN_LIFETIME

_KEY_OCTETS = 20
_NONCE_OCTETS = 8
_INDICES = 1 << 16


@dataclass(frozen=True, slots=True)
class NodeSecret:
    """What tokens are made with, identified by ``index``; ``first_used_at`` monotonic seconds."""

    index: int
    first_used_at: float
    key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)


class NodeKeys:
    """Makes a fresh Kcn and nonce every 30 seconds while they are asked for, and forgets old ones.

    "An update of Kcn SHOULD be done at the same time as an update of a nonce, so that nonce
    indices can identify both the nonce and the key" (RFC 6275 §5.2.7). Indices begin anywhere, so
    that those of a former run are not taken for this one's. ``random`` must be unpredictable.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._next_index = random.randrange(_INDICES)
        self._secrets: dict[int, NodeSecret] = {}  # oldest first
        self._current: NodeSecret | None = None

    def get_current(self, now: float) -> NodeSecret:
        """Return what to make tokens with at ``now``, monotonic seconds."""
        if self._current is None or now - self._current.first_used_at >= _NONCE_INTERVAL:
            self._forget_old(now)
            self._current = NodeSecret(
                index=self._next_index,
                first_used_at=now,
                key=self._random.randbytes(_KEY_OCTETS),
                nonce=self._random.randbytes(_NONCE_OCTETS),
            )
            self._secrets[self._next_index] = self._current
            self._next_index = (self._next_index + 1) % _INDICES
        return self._current

    def find(self, index: int, now: float) -> NodeSecret | None:
        """Return the secret with that index, or None if there is none or it is too old.

        "the correspondent node MUST NOT accept nonces beyond MAX_NONCE_LIFETIME seconds after the
        first use" (RFC 6275 §5.2.7).
        """
        self._forget_old(now)
        return self._secrets.get(index)

    def _forget_old(self, now: float) -> None:
        self._secrets = {
            index: secret
            for index, secret in self._secrets.items()
            if now - secret.first_used_at < MAX_NONCE_LIFETIME
        }
