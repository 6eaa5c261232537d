"""Packets past the home agent, as our rules report them and as ICMPv6 errors quote them."""

from __future__ import annotations

from good_packets import serialize_signalling

from mrouter.errors import ParseError
from mrouter.wire.fragments import split_packet
from mrouter.wire.packet_too_big import may_be_answered, parse_packet_too_big
from mrouter.wire.transport_checksum import complete_checksum
from mrouter.wire.tunnelled import (
    has_home_address,
    is_tunnelled,
    parse_home_address,
    parse_tunnelled,
    parse_unreachable,
)

_ERROR = bytes((1, 0, 0, 0, 0, 0, 0, 0))
_ROUTING_HEADER = 43
_SMALL = 128


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
    too_big = _parse(parse_packet_too_big, data)
    if too_big is not None:
        assert data[0] == 2
        assert _join_outer(too_big.lost) == data[16:48]
        assert too_big.invoking_length >= 40
        may_be_answered(too_big.invoking)
    assert len(complete_checksum(data)) == len(data)
    pieces = _parse(lambda packet: split_packet(packet, _SMALL, 7), data)
    if pieces is not None and len(pieces) > 1:
        assert all(len(piece) <= _SMALL for piece in pieces)
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
    tunnelled = outer + with_option
    errors = [_ERROR + tunnelled, _ERROR + with_routing_header, b"\2" + _ERROR[1:] + tunnelled]
    return [tunnelled, data, *errors]
