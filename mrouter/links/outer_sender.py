"""Sends packets in tunnels of their own making, in fragments where they do not fit in one piece."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrouter.packet_filter import attach_filter

if TYPE_CHECKING:
    from ipaddress import IPv6Address

_SO_MARK = 36
_IPV6_MTU = 24
#: A classic BPF program that lets nothing in: this socket is for sending alone.
_NOTHING = [(0x06, 0, 0, 0)]


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A tunnel's ends, and what the path between them takes in octets."""

    source: IPv6Address
    destination: IPv6Address
    path_mtu: int


class OuterSender:
    """A raw socket for IPv6 in IPv6; needs CAP_NET_RAW and CAP_NET_ADMIN."""

    def __init__(self) -> None:
        """Open the socket."""
        self._socket = socket.socket(
            socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_IPV6
        )
        attach_filter(self._socket, _NOTHING)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, packet: bytes, tunnel: Tunnel, mark: int) -> None:
        """Send ``packet`` by ``tunnel``, the outer packet with firewall mark ``mark``.

        :raises OSError: where the kernel does not take it.
        """
        self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU, tunnel.path_mtu)
        traffic_class = packet[0] << 4 & 0xF0 | packet[1] >> 4
        control = [
            (socket.SOL_SOCKET, _SO_MARK, struct.pack("=I", mark)),
            (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, struct.pack("=i", traffic_class)),
            (
                socket.IPPROTO_IPV6,
                socket.IPV6_PKTINFO,
                struct.pack("=16sI", tunnel.source.packed, 0),
            ),
        ]
        self._socket.sendmsg([packet], control, 0, (str(tunnel.destination), 0))
