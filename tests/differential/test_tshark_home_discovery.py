"""tshark reads the ICMPv6 messages 144 to 147 that we write as we meant them."""

from __future__ import annotations

import shutil
from ipaddress import IPv6Address, IPv6Network
from typing import get_args

import pytest
from expected_dissection import expect_addresses, expect_discovery
from hypothesis import strategies as st
from sampling import draw_samples
from tshark_oracle import dissect
from wire_strategies import COA, HOME, HOME_AGENT, addresses, networks, uint16

from mrouter.wire.home_discovery import (
    MAX_HOME_AGENTS,
    DiscoveryMessage,
    DiscoveryPacket,
    HomeAgentReply,
    HomeAgentRequest,
    HomePrefix,
    PrefixAdvertisement,
    PrefixSolicitation,
    serialize_discovery,
)

pytestmark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="`make test-packages` installs tshark"
)
SAMPLES = 200
ETERNITY = 0xFFFFFFFF
FIRST = HomePrefix(IPv6Network("2001:db8:f1::/64"), 900, 600)
SECOND = HomePrefix(IPv6Network("2001:db8:f2::/48"), ETERNITY, ETERNITY)
MANY = tuple(IPv6Address(int(HOME_AGENT) + number) for number in range(MAX_HOME_AGENTS))

CASES = {
    "request": DiscoveryPacket(COA, HOME_AGENT, HomeAgentRequest(0x1234)),
    "request-router": DiscoveryPacket(COA, HOME_AGENT, HomeAgentRequest(1, mobile_router=True)),
    "reply": DiscoveryPacket(HOME_AGENT, COA, HomeAgentReply(0x1234, (HOME_AGENT, HOME))),
    "reply-router": DiscoveryPacket(HOME_AGENT, COA, HomeAgentReply(1, (), mobile_router=True)),
    "reply-full": DiscoveryPacket(HOME_AGENT, COA, HomeAgentReply(1, MANY)),
    "solicitation": DiscoveryPacket(COA, HOME_AGENT, PrefixSolicitation(0xFFFF), home_address=HOME),
    "advertisement": DiscoveryPacket(
        HOME_AGENT, COA, PrefixAdvertisement(7, (FIRST, SECOND)), routing_home_address=HOME
    ),
    "advertisement-empty": DiscoveryPacket(HOME_AGENT, COA, PrefixAdvertisement(7, ())),
}

lifetimes = st.integers(0, ETERNITY)
prefixes = st.builds(
    lambda network, *seconds: HomePrefix(network, max(seconds), min(seconds)),
    networks,
    lifetimes,
    lifetimes,
)
messages = st.one_of(
    st.builds(HomeAgentRequest, uint16, st.booleans()),
    st.builds(
        HomeAgentReply,
        uint16,
        st.lists(addresses, max_size=MAX_HOME_AGENTS).map(tuple),
        st.booleans(),
    ),
    st.builds(PrefixSolicitation, uint16),
    st.builds(PrefixAdvertisement, uint16, st.lists(prefixes, max_size=30).map(tuple)),
)
packets = st.builds(
    DiscoveryPacket, addresses, addresses, messages, st.none() | addresses, st.none() | addresses
)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    written = map(serialize_discovery, CASES.values())
    read = dissect(list(written), tmp_path_factory.mktemp("cases"))
    return dict(zip(CASES, read, strict=True))


def check(packet, dissection):
    assert dissection.complaints == []
    expected = expect_addresses(packet) | expect_discovery(packet.message)
    without_meaning = ("icmpv6.checksum", "icmpv6.opt", "icmpv6.opt.reserved")
    assert {
        name: values
        for name, values in dissection.fields.items()
        if name in expected or (name.startswith("icmpv6.") and name not in without_meaning)
    } == expected


def test_every_message_has_a_case():
    assert {type(packet.message) for packet in CASES.values()} == set(get_args(DiscoveryMessage))


@pytest.mark.parametrize("name", CASES)
def test_tshark_reads_the_message(cases, name):
    check(CASES[name], cases[name])


def test_tshark_reads_arbitrary_messages(tmp_path):
    samples = draw_samples(packets, SAMPLES)
    written = [serialize_discovery(packet) for packet in samples]
    for packet, read in zip(samples, dissect(written, tmp_path), strict=True):
        check(packet, read)
