"""Looking for home agents of the home prefix (RFC 6275 §11.4.1, RFC 3963 §7.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.events import Counted, SendDiscovery
from mrouter.wire.home_discovery import DiscoveryPacket, HomeAgentReply, HomeAgentRequest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.events import Effect, EgressAddress

#: Seconds (RFC 6275 §12); doubled at each retransmission.
INITIAL_DHAAD_TIMEOUT = 3.0
#: Retransmissions (RFC 6275 §12).
DHAAD_RETRIES = 4
#: How long to rest, in seconds, when nobody has answered; links that change end the rest.
_REST = 60.0


class HomeAgentSearch:
    """Asks the home agents' anycast address over every link, again and again.

    ``mobile_router``: only home agents that serve mobile routers will do.
    """

    def __init__(self, anycast: IPv6Address, random: Random, *, mobile_router: bool) -> None:
        self._anycast = anycast
        self._random = random
        self._mobile_router = mobile_router
        self._identifier: int | None = None
        self._tries = 0
        self.due_at: float | None = None
        """When to ask next, in monotonic seconds; None while there is no search."""

    def start(self, at: float) -> None:
        """Begin to ask, or begin anew, at ``at``."""
        self._tries = 0
        self._identifier = self._random.randrange(1 << 16)
        self.due_at = at

    def stop(self) -> None:
        """Ask no more, and take no reply."""
        self._identifier = self.due_at = None

    def ask(self, addresses: Iterable[EgressAddress], now: float) -> list[Effect]:
        """Ask from each link's first care-of address; sets the next time."""
        if self._tries > DHAAD_RETRIES:
            self._tries = 0
        request = HomeAgentRequest(self._identifier or 0, self._mobile_router)
        wait = INITIAL_DHAAD_TIMEOUT * 2**self._tries if self._tries < DHAAD_RETRIES else _REST
        self._tries += 1
        self.due_at = now + wait
        sources: dict[str, IPv6Address] = {}
        for address in addresses:
            sources.setdefault(address.link, address.address)
        return [
            SendDiscovery(DiscoveryPacket(source, self._anycast, request), link)
            for link, source in sources.items()
        ]

    def take(self, packet: DiscoveryPacket) -> tuple[IPv6Address, ...] | Counted:
        """Return the home agents of a reply, the best first, or what to count.

        RFC 6275 §6.6 allows a reply without an address; then its source is the home agent.
        """
        reply = packet.message
        if not isinstance(reply, HomeAgentReply) or reply.identifier != self._identifier:
            return Counted("discovery-dropped", "unexpected-message")
        if self._mobile_router and not reply.mobile_router:
            return Counted("discovery-dropped", "nemo-not-supported")
        self.stop()
        return reply.addresses or (packet.source,)
