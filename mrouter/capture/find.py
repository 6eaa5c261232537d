"""Find the signalling in a packet, also inside tunnels."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import NamedTuple

from mrouter.wire.checksum import MOBILITY_HEADER
from mrouter.wire.home_discovery import ICMPV6, DiscoveryType

_IPV6_OCTETS = 40
_IPV6_IN_IPV6 = 41
#: Hop-by-hop options, routing header, destination options.
EXTENSION_HEADERS = (0, 43, 60)
_DISCOVERY_TYPES = frozenset(DiscoveryType)
#: How many headers are looked at, tunnels' included; the kernel's filter does as many.
MAX_HEADERS = 8


class Addresses(NamedTuple):
    """Source and destination of one IPv6 header."""

    source: IPv6Address
    destination: IPv6Address


class Signalling(NamedTuple):
    """A packet with a Mobility Header or home agent discovery, taken out of its tunnels.

    ``tunnels`` has the outermost first; ``packet`` begins at its own IPv6 header. ``protocol`` is
    ``MOBILITY_HEADER`` or ``ICMPV6``; ``type`` is its MH Type, None where the packet ends before
    it, or its ICMPv6 type.
    """

    tunnels: tuple[Addresses, ...]
    addresses: Addresses
    packet: bytes
    protocol: int
    type: int | None


def find_signalling(data: bytes) -> Signalling | None:
    """Return the packet with signalling in the IPv6 packet ``data``, or None.

    That is a Mobility Header, or an ICMPv6 message of types 144 to 147.
    """
    tunnels: list[Addresses] = []
    start = 0
    if not _is_ipv6(data, start):
        return None
    kind, offset = data[6], _IPV6_OCTETS
    for _ in range(MAX_HEADERS):
        if kind in (MOBILITY_HEADER, ICMPV6):
            at = offset + (2 if kind == MOBILITY_HEADER else 0)
            type_ = data[at] if at < len(data) else None
            if kind == ICMPV6 and type_ not in _DISCOVERY_TYPES:
                return None
            addresses = _read_addresses(data, start)
            return Signalling(tuple(tunnels), addresses, data[start:], kind, type_)
        if kind == _IPV6_IN_IPV6 and _is_ipv6(data, offset):
            tunnels.append(_read_addresses(data, start))
            start = offset
            kind, offset = data[start + 6], start + _IPV6_OCTETS
        elif kind in EXTENSION_HEADERS and offset + 2 <= len(data):
            kind, offset = data[offset], offset + 8 + 8 * data[offset + 1]
        else:
            return None
    return None


def _is_ipv6(data: bytes, offset: int) -> bool:
    return len(data) >= offset + _IPV6_OCTETS and data[offset] >> 4 == 6


def _read_addresses(data: bytes, start: int) -> Addresses:
    source, destination = data[start + 8 : start + 24], data[start + 24 : start + 40]
    return Addresses(IPv6Address(source), IPv6Address(destination))
