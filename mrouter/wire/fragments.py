"""IPv6 fragments: a packet that came in fragments leaves in fragments again (RFC 8200 §4.5)."""

from __future__ import annotations

import struct

from mrouter.errors import ParseError
from mrouter.wire.extension_headers import find_header_end
from mrouter.wire.parse_errors import Reason

_HEADER = 40
_NEXT_HEADER_AT = 6
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _DESTINATION_OPTIONS = 0, 43, 44, 60
_FRAGMENT_HEADER = struct.Struct("!BxHI")
_MORE = 1


def split_packet(packet: bytes, mtu: int, identification: int) -> list[bytes]:
    """Return ``packet`` in fragments of at most ``mtu`` octets, or as it is if it fits.

    Raises ParseError if it is no whole IPv6 packet, or its headers leave no room for fragments.
    """
    if len(packet) <= mtu:
        return [packet]
    next_header_at, start = _find_fragmentable(packet)
    room = (mtu - start - _FRAGMENT_HEADER.size) & ~7
    if room <= 0:
        raise ParseError(Reason.TRUNCATED, f"{start} octets of headers in {mtu}")
    head, body = bytearray(packet[:start]), packet[start:]
    kind = head[next_header_at]
    head[next_header_at] = _FRAGMENT
    pieces = []
    for offset in range(0, len(body), room):
        piece = body[offset : offset + room]
        more = _MORE if offset + room < len(body) else 0
        header = _FRAGMENT_HEADER.pack(kind, offset | more, identification)
        struct.pack_into("!H", head, 4, start - _HEADER + len(header) + len(piece))
        pieces.append(bytes(head) + header + piece)
    return pieces


def _find_fragmentable(packet: bytes) -> tuple[int, int]:
    """Return where the last header that each fragment must have names the next, and its end."""
    if len(packet) < _HEADER:
        raise ParseError(Reason.TRUNCATED, "no IPv6 header")
    place, end = found = _NEXT_HEADER_AT, _HEADER
    while (kind := packet[place]) in (_HOP_BY_HOP, _ROUTING, _DESTINATION_OPTIONS):
        place, end = end, find_header_end(packet, end, len(packet))
        if kind != _DESTINATION_OPTIONS:  # those that stand before a routing header come along
            found = place, end
    return found
