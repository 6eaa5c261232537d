"""``mrouter capture`` on home agent discovery and prefix discovery, ICMPv6 types 144 to 147."""

from __future__ import annotations

import json
from ipaddress import IPv6Address, IPv6Network

import pytest
from capture_samples import COA, DRAFT, HOME, HOME_AGENT, show, tunnel, write_frames
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6

from mrouter.capture.find import find_signalling
from mrouter.capture.pcap import read_frames
from mrouter.capture.run import CaptureOptions, run_capture
from mrouter.wire.home_discovery import (
    DiscoveryPacket,
    HomeAgentReply,
    HomeAgentRequest,
    HomePrefix,
    PrefixAdvertisement,
    PrefixSolicitation,
    serialize_discovery,
)

ETERNITY = 0xFFFFFFFF
PREFIX = HomePrefix(IPv6Network("2001:db8:f1::/64"), 900, 600)
REPLY = serialize_discovery(
    DiscoveryPacket(HOME_AGENT, COA, HomeAgentReply(7, (HOME_AGENT, IPv6Address("2001:db8:f0::3"))))
)
ADVERTISEMENT = serialize_discovery(
    DiscoveryPacket(
        HOME_AGENT,
        COA,
        PrefixAdvertisement(
            9, (PREFIX, HomePrefix(IPv6Network("2001:db8:f2::/48"), ETERNITY, ETERNITY))
        ),
        routing_home_address=HOME,
    )
)


def other(layer):
    return bytes(IPv6(src=str(COA), dst=str(HOME_AGENT)) / layer)


# --- lines ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            serialize_discovery(DiscoveryPacket(COA, HOME_AGENT, HomeAgentRequest(7))),
            "2001:db8:1::2 > 2001:db8:f0::2: Home Agent Address Discovery Request, id 7",
        ),
        (
            serialize_discovery(
                DiscoveryPacket(COA, HOME_AGENT, HomeAgentRequest(7, mobile_router=True))
            ),
            "2001:db8:1::2 > 2001:db8:f0::2: Home Agent Address Discovery Request, id 7, "
            "flags mobile-router",
        ),
        (
            REPLY,
            "2001:db8:f0::2 > 2001:db8:1::2: Home Agent Address Discovery Reply, id 7, "
            "home agents 2001:db8:f0::2 2001:db8:f0::3",
        ),
        (
            serialize_discovery(
                DiscoveryPacket(HOME_AGENT, COA, HomeAgentReply(7, (), mobile_router=True))
            ),
            "2001:db8:f0::2 > 2001:db8:1::2: Home Agent Address Discovery Reply, id 7, "
            "flags mobile-router, home agents none",
        ),
        (
            serialize_discovery(
                DiscoveryPacket(COA, HOME_AGENT, PrefixSolicitation(9), home_address=HOME)
            ),
            "2001:db8:1::2 > 2001:db8:f0::2: Mobile Prefix Solicitation, id 9, "
            "HAO 2001:db8:f1::100",
        ),
        (
            ADVERTISEMENT,
            "2001:db8:f0::2 > 2001:db8:1::2: Mobile Prefix Advertisement, id 9, "
            "RH2 2001:db8:f1::100, prefix 2001:db8:f1::/64 valid 900 s preferred 600 s, "
            "prefix 2001:db8:f2::/48 valid forever preferred forever",
        ),
    ],
    ids=["request", "request-router", "reply", "reply-none", "solicitation", "advertisement"],
)
def test_every_message_is_one_line(tmp_path, data, expected):
    assert show(data, tmp_path) == f"12:00:01.250000Z - {expected}"


def test_json_has_the_addresses_of_a_reply(tmp_path):
    value = json.loads(show(REPLY, tmp_path, as_json=True))
    assert value["message"] == "Home Agent Address Discovery Reply"
    assert (value["identifier"], value["flags"]) == (7, [])
    assert value["home_agents"] == ["2001:db8:f0::2", "2001:db8:f0::3"]
    assert value["auth"] is None


def test_json_has_the_prefixes_of_an_advertisement(tmp_path):
    value = json.loads(show(ADVERTISEMENT, tmp_path, as_json=True))
    assert value["routing_header"] == str(HOME)
    assert value["options"][0] == {
        "option": "home-prefix",
        "prefix": "2001:db8:f1::/64",
        "valid_lifetime": 900,
        "preferred_lifetime": 600,
    }
    assert value["options"][1]["valid_lifetime"] == ETERNITY


# --- what is found, and what is refused -----------------------------------------------------


def test_a_message_inside_a_tunnel_is_shown_with_it(tmp_path):
    line = show(tunnel(REPLY), tmp_path)
    assert "[2001:db8:9::1 > 2001:db8:9::2] 2001:db8:f0::2 > 2001:db8:1::2: Home Agent" in line


def test_a_wrong_checksum_is_shown_with_its_reason(tmp_path):
    spoilt = REPLY[:-1] + bytes((REPLY[-1] ^ 1,))
    assert show(spoilt, tmp_path).endswith("Discovery Reply, REFUSED bad-checksum")


def test_a_message_cut_short_is_shown_with_its_reason(tmp_path):
    assert "Mobile Prefix Advertisement, REFUSED truncated" in show(ADVERTISEMENT[:70], tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        other(ICMPv6EchoRequest()),
        other(ICMPv6ND_NS(tgt="2001:db8::1")),
        *(REPLY[:40] + bytes((kind,)) + REPLY[41:] for kind in (135, 143, 148)),
        REPLY[:40],
    ],
    ids=["echo", "solicitation", "135", "143", "148", "cut"],
)
def test_other_icmpv6_is_passed_over(data):
    assert find_signalling(data) is None


def test_only_discovery_is_written(tmp_path):
    path = write_frames(tmp_path / "all.pcap", other(ICMPv6EchoRequest()), REPLY)
    kept = tmp_path / "kept.pcap"
    assert run_capture(CaptureOptions(read=path, write=kept), DRAFT, None, str) == 1
    assert [frame.data for frame in read_frames(kept)] == [REPLY]
