"""An agent's messages: received and parsed, signed and sent, each of them counted."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from mrouter.agent.journal import note
from mrouter.agent.parse_answers import ParseAnswerer
from mrouter.dataplane import marks
from mrouter.dataplane.fragments import SIGNALLING_GROUP
from mrouter.errors import ParseError
from mrouter.protocol.events import DiscoveryReceived, PacketReceived
from mrouter.signalling import SignallingSocket
from mrouter.wire.home_discovery import is_discovery, parse_discovery, serialize_discovery
from mrouter.wire.messages import BindingAcknowledgement, BindingError
from mrouter.wire.packet import parse_packet, serialize_packet
from mrouter.wire.tunnelled import (
    TunnelledPacket,
    has_home_address,
    is_tunnelled,
    parse_home_address,
    parse_tunnelled,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from ipaddress import IPv6Address

    from mrouter.protocol.events import SendDiscovery, SendPacket
    from mrouter.wire.format import WireFormat
    from mrouter.wire.messages import Message
    from mrouter.wire.packet import Signer

#: What came in: a message as its event, or a packet of data that our rules have reported.
Incoming = PacketReceived | DiscoveryReceived | TunnelledPacket


class Messenger:
    """The signalling socket, and what passed it."""

    def __init__(self, fmt: WireFormat, events: Counter[tuple[str, str]]) -> None:
        """Open the socket, for messages in ``fmt``; what is not sent is counted in ``events``.

        :raises DataplaneError: where a privilege or a kernel feature is missing.
        """
        self._format = fmt
        self._socket = SignallingSocket(SIGNALLING_GROUP)
        self._answerer = ParseAnswerer(fmt)
        self._messages: Counter[tuple[str, str, str]] = Counter()
        self._parse_failures: Counter[str] = Counter()
        self._events = events

    def fileno(self) -> int:
        """Return the descriptor to watch for ``receive``."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def receive(self, most: int, local_addresses: Container[IPv6Address]) -> Iterator[Incoming]:
        """Yield what has come, at most ``most`` packets.

        One that cannot be parsed is counted, and answered if it was for one of the
        ``local_addresses`` and there is an answer (RFC 6275 §9.2).
        """
        for data, mark in self._socket.receive(most):
            try:
                yield self._parse(data, mark)
            except ParseError as error:
                self._parse_failures[error.reason] += 1
                answer = self._answerer.answer(error, data, local_addresses, time.monotonic())
                if answer is not None:
                    self._transmit(answer, None)

    def send(self, effect: SendPacket, signer: Signer | None, interface: str | None) -> None:
        """Send what ``effect`` asks for, by ``interface`` (None: by the ordinary routes)."""
        data = serialize_packet(effect.packet, self._format, signer)
        if self._transmit(data, interface):
            self._count("sent", effect.packet.message)

    def send_discovery(self, effect: SendDiscovery, interface: str | None) -> None:
        """Send what ``effect`` asks for, by ``interface`` (None: by the ordinary routes)."""
        if self._transmit(serialize_discovery(effect.packet), interface):
            self._messages["sent", type(effect.packet.message).__name__, ""] += 1

    def describe(self) -> dict[str, Any]:
        """Return the status: what passed, and what could not be parsed."""
        return {
            "signalling": [
                {"direction": direction, "type": kind, "status": status, "count": count}
                for (direction, kind, status), count in sorted(self._messages.items())
            ],
            "parse_failures": dict(self._parse_failures),
        }

    def _parse(self, data: bytes, mark: int) -> Incoming:
        if is_tunnelled(data):
            return parse_tunnelled(data)
        if has_home_address(data):
            return parse_home_address(data)
        if is_discovery(data):
            discovery = parse_discovery(data)
            self._messages["received", type(discovery.message).__name__, ""] += 1
            return DiscoveryReceived(discovery)
        packet = parse_packet(data, self._format)
        self._count("received", packet.message)
        return PacketReceived(packet, marks.came_by_home_agent(mark))

    def _transmit(self, data: bytes, interface: str | None) -> bool:
        try:
            self._socket.send(data, interface)
        except OSError as error:
            # its retransmission timer runs; a link that is gone is told by the monitor
            self._events["send-failed", "kernel-refused"] += 1
            note("send-failed", logging.WARNING, interface=interface or "", error=str(error))
            return False
        return True

    def _count(self, direction: str, message: Message) -> None:
        status = ""
        if isinstance(message, BindingAcknowledgement | BindingError):
            status = str(message.status)
        self._messages[direction, type(message).__name__, status] += 1
