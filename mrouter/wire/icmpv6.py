"""ICMPv6's Parameter Problem: sent as RFC 6275 §9.2 says, and read as §11.3.5 says."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

from mrouter.errors import ParseError
from mrouter.wire.checksum import MOBILITY_HEADER, compute_checksum
from mrouter.wire.parse_errors import Reason

_NEXT_HEADER_ICMPV6 = 58
_PARAMETER_PROBLEM = 4
_ERRONEOUS_HEADER_FIELD = 0
_UNRECOGNIZED_NEXT_HEADER = 1
_HOP_LIMIT = 64
#: An error must fit the minimum MTU (RFC 4443 §2.4 c): 1280 less both headers.
_MAX_INVOKING = 1280 - 40 - 8

#: Type, code, checksum and pointer stand before the packet in error (RFC 4443 §3.4).
_ERROR = struct.Struct("!BBHI")
_IPV6 = struct.Struct("!4xHBB16s16s")
_NEXT_HEADER_AT = 6
_DESTINATION_OPTIONS = 60


@dataclass(frozen=True, slots=True)
class UnrecognizedMobilityHeader:
    """The addresses of a packet whose Mobility Header was not recognized, as they were sent."""

    source: IPv6Address
    destination: IPv6Address


def parse_unrecognized_mobility_header(message: bytes) -> UnrecognizedMobilityHeader:
    """Read which packet the Parameter Problem, Code 1, in ``message`` is about (RFC 4443 §3.4).

    The Mobility Header must be what was not recognized; it stands first, or behind destination
    options. Raises ParseError if ``message`` is something else.
    """
    invoking = message[_ERROR.size :]
    if len(invoking) <= _IPV6.size:
        raise ParseError(Reason.TRUNCATED, f"{len(message)} octets are no Parameter Problem")
    kind, code, _checksum, pointer = _ERROR.unpack_from(message)
    if (kind, code) != (_PARAMETER_PROBLEM, _UNRECOGNIZED_NEXT_HEADER):
        raise ParseError(Reason.NOT_MOBILITY_HEADER, f"ICMPv6 type {kind}, code {code}")
    _length, next_header, _hop_limit, source, destination = _IPV6.unpack_from(invoking)
    last = _IPV6.size if next_header == _DESTINATION_OPTIONS else _NEXT_HEADER_AT
    if pointer != last or invoking[last] != MOBILITY_HEADER:
        raise ParseError(Reason.NOT_MOBILITY_HEADER, f"unrecognized: octet {pointer}")
    return UnrecognizedMobilityHeader(IPv6Address(source), IPv6Address(destination))


def serialize_parameter_problem(
    source: IPv6Address, destination: IPv6Address, pointer: int, invoking: bytes
) -> bytes:
    """Return a whole IPv6 packet: Parameter Problem, Code 0 (RFC 4443 §3.4).

    ``pointer`` is the octet of ``invoking``, the packet that was wrong, that is to blame.
    """
    body = _ERROR.pack(_PARAMETER_PROBLEM, _ERRONEOUS_HEADER_FIELD, 0, pointer)
    body += invoking[:_MAX_INVOKING]
    body += bytes(len(body) % 2)
    checksum = compute_checksum(source.packed, destination.packed, body, _NEXT_HEADER_ICMPV6)
    header = struct.pack("!IHBB", 6 << 28, len(body), _NEXT_HEADER_ICMPV6, _HOP_LIMIT)
    return (
        header
        + source.packed
        + destination.packed
        + body[:2]
        + struct.pack("!H", checksum)
        + body[4:]
    )
