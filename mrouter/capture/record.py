"""From a captured packet to what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from mrouter.capture.describe import (
    DISCOVERY_NAMES,
    MESSAGE_NAMES,
    Description,
    describe_discovery,
    describe_message,
    describe_option,
)
from mrouter.capture.find import find_signalling
from mrouter.errors import ParseError
from mrouter.protocol.keys import verify_authenticator
from mrouter.wire.checksum import MOBILITY_HEADER
from mrouter.wire.home_discovery import PrefixAdvertisement, parse_discovery
from mrouter.wire.messages import find_option
from mrouter.wire.options import BindingAuthorizationData, MnHaAuthentication
from mrouter.wire.packet import parse_packet

if TYPE_CHECKING:
    from mrouter.capture.find import Addresses, Signalling
    from mrouter.capture.frame import Frame
    from mrouter.protocol.settings import SecurityAssociation
    from mrouter.wire.format import WireFormat
    from mrouter.wire.home_discovery import DiscoveryPacket
    from mrouter.wire.messages import Packet


class Verdict(Enum):
    """Whether a message's authenticator holds."""

    OK = "ok"
    WRONG = "WRONG"
    UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Record:
    """One message of the signalling, or why it was refused.

    ``verdict`` is None for a message without an authenticator; ``refusal`` is None for one that
    the daemons would read, else its reason and detail.
    """

    frame: Frame
    tunnels: tuple[Addresses, ...]
    addresses: Addresses
    kind: str
    headers: dict[str, str]
    message: Description
    options: tuple[Description, ...] = ()
    verdict: Verdict | None = None
    refusal: tuple[str, str] | None = None


def decode(
    frame: Frame, fmt: WireFormat, association: SecurityAssociation | None = None
) -> Record | None:
    """Return what ``frame`` says, or None if there is no signalling in it.

    What the daemons refuse comes with the reason; nothing is raised for it.
    """
    found = find_signalling(frame.data)
    if found is None:
        return None
    record = Record(
        frame, found.tunnels, found.addresses, _name_kind(found), {}, Description("", {})
    )
    try:
        if found.protocol == MOBILITY_HEADER:
            return _tell(record, parse_packet(found.packet, fmt), fmt, association)
        return _tell_discovery(record, parse_discovery(found.packet), fmt)
    except ParseError as error:
        return replace(record, refusal=(error.reason, error.detail))


def _tell(
    record: Record, packet: Packet, fmt: WireFormat, association: SecurityAssociation | None
) -> Record:
    return replace(
        record,
        headers=_list_headers(packet),
        message=describe_message(packet.message, fmt.dialect),
        options=tuple(describe_option(option, fmt.dialect) for option in packet.message.options),
        verdict=_judge(packet, association),
    )


def _tell_discovery(record: Record, packet: DiscoveryPacket, fmt: WireFormat) -> Record:
    message = packet.message
    prefixes = message.prefixes if isinstance(message, PrefixAdvertisement) else ()
    return replace(
        record,
        headers=_list_headers(packet),
        message=describe_discovery(message),
        options=tuple(describe_option(prefix, fmt.dialect) for prefix in prefixes),
    )


def _list_headers(packet: Packet | DiscoveryPacket) -> dict[str, str]:
    headers = {
        "home_address_option": packet.home_address,
        "routing_header": packet.routing_home_address,
    }
    return {name: str(value) for name, value in headers.items() if value is not None}


def _name_kind(found: Signalling) -> str:
    if found.type is None:
        return "Mobility Header"
    if found.protocol == MOBILITY_HEADER:
        return MESSAGE_NAMES.get(found.type, f"MH type {found.type}")
    return DISCOVERY_NAMES[found.type]


def _judge(packet: Packet, association: SecurityAssociation | None) -> Verdict | None:
    option = find_option(packet.message, MnHaAuthentication)
    if option is None:
        signed = find_option(packet.message, BindingAuthorizationData) is not None
        return Verdict.UNKNOWN if signed else None
    if association is None or association.spi != option.spi:
        return Verdict.UNKNOWN
    return Verdict.OK if verify_authenticator(association, packet) else Verdict.WRONG
