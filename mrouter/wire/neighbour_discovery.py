"""The Neighbour Discovery messages of a home agent on its home link (RFC 4861, RFC 4862 §5.4)."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from mrouter.wire.checksum import compute_checksum

ICMPV6 = 58
NEIGHBOUR_SOLICITATION = 135
NEIGHBOUR_ADVERTISEMENT = 136
ALL_NODES = IPv6Address("ff02::1")

_UNSPECIFIED = IPv6Address("::")
_SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))
_HOP_LIMIT = 255
_ROUTER = 0x80000000
_OVERRIDE = 0x20000000
_TARGET_LINK_LAYER_ADDRESS = 2
_HEADER = struct.Struct("!IHBB16s16s")
_MESSAGE = struct.Struct("!BBHI16s")


def find_solicited_node(address: IPv6Address) -> IPv6Address:
    """Return the solicited-node multicast address of ``address`` (RFC 4291 §2.7.1)."""
    return IPv6Address(_SOLICITED_NODE | int(address) & 0xFFFFFF)


def serialize_duplicate_probe(target: IPv6Address) -> bytes:
    """Return the whole packet that asks whether anybody has ``target`` (RFC 4862 §5.4.2)."""
    body = _MESSAGE.pack(NEIGHBOUR_SOLICITATION, 0, 0, 0, target.packed)
    return _wrap(_UNSPECIFIED, find_solicited_node(target), body)


def serialize_advertisement(
    source: IPv6Address, target: IPv6Address, link_layer_address: bytes, *, router: bool = False
) -> bytes:
    """Return the whole packet that tells all nodes where ``target`` is reached now.

    Not solicited, but override (RFC 6275 §10.4.1); ``router`` if it is a mobile router's (RFC 3963
    §6.2). ``link_layer_address`` has 6 octets.
    """
    option = bytes((_TARGET_LINK_LAYER_ADDRESS, 1)) + link_layer_address
    flags = _OVERRIDE | (_ROUTER if router else 0)
    body = _MESSAGE.pack(NEIGHBOUR_ADVERTISEMENT, 0, 0, flags, target.packed) + option
    return _wrap(source, ALL_NODES, body)


def find_claim(source: IPv6Address, hop_limit: int, message: bytes) -> IPv6Address | None:
    """Return the address that an ICMPv6 ``message`` says somebody has, or is about to take.

    That is the target of a Neighbour Advertisement, and of a Neighbour Solicitation without a
    source, by which another node looks for duplicates (RFC 4862 §5.4.3, §5.4.4). None if it is
    no valid message of these (RFC 4861 §7.1); the checksum has been looked at already.
    """
    # options come in units of 8 octets
    if hop_limit != _HOP_LIMIT or len(message) < _MESSAGE.size or len(message) % 8:
        return None
    kind, code, _checksum, _flags, target = _MESSAGE.unpack_from(message)
    claims = kind == NEIGHBOUR_ADVERTISEMENT or (
        kind == NEIGHBOUR_SOLICITATION and source == _UNSPECIFIED
    )
    return IPv6Address(target) if claims and code == 0 else None


def _wrap(source: IPv6Address, destination: IPv6Address, body: bytes) -> bytes:
    checksum = compute_checksum(source.packed, destination.packed, body, ICMPV6)
    header = _HEADER.pack(6 << 28, len(body), ICMPV6, _HOP_LIMIT, source.packed, destination.packed)
    return header + body[:2] + checksum.to_bytes(2, "big") + body[4:]
