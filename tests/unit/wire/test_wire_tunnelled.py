from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    HAO,
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrRouting,
)

from mrouter.errors import ParseError
from mrouter.wire.tunnelled import (
    TunnelledPacket,
    has_home_address,
    is_tunnelled,
    parse_home_address,
    parse_tunnelled,
    parse_unreachable,
)

ADDRESSES = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"]
OUTER, INNER = IPv6(src=ADDRESSES[0], dst=ADDRESSES[1]), IPv6(src=ADDRESSES[2], dst=ADDRESSES[3])
PACKET = bytes(OUTER / INNER / ICMPv6EchoRequest())
EXPECTED_ADDRESSES = tuple(map(IPv6Address, ADDRESSES))
EXPECTED = TunnelledPacket(*EXPECTED_ADDRESSES)
OPTION = IPv6ExtHdrDestOpt(options=[HAO(hoa=ADDRESSES[2])])
WITH_OPTION = bytes(OUTER / OPTION / ICMPv6EchoRequest())
ROUTED = bytes(OUTER / IPv6ExtHdrRouting(type=2, addresses=[ADDRESSES[2]]) / ICMPv6EchoRequest())


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


def test_a_home_address_option_stands_for_a_tunnel_from_the_home_address():
    source, destination, home, _other = EXPECTED_ADDRESSES
    assert has_home_address(WITH_OPTION)
    assert parse_home_address(WITH_OPTION) == TunnelledPacket(
        source, destination, home, destination
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        WITH_OPTION[:63],
        PACKET,
        ROUTED,
        bytes(OUTER / IPv6ExtHdrDestOpt(options=[]) / ICMPv6EchoRequest()),
        # signalling is the protocol's
        WITH_OPTION[:40] + b"\x87" + WITH_OPTION[41:],
    ],
)
def test_what_has_no_home_address_option_is_refused(data):
    assert not has_home_address(data)
    with pytest.raises(ParseError):
        parse_home_address(data)


def test_a_destination_unreachable_tells_of_a_packet_with_a_type_2_routing_header():
    source, destination, home, _other = EXPECTED_ADDRESSES
    lost = parse_unreachable(bytes(ICMPv6DestUnreach()) + ROUTED)
    assert lost == TunnelledPacket(source, destination, source, home)


@given(st.binary(max_size=100))
def test_any_octets_are_read_or_refused(data):
    for parse in (parse_tunnelled, parse_home_address, parse_unreachable):
        try:
            assert isinstance(parse(data), TunnelledPacket)
        except ParseError:
            continue
