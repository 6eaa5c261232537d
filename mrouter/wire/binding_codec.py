"""What names a binding: CoAINFO and Binding Identifier, bytes to model and back.

In dialect rfc5648 a status is in two places, the option and the Binding Acknowledgement's header;
the model says in the header alone what concerns one binding.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from mrouter.errors import ParseError
from mrouter.wire.address import parse_routable
from mrouter.wire.constants import MAX_IFPRI, BindingStatus, Dialect, OptionType
from mrouter.wire.options import CareOfAddressInformation
from mrouter.wire.parse_errors import Reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv6Address

    from mrouter.wire.format import WireFormat
    from mrouter.wire.options import MobilityOption

_BINDING_IDENTIFIER = Struct("!HBB")
_COAINFO = Struct("!BBBB")

_COAINFO_LENGTH = 2  # the draft §5.3.1: "The value MUST be always 2"
_RESERVED = b"\0\0"
_PRIORITY_MASK = 0x7F  # RFC 6089 §4.1: seven bits after the H flag
_HOME_AND_FOREIGN = 0x80


# --- the option: reading --------------------------------------------------------------------


def _parse_coainfo(header: bytes, start: int, length: int) -> CareOfAddressInformation:
    if length != _COAINFO_LENGTH:
        raise ParseError(Reason.BAD_OPTION_LENGTH, f"CoAINFO of length {length}")
    # The draft §5.3.1 draws four octets after a Length of 2: the 16 reserved zero bits lie past
    # the option's end, where whoever skips by Length reads them as two Pad1.
    reserved = header[start + 2 : start + 4]
    if len(reserved) < len(_RESERVED):
        raise ParseError(Reason.TRUNCATED, "CoAINFO without its reserved octets")
    if reserved != _RESERVED:
        raise ParseError(Reason.BAD_OPTION_VALUE, "CoAINFO's reserved octets are not zero")
    return CareOfAddressInformation(header[start], header[start + 1])


def _parse_binding_identifier(header: bytes, start: int, length: int) -> CareOfAddressInformation:
    # Deviates from RFC 5648 §6.2, which answers every wrong length with 164: where the fixed fields
    # are cut nothing says which binding to answer about.
    if length < _BINDING_IDENTIFIER.size:
        raise ParseError(Reason.BAD_OPTION_LENGTH, f"Binding Identifier of length {length}")
    ifid, status, flags = _BINDING_IDENTIFIER.unpack_from(header, start)
    if not ifid:
        # RFC 5648 §4.3: "The value of zero is reserved and SHOULD NOT be used."
        raise ParseError(Reason.BAD_OPTION_VALUE, "Binding Identifier of BID 0")
    try:
        address, malformed = _parse_care_of_address(header, start + 4, length), False
    except ParseError:
        address, malformed = None, True
    # RFC 6089 §4.1: priority 0 is reserved and MUST NOT be used, so the model's 0, the best,
    # travels as 1; who knows RFC 5648 alone leaves the field 0, and means no worse a binding.
    ifpri = max((flags & _PRIORITY_MASK) - 1, 0)
    at_home_too = flags >= _HOME_AND_FOREIGN
    return CareOfAddressInformation(ifid, ifpri, status, address, at_home_too, malformed)


def _parse_care_of_address(header: bytes, start: int, length: int) -> IPv6Address | None:
    # Deviates from RFC 5648 §4.3: its length 8, an IPv4 care-of address, is as wrong as any other,
    # because a binding for it could not be kept.
    if length == _BINDING_IDENTIFIER.size:
        return None
    if length != _BINDING_IDENTIFIER.size + 16:
        raise ParseError(Reason.BAD_OPTION_LENGTH, f"Binding Identifier of length {length}")
    return parse_routable(header, start)


BINDING_PARSERS: dict[Dialect, Callable[[bytes, int, int], CareOfAddressInformation]] = {
    Dialect.DRAFT_01: _parse_coainfo,
    Dialect.RFC5648: _parse_binding_identifier,
}


# --- the option: writing --------------------------------------------------------------------


def _serialize_coainfo(option: CareOfAddressInformation, fmt: WireFormat) -> bytes:
    head = _COAINFO.pack(fmt.coainfo_type, _COAINFO_LENGTH, option.ifid, option.ifpri)
    return head + _RESERVED


def _serialize_binding_identifier(option: CareOfAddressInformation, fmt: WireFormat) -> bytes:
    if not option.ifid:
        raise ValueError("IFID 0 is reserved in a Binding Identifier")
    if option.malformed:
        raise ValueError(f"BID {option.ifid} is malformed")
    if not 0 <= option.ifpri <= MAX_IFPRI[Dialect.RFC5648]:
        raise ValueError(f"IFPRI {option.ifpri} does not fit a binding priority of RFC 6089")
    priority = option.ifpri + 1  # RFC 6089 §4.1: 0 MUST NOT be used
    flags = priority | (_HOME_AND_FOREIGN if option.home_and_foreign else 0)
    address = b"" if option.care_of_address is None else option.care_of_address.packed
    body = _BINDING_IDENTIFIER.pack(option.ifid, option.status, flags) + address
    return bytes((OptionType.BINDING_IDENTIFIER, len(body))) + body


BINDING_SERIALIZERS: dict[Dialect, Callable[[CareOfAddressInformation, WireFormat], bytes]] = {
    Dialect.DRAFT_01: _serialize_coainfo,
    Dialect.RFC5648: _serialize_binding_identifier,
}


# --- the Binding Acknowledgement's status in dialect rfc5648 --------------------------------


def read_rfc5648_status(status: int, options: tuple[MobilityOption, ...]) -> int:
    """Return the model's status of a Binding Acknowledgement whose header says ``status``.

    "If the status value in the Binding Identifier mobility option is zero, the mobile node uses
    the value in the Status field of the Binding Acknowledgement. Otherwise, it uses" the option's
    (RFC 5648 §5.7); an acceptance of bindings with BIDs is the draft's 1 (§5.3.3). With several
    bindings each option's status is its own.
    """
    bindings = _find_bindings(options)
    if len(bindings) == 1 and bindings[0].status:
        status = bindings[0].status
    if bindings and status == BindingStatus.ACCEPTED:
        return BindingStatus.ACCEPTED_NP_COA
    return status


def write_rfc5648_status(status: int, options: tuple[MobilityOption, ...]) -> int:
    """Return the header's status for the model's; raise ValueError if it would be read otherwise.

    So is 0 with a Binding Identifier, and another status than a single one says.
    """
    if read_rfc5648_status(status, options) != status:
        raise ValueError(f"status {status} means another with these Binding Identifiers")
    if status == BindingStatus.ACCEPTED_NP_COA and _find_bindings(options):
        return BindingStatus.ACCEPTED
    return status


def _find_bindings(options: tuple[MobilityOption, ...]) -> list[CareOfAddressInformation]:
    return [option for option in options if isinstance(option, CareOfAddressInformation)]
