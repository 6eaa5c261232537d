"""The home agent's prefix table: who may use which mobile network prefix (RFC 3963 §6.1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address, IPv6Network

    from mrouter.protocol.settings import ServedMobileRouter


class PrefixTable:
    """The served mobile routers by home address, and all their prefixes."""

    def __init__(self, served: Iterable[ServedMobileRouter]) -> None:
        self._served = {router.home_address: router for router in served}
        prefixes = {prefix for router in self._served.values() for prefix in router.prefixes}
        self._lengths = sorted({prefix.prefixlen for prefix in prefixes})
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


def permits(router: ServedMobileRouter, prefix: IPv6Network) -> bool:
    """Tell whether ``prefix`` is ``router``'s, or a part of what is (RFC 3963 §6.2)."""
    return any(prefix.subnet_of(own) for own in router.prefixes)
