"""Tunnels that lead nowhere: what routers say of our tunnelled packets."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from mrouter.errors import ParseError
from mrouter.wire.tunnelled import TunnelledPacket, parse_unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

_ICMP6_FILTER = 1
_DESTINATION_UNREACHABLE = 1
_RECEIVE_SIZE = 2048


class UnreachableSocket:
    """Hears of every tunnelled packet that could not be delivered; needs CAP_NET_RAW."""

    def __init__(self) -> None:
        """Open the socket."""
        self._socket = socket.socket(
            socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6
        )
        words = [0xFFFFFFFF] * 8  # struct icmp6_filter: a set bit blocks
        words[0] &= ~(1 << _DESTINATION_UNREACHABLE)
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))

    def fileno(self) -> int:
        """Return the descriptor to watch for ``receive``."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def receive(self) -> Iterator[TunnelledPacket]:
        """Yield the tunnelled packets that the waiting errors are about."""
        while True:
            try:
                message = self._socket.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError:
                continue  # an error of ours that waited at the socket
            try:
                yield parse_unreachable(message)
            except ParseError:
                continue  # about another packet
