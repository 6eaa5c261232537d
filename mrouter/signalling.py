"""Mobility Header packets in and out, on every kernel.

Out: whole IPv6 packets through a raw socket, bound to the egress interface. In: by the netfilter
log, from our own rule in the ``input`` hook. A raw socket would not do: a kernel without ``mip6``
hands it no packet with the Home Address option or the type 2 routing header. A packet socket
would, but it is shown every packet that is forwarded, which costs a twentieth of the packet rate,
and it does not see what comes out of a tunnel.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from mrouter.packet_log import PacketLog

if TYPE_CHECKING:
    from collections.abc import Iterator


class SignallingSocket:
    """The signalling sockets of one network namespace."""

    def __init__(self, group: int) -> None:
        """Open the sockets; ``group`` is the netfilter log group of our rule.

        :raises DataplaneError: without the kernel's netfilter log, or if another agent has the
            group.
        """
        self._log = PacketLog(group)
        self._senders: dict[str | None, socket.socket] = {}

    def fileno(self) -> int:
        """Return the descriptor to watch for received packets."""
        return self._log.fileno()

    def close(self) -> None:
        """Close all sockets."""
        self._log.close()
        for sender in self._senders.values():
            sender.close()

    def receive(self, limit: int) -> Iterator[tuple[bytes, int]]:
        """Yield up to ``limit`` waiting packets, whole from their IPv6 header on, with their marks.

        A packet's mark is the firewall mark that it had when it met our rule.
        """
        return self._log.receive(limit)

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
