"""The ICMPv6 messages by which a mobile node finds home agents and learns of home prefixes.

Types 144 to 147 (RFC 6275 §6.5 to §6.8); the R flag: RFC 3963 §7.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address, IPv6Network

from mrouter.errors import ParseError
from mrouter.wire.address import parse_routable, parse_unicast
from mrouter.wire.checksum import compute_checksum, is_checksum_right
from mrouter.wire.extension_headers import find_headers, serialize_extensions
from mrouter.wire.parse_errors import Reason

ICMPV6 = 58
#: Home agents in one reply: what fits the minimum MTU (RFC 6275 §6.6).
MAX_HOME_AGENTS = (1280 - 40 - 8) // 16

_IPV6 = struct.Struct("!IHBB16s16s")
_ICMP = struct.Struct("!BBHHH")
_MOBILE_ROUTER = 0x8000
_PREFIX_INFORMATION = 3
#: Type, Length in 8 octets, Prefix Length, flags, lifetimes, reserved, prefix (RFC 4861 §4.6.2).
_PREFIX = struct.Struct("!BBBBIII16s")
_ON_LINK_AUTONOMOUS = 0xC0


class DiscoveryType(IntEnum):
    """ICMPv6 types (RFC 6275 §6.5 to §6.8)."""

    HOME_AGENT_REQUEST = 144
    HOME_AGENT_REPLY = 145
    PREFIX_SOLICITATION = 146
    PREFIX_ADVERTISEMENT = 147


@dataclass(frozen=True, slots=True)
class HomeAgentRequest:
    """Home Agent Address Discovery Request; ``mobile_router`` is RFC 3963's R flag."""

    identifier: int
    mobile_router: bool = False


@dataclass(frozen=True, slots=True)
class HomeAgentReply:
    """Home Agent Address Discovery Reply: ``addresses`` of home agents, the best first.

    ``mobile_router``: all of them serve mobile routers.
    """

    identifier: int
    addresses: tuple[IPv6Address, ...]
    mobile_router: bool = False


@dataclass(frozen=True, slots=True)
class HomePrefix:
    """A Prefix Information option; lifetimes in seconds, 0xFFFFFFFF for ever."""

    prefix: IPv6Network
    valid_lifetime: int
    preferred_lifetime: int


@dataclass(frozen=True, slots=True)
class PrefixSolicitation:
    """Mobile Prefix Solicitation."""

    identifier: int


@dataclass(frozen=True, slots=True)
class PrefixAdvertisement:
    """Mobile Prefix Advertisement."""

    identifier: int
    prefixes: tuple[HomePrefix, ...]


DiscoveryMessage = HomeAgentRequest | HomeAgentReply | PrefixSolicitation | PrefixAdvertisement


@dataclass(frozen=True, slots=True)
class DiscoveryPacket:
    """A message and its IPv6 addresses.

    ``home_address`` is the Home Address option's, ``routing_home_address`` that of the type 2
    routing header; None without them.
    """

    source: IPv6Address
    destination: IPv6Address
    message: DiscoveryMessage
    home_address: IPv6Address | None = None
    routing_home_address: IPv6Address | None = None


def find_anycast_address(prefix: IPv6Network) -> IPv6Address:
    """Return the Mobile IPv6 Home-Agents anycast address of ``prefix`` (RFC 2526 §2, §4).

    A 64-bit interface identifier has its universal/local bit zero.
    """
    hosts = int(prefix.hostmask)
    identifier = hosts & ~0x7F | 0x7E
    if prefix.prefixlen == 64:
        identifier &= ~(1 << 57)
    return IPv6Address(int(prefix.network_address) | identifier)


def is_discovery(data: bytes) -> bool:
    """Tell whether the IPv6 packet ``data`` is rather an ICMPv6 message than a Mobility Header."""
    offset, next_header = _IPV6.size, data[6] if len(data) > _IPV6.size else 0
    for _ in range(2):
        if next_header not in (43, 60) or offset + 2 > len(data):
            break
        next_header, offset = data[offset], offset + 8 + 8 * data[offset + 1]
    return next_header == ICMPV6


# --- reading ------------------------------------------------------------------------------


def parse_discovery(data: bytes) -> DiscoveryPacket:
    """Read one IPv6 packet from its first octet.

    Raises ParseError: RFC 6275 has such a message silently discarded.
    """
    if len(data) < _IPV6.size:
        raise ParseError(Reason.TRUNCATED, f"{len(data)} octets are no IPv6 header")
    first, length, _next, _hops, source, destination = _IPV6.unpack_from(data)
    end = _IPV6.size + length
    if first >> 28 != 6:
        raise ParseError(Reason.NOT_IPV6, f"version {first >> 28}")
    if end > len(data):
        raise ParseError(Reason.TRUNCATED, f"{len(data)} octets of {end}")
    start, home_at, routed_at = find_headers(data, end, ICMPV6)
    body = data[start:end]
    if len(body) < _ICMP.size or len(body) % 2:
        raise ParseError(Reason.TRUNCATED, f"{len(body)} octets of ICMPv6")
    if not is_checksum_right(
        data[home_at : home_at + 16] if home_at else source,
        data[routed_at : routed_at + 16] if routed_at else destination,
        body,
        ICMPV6,
    ):
        raise ParseError(Reason.BAD_CHECKSUM)
    return DiscoveryPacket(
        source=parse_routable(data, 8),
        destination=parse_unicast(data, 24),
        message=_parse_message(body),
        home_address=parse_routable(data, home_at) if home_at else None,
        routing_home_address=parse_routable(data, routed_at) if routed_at else None,
    )


