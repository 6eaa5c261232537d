"""Packets past the home agent, as our rules report them and as ICMPv6 errors quote them."""

from __future__ import annotations

from good_packets import serialize_signalling

from mrouter.errors import ParseError
from mrouter.wire.tunnelled import (
    has_home_address,
    is_tunnelled,
    parse_home_address,
    parse_tunnelled,
    parse_unreachable,
)

_ERROR = bytes((1, 0, 0, 0, 0, 0, 0, 0))
_ROUTING_HEADER = 43


def test_one_input(data):
    found = _parse(parse_tunnelled, data)
    if found is not None:
        assert is_tunnelled(data)
        inner = found.inner_source.packed + found.inner_destination.packed
        assert (_join_outer(found), inner) == (data[8:40], data[48:80])
    optional = _parse(parse_home_address, data)
    assert (optional is not None) == has_home_address(data)
    if optional is not None:
        assert _join_outer(optional) == data[8:40]
        assert optional.inner_source.packed == data[48:64]
    quoted = _parse(parse_unreachable, data)
    if quoted is not None:
        assert data[0] == 1
        assert _join_outer(quoted) == data[16:48]
        assert is_tunnelled(data[8:]) or data[14] == _ROUTING_HEADER


def _join_outer(packet):
    return packet.source.packed + packet.destination.packed


def _parse(parse, data):
    try:
        return parse(data)
    except ParseError:
        return None


def make_seeds():
    packets = [packet for _, packet in serialize_signalling()]
    with_option, with_routing_header = packets[0], packets[3]
    outer = with_option[:6] + b"\x29" + with_option[7:40]
    data = with_option[:40] + b"\x11" + with_option[41:]
    return [outer + with_option, data, _ERROR + outer + with_option, _ERROR + with_routing_header]
