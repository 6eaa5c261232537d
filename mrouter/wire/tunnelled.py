"""Packets past the home agent: only their addresses are read.

IPv6 packets in IPv6 packets (RFC 2473), and those with the home address in a Home Address option
or a type 2 routing header, which stand for the same (RFC 6275 §6.3, §6.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from mrouter.errors import ParseError
from mrouter.wire.checksum import MOBILITY_HEADER
from mrouter.wire.home_discovery import ICMPV6, DiscoveryType
from mrouter.wire.parse_errors import Reason

_HEADER = 40
_NEXT_HEADER_AT = 6
_SOURCE_AT = 8
_DESTINATION_AT = 24
_ADDRESS = 16
_IPV6 = 41
_ROUTING_HEADER = 43
_DESTINATION_OPTIONS = 60
#: The address that either header holds, and the option's type, where everybody puts them.
_HOME_ADDRESS_AT = 48
_OPTION_TYPE_AT = 46
_HOME_ADDRESS_OPTION = 201
_ROUTING_TYPE_AT = 42
_TYPE_2 = 2
_DESTINATION_UNREACHABLE = 1
_DISCOVERY_TYPES = frozenset(DiscoveryType)
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


def has_home_address(data: bytes) -> bool:
    """Tell whether ``data`` is a packet with a Home Address option that is no signalling."""
    return (
        len(data) >= _HOME_ADDRESS_AT + _ADDRESS
        and data[_NEXT_HEADER_AT] == _DESTINATION_OPTIONS
        and data[_OPTION_TYPE_AT] == _HOME_ADDRESS_OPTION
        and not _is_signalling(data)
    )


def _is_signalling(data: bytes) -> bool:
    """Tell whether a Mobility Header or home agent discovery is behind the first header."""
    kind, start = data[_HEADER], _HEADER + 8 + 8 * data[_HEADER + 1]
    is_discovery = kind == ICMPV6 and start < len(data) and data[start] in _DISCOVERY_TYPES
    return kind == MOBILITY_HEADER or is_discovery


def parse_home_address(data: bytes) -> TunnelledPacket:
    """Read the addresses of ``data``, which has a Home Address option, as if it were a tunnel.

    Raises ParseError if it has none.
    """
    if not has_home_address(data):
        raise ParseError(Reason.TRUNCATED, f"{len(data)} octets have no Home Address option")
    destination = _read_address(data, _DESTINATION_AT)
    return TunnelledPacket(
        source=_read_address(data, _SOURCE_AT),
        destination=destination,
        inner_source=_read_address(data, _HOME_ADDRESS_AT),
        inner_destination=destination,
    )


def parse_unreachable(message: bytes) -> TunnelledPacket:
    """Read which packet past the home agent the Destination Unreachable ``message`` is about.

    Raises ParseError if it is no such ICMPv6 message, or about another packet.
    """
    if not message or message[0] != _DESTINATION_UNREACHABLE:
        raise ParseError(Reason.TRUNCATED, "no Destination Unreachable")
    lost = message[_ERROR_HEADER:]
    return _parse_routed(lost) if _is_routed(lost) else parse_tunnelled(lost)


def _is_routed(data: bytes) -> bool:
    return (
        len(data) >= _HOME_ADDRESS_AT + _ADDRESS
        and data[_NEXT_HEADER_AT] == _ROUTING_HEADER
        and data[_ROUTING_TYPE_AT] == _TYPE_2
    )


def _parse_routed(data: bytes) -> TunnelledPacket:
    source = _read_address(data, _SOURCE_AT)
    return TunnelledPacket(
        source=source,
        destination=_read_address(data, _DESTINATION_AT),
        inner_source=source,
        inner_destination=_read_address(data, _HOME_ADDRESS_AT),
    )


def _read_address(data: bytes, offset: int) -> IPv6Address:
    return IPv6Address(data[offset : offset + _ADDRESS])
