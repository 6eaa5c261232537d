"""ICMPv6 errors about packets of our own: what others say of what we have sent."""

from __future__ import annotations

import socket
import struct
from enum import IntEnum
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Generic, TypeVar

from mrouter.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ReportT = TypeVar("ReportT")

_ICMP6_FILTER = 1
_RECEIVE_SIZE = 2048


class PacketErrorType(IntEnum):
    """The types that we listen to (RFC 4443 §3)."""

    DESTINATION_UNREACHABLE = 1
    PACKET_TOO_BIG = 2
    PARAMETER_PROBLEM = 4


class PacketErrorSocket(Generic[ReportT]):
    """Hears every ICMPv6 error of one type that comes to this node; needs CAP_NET_RAW.

    ``parse`` reads a whole ICMPv6 message, and raises ParseError at what is about something else.
    """

    def __init__(self, kind: PacketErrorType, parse: Callable[[bytes], ReportT]) -> None:
        """Open the socket."""
        self._parse = parse
        self._socket = socket.socket(
            socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6
        )
        words = [0xFFFFFFFF] * 8  # struct icmp6_filter: a set bit blocks
        words[0] &= ~(1 << kind)
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))

    def fileno(self) -> int:
        """Return the descriptor to watch for ``receive``."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def receive(self) -> Iterator[tuple[IPv6Address, ReportT]]:
        """Yield who sent each waiting error, and what it says."""
        while True:
            try:
                message, sender = self._socket.recvfrom(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError:
                continue  # an error of ours that waited at the socket
            try:
                report = self._parse(message)
            except ParseError:
                continue  # about another packet
            yield IPv6Address(sender[0].partition("%")[0]), report
