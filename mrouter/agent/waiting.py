"""Where packets wait for a link, while a policy asks for such a place."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from mrouter.agent.journal import note
from mrouter.errors import DataplaneError
from mrouter.links.waiting_room import DEVICE, WaitingRoom

if TYPE_CHECKING:
    import asyncio

    from mrouter.netlink import RouteSocket


class Waiting:
    """Keeps a `WaitingRoom` while one is wanted."""

    def __init__(self, route_socket: RouteSocket) -> None:
        self._socket = route_socket
        self._room: WaitingRoom | None = None
        self._dropped = 0

    @property
    def device(self) -> str | None:
        """The interface that packets are routed to which shall wait; None while there is none."""
        return None if self._room is None else DEVICE

    def furnish(self, loop: asyncio.AbstractEventLoop, *, wanted: bool) -> None:
        """Open the room if it is ``wanted``, else close it; without one, packets are dropped."""
        if wanted and self._room is None:
            self._open(loop)
        elif not wanted and self._room is not None:
            self._close(loop, self._room)

    def restore(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open the room anew if somebody has removed its device or set it down."""
        if self._room is not None and not self._room.is_up():
            note("waiting-lost", logging.WARNING, device=DEVICE)
            self._close(loop, self._room)
            self._open(loop)

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._room = WaitingRoom(self._socket)
        except DataplaneError as error:
            note("waiting-unavailable", logging.ERROR, error=str(error))
            return
        loop.add_reader(self._room.fileno(), self._on_packets, loop, self._room)

    def _close(self, loop: asyncio.AbstractEventLoop, room: WaitingRoom) -> None:
        loop.remove_reader(room.fileno())
        self._dropped += room.queue.dropped + len(room.queue)
        room.close()
        self._room = None

    def _on_packets(self, loop: asyncio.AbstractEventLoop, room: WaitingRoom) -> None:
        try:
            room.receive(time.monotonic())
        except OSError:  # removed, as the news of links says, too: `restore` follows
            loop.remove_reader(room.fileno())

    def release(self) -> None:
        """Let go what waits."""
        if self._room is not None and self._room.queue:
            note("waiting-released", packets=self._room.release(time.monotonic()))

    def describe(self) -> dict[str, Any]:
        """Return how many packets wait now, and how many have waited in vain."""
        queue = None if self._room is None else self._room.queue
        return {
            "packets": 0 if queue is None else len(queue),
            "dropped": self._dropped + (0 if queue is None else queue.dropped),
        }
