"""One home registration at the home agent: the request, and the checks that need only it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mrouter.protocol.answers import ReplyPath
from mrouter.protocol.events import Counted
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import find_option
from mrouter.wire.options import (
    AlternateCareOfAddress,
    CareOfAddressInformation,
    MobileNetworkPrefix,
    ReplayProtection,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv6Address, IPv6Network

    from mrouter.protocol.binding_cache import BindingCache
    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.prefix_table import PrefixTable
    from mrouter.protocol.settings import SecurityAssociation, ServedMobileRouter
    from mrouter.wire.messages import BindingUpdate, Packet

_HALF_SEQUENCE = 1 << 15


@dataclass(slots=True)
class Request:
    """A Binding Update being worked on; ``association`` is set once its SPI is known."""

    packet: Packet
    update: BindingUpdate
    home_address: IPv6Address
    care_of_address: IPv6Address
    information: CareOfAddressInformation | None
    timestamp: int | None
    association: SecurityAssociation | None = None

    @property
    def ifid(self) -> int | None:
        """The IFID that CoAINFO names, None for a plain registration."""
        return None if self.information is None else self.information.ifid

    @property
    def reply_path(self) -> ReplyPath:
        """Where and how to answer."""
        return ReplyPath(
            destination=self.packet.source,
            association=self.association,
            timestamp=self.timestamp,
        )


class Discard(Exception):  # noqa: N818 - not an error
    """The Binding Update is to be counted, and to get no answer."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(reason)
        self.counted = Counted(what, reason)


class Refuse(Exception):  # noqa: N818 - not an error
    """The Binding Update is to be answered with ``status``.

    ``sequence`` and ``timestamp`` (NTP format) are what the answer says instead of the request's.
    """

    def __init__(
        self, status: BindingStatus, *, sequence: int | None = None, timestamp: int | None = None
    ) -> None:
        super().__init__(status.name)
        self.status = status
        self.sequence = sequence
        self.timestamp = timestamp


def read_request(packet: Packet, update: BindingUpdate) -> Request:
    """Pick out of ``packet``, which carries ``update``, what a registration is about."""
    alternate = find_option(update, AlternateCareOfAddress)
    replay = find_option(update, ReplayProtection)
    return Request(
        packet=packet,
        update=update,
        home_address=packet.home_address or packet.source,
        care_of_address=packet.source if alternate is None else alternate.address,
        information=find_option(update, CareOfAddressInformation),
        timestamp=None if replay is None else replay.timestamp,
    )


def check_sequence(request: Request, known: CacheEntry | None) -> None:
    """Check that the sequence number is greater, modulo 2^16, than the last.

    RFC 6275 §9.5.1; the answer to one that is not tells the last.
    """
    if known is not None and not is_later(request.update.sequence, than=known.sequence):
        raise Refuse(BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, sequence=known.sequence)


def is_later(sequence: int, *, than: int) -> bool:
    """Tell whether a sequence number is greater than another one modulo 2^16."""
    return 0 < (sequence - than) % (2 * _HALF_SEQUENCE) < _HALF_SEQUENCE


def check_type(request: Request, bindings: Iterable[CacheEntry], *, mobile_router: bool) -> None:
    """Refuse to make another kind of binding out of one that stands, with 139.

    RFC 6275 §9.5.1 for the H bit: our bindings are home registrations. The same for the R flag
    (RFC 3963 §6.2): a mobile router that wants to be a mobile node de-registers first.
    ``mobile_router`` is what this Binding Update asks for and may have.
    """
    for entry in bindings:
        if not request.update.home_registration or entry.mobile_router != mobile_router:
            raise Refuse(BindingStatus.REGISTRATION_TYPE_CHANGE_DISALLOWED)


def check_care_of_address(request: Request, router: ServedMobileRouter, own: IPv6Address) -> None:
    """Refuse a care-of address that no tunnel could lead to.

    Deviates from RFC 6275 §9.5.1, which discards such a Binding Update silently: the sender
    is authenticated, and is helped more by a status.
    """
    address = request.care_of_address
    if (
        address.is_multicast
        or address.is_unspecified
        or address.is_loopback
        or address.is_link_local
        or address.ipv4_mapped is not None
    ):
        raise Refuse(BindingStatus.REASON_UNSPECIFIED)
    if address == own or any(address in prefix for prefix in router.prefixes):
        # A tunnel to ourselves, or into the network that it leads to.
        raise Refuse(BindingStatus.ADMINISTRATIVELY_PROHIBITED)


def check_nesting(request: Request, table: PrefixTable, cache: BindingCache) -> None:
    """Refuse a mobile router that would be behind itself.

    A care-of address may lie in another mobile router's network: then the tunnel to it goes
    through that one's. Were that one in turn behind the first, each packet for either would be
    put into tunnel after tunnel for ever.
    """
    addresses = [request.care_of_address]
    seen: set[IPv6Address] = set()
    while addresses:
        owner = table.find_owner(addresses.pop())
        if owner is None or owner.home_address in seen:
            continue
        if owner.home_address == request.home_address:
            raise Refuse(BindingStatus.ADMINISTRATIVELY_PROHIBITED)
        seen.add(owner.home_address)
        addresses += [entry.care_of_address for entry in cache.list_of(owner.home_address)]


def find_prefixes(
    request: Request, router: ServedMobileRouter, table: PrefixTable
) -> tuple[IPv6Network, ...]:
    """Return the prefixes to forward for a Binding Update with the R flag (RFC 3963 §6.2).

    They are the options' or, without any, the prefix table's.
    """
    if not router.prefixes:
        raise Refuse(BindingStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED)
    explicit = tuple(
        option.prefix
        for option in request.update.options
        if isinstance(option, MobileNetworkPrefix)
    )
    for prefix in explicit:
        status = table.check(router, prefix)
        if status is not None:
            raise Refuse(status)
    return explicit or router.prefixes


def find_replaced(
    request: Request, known: CacheEntry | None, bindings: Iterable[CacheEntry]
) -> list[CacheEntry]:
    """Return those of a home address's ``bindings`` that end when this one begins.

    "After receiving the BU which does not contain a CoAINFO sub-option, the CN MUST have only
    a binding for the home address" (the draft §8.3); and the other way round, the first
    binding with an IFID ends the one without.

    A new IFID for a care-of address takes the place of the one that the mobile router knew it
    by before it renewed its IFIDs, or lost its memory: else nobody might de-register that one,
    and it would draw traffic to the link when the link has gone.
    """
    return [
        entry
        for entry in bindings
        if entry.ifid != request.ifid
        and (
            None in (entry.ifid, request.ifid)
            or (known is None and entry.care_of_address == request.care_of_address)
        )
    ]
