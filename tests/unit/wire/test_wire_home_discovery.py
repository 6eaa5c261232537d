from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6HAADReply,
    ICMPv6HAADRequest,
    ICMPv6MPAdv,
    ICMPv6MPSol,
    ICMPv6NDOptPrefixInfo,
    IPv6,
)

from mrouter.errors import ParseError
from mrouter.wire.checksum import compute_checksum
from mrouter.wire.home_discovery import (
    DiscoveryPacket,
    HomeAgentReply,
    HomeAgentRequest,
    HomePrefix,
    PrefixAdvertisement,
    PrefixSolicitation,
    find_anycast_address,
    is_discovery,
    parse_discovery,
    serialize_discovery,
)

HOST, AGENT = IPv6Address("2001:db8:1::2"), IPv6Address("2001:db8:f0::2")
HOME = IPv6Address("2001:db8:f1::100")
PREFIX = IPv6Network("2001:db8:f1::/64")

identifiers = st.integers(0, 0xFFFF)
routable = st.integers(0, (1 << 112) - 1).map(lambda low: IPv6Address((0x2001 << 112) | low))
prefixes = st.builds(
    lambda address, length, valid, preferred: HomePrefix(
        IPv6Network((address, length), strict=False), valid, min(valid, preferred)
    ),
    routable,
    st.integers(1, 128),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
)
messages = st.one_of(
    st.builds(HomeAgentRequest, identifiers, st.booleans()),
    st.builds(
        HomeAgentReply, identifiers, st.lists(routable, max_size=9).map(tuple), st.booleans()
    ),
    st.builds(PrefixSolicitation, identifiers),
    st.builds(PrefixAdvertisement, identifiers, st.lists(prefixes, max_size=4).map(tuple)),
)
packets = st.builds(
    DiscoveryPacket, routable, routable, messages, st.none() | routable, st.none() | routable
)


@given(packets)
def test_every_packet_is_read_as_it_was_written(packet):
    data = serialize_discovery(packet)
    assert is_discovery(data)
    assert parse_discovery(data) == packet


# extension headers have reserved octets and padding, which are ignored
@given(st.builds(DiscoveryPacket, routable, routable, messages), st.data())
def test_a_changed_octet_is_refused_or_read_as_something_else(packet, data):
    octets = bytearray(serialize_discovery(packet))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] ^= data.draw(st.integers(1, 255))
    try:
        read = parse_discovery(bytes(octets))
    except ParseError:
        return
    assert read != packet or at in (0, 1, 2, 3, 7)  # traffic class, flow label, hop limit


@given(st.binary(max_size=200))
def test_nothing_but_a_parse_error_comes_of_rubbish(data):
    is_discovery(data)
    with pytest.raises(ParseError):
        parse_discovery(data)


@given(packets, st.integers(0, 300))
def test_a_cut_packet_is_refused(packet, length):
    data = serialize_discovery(packet)
    if length < len(data):
        with pytest.raises(ParseError):
            parse_discovery(data[:length])


def addressed(layer, source=HOST, destination=AGENT):
    return bytes(IPv6(src=str(source), dst=str(destination)) / layer)


def test_scapy_reads_our_request():
    packet = DiscoveryPacket(HOST, AGENT, HomeAgentRequest(0x1234, mobile_router=True))
    read = IPv6(serialize_discovery(packet))[ICMPv6HAADRequest]
    assert (read.type, read.code, read.id, read.R) == (144, 0, 0x1234, 1)
    wrong = read.cksum
    del read.cksum
    assert IPv6(bytes(IPv6(src=str(HOST), dst=str(AGENT)) / read))[ICMPv6HAADRequest].cksum == wrong


def test_we_read_scapys_reply():
    layer = ICMPv6HAADReply(id=7, R=1, addresses=[str(AGENT), str(HOST)])
    assert parse_discovery(addressed(layer)) == DiscoveryPacket(
        HOST, AGENT, HomeAgentReply(7, (AGENT, HOST), mobile_router=True)
    )


def test_we_read_scapys_solicitation_and_advertisement():
    assert parse_discovery(addressed(ICMPv6MPSol(id=9))).message == PrefixSolicitation(9)
    option = ICMPv6NDOptPrefixInfo(
        prefixlen=64, prefix=str(PREFIX[0]), validlifetime=900, preferredlifetime=600
    )
    read = parse_discovery(addressed(ICMPv6MPAdv(id=9) / option))
    assert read.message == PrefixAdvertisement(9, (HomePrefix(PREFIX, 900, 600),))


def test_scapy_reads_our_advertisement():
    message = PrefixAdvertisement(5, (HomePrefix(PREFIX, 900, 600),))
    packet = DiscoveryPacket(AGENT, HOST, message, routing_home_address=HOME)
    read = IPv6(serialize_discovery(packet))
    assert read.nh == 43
    option = read[ICMPv6NDOptPrefixInfo]
    assert (option.prefix, option.prefixlen, option.validlifetime) == ("2001:db8:f1::", 64, 900)


@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        # RFC 2526 §2: 64-bit identifiers have the universal bit zero, others are all ones
        ("2001:db8:f1::/64", "2001:db8:f1::fdff:ffff:ffff:fffe"),
        ("2001:db8:f1::/96", "2001:db8:f1::ffff:fffe"),
        ("2001:db8:f1::/48", "2001:db8:f1:ffff:ffff:ffff:ffff:fffe"),
    ],
)
def test_home_agents_anycast_address(prefix, address):
    assert find_anycast_address(IPv6Network(prefix)) == IPv6Address(address)


def change(data, at, value):
    octets = bytearray(data)
    octets[at] = value
    octets[42:44] = b"\0\0"
    octets[42:44] = compute_checksum(HOST.packed, AGENT.packed, octets[40:], 58).to_bytes(2, "big")
    return bytes(octets)


ADVERTISEMENT = serialize_discovery(
    DiscoveryPacket(HOST, AGENT, PrefixAdvertisement(5, (HomePrefix(PREFIX, 900, 600),)))
)


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (40, 160, "unknown-mh-type"),
        (41, 1, "bad-option-value"),  # code
        (49, 0, "bad-option-length"),
        (49, 5, "bad-option-length"),
        (49, 3, "bad-option-length"),
        (50, 129, "bad-option-value"),  # prefix length
        (56, 0xFF, "bad-option-value"),  # preferred longer than valid
    ],
)
def test_bad_fields_are_refused(at, value, reason):
    with pytest.raises(ParseError) as caught:
        parse_discovery(change(ADVERTISEMENT, at, value))
    assert caught.value.reason == reason


def test_wrong_checksum_is_refused():
    with pytest.raises(ParseError) as caught:
        parse_discovery(ADVERTISEMENT[:42] + b"\1\2" + ADVERTISEMENT[44:])
    assert caught.value.reason == "bad-checksum"


def test_source_must_be_routable():
    packet = DiscoveryPacket(HOST, AGENT, PrefixSolicitation(1))
    data = serialize_discovery(replace(packet, source=IPv6Address("fe80::1")))
    with pytest.raises(ParseError) as caught:
        parse_discovery(data)
    assert caught.value.reason == "bad-address"
