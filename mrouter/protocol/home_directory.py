"""What a home agent tells of its home link: which home agents, and which prefixes.

RFC 6275 §10.5 and §10.6, RFC 3963 §7.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.events import Counted, SendDiscovery
from mrouter.protocol.settings import PeerHomeAgent
from mrouter.wire.home_discovery import (
    MAX_HOME_AGENTS,
    DiscoveryPacket,
    HomeAgentReply,
    HomeAgentRequest,
    HomePrefix,
    PrefixAdvertisement,
    PrefixSolicitation,
    find_anycast_address,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address

    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.events import Effect
    from mrouter.protocol.settings import HomeAgentSettings

#: Answers a second, and how many at once: nobody vouches for a request's source.
_RATE, _BURST = 20.0, 40.0
#: Seconds between two advertisements to one mobile node (RFC 6275 §6.8).
_ADVERTISEMENT_INTERVAL = 1.0


class HomeDirectory:
    """Answers discovery requests and prefix solicitations; keeps nothing but its rates.

    Deviates from RFC 6275 §10.5.1: the other home agents are those of the configuration, and not
    those that Router Advertisements tell of, which are not the agent's business. One that is away
    is left by whoever tries it (RFC 6275 §11.4.1).

    Deviates from RFC 6275 §10.6.2: nothing is advertised unasked. The home prefixes are those of
    the configuration, read when the home agent starts, and their lifetimes do not run down; who
    has asked once asks again before they are over (RFC 6275 §11.4.2).
    """

    def __init__(self, settings: HomeAgentSettings, now: float) -> None:
        self._settings = settings
        self._anycast = {find_anycast_address(prefix) for prefix in settings.home_prefixes}
        self._tokens = _BURST
        self._filled_at = now
        self._advertised_at: dict[IPv6Address, float] = {}  # by home address

    def answer(
        self, packet: DiscoveryPacket, bindings: Iterable[CacheEntry], now: float
    ) -> list[Effect]:
        """Answer ``packet``; ``bindings`` are those of its home address, ``now`` monotonic."""
        message, home = packet.message, packet.home_address
        if isinstance(message, HomeAgentRequest) and packet.destination in self._anycast:
            reply = self._list_home_agents(message)
            answer = DiscoveryPacket(self._settings.address, packet.source, reply)
        elif (
            isinstance(message, PrefixSolicitation)
            and home is not None
            and packet.destination == self._settings.address
            # RFC 6275 §10.6.2: from the care-of address of a binding, with its home address
            and any(entry.care_of_address == packet.source for entry in bindings)
        ):
            if not self._settings.prefix_advertisements:
                # RFC 6275 §8.4: the operator MUST be able to have none sent.
                return [Counted("discovery-dropped", "prefix-advertisements-off")]
            # "The home agent MUST NOT send more than one Mobile Prefix Advertisement message per
            # second to any mobile node" (RFC 6275 §6.8).
            last = self._advertised_at.get(home)
            if last is not None and now - last < _ADVERTISEMENT_INTERVAL:
                return [Counted("discovery-dropped", "too-many")]
            self._advertised_at[home] = now
            answer = DiscoveryPacket(
                self._settings.address,
                packet.source,
                PrefixAdvertisement(message.identifier, self._list_prefixes()),
                routing_home_address=home,
            )
        else:
            return [Counted("discovery-dropped", "unexpected-message")]
        if not self._take_token(now):
            return [Counted("discovery-dropped", "too-many")]
        return [SendDiscovery(answer)]

    def _list_home_agents(self, request: HomeAgentRequest) -> HomeAgentReply:
        """List the home agents by preference; those of the same take turns (RFC 6275 §10.5.1).

        With the R flag only those that serve mobile routers; if none does all, without the flag
        (RFC 3963 §7.2).
        """
        own = PeerHomeAgent(self._settings.address, self._settings.preference, self._settings.nemo)
        known = [own, *self._settings.peers]
        chosen = [agent for agent in known if agent.nemo or not request.mobile_router] or known
        turn = request.identifier % len(chosen)
        ordered = sorted(chosen[turn:] + chosen[:turn], key=lambda agent: -agent.preference)
        return HomeAgentReply(
            request.identifier,
            tuple(agent.address for agent in ordered[:MAX_HOME_AGENTS]),
            mobile_router=request.mobile_router and all(agent.nemo for agent in chosen),
        )

    def _list_prefixes(self) -> tuple[HomePrefix, ...]:
        lifetime = self._settings.prefix_lifetime
        return tuple(
            HomePrefix(prefix, lifetime, lifetime) for prefix in self._settings.home_prefixes
        )

    def _take_token(self, now: float) -> bool:
        self._tokens = min(_BURST, self._tokens + (now - self._filled_at) * _RATE)
        self._filled_at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