def _parse_message(body: bytes) -> DiscoveryMessage:
    kind, code, _checksum, identifier, flags = _ICMP.unpack_from(body)
    rest = body[_ICMP.size :]
    if code != 0:
        raise ParseError(Reason.BAD_OPTION_VALUE, f"code {code}")
    if kind == DiscoveryType.HOME_AGENT_REQUEST:
        return HomeAgentRequest(identifier, bool(flags & _MOBILE_ROUTER))
    if kind == DiscoveryType.HOME_AGENT_REPLY:
        # RFC 6275 §6.6: as many addresses as the length says
        if len(rest) % 16:
            raise ParseError(Reason.TRUNCATED, f"{len(rest)} octets of addresses")
        addresses = tuple(parse_routable(rest, at) for at in range(0, len(rest), 16))
        return HomeAgentReply(identifier, addresses, bool(flags & _MOBILE_ROUTER))
    if kind == DiscoveryType.PREFIX_SOLICITATION:
        return PrefixSolicitation(identifier)
    if kind == DiscoveryType.PREFIX_ADVERTISEMENT:
        return PrefixAdvertisement(identifier, _parse_prefixes(rest))
    raise ParseError(Reason.UNKNOWN_MH_TYPE, f"ICMPv6 type {kind}")


def _parse_prefixes(data: bytes) -> tuple[HomePrefix, ...]:
    """Read the Prefix Information options; others are skipped (RFC 6275 §6.8)."""
    prefixes = []
    offset = 0
    while offset < len(data):
        size = 8 * data[offset + 1] if offset + 2 <= len(data) else 0
        if size == 0 or offset + size > len(data):
            raise ParseError(Reason.BAD_OPTION_LENGTH, "a neighbour discovery option")
        if data[offset] == _PREFIX_INFORMATION:
            prefixes.append(_parse_prefix(data[offset : offset + size]))
        offset += size
    return tuple(prefixes)


def _parse_prefix(option: bytes) -> HomePrefix:
    if len(option) != _PREFIX.size:
        raise ParseError(Reason.BAD_OPTION_LENGTH, f"{len(option)} octets of prefix information")
    _kind, _size, length, _flags, valid, preferred, _reserved, address = _PREFIX.unpack(option)
    if length > 128 or preferred > valid:
        raise ParseError(Reason.BAD_OPTION_VALUE, f"/{length}, {preferred} of {valid} s")
    # RFC 4861 §4.6.2: bits after the prefix MUST be ignored
    return HomePrefix(IPv6Network((address, length), strict=False), valid, preferred)


# --- writing ------------------------------------------------------------------------------


def serialize_discovery(packet: DiscoveryPacket) -> bytes:
    """Write ``packet`` as an IPv6 packet with a right checksum."""
    body = _serialize_message(packet.message)
    source, destination = packet.source.packed, packet.destination.packed
    checksum = compute_checksum(
        source if packet.home_address is None else packet.home_address.packed,
        destination if packet.routing_home_address is None else packet.routing_home_address.packed,
        body,
        ICMPV6,
    )
    next_header, extensions = serialize_extensions(
        ICMPV6, packet.home_address, packet.routing_home_address
    )
    payload = extensions + body[:2] + checksum.to_bytes(2, "big") + body[4:]
    return _IPV6.pack(6 << 28, len(payload), next_header, 64, source, destination) + payload


def _serialize_message(message: DiscoveryMessage) -> bytes:
    flags, rest = 0, b""
    if isinstance(message, HomeAgentRequest):
        kind = DiscoveryType.HOME_AGENT_REQUEST
        flags = _MOBILE_ROUTER if message.mobile_router else 0
    elif isinstance(message, HomeAgentReply):
        kind = DiscoveryType.HOME_AGENT_REPLY
        flags = _MOBILE_ROUTER if message.mobile_router else 0
        rest = b"".join(address.packed for address in message.addresses)
    elif isinstance(message, PrefixSolicitation):
        kind = DiscoveryType.PREFIX_SOLICITATION
    else:
        kind = DiscoveryType.PREFIX_ADVERTISEMENT
        rest = b"".join(map(_serialize_prefix, message.prefixes))
    return _ICMP.pack(kind, 0, 0, message.identifier, flags) + rest


def _serialize_prefix(prefix: HomePrefix) -> bytes:
    return _PREFIX.pack(
        _PREFIX_INFORMATION,
        _PREFIX.size // 8,
        prefix.prefix.prefixlen,
        _ON_LINK_AUTONOMOUS,
        prefix.valid_lifetime,
        prefix.preferred_lifetime,
        0,
        prefix.prefix.network_address.packed,
    )
