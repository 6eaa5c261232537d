"""The Home Address option and the type 2 routing header, before whatever they stand.

At most one type 2 routing header, then at most one Destination Options header (RFC 6275 §6.3: the
Home Address option MUST stand after a routing header).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mrouter.errors import ParseError
from mrouter.wire.parse_errors import Reason

if TYPE_CHECKING:
    from ipaddress import IPv6Address

_IPV6_HEADER_OCTETS = 40
_ADDRESS_OCTETS = 16
_ROUTING_HEADER = 43
_DESTINATION_OPTIONS = 60

_HOME_ADDRESS_OPTION = 201
_PAD1 = 0
#: The two high bits of a destination option's type: 00 skips it, others discard (RFC 8200 §4.2).
_DISCARD_UNRECOGNIZED = 0xC0
#: Hdr Ext Len 2, PadN up to the option's alignment of 8n+6, type, length (RFC 6275 §6.3).
_HOME_ADDRESS_HEADER = bytes((2, 1, 2, 0, 0, _HOME_ADDRESS_OPTION, _ADDRESS_OCTETS))
#: Hdr Ext Len 2, Routing Type 2, Segments Left 1 (RFC 6275 §6.4.1); four reserved octets follow.
_TYPE_2_ROUTING = bytes((2, 2, 1))
_RESERVED = bytes(4)


class Headers(NamedTuple):
    """Where the upper-layer header and the addresses lie in a packet; 0: no such address."""

    start: int
    home_address_at: int
    routing_home_address_at: int


def find_headers(data: bytes, end: int, protocol: int) -> Headers:
    """Find ``protocol`` in the IPv6 packet ``data``, which ends at ``end``.

    Raises ParseError for another protocol, or headers that we do not understand.
    """
    next_header, offset = data[6], _IPV6_HEADER_OCTETS
    home_at = routed_at = 0
    if next_header == _ROUTING_HEADER:
        stop = find_header_end(data, offset, end)
        routed_at = _find_type_2_address(data, offset)
        next_header, offset = data[offset], stop
    if next_header == _DESTINATION_OPTIONS:
        stop = find_header_end(data, offset, end)
        home_at = _find_home_address(data, offset + 2, stop)
        next_header, offset = data[offset], stop
    if next_header != protocol:
        raise ParseError(Reason.NOT_MOBILITY_HEADER, f"next header {next_header}")
    return Headers(offset, home_at, routed_at)


def find_header_end(data: bytes, offset: int, end: int) -> int:
    """Return where the header at ``offset`` ends; raises ParseError if after ``end``."""
    stop = offset + 8 + 8 * data[offset + 1] if offset + 8 <= end else end + 1
    if stop > end:
        raise ParseError(Reason.TRUNCATED, "a header ends after its packet")
    return stop


def _find_type_2_address(data: bytes, offset: int) -> int:
    if data[offset + 1 : offset + 4] != _TYPE_2_ROUTING:
        raise ParseError(Reason.BAD_EXTENSION_HEADER, "routing header not of type 2")
    return offset + 8


def _find_home_address(data: bytes, offset: int, end: int) -> int:
    """Return where the Home Address option's address lies, 0 if there is no such option."""
    found = 0
    while offset < end:
        kind = data[offset]
        if kind == _PAD1:
            offset += 1
            continue
        start = offset + 2
        stop = start + data[offset + 1] if start <= end else end + 1
        if stop > end:
            raise ParseError(Reason.TRUNCATED, f"destination option {kind} ends after its header")
        if kind == _HOME_ADDRESS_OPTION:
            # RFC 6275 §6.3: it MUST NOT appear more than once; its length is 16.
            if found or stop - start != _ADDRESS_OCTETS:
                raise ParseError(Reason.BAD_EXTENSION_HEADER, "a wrong Home Address option")
            found = start
        elif kind & _DISCARD_UNRECOGNIZED:
            raise ParseError(Reason.BAD_EXTENSION_HEADER, f"destination option {kind}")
        offset = stop
    return found


def serialize_extensions(
    protocol: int, home_address: IPv6Address | None, routing_home_address: IPv6Address | None
) -> tuple[int, bytes]:
    """Return the IPv6 header's Next Header, and what stands before the header of ``protocol``."""
    next_header, extensions = protocol, b""
    if home_address is not None:
        head = bytes((next_header,)) + _HOME_ADDRESS_HEADER
        extensions = head + home_address.packed
        next_header = _DESTINATION_OPTIONS
    if routing_home_address is not None:
        head = bytes((next_header,)) + _TYPE_2_ROUTING + _RESERVED
        extensions = head + routing_home_address.packed + extensions
        next_header = _ROUTING_HEADER
    return next_header, extensions
