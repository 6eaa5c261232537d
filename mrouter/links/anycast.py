"""Anycast addresses of this machine."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address

_IPV6_JOIN_ANYCAST = 27


class AnycastMembership:
    """Anycast addresses that the kernel takes packets for, and answers for on their link.

    They end with ``close``, or with the process.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._socket: socket.socket | None = None

    def join(self, interface: str, addresses: Iterable[IPv6Address]) -> None:
        """Take ``addresses`` on ``interface`` instead of what was taken before.

        Only a router may; an interface that went down has forgotten them.

        :raises OSError: if the interface is away or down.
        """
        # first: a membership from before the interface went down would take the new one with it
        self.close()
        fresh = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        try:
            index = socket.if_nametoindex(interface)
            for address in addresses:
                membership = struct.pack("=16si", address.packed, index)
                fresh.setsockopt(socket.IPPROTO_IPV6, _IPV6_JOIN_ANYCAST, membership)
        except OSError:
            fresh.close()
            raise
        self._socket = fresh

    def close(self) -> None:
        """Give all of them up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
