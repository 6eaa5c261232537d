"""The home agent's prefix table: who may use which mobile network prefix (RFC 3963 §6.1.2)."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from mrouter.wire.constants import BindingStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address, IPv6Network

    from mrouter.protocol.settings import ServedMobileRouter


class PrefixTable:
    """The served mobile routers by home address, and all their prefixes."""

    def __init__(self, served: Iterable[ServedMobileRouter]) -> None:
        self._served = {router.home_address: router for router in served}
        prefixes = {prefix for router in self._served.values() for prefix in router.prefixes}
        self._prefixes = prefixes
        self._lengths = sorted({prefix.prefixlen for prefix in prefixes})
        self._starts = sorted(prefix.network_address for prefix in prefixes)
        self._owners = {
            (prefix.prefixlen, int(prefix.network_address) >> 128 - prefix.prefixlen): router
            for router in self._served.values()
            for prefix in router.prefixes
        }

    def get(self, home_address: IPv6Address) -> ServedMobileRouter | None:
        """Return the mobile router with that home address, or None if it is not served."""
        return self._served.get(home_address)

    def find_owner(self, address: IPv6Address) -> ServedMobileRouter | None:
        """Return the mobile router whose home address, or in whose prefixes, ``address`` is."""
        router = self._served.get(address)
        for length in self._lengths:
            if router is not None:
                break
            router = self._owners.get((length, int(address) >> 128 - length))
        return router

    def check(self, router: ServedMobileRouter, prefix: IPv6Network) -> BindingStatus | None:
        """Return why ``router`` may not register ``prefix``, or None if it may (RFC 3963 §6.2).

        141 when the prefix is nobody's here or could not be a mobile network's at all, 142 when
        it overlaps what belongs to another mobile router. Deviates from RFC 3963 §6.2, which has
        142 for both: so the mistake is told from the trespass.
        """
        if any(prefix.subnet_of(own) for own in router.prefixes):
            return None
        if self._overlaps_any(prefix):
            return BindingStatus.NOT_AUTHORIZED_FOR_PREFIX
        return BindingStatus.INVALID_PREFIX

    def _overlaps_any(self, prefix: IPv6Network) -> bool:
        for length in self._lengths:
            if length > prefix.prefixlen:
                break
            if prefix.supernet(new_prefix=length) in self._prefixes:
                return True
        first_inside = bisect_left(self._starts, prefix.network_address)
        return (
            first_inside < len(self._starts)
            and self._starts[first_inside] <= prefix.broadcast_address
        )
