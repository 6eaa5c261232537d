from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

from mrouter.wire.transport_checksum import complete_checksum

ENDS = IPv6(src="2001:db8::3", dst="2001:db8::4")
HEADERS = {6: (TCP, 56), 17: (UDP, 46)}


def leave_to_card(packet):
    """Return ``packet`` as a sender leaves it to its card: with its pseudo-header's sum alone."""
    place = HEADERS[packet[6]][1]
    words = packet[8:40] + struct.pack("!II", len(packet) - 40, packet[6])
    total = sum(struct.unpack("!20H", words))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:place] + struct.pack("!H", total) + packet[place + 2 :]


@given(st.sampled_from(sorted(HEADERS)), st.binary(max_size=60))
def test_a_checksum_that_was_left_out_is_completed(protocol, payload):
    packet = bytes(ENDS / HEADERS[protocol][0]() / Raw(payload))

    assert complete_checksum(leave_to_card(packet)) == packet


@given(st.sampled_from(sorted(HEADERS)), st.binary(max_size=60))
def test_a_right_checksum_stays(protocol, payload):
    packet = bytes(ENDS / HEADERS[protocol][0]() / Raw(payload))

    assert complete_checksum(packet) == packet


@pytest.mark.parametrize("protocol", sorted(HEADERS))
def test_a_wrong_checksum_stays_wrong(protocol):
    place = HEADERS[protocol][1]
    packet = bytearray(bytes(ENDS / HEADERS[protocol][0]() / Raw(b"payload")))
    packet[place] ^= 0x55

    assert complete_checksum(bytes(packet)) == bytes(packet)


@pytest.mark.parametrize(
    "packet", [b"", bytes(ENDS), bytes(ENDS / UDP())[:47], bytes(ENDS / ICMPv6EchoRequest())]
)
def test_other_packets_stay_as_they_are(packet):
    assert complete_checksum(packet) == packet


def test_zero_is_never_written_as_the_checksum_of_udp():
    packet = bytes(ENDS / UDP(sport=0, dport=0, chksum=0) / Raw(bytes(2)))
    partial = leave_to_card(packet)
    (need,) = struct.unpack_from("!H", complete_checksum(partial), 46)
    # a payload that makes the sum what it must be for a checksum of zero
    partial = partial[:48] + struct.pack("!H", need)

    assert complete_checksum(partial)[46:48] == b"\xff\xff"
