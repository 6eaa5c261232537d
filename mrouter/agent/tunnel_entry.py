"""What the kernel leaves to us at a tunnel's entry (RFC 2473 §7.1, §8.1)."""

from __future__ import annotations

import random
import socket
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from mrouter.agent.token_bucket import TokenBucket
from mrouter.dataplane import marks
from mrouter.dataplane.path_mtu import CUT_GROUP, MINIMUM_MTU, find_tunnel_mtu
from mrouter.errors import ParseError
from mrouter.links.outer_sender import OuterSender
from mrouter.packet_log import PacketLog
from mrouter.wire.fragments import split_packet
from mrouter.wire.packet_too_big import may_be_answered, serialize_packet_too_big
from mrouter.wire.transport_checksum import complete_checksum

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from mrouter.links.outer_sender import Tunnel
    from mrouter.wire.packet_too_big import PacketTooBig

#: Senders told a second (RFC 4443 §2.4 f).
_RATE = 200.0
_BURST = 200.0
#: So many packets are cut before others have their turn.
_BATCH = 256
_ICMP6_FILTER = 1
_DESTINATION = slice(24, 40)


class TunnelEntry:
    """Tells senders of what is too big for a tunnel; sends in fragments what must pass it."""

    def __init__(
        self,
        find_tunnel: Callable[[int, IPv6Address], Tunnel | None],
        events: Counter[tuple[str, str]],
    ) -> None:
        """Open the sockets; what does not go out is counted in ``events``.

        ``find_tunnel`` finds the tunnel of a slot that a packet for an address goes by.

        :raises DataplaneError: without the kernel's netfilter log.
        """
        self._find_tunnel = find_tunnel
        self._events = events
        self._tokens = TokenBucket(_RATE, _BURST)
        self._random = random.SystemRandom()
        self._log = PacketLog(CUT_GROUP)
        self._outer = OuterSender()
        self._errors = socket.socket(
            socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6
        )
        nothing = struct.pack("=8I", *[0xFFFFFFFF] * 8)  # a set bit blocks
        self._errors.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, nothing)

    def fileno(self) -> int:
        """Return the descriptor to watch for ``cut``."""
        return self._log.fileno()

    def close(self) -> None:
        """Close the sockets."""
        self._log.close()
        self._outer.close()
        self._errors.close()

    def tell(self, report: PacketTooBig, now: float) -> None:
        """Tell the sender of the packet in the tunnel what the tunnel takes; ``now`` monotonic.

        With ip6tnl the kernel does. A packet that the tunnel must take is not reported: the next
        like it goes in fragments.
        """
        mtu = find_tunnel_mtu(report.mtu)
        if report.invoking_length <= mtu or not may_be_answered(report.invoking):
            return
        if not self._tokens.take(now):
            return
        message = serialize_packet_too_big(mtu, report.invoking)
        try:
            self._errors.sendto(message, (str(report.lost.inner_source), 0))
        except OSError:
            self._events["packet-too-big", "kernel-refused"] += 1

    def cut(self) -> None:
        """Send the packets that our rules have handed over, in as many pieces as it takes.

        What came in fragments goes in fragments again, lest it be too big behind the tunnel.
        """
        for packet, mark in self._log.receive(_BATCH):
            tunnel = self._find_tunnel(marks.slot_of_mark(mark), IPv6Address(packet[_DESTINATION]))
            if tunnel is None:
                continue  # it has gone meanwhile
            outer = marks.ENCAP | marks.OUTER | mark & (marks.SLOT_MASK | marks.BICAST)
            identification = self._random.getrandbits(32)
            try:
                whole = complete_checksum(packet)
                for piece in split_packet(whole, MINIMUM_MTU, identification):
                    self._outer.send(piece, tunnel, outer)
            except ParseError as error:
                self._events["fragments", error.reason] += 1
            except OSError:
                self._events["fragments", "kernel-refused"] += 1
