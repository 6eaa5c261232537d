"""Immutable snapshots of bindings: what the data plane, the metrics and the status read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network, IPv6Address, IPv6Network

#: Slots number one home address's bindings from 1; 6 bits of the firewall mark hold them.
MAX_SLOT = 62


class BindingState(Enum):
    """Where an entry of the Binding Update List stands."""

    REGISTERING = "registering"
    REGISTERED = "registered"
    REFRESHING = "refreshing"
    REFUSED = "refused"
    DEREGISTERING = "deregistering"


@dataclass(frozen=True, slots=True)
class UpdateListEntry:
    """One entry of the mobile router's Binding Update List, towards its home agent.

    ``expires_at`` is monotonic seconds, None while nothing is acknowledged. ``slot`` is small,
    stable while the entry lives, and unique in the list. ``usable`` says that the home agent has
    accepted the binding and its lifetime runs, ``plain`` that it is registered without CoAINFO.
    ``ipv4_prefixes`` are the IPv4 networks that the home agent takes by it: none unless usable.
    """

    link: str
    interface: str
    care_of_address: IPv6Address
    ifid: int
    ifpri: int
    slot: int
    state: BindingState
    sequence: int
    status: int | None
    expires_at: float | None
    usable: bool
    plain: bool = False
    ipv4_prefixes: tuple[IPv4Network, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """One entry of the Binding Update List that is about a correspondent node.

    The slots of ``binding`` number the bindings of that correspondent node alone.
    """

    correspondent: IPv6Address
    binding: UpdateListEntry


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One binding of a Binding Cache, keyed by (home address, IFID).

    ``ifid`` is None for a plain RFC 6275 or RFC 3963 binding, which is then the only one of its
    home address. ``slot`` is unique among the bindings of one home address. ``expires_at`` is
    monotonic seconds, ``lifetime`` the granted seconds. ``link_local`` is the L flag: the home
    agent defends the link-local address with the same interface identifier, too.
    ``ipv4_prefixes`` are the IPv4 networks granted to it, none within another. Deviates from RFC
    5555 §4.5, where IPv4 has an entry of its own: care-of address and lifetime are the same.
    """

    home_address: IPv6Address
    ifid: int | None
    ifpri: int
    care_of_address: IPv6Address
    prefixes: tuple[IPv6Network, ...]
    slot: int
    sequence: int
    lifetime: int
    expires_at: float
    mobile_router: bool
    link_local: bool = False
    ipv4_prefixes: tuple[IPv4Network, ...] = ()


def find_free_slot(taken: Iterable[int]) -> int | None:
    """Return the lowest slot from 1 to ``MAX_SLOT`` that is not in ``taken``, or None."""
    used = set(taken)
    return next((slot for slot in range(1, MAX_SLOT + 1) if slot not in used), None)


def find_replaced(
    ifid: int | None,
    care_of_address: IPv6Address,
    known: CacheEntry | None,
    bindings: Iterable[CacheEntry],
) -> list[CacheEntry]:
    """Return those of a home address's ``bindings`` that end when the one of ``ifid`` begins.

    ``known`` is that one as it is now, None if it is new. "After receiving the BU which does not
    contain a CoAINFO sub-option, the CN MUST have only a binding for the home address" (the draft
    §8.3, and RFC 5648 §6.2); and the other way round, the first binding with an IFID ends the one
    without.

    A new IFID for a care-of address takes the place of the one that the mobile router knew it
    by before it renewed its IFIDs, or lost its memory: else nobody might de-register that one,
    and it would draw traffic to the link when the link has gone.
    """
    return [
        entry
        for entry in bindings
        if entry.ifid != ifid
        and (
            None in (entry.ifid, ifid)
            or (known is None and entry.care_of_address == care_of_address)
        )
    ]
