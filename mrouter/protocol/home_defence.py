"""Home addresses on a real home link: checked before they are bound, defended while they are.

RFC 6275 §10.3.1 and §10.4.1.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from mrouter.protocol.home_registration import Discard, is_later

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.home_registration import Request

_LINK_LOCAL = int(IPv6Address("fe80::"))
_INTERFACE_IDENTIFIER = (1 << 64) - 1


def list_defended(home_address: IPv6Address, *, link_local: bool) -> tuple[IPv6Address, ...]:
    """Return the addresses to defend for a binding (RFC 6275 §10.3.1).

    With the L flag the link-local address that has the home address's interface identifier, too.
    """
    if not link_local:
        return (home_address,)
    identifier = int(home_address) & _INTERFACE_IDENTIFIER
    return home_address, IPv6Address(_LINK_LOCAL | identifier)


def find_undefended(request: Request, bindings: Iterable[CacheEntry]) -> tuple[IPv6Address, ...]:
    """Return what ``request`` asks to defend and no binding of its home address does yet."""
    wanted = list_defended(request.home_address, link_local=request.update.link_local_compatible)
    defended = {
        address
        for entry in bindings
        for address in list_defended(entry.home_address, link_local=entry.link_local)
    }
    return tuple(address for address in wanted if address not in defended)


class HeldRequests:
    """Binding Updates that wait for the end of duplicate address detection.

    One for each home address and IFIDs, the last one that came: the mobile router repeats its
    Binding Update meanwhile, and takes the answer to the last one only.
    """

    def __init__(self) -> None:
        self._held: dict[IPv6Address, dict[tuple[int | None, ...], Request]] = {}

    def hold(self, request: Request) -> bool:
        """Keep ``request``; tell whether its home address had none, so that a check must begin."""
        fresh = request.home_address not in self._held
        held = self._held.setdefault(request.home_address, {})
        earlier = held.get(request.ifids)
        if earlier is not None and not is_later(
            request.update.sequence, than=earlier.update.sequence
        ):
            raise Discard("signalling-dropped", "older-than-held")
        held[request.ifids] = request
        return fresh

    def drop(self, home_address: IPv6Address, ifids: Collection[int | None]) -> None:
        """Forget what a de-registration of ``ifids`` takes back; None: all of the home address."""
        held = self._held.get(home_address, {})
        for key, request in list(held.items()):
            if None in ifids:
                del held[key]
            elif not set(key).isdisjoint(ifids):
                del held[key]
                request.forget(ifids)
                if request.informations:
                    held[request.ifids] = request

    def take(self, home_address: IPv6Address) -> list[Request]:
        """Return what waited for the check of ``home_address``, in the order it came."""
        return list(self._held.pop(home_address, {}).values())
