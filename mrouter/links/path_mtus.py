"""What paths take, as it was learnt from errors about packets that were too big (RFC 8201)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv6Address

#: How long it is believed, in seconds: "The recommended setting for this timer is twice its minimum
#: value (10 minutes)" (RFC 8201 §4).
LIFETIME = 600.0
#: "A node must not reduce its estimate of the Path MTU below the IPv6 minimum link MTU" (RFC 8201
#: §4): what says less is discarded.
_MINIMUM = 1280


class PathMtus:
    """The paths that take less than the interfaces by which they begin; times are monotonic."""

    def __init__(self) -> None:
        """Begin with none."""
        self._learnt: dict[tuple[IPv6Address, IPv6Address], tuple[int, float]] = {}

    def learn(
        self, source: IPv6Address, destination: IPv6Address, mtu: int, known: int, now: float
    ) -> bool:
        """Take note that the path takes ``mtu``; ``known`` is what it was thought to take.

        Tell whether that is news. What is known already is believed anew.
        """
        if mtu < _MINIMUM or mtu > known:
            return False
        key = source, destination
        if mtu == known and key not in self._learnt:
            return False  # the interface's own
        self._learnt[key] = mtu, now + LIFETIME
        return mtu < known

    def find(self, source: IPv6Address, destination: IPv6Address) -> int | None:
        """Return what the path takes, None if nothing was learnt of it."""
        found = self._learnt.get((source, destination))
        return None if found is None else found[0]

    def list_from(self, source: IPv6Address) -> dict[IPv6Address, int]:
        """Return what the paths from ``source`` take, by their destinations."""
        return {end: mtu for (start, end), (mtu, _) in self._learnt.items() if start == source}

    def expire(self, now: float) -> bool:
        """Forget what is too old; tell whether there was any."""
        old = [key for key, (_mtu, expires_at) in self._learnt.items() if expires_at <= now]
        for key in old:
            del self._learnt[key]
        return bool(old)

    def next_deadline(self) -> float | None:
        """Return when ``expire`` has something to do."""
        return min((expires_at for _mtu, expires_at in self._learnt.values()), default=None)
