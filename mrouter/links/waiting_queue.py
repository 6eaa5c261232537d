"""Packets that wait for a link, the oldest first: for a few seconds, and no more than fit."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds: longer, and a TCP connection has sent again what waits here.
LONGEST_WAIT = 5.0
#: A second of a radio link's 8 Mbit/s.
MOST_OCTETS = 1 << 20
#: Where IPv6 has its addresses, and IPv4: before them stands what changes on the way.
_UNCHANGED = {6: 8, 4: 12}


class WaitingQueue:
    """Packets with the time when each began to wait.

    A packet that was let go and is back, since its policy still has no link, goes on waiting from
    when it began. ``dropped`` counts those that have waited too long, or that had no room.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._octets = 0
        self._gone: OrderedDict[bytes, float] = OrderedDict()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, packet: bytes, now: float) -> None:
        """Let ``packet`` wait; the oldest go where there is no room."""
        self._drop_late(now)
        began_at = self._gone.pop(_find_identity(packet), now)
        if now - began_at >= LONGEST_WAIT:
            self.dropped += 1
            return
        self._waiting.append((began_at, packet))
        self._octets += len(packet)
        while self._octets > MOST_OCTETS:
            self._take()
            self.dropped += 1

    def release(self, now: float) -> Iterator[bytes]:
        """Yield all packets that have not waited too long; they wait no more."""
        self._drop_late(now)
        while self._waiting:
            began_at, packet = self._take()
            self._gone[_find_identity(packet)] = began_at
            yield packet

    def _take(self) -> tuple[float, bytes]:
        began_at, packet = self._waiting.popleft()
        self._octets -= len(packet)
        return began_at, packet

    def _drop_late(self, now: float) -> None:
        while self._waiting and now - self._waiting[0][0] >= LONGEST_WAIT:
            self._take()
            self.dropped += 1
        while self._gone and now - next(iter(self._gone.values())) >= LONGEST_WAIT:
            self._gone.popitem(last=False)


def _find_identity(packet: bytes) -> bytes:
    return packet[_UNCHANGED.get(packet[0] >> 4, 0) :]
