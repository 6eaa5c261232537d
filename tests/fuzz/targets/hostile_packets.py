"""Packets that an attacker may send: any octets, with the sums right that only hide the rest."""

from __future__ import annotations

import struct

from mrouter.errors import ParseError
from mrouter.wire.checksum import MOBILITY_HEADER, compute_checksum
from mrouter.wire.constants import Dialect
from mrouter.wire.extension_headers import find_headers, serialize_extensions
from mrouter.wire.format import WireFormat

ICMPV6 = 58
FORMATS = (WireFormat(), WireFormat(Dialect.RFC5648), WireFormat(coainfo_type=201))
_IPV6_HEADER = 40
_CHECKSUM_AT = {MOBILITY_HEADER: 4, ICMPV6: 2}
_IPPROTO_NONE = 59
#: Options that are not aligned grow when they are written, at most so far below this size.
SURE_TO_FIT = 1000


def repair(data, protocol=MOBILITY_HEADER):
    """Return the IPv6 packet ``data`` with right version, lengths and checksum.

    A fuzzer finds no checksum by chance, and an attacker computes it.
    """
    if len(data) < _IPV6_HEADER:
        return data
    fixed = bytearray(data)
    fixed[0] = 0x60 | fixed[0] & 0x0F
    fixed[4:6] = (len(data) - _IPV6_HEADER).to_bytes(2, "big")
    try:
        start, home_at, routed_at = find_headers(bytes(fixed), len(fixed), protocol)
    except ParseError:
        return bytes(fixed)
    stop = len(fixed)
    if protocol == MOBILITY_HEADER and stop - start >= 8:
        units = min((stop - start) // 8 - 1, 255)
        fixed[start + 1] = units
        stop = start + 8 + 8 * units
    at = start + _CHECKSUM_AT[protocol]
    if at + 2 > stop:
        return bytes(fixed)
    fixed[at : at + 2] = bytes(2)
    checksum = compute_checksum(
        bytes(fixed[home_at or 8 :][:16]),
        bytes(fixed[routed_at or 24 :][:16]),
        fixed[start:stop],
        protocol,
    )
    fixed[at : at + 2] = checksum.to_bytes(2, "big")
    return bytes(fixed)


def read_hostile(data):
    """Return a format and a packet: the first octet chooses the one, and what is put right."""
    fmt = FORMATS[(data[0] >> 2) % len(FORMATS)]
    packet = data[1:]
    if data[0] & 3:
        packet = repair(packet, ICMPV6 if data[0] & 2 else MOBILITY_HEADER)
    return fmt, packet


def mark_seed(packet, number=0, protocol=MOBILITY_HEADER):
    """Return what ``read_hostile`` reads as ``packet`` in the format of that number."""
    return bytes((number << 2 | (2 if protocol == ICMPV6 else 1),)) + packet


def make_raw(source, destination, kind, body, home_address=None, routing_home_address=None):
    """Return a packet between these addresses whose Mobility Header is ``body`` behind its type."""
    header = bytes((_IPPROTO_NONE, 0, kind, 0, 0, 0)) + body
    header += bytes(-len(header) % 8)
    next_header, extensions = serialize_extensions(
        MOBILITY_HEADER, home_address, routing_home_address
    )
    payload = extensions + header
    fixed = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    return repair(fixed + source.packed + destination.packed + payload)
