"""Echo Requests to the home agent, through one binding's tunnel or past it, and their answers."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from mrouter.errors import ParseError
from mrouter.wire.echo import ECHO_REPLY, Echo, parse_echo_reply, serialize_echo_request

if TYPE_CHECKING:
    from collections.abc import Iterator

_ICMP6_FILTER = 1
_RECEIVE_SIZE = 2048
_MARK = struct.Struct("=I")
#: struct in6_pktinfo.
_PACKET_INFO = struct.Struct("=16si")


class ProbeSocket:
    """Sends and hears; the kernel answers for itself, so answers to others come here, too."""

    def __init__(self) -> None:
        """Open the sockets; needs CAP_NET_RAW, and CAP_NET_ADMIN to set marks."""
        self._socket = _open_icmpv6({ECHO_REPLY})
        # to be bound to one interface after another, and to hear nothing
        self._outside = _open_icmpv6(set())

    def fileno(self) -> int:
        """Return the descriptor to watch for ``receive``."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the sockets."""
        self._socket.close()
        self._outside.close()

    def send(self, source: IPv6Address, destination: IPv6Address, echo: Echo, mark: int) -> None:
        """Send ``echo`` with firewall mark ``mark``, which leads it into a tunnel.

        :raises OSError: where the kernel does not take it.
        """
        self._send(self._socket, source, destination, echo, mark)

    def send_outside(
        self, source: IPv6Address, destination: IPv6Address, echo: Echo, interface: str
    ) -> None:
        """Send ``echo`` as it is by ``interface``.

        :raises OSError: where the kernel does not take it.
        """
        name = interface.encode() + b"\0"
        self._outside.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        self._send(self._outside, source, destination, echo, 0)

    def receive(self) -> Iterator[tuple[IPv6Address, Echo]]:
        """Yield who sent each waiting Echo Reply, and what it brings back."""
        while True:
            try:
                message, sender = self._socket.recvfrom(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMPv6 error about one of ours
            try:
                echo = parse_echo_reply(message)
            except ParseError:
                continue
            yield IPv6Address(sender[0].partition("%")[0]), echo

    def _send(
        self,
        endpoint: socket.socket,
        source: IPv6Address,
        destination: IPv6Address,
        echo: Echo,
        mark: int,
    ) -> None:
        endpoint.sendmsg(
            [serialize_echo_request(echo)],
            [
                (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PACKET_INFO.pack(source.packed, 0)),
                (socket.SOL_SOCKET, socket.SO_MARK, _MARK.pack(mark)),
            ],
            0,
            (str(destination), 0),
        )


def _open_icmpv6(heard: set[int]) -> socket.socket:
    """Return a raw socket that hears messages of these types alone."""
    endpoint = socket.socket(
        socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6
    )
    words = [0xFFFFFFFF] * 8  # struct icmp6_filter: a set bit blocks
    for kind in heard:
        words[kind >> 5] &= ~(1 << (kind & 31))
    endpoint.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
    return endpoint
