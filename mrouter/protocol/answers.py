"""The packets that a home agent sends (RFC 6275 §9.3.3, §9.5.4, §9.5.5; the draft §8.4 to §8.6)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from mrouter.protocol.events import SendPacket
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    Packet,
    find_option,
)
from mrouter.wire.options import (
    CareOfAddressInformation,
    MnHaAuthentication,
    ReplayProtection,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.settings import HomeAgentSettings, SecurityAssociation
    from mrouter.wire.constants import BindingErrorStatus, BindingStatus

_UNSPECIFIED = IPv6Address("::")
#: Statuses from here on are refusals (RFC 6275 §6.1.8).
_FIRST_REFUSAL = 128


@dataclass(frozen=True, slots=True)
class ReplyPath:
    """How to reach and convince the mobile router that sent a Binding Update.

    ``destination`` is where the Binding Update came from, ``association`` what it was signed
    under, ``timestamp`` (NTP format) what its replay protection said. ``explicit``: it named the
    mobile network's prefixes; after a restart nobody knows.
    """

    destination: IPv6Address
    association: SecurityAssociation | None
    timestamp: int | None
    explicit: bool = False


def build_acknowledgement(
    settings: HomeAgentSettings,
    home_address: IPv6Address,
    path: ReplyPath,
    acknowledgement: BindingAcknowledgement,
) -> SendPacket:
    """Address and complete ``acknowledgement`` (RFC 6275 §9.5.4, RFC 4285).

    A refusal for a mobile node that is at home goes out on the home link: it MUST be sent "to the
    mobile node's link-layer address" (RFC 6275 §10.3.2), and not by the tunnel that the home
    address is led to while a binding stands.

    To its options are added the echo of the replay protection option and the authentication
    option, left for the signer, under the association that the Binding Update came with.
    """
    options = [*acknowledgement.options]
    if path.timestamp is not None:
        options.append(ReplayProtection(path.timestamp))
    if path.association is not None:
        options.append(MnHaAuthentication(path.association.spi))
    message = BindingAcknowledgement(
        status=acknowledgement.status,
        sequence=acknowledgement.sequence,
        lifetime=acknowledgement.lifetime,
        mobile_router=acknowledgement.mobile_router,
        options=tuple(options),
    )
    at_home = path.destination == home_address
    packet = Packet(
        source=settings.address,
        destination=path.destination,
        message=message,
        routing_home_address=None if at_home else home_address,
    )
    is_refusal = acknowledgement.status >= _FIRST_REFUSAL
    return SendPacket(
        packet,
        link=settings.home_link if at_home and is_refusal else None,
        key_for=home_address if path.association else None,
    )


def copy_informations(
    informations: Iterable[CareOfAddressInformation],
    refused: Mapping[int | None, BindingStatus],
) -> tuple[CareOfAddressInformation, ...]:
    """Return the CoAINFO options of an answer (the draft §8.4, RFC 5648 §6.2).

    They are copied without care-of address, which MUST be left out there (RFC 5648 §4.3); the
    status is the binding's own if it was ``refused``, else 0 for that of the whole answer.
    """
    return tuple(
        CareOfAddressInformation(
            each.ifid,
            each.ifpri,
            status=refused.get(each.ifid, 0),
            home_and_foreign=each.home_and_foreign,
        )
        for each in informations
    )


def build_refresh_request(source: IPv6Address, entry: CacheEntry) -> SendPacket:
    """Build a Binding Refresh Request for one binding (the draft §8.5).

    Deviates from RFC 6275 §6.1 and §9.5.5: the request goes to the care-of address with a
    type 2 routing header, as a Binding Acknowledgement does, and not to the home address: it is
    about one of several bindings and should travel that binding's way.
    """
    information = describe(entry)
    packet = Packet(
        source=source,
        destination=entry.care_of_address,
        message=BindingRefreshRequest(options=(information,) if information else ()),
        routing_home_address=entry.home_address,
    )
    return SendPacket(packet)


def build_binding_error(packet: Packet, status: BindingErrorStatus) -> SendPacket:
    """Build the Binding Error that answers ``packet`` (RFC 6275 §9.3.3, the draft §8.6).

    CoAINFO, where ``packet`` has it, is copied, so that the mobile router knows the interface.
    """
    information = find_option(packet.message, CareOfAddressInformation)
    error = BindingError(
        status=status,
        home_address=packet.home_address or _UNSPECIFIED,
        options=(information,) if information else (),
    )
    answer = Packet(source=packet.destination, destination=packet.source, message=error)
    return SendPacket(answer)


def describe(entry: CacheEntry) -> CareOfAddressInformation | None:
    """Return the CoAINFO that names ``entry``, or None for a plain binding."""
    if entry.ifid is None:
        return None
    return CareOfAddressInformation(entry.ifid, entry.ifpri)
