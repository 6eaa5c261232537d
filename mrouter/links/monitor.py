"""A socket that becomes readable when links, addresses or routes of others change."""

from __future__ import annotations

import socket
import struct

from mrouter.netlink import HEADER, split_messages
from mrouter.packet_filter import attach_filter

_RTMGRP_LINK = 1 << 0
_RTMGRP_IPV6_IFADDR = 1 << 8
_RTMGRP_IPV6_ROUTE = 1 << 10
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
#: The offset of the protocol number in a route message, behind the netlink header.
_ROUTE_PROTOCOL = HEADER.size + 5
_RECEIVE_SIZE = 1 << 18


class LinkMonitor:
    """A hint that it is time for a new snapshot; what has changed, the snapshot tells.

    Route messages that carry ``own_protocol`` are our own doing, and no news. The kernel leaves
    them out, lest a fleet's routes overrun the socket; it looks at a datagram's first message
    alone, so all are looked at again here.
    """

    def __init__(self, own_protocol: int) -> None:
        """Subscribe to link, IPv6 address and IPv6 route messages."""
        self._own_protocol = own_protocol
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        attach_filter(self._socket, _make_filter(own_protocol))
        self._socket.bind((0, _RTMGRP_LINK | _RTMGRP_IPV6_IFADDR | _RTMGRP_IPV6_ROUTE))

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def drain(self) -> bool:
        """Read all that waits; tell whether there was news. An overrun is news too."""
        news = False
        while True:
            try:
                data = self._socket.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                return news
            except OSError:
                # ENOBUFS: messages were lost, so anything may have changed
                news = True
                continue
            news = news or self._has_news(data)

    def _has_news(self, data: bytes) -> bool:
        messages = list(split_messages(data))
        # what cannot be read may be anything
        return not messages or any(
            kind not in (_RTM_NEWROUTE, _RTM_DELROUTE)
            or message[_ROUTE_PROTOCOL] != self._own_protocol
            for kind, _sequence, message in messages
        )


def _make_filter(own_protocol: int) -> list[tuple[int, int, int, int]]:
    load_half, load_byte, equal, give = 0x28, 0x30, 0x15, 0x06
    # netlink speaks the machine's byte order, a filter reads the network's
    new, gone = (
        int.from_bytes(struct.pack("=H", kind), "big") for kind in (_RTM_NEWROUTE, _RTM_DELROUTE)
    )
    return [
        (load_half, 0, 0, 4),  # the message's type
        (equal, 1, 0, new),
        (equal, 0, 2, gone),
        (load_byte, 0, 0, _ROUTE_PROTOCOL),
        (equal, 1, 0, own_protocol),
        (give, 0, 0, 0xFFFFFFFF),
        (give, 0, 0, 0),
    ]
