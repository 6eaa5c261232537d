"""Flows shared by weight, in a real kernel."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from itertools import cycle

import pytest
from balance_flows import find_links, make_flows
from dataplane_world import (
    CN,
    ETH_P_IPV6,
    LFN,
    LTE,
    SAT,
    WIFI,
    echo,
    make_home_agent,
    make_mobile_router,
    strip,
    tcp,
    transports,
    udp,
    uplinks,
)
from scapy.layers.inet6 import IPv6

from mrouter.dataplane import marks
from mrouter.dataplane.balance import BALANCED_SET, assign_buckets, count_buckets
from mrouter.dataplane.classify import number_policies
from mrouter.policy.model import Balance, Bicast, Match, Policy, PolicyTable, PortRange, Steer, Tier

pytestmark = pytest.mark.netns

SHARES = {LTE: 3, WIFI: 2, SAT: 1}
STICKY_PORT, VOICE_PORT, COPIED_PORT, TIERED_PORT, SHARED_PORT = range(6001, 6006)
PORTS = range(20000, 32000)
EF = 46


def make_policy(name, port, action, remark=None):
    return Policy(name, Match((17,), (), (PortRange(port, port),)), action, remark)


SHARED = Balance((Tier(tuple(SHARES), tuple(SHARES.values())),))
POLICIES = PolicyTable(
    (
        make_policy("sticky", STICKY_PORT, Balance((Tier((LTE, WIFI), (1, 1)),), by_source=True)),
        make_policy("voice", VOICE_PORT, Steer((LTE,)), EF),
        make_policy("copied", COPIED_PORT, Bicast((LTE, WIFI), 2), EF),
        make_policy("tiered", TIERED_PORT, Balance((Tier((LTE, WIFI), (3, 1)), Tier((SAT,))))),
        Policy("default", Match(), SHARED),
    )
)


@pytest.fixture(scope="module")
def receiver(shared_world):
    protocol = socket.htons(ETH_P_IPV6)
    packets = shared_world.nodes["net"](
        socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, protocol
    )
    packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    yield packets
    packets.close()


@pytest.fixture(scope="module")
def sender(shared_world):
    raw = shared_world.nodes["lfn"](
        socket.socket, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW
    )
    yield raw
    raw.close()


@pytest.fixture
def balanced(world, sender, receiver):
    world.reset(policies=POLICIES)
    return Flows(world, lambda packet: sender.sendto(packet, (str(CN), 0)), receiver)


class Flows:
    def __init__(self, world, sender, receiver):
        self.world, self._receiver = world, receiver
        self._sender = sender

    def use(self, *links):
        self.world.apply_mr(make_mobile_router(policies=POLICIES, links=links))
        self.world.apply_ha(make_home_agent(links=links))

    def links_of(self, port=SHARED_PORT, source=LFN, source_ports=PORTS):
        found = self.find_links(port, source, source_ports)
        assert found.keys() == set(source_ports)
        return found

    def find_links(self, port, source, source_ports):
        return find_links(
            self._sender,
            self._receiver,
            make_flows(source, port, source_ports),
        )


def jhash(data, seed):
    """Do as the kernel's include/linux/jhash.h."""

    def rotate(value, bits):
        return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF

    a = b = c = (0xDEADBEEF + len(data) + seed) & 0xFFFFFFFF
    words = struct.unpack(f"<{len(data) // 4}I", data)
    while len(words) > 3:
        a, b, c = ((x + word) & 0xFFFFFFFF for x, word in zip((a, b, c), words, strict=False))
        words = words[3:]
        for bits in (4, 6, 8, 16, 19, 4):
            a = (a - c & 0xFFFFFFFF) ^ rotate(c, bits)
            c = c + b & 0xFFFFFFFF
            a, b, c = b, c, a
    a, b, c = (
        (x + word) & 0xFFFFFFFF for x, word in zip((a, b, c), (*words, 0, 0, 0), strict=False)
    )
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = (c ^ b) - rotate(b, bits) & 0xFFFFFFFF
        a, b, c = b, c, a
    return b


def expect_link(source_port, shares, up):
    ports = struct.pack("!B3xH2xH2x", 17, source_port, SHARED_PORT)
    bucket = jhash(LFN.packed + CN.packed + ports, 0x4D) * count_buckets(shares) >> 32
    return next(
        link
        for (first, last), link in assign_buckets(shares, up).items()
        if first <= bucket <= last
    )


@pytest.mark.parametrize("up", [(LTE, WIFI, SAT), (LTE, SAT)])
def test_each_flow_takes_its_buckets_link(balanced, up):
    balanced.use(*up)
    ports = PORTS[:500]

    assert balanced.links_of(source_ports=ports) == {
        port: expect_link(port, SHARES, set(up)) for port in ports
    }


def measure(links):
    return {link: count / len(links) for link, count in Counter(links.values()).items()}


def test_shares_are_those_of_the_weights(balanced):
    shares = measure(balanced.links_of())

    assert shares == pytest.approx({LTE: 1 / 2, WIFI: 1 / 3, SAT: 1 / 6}, abs=0.02)


def test_a_link_that_goes_moves_its_own_flows_by_weight_and_gets_them_back(balanced):
    before = balanced.links_of()

    balanced.use(LTE, SAT)
    without = balanced.links_of()
    balanced.use(LTE, WIFI, SAT)

    assert all(without[port] == link for port, link in before.items() if link != WIFI)
    moved = {port: without[port] for port, link in before.items() if link == WIFI}
    assert measure(moved) == pytest.approx({LTE: 3 / 4, SAT: 1 / 4}, abs=0.02)
    assert balanced.links_of() == before


