"""Whole IPv6 packets that carry one Mobility Header message: bytes to model and back.

Parsing is strict and does a bounded amount of work: IPv6 header, at most one type 2 routing
header, at most one Destination Options header, Mobility Header, in that order (RFC 6275 §6.3: the
Home Address option MUST stand after a routing header).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

from mrouter.errors import ParseError
from mrouter.wire.address import parse_routable, parse_unicast
from mrouter.wire.checksum import MOBILITY_HEADER, compute_checksum, is_checksum_right
from mrouter.wire.extension_headers import find_header_end, find_headers, serialize_extensions
from mrouter.wire.message_codec import parse_message, serialize_message
from mrouter.wire.messages import Packet
from mrouter.wire.options import BindingAuthorizationData, MnHaAuthentication
from mrouter.wire.parse_errors import ParameterProblem, Reason, UnknownMessageType

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.wire.format import WireFormat

IPV6_HEADER_OCTETS = 40

_SOURCE_AT = 8
_DESTINATION_AT = 24
_ADDRESS_OCTETS = 16
_IPV6_VERSION = 6
_IPV6 = struct.Struct("!IHBB16s16s")

_ZERO_CHECKSUM = bytes(2)

#: Which octet of the Mobility Header an ICMPv6 Parameter Problem points at (RFC 6275 §9.2).
_POINTERS: dict[str, int] = {Reason.BAD_PAYLOAD_PROTO: 0, Reason.BAD_HEADER_LENGTH: 1}


class Signer(Protocol):
    """Compute an authenticator: an MN-HA option's (RFC 4285 §5.1) or RFC 6275 §6.2.7's."""

    @property
    def length(self) -> int:
        """Return how many octets an authenticator has."""

    def sign(self, packet: Packet, mh_data: bytes) -> bytes:
        """Return the authenticator of ``packet``.

        ``mh_data`` is its Mobility Header with a zero checksum and a final Header Len, up to the
        authenticator: what ``Packet.signed_part`` is to the receiver.
        """


# --- reading ------------------------------------------------------------------------------


def parse_packet(data: bytes, fmt: WireFormat) -> Packet:
    """Read one IPv6 packet from its first octet; octets past its payload are ignored.

    Raises ParseError whose reason is a ``Reason``: an ``UnknownMessageType`` asks for a Binding
    Error, a ``ParameterProblem`` for an ICMPv6 message, anything else for silence (RFC 6275 §9.2).
    """
    if len(data) < IPV6_HEADER_OCTETS:
        raise ParseError(Reason.TRUNCATED, f"{len(data)} octets are no IPv6 header")
    if data[0] >> 4 != _IPV6_VERSION:
        raise ParseError(Reason.NOT_IPV6, f"version {data[0] >> 4}")
    end = IPV6_HEADER_OCTETS + int.from_bytes(data[4:6], "big")
    if end > len(data):
        raise ParseError(Reason.TRUNCATED, f"{len(data)} octets of {end}")
    start, home_at, routed_at = find_headers(data, end, MOBILITY_HEADER)
    stop = find_header_end(data, start, end)
    header = data[start:stop]
    # RFC 6275 §6.1.1: the home address, where the packet has one, stands for the care-of address.
    summed_source = _cut_address(data, home_at or _SOURCE_AT)
    summed_destination = _cut_address(data, routed_at or _DESTINATION_AT)
    if not is_checksum_right(summed_source, summed_destination, header):
        raise ParseError(Reason.BAD_CHECKSUM)
    source = parse_unicast(data, _SOURCE_AT)
    destination = parse_unicast(data, _DESTINATION_AT)
    home_address = parse_routable(data, home_at) if home_at else None
    routing_home_address = parse_routable(data, routed_at) if routed_at else None
    try:
        message, signed_length = parse_message(header, fmt)
    except ParseError as error:
        if error.reason == Reason.UNKNOWN_MH_TYPE:
            raise UnknownMessageType(source, destination, home_address, header[2]) from None
        if error.reason in _POINTERS:
            pointer = start + _POINTERS[error.reason]
            raise ParameterProblem(error, source, destination, pointer) from None
        raise
    signed_part = b""
    if signed_length:
        signed_part = header[:4] + _ZERO_CHECKSUM + header[6:signed_length]
    return Packet(source, destination, message, home_address, routing_home_address, signed_part)


def _cut_address(data: bytes, offset: int) -> bytes:
    return data[offset : offset + _ADDRESS_OCTETS]


# --- writing ------------------------------------------------------------------------------


def serialize_packet(
    packet: Packet, fmt: WireFormat, signer: Signer | None = None, hop_limit: int = 64
) -> bytes:
    """Write ``packet`` as an IPv6 packet with a right checksum.

    ``signer`` is asked only if the message has an MN-HA option or Binding Authorization Data
    without an authenticator. Raises ValueError for a value that has no place on the wire, or for
    a missing signer.
    """
    try:
        return _serialize(packet, fmt, signer, hop_limit)
    except struct.error as error:
        raise ValueError(f"{packet.message}: {error}") from None


def _serialize(packet: Packet, fmt: WireFormat, signer: Signer | None, hop_limit: int) -> bytes:
    unsigned = any(
        isinstance(option, MnHaAuthentication | BindingAuthorizationData)
        and not option.authenticator
        for option in packet.message.options
    )
    length = signer.length if unsigned and signer is not None else 0
    header, signed_length = serialize_message(packet.message, fmt, length)
    if unsigned and signer is not None:
        authenticator = signer.sign(packet, bytes(header[:signed_length]))
        if len(authenticator) != length:
            raise ValueError(f"an authenticator of {len(authenticator)} octets, not {length}")
        header[signed_length : signed_length + length] = authenticator
    source, destination = packet.source.packed, packet.destination.packed
    next_header, extensions = serialize_extensions(
        MOBILITY_HEADER, packet.home_address, packet.routing_home_address
    )
    checksum = compute_checksum(
        _pack_or(packet.home_address, source),
        _pack_or(packet.routing_home_address, destination),
        header,
    )
    header[4:6] = checksum.to_bytes(2, "big")
    payload = extensions + header
    return (
        _IPV6.pack(_IPV6_VERSION << 28, len(payload), next_header, hop_limit, source, destination)
        + payload
    )


def _pack_or(address: IPv6Address | None, otherwise: bytes) -> bytes:
    return otherwise if address is None else address.packed
