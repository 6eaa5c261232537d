"""Which bindings of a correspondent node packets go and come by, by the kernel's counters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from mrouter.errors import DataplaneError
from mrouter.protocol.events import BindingsUsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from ipaddress import IPv6Address

    from mrouter.dataplane.linux import AddressPair, LinuxDataplane
    from mrouter.protocol.bindings import CacheEntry

KeyT = TypeVar("KeyT")

#: Seconds between two looks, so long as a look is no more than a fiftieth of that.
_INTERVAL = 1.0
_SHARE = 50


class BindingTraffic:
    """Looks at the counters; ``next_look_at`` (monotonic seconds) is when to look again."""

    def __init__(self, dataplane: LinuxDataplane, *, by_headers: bool) -> None:
        """Look into ``dataplane``; ``by_headers``: packets come with headers of `mip6`, too."""
        self._dataplane = dataplane
        self._by_headers = by_headers
        self._sent: Mapping[IPv6Address, int] = {}
        self._received: Mapping[AddressPair, int] = {}
        self.next_look_at = 0.0

    def look(self, entries: Iterable[CacheEntry], routes: Iterable[CacheEntry]) -> BindingsUsed:
        """Return which of ``entries`` have been used since the last look.

        Packets go by ``routes`` alone. While nothing of ours stands in the kernel none is used.
        """
        began = time.monotonic()
        try:
            sent, received = self._read_sent(), self._read_received()
        except DataplaneError:
            sent, received = {}, {}
        gone, self._sent = _find_changed(self._sent, sent), sent
        come, self._received = _find_changed(self._received, received), received
        now = time.monotonic()
        self.next_look_at = now + max(_INTERVAL, _SHARE * (now - began))
        return BindingsUsed(
            frozenset((e.home_address, e.ifid) for e in routes if e.home_address in gone),
            frozenset(
                (e.home_address, e.ifid)
                for e in entries
                if (e.care_of_address, e.home_address) in come
            ),
        )

    def _read_sent(self) -> dict[IPv6Address, int]:
        counted = self._dataplane.read_address_counters("mobile")
        return {home: packets for home, (packets, _octets) in counted.items()}

    def _read_received(self) -> dict[AddressPair, int]:
        found: dict[AddressPair, int] = {}
        places = [("set", "sources"), *([("map", "options")] if self._by_headers else [])]
        for place in places:
            for pair, (packets, _octets) in self._dataplane.read_pair_counters(*place).items():
                found[pair] = found.get(pair, 0) + packets
        return found


def _find_changed(before: Mapping[KeyT, int], now: Mapping[KeyT, int]) -> set[KeyT]:
    """Return whose number is another one: it is more, or begun anew."""
    return {key for key, packets in now.items() if packets != before.get(key, 0)}
