"""What tunnels' paths take: learnt from the errors that come to their entry, here."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrouter.agent.journal import note
from mrouter.agent.tunnel_entry import TunnelEntry
from mrouter.dataplane.state import Encapsulation
from mrouter.links.packet_errors import PacketErrorSocket, PacketErrorType
from mrouter.links.path_mtus import PathMtus
from mrouter.wire.packet_too_big import parse_packet_too_big

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from ipaddress import IPv6Address

    from mrouter.links.outer_sender import Tunnel
    from mrouter.wire.tunnelled import TunnelledPacket


@dataclass(frozen=True, slots=True)
class TunnelKnowledge:
    """What a role knows of its tunnels.

    ``find_mtu`` tells what is believed of the path that one of our own tunnels' packets took, None
    of any other packet. ``find_tunnel`` finds the tunnel of a slot that a packet for an address
    goes by. ``changed`` is called when a path takes more or less than it did.
    """

    find_mtu: Callable[[TunnelledPacket], int | None]
    find_tunnel: Callable[[int, IPv6Address], Tunnel | None]
    changed: Callable[[], None]


class PathMtuWatch:
    """Learns path MTUs, forgets them in time, and stands at the tunnels' entry."""

    def __init__(
        self,
        encapsulation: Encapsulation,
        tunnels: TunnelKnowledge,
        events: Counter[tuple[str, str]],
    ) -> None:
        """Open the sockets; what fails is counted in ``events``.

        :raises DataplaneError: where a privilege or a kernel feature is missing.
        """
        self._tunnels = tunnels
        self._learnt = PathMtus()
        self._timer: asyncio.TimerHandle | None = None
        self._errors = PacketErrorSocket(PacketErrorType.PACKET_TOO_BIG, parse_packet_too_big)
        self._entry = TunnelEntry(tunnels.find_tunnel, events)
        self._tells = encapsulation is Encapsulation.SEG6

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to listen."""
        loop.add_reader(self._errors.fileno(), self._on_errors)
        loop.add_reader(self._entry.fileno(), self._entry.cut)

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """End what ``open`` began."""
        if self._timer is not None:
            self._timer.cancel()
        loop.remove_reader(self._errors.fileno())
        self._errors.close()
        loop.remove_reader(self._entry.fileno())
        self._entry.close()

    @property
    def learnt(self) -> PathMtus:
        """What was learnt."""
        return self._learnt

    def _on_errors(self) -> None:
        news = False
        for reporter, report in self._errors.receive():
            known = self._tunnels.find_mtu(report.lost)
            if known is None:
                continue  # nothing that we have sent
            now = time.monotonic()
            ends = report.lost.source, report.lost.destination
            if self._learnt.learn(*ends, report.mtu, known, now):
                note(
                    "path-mtu",
                    source=str(ends[0]),
                    destination=str(ends[1]),
                    mtu=report.mtu,
                    reporter=str(reporter),
                )
                news = True
            if self._tells:
                self._entry.tell(report, now)
        if news:
            self._tunnels.changed()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._learnt.next_deadline()
        if deadline is not None:
            delay = max(0.0, deadline - time.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._learnt.expire(time.monotonic()):
            self._tunnels.changed()
        self._set_timer()
