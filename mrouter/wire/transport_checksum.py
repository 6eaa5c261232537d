"""A transport checksum that the sender has left to its network card."""

from __future__ import annotations

import struct

_HEADER = 40
_NEXT_HEADER_AT = 6
#: Where the checksum of TCP and UDP lies in their headers.
_CHECKSUM_AT = {6: 16, 17: 6}


def complete_checksum(packet: bytes) -> bytes:
    """Return the IPv6 ``packet`` with the checksum that a card would have written.

    What comes from a virtual interface of the same machine has the sum of the pseudo-header alone
    in its place. Any other checksum stays, a wrong one too. One that only looks like such a sum is
    right, and comes out again.
    """
    kind = packet[_NEXT_HEADER_AT] if len(packet) >= _HEADER else 0
    place = _HEADER + _CHECKSUM_AT.get(kind, len(packet))
    if place + 2 > len(packet):
        return packet
    body = packet[_HEADER:]
    pseudo_header = packet[8:_HEADER] + struct.pack("!II", len(body), kind)
    partial = int.from_bytes(pseudo_header, "big") % 0xFFFF
    if struct.unpack_from("!H", packet, place)[0] % 0xFFFF != partial:
        return packet
    blank = packet[_HEADER:place] + bytes(2) + packet[place + 2 :] + bytes(len(body) % 2)
    # never 0, which would say that there is none
    checksum = 0xFFFF - int.from_bytes(pseudo_header + blank, "big") % 0xFFFF
    return packet[:place] + struct.pack("!H", checksum) + packet[place + 2 :]
