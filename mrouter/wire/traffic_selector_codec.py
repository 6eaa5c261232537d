"""Traffic selectors: bytes to model and back (RFC 6088 §3.2)."""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import Struct
from typing import Any, NamedTuple

from mrouter.errors import ParseError
from mrouter.wire.parse_errors import Reason
from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector

IPV6_BINARY = 2  # TS Format (RFC 6088 §3)

_FLAGS = Struct("!HH")  # flags A to P from the highest bit, 16 reserved bits
_START = 0x8000
_END = 0x4000


class _Field(NamedTuple):
    """A range of the selector: its two flags, and how large its values are."""

    name: str
    start_flag: int
    end_flag: int
    octets: int
    largest: int
    ignored: int  # bits that say nothing


def _make_fields(*fields: tuple[str, int, int, int]) -> tuple[_Field, ...]:
    return tuple(
        _Field(name, _START >> 2 * index, _END >> 2 * index, octets, (1 << bits) - 1, ignored)
        for index, (name, octets, bits, ignored) in enumerate(fields)
    )


_FIELDS = _make_fields(
    ("source", 16, 128, 0),
    ("destination", 16, 128, 0),
    ("spi", 4, 32, 0),
    # "The receiver SHOULD ignore the first 8 bits of this field" (RFC 6088 §3.2); RFC 8200 §3: no
    # packet has a label of more than 20 bits
    ("flow_label", 4, 20, 0xFF000000),
    ("source_ports", 2, 16, 0),
    ("destination_ports", 2, 16, 0),
    # "the 2 least significant bits' values MUST be ignored in any comparison" (RFC 6088 §3.2)
    ("traffic_class", 1, 8, 0b11),
    ("next_header", 1, 8, 0),
)
_ADDRESSES = ("source", "destination")


def parse_selector(kind: int, data: bytes) -> TrafficSelector | UnknownSelector:
    """Read the selector ``data`` of TS Format ``kind``; one that is not 2 is kept as it is.

    Raises ParseError for a range without its start or whose end lies before it, and for too few
    or too many octets.
    """
    if kind != IPV6_BINARY:
        return UnknownSelector(kind, data)
    if len(data) < _FLAGS.size:
        raise ParseError(Reason.TRUNCATED, "a traffic selector without flags")
    flags, _ = _FLAGS.unpack_from(data)
    offset = _FLAGS.size
    ranges: dict[str, Any] = {}
    for field in _FIELDS:
        has_end = flags & field.end_flag
        if not flags & field.start_flag:
            if has_end:
                raise ParseError(Reason.BAD_OPTION_VALUE, f"{field.name} has an end alone")
            continue
        middle = offset + field.octets
        stop = middle + field.octets if has_end else middle
        if stop > len(data):
            raise ParseError(Reason.TRUNCATED, "a traffic selector ends after its option")
        first = int.from_bytes(data[offset:middle], "big") & ~field.ignored
        last = int.from_bytes(data[middle:stop], "big") & ~field.ignored if has_end else first
        last |= field.ignored & field.largest
        if not first <= last <= field.largest:
            raise ParseError(Reason.BAD_OPTION_VALUE, f"{field.name} from {first} to {last}")
        ranges[field.name] = (
            (IPv6Address(first), IPv6Address(last)) if field.name in _ADDRESSES else (first, last)
        )
        offset = stop
    if offset != len(data):
        raise ParseError(Reason.BAD_OPTION_LENGTH, "octets after a traffic selector")
    return TrafficSelector(**ranges)


def serialize_selector(selector: TrafficSelector | UnknownSelector) -> tuple[int, bytes]:
    """Return the TS Format and the octets of ``selector``; a range of one value has no end.

    Raises ValueError for what could not be read back.
    """
    if isinstance(selector, UnknownSelector):
        if selector.format == IPV6_BINARY:
            raise ValueError("a traffic selector of format 2 is not an unknown one")
        return selector.format, selector.data
    flags = 0
    body = b""
    for field in _FIELDS:
        bounds = getattr(selector, field.name)
        if bounds is None:
            continue
        first, last = int(bounds[0]), int(bounds[1])
        slack = field.ignored & field.largest
        if not 0 <= first <= last <= field.largest or first & slack or ~last & slack:
            raise ValueError(f"a traffic selector's {field.name} from {bounds[0]} to {bounds[1]}")
        last -= slack
        flags |= field.start_flag
        body += first.to_bytes(field.octets, "big")
        if last != first:
            flags |= field.end_flag
            body += last.to_bytes(field.octets, "big")
    return IPV6_BINARY, _FLAGS.pack(flags, 0) + body
