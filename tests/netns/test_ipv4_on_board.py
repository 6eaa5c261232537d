"""IPv4 of the mobile network, over the same IPv6 bindings, and out at the home agent."""

from __future__ import annotations

import pytest
from dataplane_world import BULK_PORT, CALL_PORT, LTE, WIFI
from ipv4_world import (
    CN4,
    HOME4,
    LFN4,
    Ipv4World,
    arrived,
    echo4,
    strip4,
    tcp4,
    udp4,
    uplinks4,
)

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def ipv4(shared_world):
    made = Ipv4World(shared_world)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def board(ipv4):
    """MR and HA with the three links registered, and IPv4 routed to the home agent."""
    ipv4.reset()
    return ipv4


FLOWS = {
    "bulk-udp": (udp4(LFN4, CN4, BULK_PORT, b"bulk"), [WIFI]),
    "bulk-tcp": (tcp4(LFN4, CN4, BULK_PORT), [WIFI]),
    "call": (udp4(LFN4, CN4, CALL_PORT, b"call"), [LTE, WIFI]),
    "ping": (echo4(LFN4, CN4), [LTE]),
    "default": (udp4(LFN4, CN4, 9, b"rest"), [LTE]),
    "to-home-agent": (udp4(LFN4, HOME4, 9, b"for the home agent itself"), [LTE]),
}


@pytest.mark.parametrize(("packet", "links"), FLOWS.values(), ids=FLOWS.keys())
def test_a_flow_takes_its_policys_links(board, packet, links):
    (seen,) = board.exchange("lfn", packet, at=["tunnels"])

    assert uplinks4(seen) == sorted(links)


def test_what_is_sent_arrives_once_and_unchanged(board):
    packets = [packet for packet, _links in FLOWS.values() if packet.dst == str(CN4)]

    (seen,) = board.exchange("lfn", *packets, at=["cn"])

    assert arrived(seen, LFN4, CN4) == strip4(*packets)
