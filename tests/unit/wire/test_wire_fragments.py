from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    defragment6,
)
from scapy.packet import Raw

from mrouter.errors import ParseError
from mrouter.wire.fragments import split_packet

ENDS = IPv6(src="2001:db8::3", dst="2001:db8::4", hlim=9, tc=0xB8)
OPTIONS = [PadN(optdata=bytes(4))]
ROUTING = IPv6ExtHdrRouting(type=2, segleft=1, addresses=["2001:db8::9"])
HOP_BY_HOP, DESTINATION = IPv6ExtHdrHopByHop(options=OPTIONS), IPv6ExtHdrDestOpt(options=OPTIONS)


def build(size, *headers):
    packet = ENDS
    for header in headers:
        packet = packet / header.copy()
    return bytes(packet / UDP(sport=1, dport=2) / Raw(bytes(range(256)) * (size // 256 + 1)))


@given(st.integers(1280, 5000), st.integers(1280, 1500))
def test_scapy_puts_the_fragments_together_again(size, mtu):
    packet = build(size)
    pieces = split_packet(packet, mtu, 7)

    assert all(len(piece) <= mtu for piece in pieces)
    if len(pieces) > 1:
        assert bytes(defragment6([IPv6(piece) for piece in pieces])) == packet


def test_what_fits_stays_as_it_is():
    packet = build(1000)

    assert split_packet(packet, len(packet), 7) == [packet]


def test_pieces_of_1280_octets_are_filled():
    pieces = split_packet(build(4000), 1280, 7)

    assert {len(piece) for piece in pieces[:-1]} == {1280}
    assert {IPv6(piece)[IPv6ExtHdrFragment].id for piece in pieces} == {7}


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ((HOP_BY_HOP,), 8),
        ((HOP_BY_HOP, DESTINATION, ROUTING), 8 + 8 + 24),
        ((ROUTING, DESTINATION), 24),
        ((DESTINATION,), 0),
    ],
)
def test_headers_for_routers_stand_in_every_fragment(headers, kept):
    packet, body = build(3000, *headers), b""
    for piece in split_packet(packet, 1280, 7):
        fragment = IPv6(piece)
        assert fragment.plen == len(piece) - 40
        assert piece[7:40] == packet[7:40]
        assert len(piece) - len(fragment[IPv6ExtHdrFragment]) == 40 + kept
        body += bytes(fragment[IPv6ExtHdrFragment].payload)
    assert body == packet[40 + kept :]


@pytest.mark.parametrize("packet", [b"", build(1000)[:39], bytes(6) + bytes([0]) + bytes(33)])
def test_what_is_no_packet_is_refused(packet):
    with pytest.raises(ParseError):
        split_packet(packet, -1, 7)


def test_headers_that_leave_no_room_are_refused():
    with pytest.raises(ParseError):
        split_packet(build(1000), 48, 7)
