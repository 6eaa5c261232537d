"""A mobile router's surroundings: links, home agents, correspondent nodes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

from protocol_world import HOME, HOME_AGENT, LTE, SAT, WIFI
from route_world import CORRESPONDENT, OTHER_CORRESPONDENT

from mrouter.protocol.bindings import MAX_SLOT
from mrouter.protocol.events import DiscoveryReceived, EgressAddress
from mrouter.protocol.prefix_watch import PrefixWatch
from mrouter.wire.constants import BindingStatus
from mrouter.wire.home_discovery import PrefixAdvertisement, find_anycast_address

HOME_PREFIX = IPv6Network("2001:db8:aaaa::/64")
ANYCAST = find_anycast_address(HOME_PREFIX)
OTHER_AGENT = IPv6Address("2001:db8:aaaa::2")
LINKS = (
    LTE,
    WIFI,
    SAT,
    replace(LTE, address=IPv6Address("2001:db8:1::11")),
    replace(WIFI, address=LTE.address),
    EgressAddress("lan", "eth0", HOME, 3),
)
CARE_OF_ADDRESSES = (LTE.address, WIFI.address, SAT.address, LINKS[3].address)
CORRESPONDENTS = (CORRESPONDENT, OTHER_CORRESPONDENT, HOME_AGENT, HOME)
SENDERS = (HOME_AGENT, OTHER_AGENT, CORRESPONDENT, OTHER_CORRESPONDENT, WIFI.address)
STATUSES = (0, 1, 1, 1, *map(int, BindingStatus), 127, 200, 255)
#: More care-of addresses than there are slots.
CROWD = tuple(
    EgressAddress("lte", "wan0", IPv6Address((0x20010DB8 << 96) + (9 << 64) + number), number)
    for number in range(1, MAX_SLOT + 8)
)


class Vehicle:
    """A router and its prefix watch, put together as the agent does."""

    def __init__(self, role, story):
        self.role = role
        self._watch = PrefixWatch(HOME, story.random)

    def next_deadline(self):
        deadlines = (self.role.next_deadline(), self._watch.next_deadline())
        return min((at for at in deadlines if at is not None), default=None)

    def handle(self, event, now):
        effects = []
        if not (
            isinstance(event, DiscoveryReceived)
            and isinstance(event.packet.message, PrefixAdvertisement)
        ):
            effects = self.role.handle(event, now)
        entries, home_agent = self.role.entries, self.role.home_agent
        return effects + self._watch.handle(event, entries, home_agent, now.monotonic)


def list_bindings(role):
    """Return the bindings by correspondent node, those of the home agent under None."""
    found = {None: list(role.entries)}
    for route in role.routes:
        found.setdefault(route.correspondent, []).append(route.binding)
    return found


def list_usable(bindings):
    """Return what traffic may go by of what ``list_bindings`` gave, as values to compare."""
    return {
        (peer, each.link, each.care_of_address, each.ifid, each.slot, each.ipv4_prefixes)
        for peer, entries in bindings.items()
        for each in entries
        if each.usable
    }
