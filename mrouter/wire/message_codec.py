"""Mobility Header messages: bytes to model and back (RFC 6275 §6.1, RFC 3963 §4, draft §5.3)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from mrouter.errors import ParseError
from mrouter.wire.address import parse_address
from mrouter.wire.binding_codec import read_rfc5648_status, write_rfc5648_status
from mrouter.wire.constants import Dialect, MobilityHeaderType
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    find_option,
)
from mrouter.wire.option_codec import parse_options, serialize_options
from mrouter.wire.options import CareOfAddressInformation
from mrouter.wire.parse_errors import Reason
from mrouter.wire.units import SECONDS_PER_UNIT, count_units

if TYPE_CHECKING:
    from collections.abc import Callable

    from mrouter.wire.format import WireFormat
    from mrouter.wire.messages import Message
    from mrouter.wire.options import MobilityOption

IPPROTO_NONE = 59
MAX_HEADER_OCTETS = 8 + 255 * 8

_ACKNOWLEDGE = 0x8000
_HOME_REGISTRATION = 0x4000
_LINK_LOCAL_COMPATIBLE = 0x2000
_KEY_MANAGEMENT = 0x1000

_BA_KEY_MANAGEMENT = 0x80
_BA_MOBILE_ROUTER = 0x40  # RFC 3963 §4.2

_COOKIE_OCTETS = 8
_RESERVED = b"\0\0"

# After the six octets that every Mobility Header begins with: all eight, then the message's own.
_HEADER = Struct("!BBBxxx")
_TEST = Struct("!H8s8s")
_UPDATE = Struct("!HHH")
_ACKNOWLEDGEMENT = Struct("!BBHH")
_ERROR = Struct("!Bx16s")


class _UpdateFlags(NamedTuple):
    """The Binding Update flags whose bits differ by dialect; 0 where a dialect has none."""

    mobile_router: int
    multiple: int
    overwrite: int


_UPDATE_FLAGS = {
    # The draft §5.3.2: |A|H|L|K|R|M| Reserved |.
    Dialect.DRAFT_01: _UpdateFlags(mobile_router=0x0800, multiple=0x0400, overwrite=0),
    # RFC 5648 §4.2: |A|H|L|K|M|R|P|F|T|O| Reserved |, where M is HMIPv6's.
    Dialect.RFC5648: _UpdateFlags(mobile_router=0x0400, multiple=0, overwrite=0x0040),
}


class ParsedMessage(NamedTuple):
    """A message, and how many octets of its Mobility Header its authenticator covers."""

    message: Message
    signed_length: int


class SerializedMessage(NamedTuple):
    """A Mobility Header whose checksum is zero, and how much of it is to be signed.

    ``signed_length`` is 0 if no option with an authenticator is there.
    """

    header: bytearray
    signed_length: int


# --- reading ------------------------------------------------------------------------------


def parse_message(header: bytes, fmt: WireFormat) -> ParsedMessage:
    """Read one whole Mobility Header, whose length and checksum the caller has checked.

    Raises ParseError in the order in which RFC 6275 §9.2 has a receiver check: type unknown,
    Payload Proto not 59, too short for the type; then what its options are refused for.
    """
    kind = header[2]
    layout = _LAYOUTS.get(kind)
    if layout is None:
        raise ParseError(Reason.UNKNOWN_MH_TYPE, f"MH Type {kind}")
    if header[0] != IPPROTO_NONE:
        raise ParseError(Reason.BAD_PAYLOAD_PROTO, f"Payload Proto {header[0]}")
    if len(header) < layout.octets:
        raise ParseError(
            Reason.BAD_HEADER_LENGTH, f"{len(header)} octets are too short for MH Type {kind}"
        )
    options, signed_length = parse_options(header, layout.octets, fmt)
    return ParsedMessage(layout.parse(header, options, fmt), signed_length)


def _parse_refresh_request(
    header: bytes, options: tuple[MobilityOption, ...], fmt: WireFormat
) -> BindingRefreshRequest:
    return BindingRefreshRequest(options)


def _parse_home_test_init(
    header: bytes, options: tuple[MobilityOption, ...], fmt: WireFormat
) -> HomeTestInit:
    return HomeTestInit(header[8:16], options)


def _parse_care_of_test_init(
    header: bytes, options: tuple[MobilityOption, ...], fmt: WireFormat
) -> CareOfTestInit:
    return CareOfTestInit(header[8:16], options)


def _parse_home_test(
    header: bytes, options: tuple[MobilityOption, ...], fmt: WireFormat
) -> HomeTest:
    index, cookie, token = _TEST.unpack_from(header, 6)
    return HomeTest(index, cookie, token, options)


def _parse_care_of_test(
    header: bytes, options: tuple[MobilityOption, ...], fmt: WireFormat
) -> CareOfTest:
    index, cookie, token = _TEST.unpack_from(header, 6)
    return CareOfTest(index, cookie, token, options)


def _parse_update(
    header: bytes, options: tuple[MobilityOption, ...], fmt: WireFormat
) -> BindingUpdate:
    sequence, flags, units = _UPDATE.unpack_from(header, 6)
    bits = _UPDATE_FLAGS[fmt.dialect]
    if bits.multiple:
        multiple = flags & bits.multiple != 0
    else:
        multiple = any(isinstance(option, CareOfAddressInformation) for option in options)
    return BindingUpdate(
        sequence=sequence,
        lifetime=units * SECONDS_PER_UNIT,
        acknowledge=flags & _ACKNOWLEDGE != 0,
        home_registration=flags & _HOME_REGISTRATION != 0,
        link_local_compatible=flags & _LINK_LOCAL_COMPATIBLE != 0,
        key_management=flags & _KEY_MANAGEMENT != 0,
        mobile_router=flags & bits.mobile_router != 0,
        multiple=multiple,
        overwrite=flags & bits.overwrite != 0,
        options=options,
    )


def _parse_acknowledgement(
    header: bytes, options: tuple[MobilityOption, ...], fmt: WireFormat
) -> BindingAcknowledgement:
    status, flags, sequence, units = _ACKNOWLEDGEMENT.unpack_from(header, 6)
    if fmt.dialect is Dialect.RFC5648:
        status = read_rfc5648_status(status, options)
    return BindingAcknowledgement(
        status=status,
        sequence=sequence,
        lifetime=units * SECONDS_PER_UNIT,
        key_management=flags & _BA_KEY_MANAGEMENT != 0,
        mobile_router=flags & _BA_MOBILE_ROUTER != 0,
        options=options,
    )


def _parse_error(
    header: bytes, options: tuple[MobilityOption, ...], fmt: WireFormat
) -> BindingError:
    # RFC 6275 §6.1.9: the home address is the unspecified one where the error concerns none.
    return BindingError(header[6], parse_address(header, 8), options)


class _Layout(NamedTuple):
    """How many octets a message is without options, and how those are read."""

    octets: int
    parse: Callable[[bytes, tuple[MobilityOption, ...], WireFormat], Message]


_LAYOUTS: dict[int, _Layout] = {
    MobilityHeaderType.BINDING_REFRESH_REQUEST: _Layout(8, _parse_refresh_request),
    MobilityHeaderType.HOME_TEST_INIT: _Layout(16, _parse_home_test_init),
    MobilityHeaderType.CARE_OF_TEST_INIT: _Layout(16, _parse_care_of_test_init),
    MobilityHeaderType.HOME_TEST: _Layout(24, _parse_home_test),
    MobilityHeaderType.CARE_OF_TEST: _Layout(24, _parse_care_of_test),
    MobilityHeaderType.BINDING_UPDATE: _Layout(12, _parse_update),
    MobilityHeaderType.BINDING_ACKNOWLEDGEMENT: _Layout(12, _parse_acknowledgement),
    MobilityHeaderType.BINDING_ERROR: _Layout(24, _parse_error),
}


# --- writing ------------------------------------------------------------------------------


def serialize_message(
    message: Message, fmt: WireFormat, authenticator_length: int = 0
) -> SerializedMessage:
    """Write ``message`` as a Mobility Header with a final Header Len and a zero checksum.

    An MN-HA option or Binding Authorization Data without an authenticator gets
    ``authenticator_length`` zero octets, to be filled in. Raises ValueError, or struct.error for
    a number that its field cannot hold.
    """
    kind, serialize = _SERIALIZERS[type(message)]
    header = bytearray(_HEADER.pack(IPPROTO_NONE, 0, kind))
    header += serialize(message, fmt)
    signed_length = serialize_options(header, message.options, fmt, authenticator_length)
    if len(header) > MAX_HEADER_OCTETS:
        raise ValueError(f"a Mobility Header of {len(header)} octets is too long")
    header[1] = len(header) // 8 - 1
    return SerializedMessage(header, signed_length)


def _serialize_refresh_request(message: BindingRefreshRequest, fmt: WireFormat) -> bytes:
    return _RESERVED


def _serialize_test_init(message: HomeTestInit | CareOfTestInit, fmt: WireFormat) -> bytes:
    return _RESERVED + _check_octets(message.cookie)


def _serialize_test(message: HomeTest | CareOfTest, fmt: WireFormat) -> bytes:
    cookie, token = _check_octets(message.cookie), _check_octets(message.keygen_token)
    return _TEST.pack(message.nonce_index, cookie, token)


def _check_octets(value: bytes) -> bytes:
    # struct would pad or cut in silence.
    if len(value) != _COOKIE_OCTETS:
        raise ValueError(f"a cookie or keygen token of {len(value)} octets, not 8")
    return value


def _serialize_update(message: BindingUpdate, fmt: WireFormat) -> bytes:
    bits = _UPDATE_FLAGS[fmt.dialect]
    if message.overwrite and not bits.overwrite:
        raise ValueError(f"dialect {fmt.dialect.value} has no O flag")
    if message.multiple and not bits.multiple and not _names_binding(message):
        raise ValueError(f"dialect {fmt.dialect.value} says M by a Binding Identifier alone")
    flags = (
        message.acknowledge * _ACKNOWLEDGE
        | message.home_registration * _HOME_REGISTRATION
        | message.link_local_compatible * _LINK_LOCAL_COMPATIBLE
        | message.key_management * _KEY_MANAGEMENT
        | message.mobile_router * bits.mobile_router
        | message.multiple * bits.multiple
        | message.overwrite * bits.overwrite
    )
    return _UPDATE.pack(message.sequence, flags, count_units(message.lifetime))


def _names_binding(message: BindingUpdate) -> bool:
    return find_option(message, CareOfAddressInformation) is not None


def _serialize_acknowledgement(message: BindingAcknowledgement, fmt: WireFormat) -> bytes:
    flags = message.key_management * _BA_KEY_MANAGEMENT | message.mobile_router * _BA_MOBILE_ROUTER
    status = message.status
    if fmt.dialect is Dialect.RFC5648:
        status = write_rfc5648_status(status, message.options)
    return _ACKNOWLEDGEMENT.pack(status, flags, message.sequence, count_units(message.lifetime))


def _serialize_error(message: BindingError, fmt: WireFormat) -> bytes:
    return _ERROR.pack(message.status, message.home_address.packed)


_Serializer = tuple[MobilityHeaderType, "Callable[[Any, WireFormat], bytes]"]
_SERIALIZERS: dict[type, _Serializer] = {
    BindingRefreshRequest: (
        MobilityHeaderType.BINDING_REFRESH_REQUEST,
        _serialize_refresh_request,
    ),
    HomeTestInit: (MobilityHeaderType.HOME_TEST_INIT, _serialize_test_init),
    CareOfTestInit: (MobilityHeaderType.CARE_OF_TEST_INIT, _serialize_test_init),
    HomeTest: (MobilityHeaderType.HOME_TEST, _serialize_test),
    CareOfTest: (MobilityHeaderType.CARE_OF_TEST, _serialize_test),
    BindingUpdate: (MobilityHeaderType.BINDING_UPDATE, _serialize_update),
    BindingAcknowledgement: (
        MobilityHeaderType.BINDING_ACKNOWLEDGEMENT,
        _serialize_acknowledgement,
    ),
    BindingError: (MobilityHeaderType.BINDING_ERROR, _serialize_error),
}
