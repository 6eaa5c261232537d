"""From a captured packet to what is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from mrouter.capture.describe import (
    MESSAGE_NAMES,
    Description,
    describe_message,
    describe_option,
)
from mrouter.capture.find import find_signalling
from mrouter.errors import ParseError
from mrouter.protocol.keys import verify_authenticator
from mrouter.wire.messages import find_option
from mrouter.wire.options import BindingAuthorizationData, MnHaAuthentication
from mrouter.wire.packet import parse_packet

if TYPE_CHECKING:
    from mrouter.capture.find import Addresses, Signalling
    from mrouter.capture.frame import Frame
    from mrouter.protocol.settings import SecurityAssociation
    from mrouter.wire.format import WireFormat
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
    kind = _name_kind(found.mh_type)
    try:
        packet = parse_packet(found.packet, fmt)
    except ParseError as error:
        refusal = (error.reason, error.detail)
        return Record(
            frame, found.tunnels, found.addresses, kind, {}, Description("", {}), refusal=refusal
        )
    return _tell(frame, found, kind, packet, fmt, association)


def _tell(
    frame: Frame,
    found: Signalling,
    kind: str,
    packet: Packet,
    fmt: WireFormat,
    association: SecurityAssociation | None,
) -> Record:
    headers: dict[str, Any] = {
        "home_address_option": packet.home_address,
        "routing_header": packet.routing_home_address,
    }
    return Record(
        frame=frame,
        tunnels=found.tunnels,
        addresses=found.addresses,
        kind=kind,
        headers={name: str(value) for name, value in headers.items() if value is not None},
        message=describe_message(packet.message, fmt.dialect),
        options=tuple(describe_option(option, fmt.dialect) for option in packet.message.options),
        verdict=_judge(packet, association),
    )


def _name_kind(mh_type: int | None) -> str:
    if mh_type is None:
        return "Mobility Header"
    return MESSAGE_NAMES.get(mh_type, f"MH type {mh_type}")


def _judge(packet: Packet, association: SecurityAssociation | None) -> Verdict | None:
    option = find_option(packet.message, MnHaAuthentication)
    if option is None:
        signed = find_option(packet.message, BindingAuthorizationData) is not None
        return Verdict.UNKNOWN if signed else None
    if association is None or association.spi != option.spi:
        return Verdict.UNKNOWN
    return Verdict.OK if verify_authenticator(association, packet) else Verdict.WRONG
