"""The one ICMPv6 message that RFC 6275 §9.2 has us send."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from mrouter.wire.checksum import compute_checksum

if TYPE_CHECKING:
    from ipaddress import IPv6Address

_NEXT_HEADER_ICMPV6 = 58
_PARAMETER_PROBLEM = 4
_ERRONEOUS_HEADER_FIELD = 0
_HOP_LIMIT = 64
#: An error must fit the minimum MTU (RFC 4443 §2.4 c): 1280 less both headers.
_MAX_INVOKING = 1280 - 40 - 8


def serialize_parameter_problem(
    source: IPv6Address, destination: IPv6Address, pointer: int, invoking: bytes
) -> bytes:
    """Return a whole IPv6 packet: Parameter Problem, Code 0 (RFC 4443 §3.4).

    ``pointer`` is the octet of ``invoking``, the packet that was wrong, that is to blame.
    """
    body = struct.pack("!BBHI", _PARAMETER_PROBLEM, _ERRONEOUS_HEADER_FIELD, 0, pointer)
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
