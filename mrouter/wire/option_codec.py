"""Mobility options: bytes to model and back, with their alignment and padding.

Offsets count from the start of the Mobility Header, which itself begins at a multiple of 8
octets, as RFC 6275 §6.2.1 counts alignment. Alignment is kept when writing and not asked for when
reading, since no section tells a receiver to check it.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Network
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

from mrouter.errors import ParseError
from mrouter.wire.address import parse_routable
from mrouter.wire.binding_codec import BINDING_PARSERS, BINDING_SERIALIZERS
from mrouter.wire.constants import AuthenticationSubtype, Dialect, OptionType
from mrouter.wire.flow_codec import (
    find_flow_alignment,
    parse_flow_identification,
    parse_flow_summary,
    serialize_flow_identification,
    serialize_flow_summary,
)
from mrouter.wire.ipv4_codec import (
    IPV4_OPTION_LENGTH,
    parse_ipv4_acknowledgement,
    parse_ipv4_home_address,
    serialize_ipv4_acknowledgement,
    serialize_ipv4_home_address,
)
from mrouter.wire.option_rules import find_misplaced
from mrouter.wire.option_walk import walk_options
from mrouter.wire.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    CareOfAddressInformation,
    FlowIdentification,
    FlowSummary,
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
    MnHaAuthentication,
    MobileNetworkPrefix,
    MobilityOption,
    NonceIndices,
    ReplayProtection,
    UnknownOption,
)
from mrouter.wire.parse_errors import Reason
from mrouter.wire.units import count_units, parse_units

if TYPE_CHECKING:
    from collections.abc import Callable

    from mrouter.wire.format import WireFormat

_PAIR = Struct("!HH")
_AUTHENTICATION = Struct("!BI")
_TYPE_LENGTH_UINT16 = Struct("!BBH")
_TYPE_LENGTH_UINT64 = Struct("!BBQ")

_BAD_OCTETS = 12  # RFC 6275 §6.2.7: the first 96 bits of the MAC
_SUBTYPE_AND_SPI = _AUTHENTICATION.size


class ParsedOptions(NamedTuple):
    """Options in the order of the wire, padding left out.

    ``signed_length`` is how many octets of the Mobility Header the authenticator covers: up to
    and including the MN-HA option's SPI (RFC 4285 §5.1), or up to the authenticator of Binding
    Authorization Data, which is the header's end (RFC 6275 §6.2.7); 0 without either.
    """

    options: tuple[MobilityOption, ...]
    signed_length: int


# --- reading ------------------------------------------------------------------------------


def parse_options(header: bytes, offset: int, fmt: WireFormat) -> ParsedOptions:
    """Read the options of Mobility Header ``header`` from ``offset`` to its end.

    Options of unknown type are kept as ``UnknownOption``: RFC 6275 §6.2.1 has a receiver skip
    them. Raises ParseError.
    """
    options = []
    signed_length = 0
    stop = offset
    for kind, start, length in walk_options(header, offset):
        option = _parse_option(kind, header, start, length, fmt)
        if isinstance(option, MnHaAuthentication):
            signed_length = start + _SUBTYPE_AND_SPI
        elif isinstance(option, BindingAuthorizationData):
            signed_length = start
        options.append(option)
        stop = start + length
    misplaced = find_misplaced(options, fmt)
    if misplaced is not None:
        raise ParseError(misplaced, "options repeated, or after one that must be the last")
    if options and isinstance(options[-1], BindingAuthorizationData) and stop != len(header):
        # RFC 6275 §9.5.1: it MUST be the last option, without padding behind it.
        raise ParseError(Reason.BAD_OPTION_ORDER, "padding after Binding Authorization Data")
    return ParsedOptions(tuple(options), signed_length)


def _parse_option(
    kind: int, header: bytes, start: int, length: int, fmt: WireFormat
) -> MobilityOption:
    if kind == fmt.binding_option_type:
        return BINDING_PARSERS[fmt.dialect](header, start, length)
    if kind == OptionType.AUTHENTICATION:
        return _parse_authentication(header, start, length)
    layout = _LAYOUTS.get(kind)
    if layout is None:
        parse_flow = _FLOW_PARSERS.get(kind)
        if parse_flow is not None:
            return parse_flow(header, start, length)
        return UnknownOption(kind, header[start : start + length])
    if length != layout.length:
        raise ParseError(Reason.BAD_OPTION_LENGTH, f"option {kind} of length {length}")
    return layout.parse(header, start)


def _parse_refresh_advice(header: bytes, start: int) -> BindingRefreshAdvice:
    return BindingRefreshAdvice(parse_units(header, start))


def _parse_alternate_care_of_address(header: bytes, start: int) -> AlternateCareOfAddress:
    return AlternateCareOfAddress(parse_routable(header, start))


def _parse_nonce_indices(header: bytes, start: int) -> NonceIndices:
    return NonceIndices(*_PAIR.unpack_from(header, start))


def _parse_authorization_data(header: bytes, start: int) -> BindingAuthorizationData:
    return BindingAuthorizationData(header[start : start + _BAD_OCTETS])


def _parse_prefix(header: bytes, start: int) -> MobileNetworkPrefix:
    prefix_length = header[start + 1]
    if prefix_length > 128:
        raise ParseError(Reason.BAD_OPTION_VALUE, f"prefix length {prefix_length}")
    return MobileNetworkPrefix(_build_network(header[start + 2 : start + 18], prefix_length))


@lru_cache(maxsize=1024)
def _build_network(address: bytes, prefix_length: int) -> IPv6Network:
    # RFC 3963 §4.3 does not say that the bits past the prefix length are zero: they are ignored.
    # An IPv6Network takes longer to make than the rest of a message; refreshes repeat the same.
    return IPv6Network((address, prefix_length), strict=False)


def _parse_replay_protection(header: bytes, start: int) -> ReplayProtection:
    return ReplayProtection(int.from_bytes(header[start : start + 8], "big"))


def _parse_authentication(
    header: bytes, start: int, length: int
) -> MnHaAuthentication | UnknownOption:
    stop = start + length
    if length and header[start] != AuthenticationSubtype.MN_HA:
        return UnknownOption(OptionType.AUTHENTICATION, header[start:stop])
    if length <= _SUBTYPE_AND_SPI:
        raise ParseError(Reason.BAD_OPTION_LENGTH, "authentication option without authenticator")
    _, spi = _AUTHENTICATION.unpack_from(header, start)
    return MnHaAuthentication(spi, header[start + _SUBTYPE_AND_SPI : stop])


class _Layout(NamedTuple):
    """An option of fixed length, and how its data are read."""

    length: int
    parse: Callable[[bytes, int], MobilityOption]


_LAYOUTS: dict[int, _Layout] = {
    OptionType.BINDING_REFRESH_ADVICE: _Layout(2, _parse_refresh_advice),
    OptionType.ALTERNATE_CARE_OF_ADDRESS: _Layout(16, _parse_alternate_care_of_address),
    OptionType.NONCE_INDICES: _Layout(4, _parse_nonce_indices),
    OptionType.BINDING_AUTHORIZATION_DATA: _Layout(_BAD_OCTETS, _parse_authorization_data),
    OptionType.MOBILE_NETWORK_PREFIX: _Layout(18, _parse_prefix),
    OptionType.REPLAY_PROTECTION: _Layout(8, _parse_replay_protection),
    OptionType.IPV4_HOME_ADDRESS: _Layout(IPV4_OPTION_LENGTH, parse_ipv4_home_address),
    OptionType.IPV4_ADDRESS_ACKNOWLEDGEMENT: _Layout(
        IPV4_OPTION_LENGTH, parse_ipv4_acknowledgement
    ),
}
#: Options that say by their length how much they hold.
_FLOW_PARSERS: dict[int, Callable[[bytes, int, int], MobilityOption]] = {
    OptionType.FLOW_SUMMARY: parse_flow_summary,
    OptionType.FLOW_IDENTIFICATION: parse_flow_identification,
}


# --- writing ------------------------------------------------------------------------------


def serialize_options(
    header: bytearray,
    options: tuple[MobilityOption, ...],
    fmt: WireFormat,
    authenticator_length: int = 0,
) -> int:
    """Append ``options`` to ``header``, aligned, and pad it to a multiple of 8 octets.

    An MN-HA option or Binding Authorization Data that is still to be signed gets
    ``authenticator_length`` zero octets. Returns how many octets of ``header`` the authenticator
    covers, 0 without such an option. Raises ValueError, or struct.error for a number that its
    field cannot hold.
    """
    misplaced = find_misplaced(options, fmt)
    if misplaced is not None:
        raise ValueError(f"options cannot be written in this order: {misplaced}")
    signed_length = 0
    for option in options:
        factor, rest = _get_alignment(option, fmt)
        header += _PADDING[(rest - len(header)) % factor]
        if isinstance(option, MnHaAuthentication):
            signed_length = len(header) + 2 + _SUBTYPE_AND_SPI
            header += _serialize_authentication(option, authenticator_length)
        elif isinstance(option, BindingAuthorizationData):
            signed_length = len(header) + 2
            header += _serialize_authorization_data(option, authenticator_length)
        elif isinstance(option, CareOfAddressInformation):
            header += BINDING_SERIALIZERS[fmt.dialect](option, fmt)
        elif isinstance(option, UnknownOption):
            header += _serialize_unknown(option, fmt)
        else:
            header += _SERIALIZERS[type(option)](option)
    header += _PADDING[-len(header) % 8]
    return signed_length


_PADDING = (
    b"",
    b"\x00",  # Pad1
    b"\x01\x00",  # PadN, its length, zeros
    b"\x01\x01\x00",
    b"\x01\x02\x00\x00",
    b"\x01\x03\x00\x00\x00",
    b"\x01\x04\x00\x00\x00\x00",
    b"\x01\x05\x00\x00\x00\x00\x00",
)

_NO_ALIGNMENT = (1, 0)
#: (x, y) for an alignment of xn+y, from each option's own section.
_ALIGNMENTS: dict[type, tuple[int, int]] = {
    BindingRefreshAdvice: (2, 0),
    AlternateCareOfAddress: (8, 6),
    NonceIndices: (2, 0),
    BindingAuthorizationData: (8, 2),
    MobileNetworkPrefix: (8, 4),
    MnHaAuthentication: (4, 1),
    ReplayProtection: (8, 2),
    FlowSummary: (2, 0),
    IPv4HomeAddress: (4, 0),
    IPv4AddressAcknowledgement: (4, 0),
}


def _get_alignment(option: MobilityOption, fmt: WireFormat) -> tuple[int, int]:
    alignment = _ALIGNMENTS.get(type(option))
    if alignment is not None:
        return alignment
    if isinstance(option, CareOfAddressInformation):
        # The draft §5.3.1 asks for no alignment of CoAINFO.
        if fmt.dialect is Dialect.DRAFT_01:
            return _NO_ALIGNMENT
        return (2, 0) if option.care_of_address is None else (8, 2)  # RFC 5648 §4.3
    if isinstance(option, FlowIdentification):
        return find_flow_alignment(option)
    if isinstance(option, UnknownOption) and option.type == OptionType.AUTHENTICATION:
        return _ALIGNMENTS[MnHaAuthentication]
    return _NO_ALIGNMENT


def _serialize_refresh_advice(option: BindingRefreshAdvice) -> bytes:
    return _TYPE_LENGTH_UINT16.pack(
        OptionType.BINDING_REFRESH_ADVICE, 2, count_units(option.interval)
    )


def _serialize_alternate_care_of_address(option: AlternateCareOfAddress) -> bytes:
    return bytes((OptionType.ALTERNATE_CARE_OF_ADDRESS, 16)) + option.address.packed


def _serialize_nonce_indices(option: NonceIndices) -> bytes:
    return bytes((OptionType.NONCE_INDICES, 4)) + _PAIR.pack(option.home, option.care_of)


def _serialize_authorization_data(
    option: BindingAuthorizationData, authenticator_length: int
) -> bytes:
    authenticator = option.authenticator or bytes(authenticator_length)
    if len(authenticator) != _BAD_OCTETS:
        raise ValueError(f"Binding Authorization Data of {len(authenticator)} octets")
    return bytes((OptionType.BINDING_AUTHORIZATION_DATA, _BAD_OCTETS)) + authenticator


def _serialize_prefix(option: MobileNetworkPrefix) -> bytes:
    prefix = option.prefix
    head = bytes((OptionType.MOBILE_NETWORK_PREFIX, 18, 0, prefix.prefixlen))
    return head + prefix.network_address.packed


def _serialize_replay_protection(option: ReplayProtection) -> bytes:
    return _TYPE_LENGTH_UINT64.pack(OptionType.REPLAY_PROTECTION, 8, option.timestamp)


def _serialize_authentication(option: MnHaAuthentication, authenticator_length: int) -> bytes:
    authenticator = option.authenticator or bytes(authenticator_length)
    if not authenticator:
        raise ValueError("the authentication option is not signed and there is no signer")
    length = _SUBTYPE_AND_SPI + len(authenticator)
    if length > 255:
        raise ValueError(f"an authenticator of {len(authenticator)} octets is too long")
    body = _AUTHENTICATION.pack(AuthenticationSubtype.MN_HA, option.spi)
    return bytes((OptionType.AUTHENTICATION, length)) + body + authenticator


def _serialize_unknown(option: UnknownOption, fmt: WireFormat) -> bytes:
    known = option.type in _KNOWN_TYPES or option.type == fmt.binding_option_type
    is_mn_ha = option.type == OptionType.AUTHENTICATION and (
        option.data[:1] in (b"", bytes((AuthenticationSubtype.MN_HA,)))
    )
    if known or is_mn_ha:
        raise ValueError(f"option type {option.type} is not an unknown one")
    if len(option.data) > 255:
        raise ValueError(f"option type {option.type} has {len(option.data)} octets of data")
    return bytes((option.type, len(option.data))) + option.data


_KNOWN_TYPES = frozenset(_LAYOUTS) | frozenset(_FLOW_PARSERS) | {OptionType.PAD1, OptionType.PADN}
_SERIALIZERS: dict[type, Callable[[Any], bytes]] = {
    BindingRefreshAdvice: _serialize_refresh_advice,
    AlternateCareOfAddress: _serialize_alternate_care_of_address,
    NonceIndices: _serialize_nonce_indices,
    MobileNetworkPrefix: _serialize_prefix,
    ReplayProtection: _serialize_replay_protection,
    FlowIdentification: serialize_flow_identification,
    FlowSummary: serialize_flow_summary,
    IPv4HomeAddress: serialize_ipv4_home_address,
    IPv4AddressAcknowledgement: serialize_ipv4_acknowledgement,
}
