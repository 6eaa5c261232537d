"""Mobility Header packets in and out, on every kernel.

Out: whole IPv6 packets through a raw socket, bound to the egress interface. In: a packet socket
with a kernel filter, since a kernel without ``mip6`` hands no such packet to a raw socket that
has the Home Address option or the type 2 routing header in it.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ETH_P_IPV6 = 0x86DD
_SO_ATTACH_FILTER = 26
_PACKET_HOST = 0
_RECEIVE_SIZE = 65535
_NEXT_HEADER_MOBILITY = 135
_NEXT_HEADER_DESTINATION = 60
_NEXT_HEADER_ROUTING = 43


class SignallingSocket:
    """The signalling socket of one network namespace; needs CAP_NET_RAW."""

    def __init__(self) -> None:
        """Open the sockets.

        :raises PermissionError: without CAP_NET_RAW.
        """
        self._receiver = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_IPV6)
        )
        attach_filter(self._receiver, _mobility_filter())
        drain(self._receiver)  # what came before the filter
        self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._senders: dict[str | None, socket.socket] = {}

    def fileno(self) -> int:
        """Return the descriptor to watch for received packets."""
        return self._receiver.fileno()

    def close(self) -> None:
        """Close all sockets."""
        self._receiver.close()
        for sender in self._senders.values():
            sender.close()

    def receive(self, limit: int) -> Iterator[bytes]:
        """Yield up to ``limit`` waiting packets."""
        for _ in range(limit):
            try:
                data, address = self._receiver.recvfrom(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError:
                continue  # an interface went down under the socket
            if address[2] == _PACKET_HOST:
                yield data

    def send(self, packet: bytes, interface: str | None) -> None:
        """Send a whole IPv6 packet by ``interface``, or by the ordinary routes.

        :raises OSError: where the kernel does not take it.
        """
        destination = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        sender = self._senders.get(interface)
        if sender is None:
            sender = self._senders[interface] = _open_sender(interface)
        try:
            sender.sendto(packet, (destination, 0))
        except OSError:
            # the interface may have gone and come again under its name
            self._senders.pop(interface).close()
            raise


def _open_sender(interface: str | None) -> socket.socket:
    sender = socket.socket(
        socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW
    )
    if interface is not None:
        try:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        except OSError:
            sender.close()
            raise
    return sender


def drain(receiver: socket.socket) -> None:
    """Throw away what waits in a socket that does not block."""
    try:
        while True:
            receiver.recv(1)
    except BlockingIOError:
        return


def attach_filter(target: socket.socket, program: list[tuple[int, int, int, int]]) -> None:
    """Have the kernel give ``target`` only what a classic BPF program accepts."""
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    target.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("HP", len(program), ctypes.addressof(buffer)),
    )


def _mobility_filter() -> list[tuple[int, int, int, int]]:
    """Return a classic BPF program: Mobility Header, behind up to two extension headers."""
    load_byte, load_byte_x, load_ancillary = 0x30, 0x50, 0x30
    add, shift_left, to_x, equal, give = 0x04, 0x64, 0x07, 0x15, 0x06
    packet_type = 0xFFFFF000 + 4  # SKF_AD_OFF + SKF_AD_PKTTYPE
    drop, accept = 16, 17

    def jump(position: int, value: int, then: int, otherwise: int) -> tuple[int, int, int, int]:
        return (equal, then - position - 1, otherwise - position - 1, value)

    return [
        (load_ancillary, 0, 0, packet_type),
        jump(1, _PACKET_HOST, 2, drop),
        (load_byte, 0, 0, 6),
        jump(3, _NEXT_HEADER_MOBILITY, accept, 4),
        jump(4, _NEXT_HEADER_DESTINATION, 6, 5),
        jump(5, _NEXT_HEADER_ROUTING, 6, drop),
        (load_byte, 0, 0, 41),
        (add, 0, 0, 1),
        (shift_left, 0, 0, 3),
        (to_x, 0, 0, 0),
        (load_byte, 0, 0, 40),
        jump(11, _NEXT_HEADER_MOBILITY, accept, 12),
        jump(12, _NEXT_HEADER_DESTINATION, 14, 13),
        jump(13, _NEXT_HEADER_ROUTING, 14, drop),
        (load_byte_x, 0, 0, 40),
        jump(15, _NEXT_HEADER_MOBILITY, accept, drop),
        (give, 0, 0, 0),
        (give, 0, 0, 0xFFFFFFFF),
    ]
