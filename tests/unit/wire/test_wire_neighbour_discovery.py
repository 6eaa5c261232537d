"""The home agent's Neighbour Discovery messages, read by scapy."""

from ipaddress import IPv6Address

import pytest
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)

from mrouter.wire.neighbour_discovery import (
    find_claim,
    serialize_advertisement,
    serialize_duplicate_probe,
)

HOME = IPv6Address("2001:db8:aaaa::100")
SOURCE = IPv6Address("fe80::1")
UNSPECIFIED = IPv6Address("::")
LINK_LAYER = bytes.fromhex("020000000001")


def read(data):
    packet = IPv6(data)
    assert bytes(IPv6(data)) == data
    checksum = packet[1].cksum
    del packet[1].cksum
    assert IPv6(bytes(packet))[1].cksum == checksum
    return packet


def test_advertisement_is_for_all_nodes_from_the_home_agents_address():
    packet = read(serialize_advertisement(SOURCE, HOME, LINK_LAYER))
    assert (packet.src, packet.dst, packet.hlim) == (str(SOURCE), "ff02::1", 255)


def test_advertisement_names_the_home_address_and_the_home_agents_link_layer_address():
    packet = read(serialize_advertisement(SOURCE, HOME, LINK_LAYER))
    assert packet[ICMPv6ND_NA].tgt == str(HOME)
    assert packet[ICMPv6NDOptDstLLAddr].lladdr == "02:00:00:00:00:01"


def test_advertisement_overrides_and_is_neither_solicited_nor_a_routers():
    message = read(serialize_advertisement(SOURCE, HOME, LINK_LAYER))[ICMPv6ND_NA]
    assert (message.R, message.S, message.O) == (0, 0, 1)


def test_advertisement_for_a_mobile_router_is_a_routers():
    message = read(serialize_advertisement(SOURCE, HOME, LINK_LAYER, router=True))[ICMPv6ND_NA]
    assert (message.R, message.S, message.O) == (1, 0, 1)


def test_probe_for_duplicates_has_no_source_and_no_option():
    packet = read(serialize_duplicate_probe(HOME))
    assert (packet.src, packet.dst, packet.hlim) == ("::", "ff02::1:ff00:100", 255)
    assert packet[ICMPv6ND_NS].tgt == str(HOME)
    assert ICMPv6NDOptSrcLLAddr not in packet


@pytest.mark.parametrize(
    ("source", "message", "claimed"),
    [
        (SOURCE, ICMPv6ND_NA(tgt=str(HOME)), HOME),
        (UNSPECIFIED, ICMPv6ND_NS(tgt=str(HOME)), HOME),
        (SOURCE, ICMPv6ND_NS(tgt=str(HOME)), None),
        (SOURCE, ICMPv6ND_NA(tgt=str(HOME), code=1), None),
    ],
)
def test_who_has_or_is_about_to_take_an_address_claims_it(source, message, claimed):
    assert find_claim(source, 255, bytes(message)) == claimed
    assert find_claim(source, 64, bytes(message)) is None
