"""IPv6 packets in IPv6 packets (RFC 2473): only their addresses are read."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from mrouter.errors import ParseError
from mrouter.wire.parse_errors import Reason

_HEADER = 40
_NEXT_HEADER_AT = 6
_SOURCE_AT = 8
_DESTINATION_AT = 24
_ADDRESS = 16
_IPV6 = 41
_DESTINATION_UNREACHABLE = 1
#: Type, code, checksum and an unused field stand before the packet that was lost (RFC 4443 §3.1).
_ERROR_HEADER = 8


@dataclass(frozen=True, slots=True)
class TunnelledPacket:
    """The four addresses of a packet in a packet."""

    source: IPv6Address
    destination: IPv6Address
    inner_source: IPv6Address
    inner_destination: IPv6Address


def is_tunnelled(data: bytes) -> bool:
    """Tell whether the IPv6 packet ``data`` carries an IPv6 packet, with no header in between."""
    return len(data) > _NEXT_HEADER_AT and data[_NEXT_HEADER_AT] == _IPV6


def parse_tunnelled(data: bytes) -> TunnelledPacket:
    """Read the addresses of the tunnelled packet ``data``, of which the payload may be missing.

    Raises ParseError if it ends before its inner header does, or is none.
    """
    if len(data) < 2 * _HEADER or not is_tunnelled(data):
        raise ParseError(Reason.TRUNCATED, f"{len(data)} octets are no packet in a packet")
    return TunnelledPacket(
        source=_read_address(data, _SOURCE_AT),
        destination=_read_address(data, _DESTINATION_AT),
        inner_source=_read_address(data, _HEADER + _SOURCE_AT),
        inner_destination=_read_address(data, _HEADER + _DESTINATION_AT),
    )


def parse_unreachable(message: bytes) -> TunnelledPacket:
    """Read which tunnelled packet the ICMPv6 Destination Unreachable ``message`` is about.

    Raises ParseError if it is no such message, or about another packet.
    """
    if not message or message[0] != _DESTINATION_UNREACHABLE:
        raise ParseError(Reason.TRUNCATED, "no Destination Unreachable")
    return parse_tunnelled(message[_ERROR_HEADER:])


def _read_address(data: bytes, offset: int) -> IPv6Address:
    return IPv6Address(data[offset : offset + _ADDRESS])
