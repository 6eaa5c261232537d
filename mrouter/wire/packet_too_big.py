"""ICMPv6's Packet Too Big: read about a tunnel's packet, written about the packet in it.

RFC 4443 §3.2; RFC 2473 §8.1 on what becomes of an error about a tunnel's packet.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from mrouter.errors import ParseError
from mrouter.wire.parse_errors import Reason
from mrouter.wire.tunnelled import parse_tunnelled

if TYPE_CHECKING:
    from mrouter.wire.tunnelled import TunnelledPacket

_PACKET_TOO_BIG = 2
#: Type, code, checksum and MTU stand before the packet that was too big.
_ERROR = struct.Struct("!BBHI")
_HEADER = 40
_FRAGMENT_HEADER = 8
_NEXT_HEADER_AT = 6
_FRAGMENT, _ICMPV6 = 44, 58
_OFFSET_MASK = 0xFFF8
_FIRST_INFORMATIONAL = 128
#: An error must fit the minimum MTU (RFC 4443 §2.4 c): 1280 less both headers.
_MAX_INVOKING = 1280 - _HEADER - _ERROR.size


@dataclass(frozen=True, slots=True)
class PacketTooBig:
    """What a path takes, and the tunnel's packet that it did not.

    ``invoking`` is the packet in it, as far as it was quoted.
    """

    mtu: int
    lost: TunnelledPacket
    invoking: bytes

    @property
    def invoking_length(self) -> int:
        """How long the packet in the tunnel was, in octets."""
        (payload,) = struct.unpack_from("!H", self.invoking, 4)
        return int(payload) + _HEADER


def parse_packet_too_big(message: bytes) -> PacketTooBig:
    """Read the ICMPv6 ``message`` about a packet in a packet, or about its first fragment.

    Raises ParseError if it is another message, or about another packet.
    """
    if len(message) < _ERROR.size or message[0] != _PACKET_TOO_BIG:
        raise ParseError(Reason.TRUNCATED, "no Packet Too Big")
    _kind, _code, _checksum, mtu = _ERROR.unpack_from(message)
    lost = _join_first_fragment(message[_ERROR.size :])
    return PacketTooBig(mtu, parse_tunnelled(lost), lost[_HEADER:])


def _join_first_fragment(data: bytes) -> bytes:
    """Return ``data`` without its fragment header, if it has one and is the first fragment."""
    end = _HEADER + _FRAGMENT_HEADER
    if len(data) < end or data[_NEXT_HEADER_AT] != _FRAGMENT:
        return data
    (offset,) = struct.unpack_from("!H", data, _HEADER + 2)
    if offset & _OFFSET_MASK:
        return data
    return data[:_NEXT_HEADER_AT] + data[_HEADER : _HEADER + 1] + data[7:_HEADER] + data[end:]


def may_be_answered(invoking: bytes) -> bool:
    """Tell whether an error about ``invoking``, a packet or its beginning, may be sent.

    RFC 4443 §2.4 e: not about an error, nor to what is not a single node's address. What goes to
    the source must also be more than a link's own.
    """
    if len(invoking) <= _HEADER:
        return False
    if invoking[_NEXT_HEADER_AT] == _ICMPV6 and invoking[_HEADER] < _FIRST_INFORMATIONAL:
        return False
    source = IPv6Address(invoking[8:24])
    return not (
        source.is_multicast or source.is_unspecified or source.is_loopback or source.is_link_local
    )


def serialize_packet_too_big(mtu: int, invoking: bytes) -> bytes:
    """Return the message about ``invoking``, without a checksum: a raw ICMPv6 socket adds it."""
    return _ERROR.pack(_PACKET_TOO_BIG, 0, 0, mtu) + invoking[:_MAX_INVOKING]
