"""The home agent's home link: who else has an address there, and where one is reached now."""

from __future__ import annotations

import contextlib
import socket
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from mrouter.wire import neighbour_discovery as nd

if TYPE_CHECKING:
    from collections.abc import Iterator

_ETH_P_IPV6 = 0x86DD
_ICMP6_FILTER = 1
_RECEIVE_SIZE = 2048
_ANCILLARY_SIZE = 256
_INDEX = struct.Struct("=i")


class HomeLink:
    """The interface ``name``, which may come and go; needs CAP_NET_RAW."""

    def __init__(self, name: str) -> None:
        """Open the sockets."""
        self._name = name
        self._receiver = socket.socket(
            socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6
        )
        self._receiver.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, _make_filter())
        for option in (socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT):
            self._receiver.setsockopt(socket.IPPROTO_IPV6, option, 1)
        # what has no source address yet only goes out through a packet socket; this one, of no
        # protocol, is never shown a packet
        self._sender = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)

    def fileno(self) -> int:
        """Return the descriptor to watch for ``receive``."""
        return self._receiver.fileno()

    def close(self) -> None:
        """Close the sockets."""
        self._receiver.close()
        self._sender.close()

    def probe(self, address: IPv6Address) -> None:
        """Ask whether anybody has ``address``, and listen to others who ask.

        :raises OSError: if the interface is down or away.
        """
        group = nd.find_solicited_node(address)
        # RFC 4862 §5.4.2: it MUST join the group first
        self._change_membership(socket.IPV6_JOIN_GROUP, group)
        self._send(group, nd.serialize_duplicate_probe(address))

    def end_probe(self, address: IPv6Address) -> None:
        """Listen no more to others who ask for ``address``."""
        self._change_membership(socket.IPV6_LEAVE_GROUP, nd.find_solicited_node(address))

    def advertise(self, address: IPv6Address, *, router: bool = False) -> None:
        """Tell all nodes that ``address``, a ``router``'s or not, is reached at this interface.

        :raises OSError: if the interface is down or away.
        """
        packet = nd.serialize_advertisement(
            self._find_source(), address, self._find_link_layer_address(), router=router
        )
        self._send(nd.ALL_NODES, packet)

    def receive(self) -> Iterator[IPv6Address]:
        """Yield each address that somebody says to have, or is about to take."""
        while True:
            try:
                message, ancillary, _flags, address = self._receiver.recvmsg(
                    _RECEIVE_SIZE, _ANCILLARY_SIZE
                )
            except BlockingIOError:
                return
            except OSError:
                continue  # an interface went down under the socket
            index = hop_limit = 0
            for _level, kind, data in ancillary:
                if kind == socket.IPV6_PKTINFO:
                    index = _INDEX.unpack_from(data, 16)[0]
                elif kind == socket.IPV6_HOPLIMIT:
                    hop_limit = _INDEX.unpack(data)[0]
            if self._is_own(index):
                source = IPv6Address(address[0].partition("%")[0])
                claim = nd.find_claim(source, hop_limit, message)
                if claim is not None:
                    yield claim

    def _is_own(self, index: int) -> bool:
        try:
            return socket.if_nametoindex(self._name) == index
        except OSError:
            return False

    def _send(self, group: IPv6Address, packet: bytes) -> None:
        multicast = b"\x33\x33" + group.packed[-4:]  # RFC 2464 §7
        self._sender.sendto(packet, (self._name, _ETH_P_IPV6, 0, 0, multicast))

    def _change_membership(self, option: int, group: IPv6Address) -> None:
        # several home addresses may share a group: joined once, left with the first
        with contextlib.suppress(OSError):
            index = socket.if_nametoindex(self._name)
            membership = struct.pack("=16sI", group.packed, index)
            self._receiver.setsockopt(socket.IPPROTO_IPV6, option, membership)

    def _find_source(self) -> IPv6Address:
        """Return the kernel's choice of our address for multicast on this link."""
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            index = socket.if_nametoindex(self._name)
            probe.connect((str(nd.ALL_NODES), 9, 0, index))
            return IPv6Address(probe.getsockname()[0].partition("%")[0])

    def _find_link_layer_address(self) -> bytes:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as probe:
            probe.bind((self._name, 0))
            address: bytes = probe.getsockname()[4]
            return address


def _make_filter() -> bytes:
    """Return a struct icmp6_filter that lets Neighbour Solicitations and Advertisements pass."""
    words = [0xFFFFFFFF] * 8  # a set bit blocks
    for kind in (nd.NEIGHBOUR_SOLICITATION, nd.NEIGHBOUR_ADVERTISEMENT):
        words[kind >> 5] &= ~(1 << (kind & 31))
    return struct.pack("=8I", *words)
