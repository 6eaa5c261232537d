"""What a mobile router away from home learns of its home prefixes (RFC 6275 §11.4.2, §11.4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.events import Counted, DiscoveryReceived, Noted, SendDiscovery
from mrouter.wire.constants import BindingStatus
from mrouter.wire.home_discovery import DiscoveryPacket, PrefixAdvertisement, PrefixSolicitation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.bindings import UpdateListEntry
    from mrouter.protocol.events import Effect, Event
    from mrouter.wire.home_discovery import HomePrefix

#: Seconds (RFC 6275 §12, INITIAL_SOLICIT_TIMER); doubled at each repetition.
_INITIAL_TIMEOUT = 3.0
_REPETITIONS = 4
#: Share of the shortest lifetime after which to ask again, and the bounds of that, in seconds.
_RENEWAL_SHARE, _SHORTEST_RENEWAL, _LONGEST_RENEWAL = 0.8, 30.0, 7 * 86400.0
#: Before the next try at a home agent that does not answer, in seconds.
_REST = 3600.0


class PrefixWatch:
    """Asks the home agent once a binding stands, and again before what it said is out of date.

    Deviates from RFC 6275 §11.4.2: no lifetime that is asked for is cut to what the home prefix
    has left. The home agent cuts its own, and a correspondent node forgets after 420 s.
    """

    def __init__(self, home_address: IPv6Address, random: Random) -> None:
        self._home_address = home_address
        self._random = random
        self._identifier: int | None = None
        self._tries = 0
        self._due_at: float | None = None
        self._asked: IPv6Address | None = None
        self._told: frozenset[float | None] = frozenset()
        self.prefixes: tuple[HomePrefix, ...] = ()
        """What the last advertisement said."""

    def next_deadline(self) -> float | None:
        """Return when ``handle`` wants to be called, in monotonic seconds; None for never."""
        return self._due_at

    def handle(
        self,
        event: Event,
        entries: Iterable[UpdateListEntry],
        home_agent: IPv6Address,
        now: float,
    ) -> list[Effect]:
        """Take one event in; ``entries`` are the bindings at ``home_agent``."""
        usable = [entry for entry in entries if entry.usable]
        if not usable:
            self._asked = self._identifier = self._due_at = None
            return []
        if self._asked != home_agent:
            self._asked, self._tries, self._due_at = home_agent, 0, now
        told = _find_acceptances_on_condition(usable)
        if told - self._told:
            self._tries, self._due_at = 0, now
        self._told = told
        effects: list[Effect] = []
        if isinstance(event, DiscoveryReceived) and isinstance(
            event.packet.message, PrefixAdvertisement
        ):
            effects += self._take(event.packet, event.packet.message, usable, now)
        if self._due_at is not None and self._due_at <= now:
            primary = min(usable, key=lambda entry: (entry.ifpri, entry.slot))
            effects.append(self._ask(primary, home_agent, now))
        return effects

    def _ask(self, entry: UpdateListEntry, home_agent: IPv6Address, now: float) -> SendDiscovery:
        if self._tries > _REPETITIONS:
            self._tries = 0
        if self._tries == 0:
            self._identifier = self._random.randrange(1 << 16)
        wait = _INITIAL_TIMEOUT * 2**self._tries if self._tries < _REPETITIONS else _REST
        self._tries += 1
        self._due_at = now + wait
        packet = DiscoveryPacket(
            source=entry.care_of_address,
            destination=home_agent,
            message=PrefixSolicitation(self._identifier or 0),
            home_address=self._home_address,
        )
        return SendDiscovery(packet, entry.link)

    def _take(
        self,
        packet: DiscoveryPacket,
        message: PrefixAdvertisement,
        usable: list[UpdateListEntry],
        now: float,
    ) -> list[Effect]:
        """Take what RFC 6275 §11.4.3 does not have discarded: solicited, from our home agent.

        Deviates from RFC 6275 §11.4.3, where an advertisement that nobody asked for makes the
        mobile node ask: nobody vouches for it, and what changes is learnt in time anyway. Another
        home prefix is noted and no more: keys and prefix tables hang on the home address, which
        is the operator's to change.
        """
        if (
            packet.source != self._asked
            or packet.routing_home_address != self._home_address
            or all(packet.destination != entry.care_of_address for entry in usable)
            or message.identifier != self._identifier
        ):
            return [Counted("discovery-dropped", "unexpected-message")]
        self._identifier = None
        self._tries = 0
        shortest = min((each.preferred_lifetime for each in message.prefixes), default=0)
        wait = min(max(shortest * _RENEWAL_SHARE, _SHORTEST_RENEWAL), _LONGEST_RENEWAL)
        self._due_at = now + wait
        known, self.prefixes = self.prefixes, message.prefixes
        if {each.prefix for each in known} == {each.prefix for each in self.prefixes}:
            return []
        listed = ", ".join(str(each.prefix) for each in self.prefixes)
        effects: list[Effect] = [Noted("home-prefixes-changed", (("prefixes", listed),))]
        if not any(
            self._home_address in each.prefix and each.valid_lifetime for each in self.prefixes
        ):
            effects.append(
                Noted("home-address-outlived", (("home_address", str(self._home_address)),))
            )
        return effects


def _find_acceptances_on_condition(entries: Iterable[UpdateListEntry]) -> frozenset[float | None]:
    """Return what tells the acceptances apart that make prefix discovery necessary.

    "If the Status field value is 1 (accepted but prefix discovery necessary), the mobile node
    SHOULD send a Mobile Prefix Solicitation" (RFC 6275 §11.7.3): each time. With CoAINFO 1 is the
    draft's success.
    """
    return frozenset(
        entry.expires_at
        for entry in entries
        if entry.plain and entry.status == BindingStatus.ACCEPTED_NP_COA
    )