def test_flows_stay_on_their_links_through_a_restart(balanced):
    before = balanced.links_of(source_ports=PORTS[:200])

    balanced.world.restart("mr")
    balanced.use(LTE, WIFI, SAT)
    balanced.world.forget_flows("mr")

    assert balanced.links_of(source_ports=PORTS[:200]) == before


def test_sticky_by_source_keeps_a_hosts_flows_together(balanced):
    hosts = [
        set(balanced.links_of(STICKY_PORT, LFN + step, PORTS[:20]).values())
        for step in range(1, 17)
    ]

    assert all(len(links) == 1 for links in hosts)
    assert set.union(*hosts) == {LTE, WIFI}


def test_tiers_are_used_in_order(balanced):
    ports = PORTS[:40]
    used = []
    for up in ((LTE, WIFI, SAT), (WIFI, SAT), (SAT,), (LTE, SAT)):
        balanced.use(*up)
        used.append(set(balanced.links_of(TIERED_PORT, source_ports=ports).values()))

    assert used == [{LTE, WIFI}, {WIFI}, {SAT}, {LTE}]


@pytest.mark.parametrize(
    "packets",
    [
        [echo(LFN, CN, identifier=number, sequence=number) for number in range(20)],
        [tcp(LFN, CN, 443, sport=40001, sequence=number, flags="A") for number in range(20)],
    ],
    ids=["echo", "tcp"],
)
def test_what_belongs_together_takes_one_link(balanced, packets):
    seen, at_cn = balanced.world.exchange("lfn", *packets, at=["net", "cn"])

    assert len({link for link, _source in uplinks(seen)}) == 1
    assert transports(at_cn, LFN, CN) == strip(*packets)


def test_a_flow_comes_back_by_the_link_that_it_went_by(balanced):
    ports = PORTS[:30]
    links = balanced.links_of(source_ports=ports)
    answers = [udp(CN, LFN, port, b"answer", sport=SHARED_PORT) for port in ports]

    at_mr, at_lfn = balanced.world.exchange("cn", *answers, at=["mr", "lfn"])

    came = {item.packet.payload.dport: item.interface for item in at_mr if item.packet.nh == 17}
    tunnelled = {
        IPv6(bytes(item.packet.payload)).dport: item.interface
        for item in at_mr
        if item.packet.nh == 41
    }
    assert came == {}
    assert tunnelled == {port: f"{link}0" for port, link in links.items()}
    assert len(transports(at_lfn, CN, LFN)) == len(ports)


def test_packets_are_counted_by_policy_and_link(balanced):
    links = Counter(balanced.links_of(source_ports=PORTS[:300]).values())

    world = balanced.world
    counted = world.nodes["mr"](world.planes["mr"].read_set_counters, BALANCED_SET)
    number = number_policies(POLICIES)["default"]
    assert {
        (marks.policy_of_mark(connection), marks.slot_of_mark(mark)): packets
        for (connection, mark), (packets, _octets) in counted.items()
    } == {(number, slot): links[link] for slot, link in enumerate((LTE, WIFI, SAT), 1)}


def test_a_remark_is_on_the_inner_and_on_the_outer_header(balanced):
    packet = udp(LFN, CN, VOICE_PORT, b"voice")
    packet.tc, packet.fl = 0b000001, 0x54321  # explicit congestion notification is not ours

    at_net, at_cn = balanced.world.exchange("lfn", packet, at=["net", "cn"])

    outer = [item.packet for item in at_net if item.packet.nh == 41]
    assert [each.tc for each in outer] == [EF << 2 | 1]
    inner = [item.packet for item in at_cn if item.packet.src == str(LFN)]
    assert [(each.tc, each.fl, each.hlim) for each in inner] == [(EF << 2 | 1, 0x54321, 62)]
    assert transports(at_cn, LFN, CN) == strip(packet)


def test_both_copies_of_a_bicast_packet_are_remarked(balanced):
    at_net, at_cn = balanced.world.exchange("lfn", udp(LFN, CN, COPIED_PORT), at=["net", "cn"])

    assert [item.packet.tc for item in at_net if item.packet.nh == 41] == [EF << 2] * 2
    assert [item.packet.tc for item in at_cn if item.packet.src == str(LFN)] == [EF << 2]


def test_other_policies_leave_the_dscp_as_it_is(balanced):
    packet = udp(LFN, CN, SHARED_PORT)
    packet.tc = 10 << 2

    (at_cn,) = balanced.world.exchange("lfn", packet, at=["cn"])

    assert [item.packet.tc for item in at_cn if item.packet.src == str(LFN)] == [10 << 2]


def test_each_change_is_one_transaction(balanced):
    """The kernel may lose the one packet that is within a table as it changes; no more."""
    changes = 0
    stop = threading.Event()

    def change_links():
        nonlocal changes
        for up in cycle(((LTE, SAT), (LTE, WIFI, SAT), (WIFI, SAT), (LTE,))):
            balanced.world.apply_mr(make_mobile_router(policies=POLICIES, links=up))
            changes += 1
            if stop.wait(0.02):
                break

    changing = threading.Thread(target=change_links)
    changing.start()
    try:
        links = balanced.find_links(SHARED_PORT, LFN, PORTS)
    finally:
        stop.set()
        changing.join()

    assert set(links.values()) == {LTE, WIFI, SAT}
    assert changes > 10
    assert len(PORTS) - len(links) <= changes
