from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, IPv6

from mrouter.errors import ParseError
from mrouter.wire.tunnelled import (
    TunnelledPacket,
    is_tunnelled,
    parse_tunnelled,
    parse_unreachable,
)

ADDRESSES = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"]
OUTER, INNER = IPv6(src=ADDRESSES[0], dst=ADDRESSES[1]), IPv6(src=ADDRESSES[2], dst=ADDRESSES[3])
PACKET = bytes(OUTER / INNER / ICMPv6EchoRequest())
EXPECTED = TunnelledPacket(*map(IPv6Address, ADDRESSES))


def test_the_four_addresses_are_read():
    assert is_tunnelled(PACKET)
    assert parse_tunnelled(PACKET) == EXPECTED


def test_the_payload_may_be_missing():
    assert parse_tunnelled(PACKET[:80]) == EXPECTED


@pytest.mark.parametrize("data", [b"", PACKET[:79], bytes(INNER / ICMPv6EchoRequest())])
def test_what_is_no_packet_in_a_packet_is_refused(data):
    with pytest.raises(ParseError):
        parse_tunnelled(data)


def test_a_destination_unreachable_tells_of_the_packet_that_was_lost():
    assert parse_unreachable(bytes(ICMPv6DestUnreach()) + PACKET) == EXPECTED


@pytest.mark.parametrize("message", [b"", b"\x01", bytes(ICMPv6EchoRequest()) + PACKET])
def test_another_icmpv6_message_is_refused(message):
    with pytest.raises(ParseError):
        parse_unreachable(message)


@given(st.binary(max_size=100))
def test_any_octets_are_read_or_refused(data):
    for parse in (parse_tunnelled, parse_unreachable):
        try:
            assert isinstance(parse(data), TunnelledPacket)
        except ParseError:
            continue
