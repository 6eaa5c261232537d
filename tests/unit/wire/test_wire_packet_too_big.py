from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.packet import Raw

from mrouter.errors import ParseError
from mrouter.wire.packet_too_big import (
    may_be_answered,
    parse_packet_too_big,
    serialize_packet_too_big,
)
from mrouter.wire.tunnelled import parse_tunnelled

OUTER = IPv6(src="2001:db8::1", dst="2001:db8::2")
INNER = bytes(IPv6(src="2001:db8::3", dst="2001:db8::4") / UDP(sport=1, dport=2) / Raw(bytes(1400)))
PACKET = bytes(OUTER / IPv6(INNER))
FIRST_FRAGMENT = bytes(OUTER / IPv6ExtHdrFragment(nh=41, m=1, id=7) / Raw(INNER[:1232]))


def error(packet, mtu=1400):
    return bytes(ICMPv6PacketTooBig(mtu=mtu) / Raw(packet[:1232]))


@pytest.mark.parametrize("packet", [PACKET, FIRST_FRAGMENT])
def test_the_lost_packet_and_what_was_in_it_are_read(packet):
    found = parse_packet_too_big(error(packet))

    assert (found.mtu, found.lost) == (1400, parse_tunnelled(PACKET))
    assert INNER.startswith(found.invoking)
    assert found.invoking_length == len(INNER)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        error(PACKET)[:87],
        error(INNER),
        bytes(ICMPv6DestUnreach() / Raw(PACKET)),
        # of a later fragment nobody knows whose packet it was
        error(bytes(OUTER / IPv6ExtHdrFragment(nh=41, offset=154, id=7) / Raw(INNER))),
    ],
)
def test_another_message_is_refused(message):
    with pytest.raises(ParseError):
        parse_packet_too_big(message)


@given(st.binary(max_size=200))
def test_arbitrary_octets_are_read_or_refused(octets):
    try:
        found = parse_packet_too_big(octets)
    except ParseError:
        return
    assert octets[0] == 2
    assert found.invoking_length >= 40
    may_be_answered(found.invoking)


def test_what_is_sent_fits_the_minimum_mtu_and_reads_as_scapy_reads_it():
    message = ICMPv6PacketTooBig(serialize_packet_too_big(1360, INNER))

    assert message.mtu == 1360
    assert bytes(message.payload) == INNER[:1232]


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (INNER, True),
        (bytes(IPv6(src="2001:db8::3") / ICMPv6EchoRequest()), True),
        (bytes(IPv6(src="2001:db8::3") / ICMPv6DestUnreach()), False),
        (bytes(IPv6(src="::") / UDP()), False),
        (bytes(IPv6(src="::1") / UDP()), False),
        (bytes(IPv6(src="ff02::1") / UDP()), False),
        (bytes(IPv6(src="fe80::1") / UDP()), False),
        (INNER[:40], False),
    ],
)
def test_errors_are_sent_about_no_error_and_to_single_nodes_alone(packet, expected):
    assert may_be_answered(packet) is expected
