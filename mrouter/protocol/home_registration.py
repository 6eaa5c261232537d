"""A Binding Update at the home agent: what it asks for, and the checks that need only it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mrouter.protocol.answers import ReplyPath
from mrouter.protocol.events import Counted
from mrouter.protocol.keys import verify_authenticator
from mrouter.protocol.prefix_table import permits
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import find_option
from mrouter.wire.options import (
    AlternateCareOfAddress,
    CareOfAddressInformation,
    MnHaAuthentication,
    MobileNetworkPrefix,
    ReplayProtection,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from ipaddress import IPv6Address, IPv6Network

    from mrouter.protocol.binding_cache import BindingCache
    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.prefix_table import PrefixTable
    from mrouter.protocol.settings import SecurityAssociation, ServedMobileRouter
    from mrouter.wire.messages import BindingUpdate, Packet

_HALF_SEQUENCE = 1 << 15


@dataclass(slots=True)
class Request:
    """A Binding Update being worked on; ``association`` is set once its SPI is known.

    ``care_of_address`` is the packet's; an option of ``informations``, the bindings that it is
    about, may have its own (RFC 5648 §4.3). Without any it is a plain registration. ``prefixes``
    are those of explicit mode; none in implicit mode (RFC 3963 §5.2).
    """

    packet: Packet
    update: BindingUpdate
    home_address: IPv6Address
    care_of_address: IPv6Address
    informations: tuple[CareOfAddressInformation, ...]
    timestamp: int | None
    association: SecurityAssociation | None = None
    prefixes: tuple[IPv6Network, ...] = field(init=False)

    def __post_init__(self) -> None:
        # asked for several times while the same Binding Update is worked on
        self.prefixes = tuple(
            each.prefix for each in self.update.options if isinstance(each, MobileNetworkPrefix)
        )

    @property
    def ifids(self) -> tuple[int | None, ...]:
        """The IFIDs that it names; None alone for a plain registration."""
        return tuple(each.ifid for each in self.informations) or (None,)

    @property
    def is_bulk(self) -> bool:
        """Whether it is about several bindings (RFC 5648 §6.2)."""
        return len(self.informations) > 1

    @property
    def overwrites(self) -> bool:
        """Whether it replaces all bindings; O is ignored in a de-registration (RFC 5648 §6.2)."""
        return self.update.overwrite and self.update.lifetime > 0

    def forget(self, ifids: Collection[int | None]) -> None:
        """Be about the other bindings alone; they were taken back."""
        self.informations = tuple(each for each in self.informations if each.ifid not in ifids)

    @property
    def reply_path(self) -> ReplyPath:
        """Where and how to answer."""
        return ReplyPath(
            destination=self.packet.source,
            association=self.association,
            timestamp=self.timestamp,
            explicit=bool(self.prefixes),
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """What a Binding Update asks for one binding.

    ``option`` is the one that names it, None for a plain registration. ``is_deletion``: to end it.
    ``lacks_address``: it should say the care-of address, and does not.
    """

    option: CareOfAddressInformation | None
    care_of_address: IPv6Address
    is_deletion: bool
    lacks_address: bool = False

    @property
    def ifid(self) -> int | None:
        """The IFID, None for a plain registration."""
        return None if self.option is None else self.option.ifid

    @property
    def ifpri(self) -> int:
        """The IFPRI; a plain registration has the best."""
        return 0 if self.option is None else self.option.ifpri


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
    """Pick out of ``packet``, which carries ``update``, what a registration is about.

    Without a Home Address option the source is the home address (RFC 6275 §9.5.1).
    """
    alternate = find_option(update, AlternateCareOfAddress)
    replay = find_option(update, ReplayProtection)
    return Request(
        packet=packet,
        update=update,
        home_address=packet.home_address or packet.source,
        care_of_address=packet.source if alternate is None else alternate.address,
        informations=tuple(
            option for option in update.options if isinstance(option, CareOfAddressInformation)
        ),
        timestamp=None if replay is None else replay.timestamp,
    )


def authenticate(request: Request, router: ServedMobileRouter) -> None:
    """Check the MN-HA authentication option, and set ``request.association`` (RFC 4285 §5).

    A wrong authenticator MUST be answered with MIPV6-AUTH-FAIL (146); without a shared key the
    Binding Update MUST be discarded: so an unknown SPI, and no option at all, get no answer. Where
    IPsec protects the signalling no SPI is known.
    """
    option = find_option(request.update, MnHaAuthentication)
    if option is None:
        if router.security:
            raise Discard("authentication-failed", "missing")
        return
    for association in router.security:
        if association.spi == option.spi:
            request.association = association
            if not verify_authenticator(association, request.packet):
                raise Refuse(BindingStatus.AUTHENTICATION_FAILED)
            return
    raise Discard("authentication-failed", "unknown-spi")


def check_sequence(request: Request, bindings: Iterable[CacheEntry]) -> None:
    """Check that the sequence number is greater, modulo 2^16, than the last of each binding.

    RFC 6275 §9.5.1; the answer to one that is not tells the last. Deviates from RFC 5648 §4.1,
    where one sequence number is all bindings' together: Binding Updates over different links may
    overtake one another. Whoever has one for all passes here as well. One that overwrites all
    bindings must follow them all: an older one would undo what came later.
    """
    sequence = request.update.sequence
    ahead = [
        (known.sequence - sequence) % (2 * _HALF_SEQUENCE)
        for known in bindings
        if (request.overwrites or known.ifid in request.ifids)
        and not is_later(sequence, than=known.sequence)
    ]
    if ahead:
        last = (sequence + max(ahead)) % (2 * _HALF_SEQUENCE)
        raise Refuse(BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, sequence=last)


def is_later(sequence: int, *, than: int) -> bool:
    """Tell whether a sequence number is greater than another one modulo 2^16."""
    return 0 < (sequence - than) % (2 * _HALF_SEQUENCE) < _HALF_SEQUENCE


def check_type(request: Request, bindings: Iterable[CacheEntry]) -> None:
    """Refuse to make another kind of binding out of one that stands, with 139.

    RFC 6275 §9.5.1 for the H bit: our bindings are home registrations. The same for the R flag
    (RFC 3963 §6.2): a mobile router that wants to be a mobile node de-registers first.
    """
    update = request.update
    for entry in bindings:
        if not update.home_registration or entry.mobile_router != update.mobile_router:
            raise Refuse(BindingStatus.REGISTRATION_TYPE_CHANGE_DISALLOWED)


def check_home_address(request: Request) -> None:
    """Refuse a registration from the home address itself, of a care-of address in an option.

    "A Home Address destination option MUST be present in the message" (RFC 6275 §10.3.1).
    """
    if request.packet.home_address is None:
        raise Refuse(BindingStatus.REASON_UNSPECIFIED)


def check_care_of_address(claim: Claim, router: ServedMobileRouter, own: IPv6Address) -> None:
    """Refuse a care-of address that no tunnel could lead to.

    Deviates from RFC 6275 §9.5.1, which discards such a Binding Update silently: the sender
    is authenticated, and is helped more by a status.
    """
    address = claim.care_of_address
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


def check_nesting(
    claim: Claim, home_address: IPv6Address, table: PrefixTable, cache: BindingCache
) -> None:
    """Refuse a mobile router that would be behind itself.

    A care-of address may lie in another mobile router's network: then the tunnel to it goes
    through that one's. Were that one in turn behind the first, each packet for either would be
    put into tunnel after tunnel for ever.
    """
    addresses = [claim.care_of_address]
    seen: set[IPv6Address] = set()
    while addresses:
        owner = table.find_owner(addresses.pop())
        if owner is None or owner.home_address in seen:
            continue
        if owner.home_address == home_address:
            raise Refuse(BindingStatus.ADMINISTRATIVELY_PROHIBITED)
        seen.add(owner.home_address)
        addresses += [entry.care_of_address for entry in cache.list_of(owner.home_address)]


def find_prefixes(request: Request, router: ServedMobileRouter) -> tuple[IPv6Network, ...]:
    """Return the prefixes to forward for a Binding Update with the R flag (RFC 3963 §6.2).

    They are the options' or, without any, the prefix table's. Refuse with 142 a prefix that the
    table does not give to ``router``, and with 143 implicit mode where it gives none.
    """
    if not all(permits(router, prefix) for prefix in request.prefixes):
        raise Refuse(BindingStatus.NOT_AUTHORIZED_FOR_PREFIX)
    if not (request.prefixes or router.prefixes):
        raise Refuse(BindingStatus.FORWARDING_SETUP_FAILED)
    return request.prefixes or router.prefixes
