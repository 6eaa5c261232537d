"""The ruleset finds the same policy as plain reading of the file."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from random import Random

import pytest
from dataplane_world import CN, ETH_P_IPV6, LTE, make_home_agent, make_mobile_router, make_path
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6Unknown, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from mrouter.dataplane import marks, nft, policy_runs
from mrouter.dataplane.classify import number_policies
from mrouter.lab import plan
from mrouter.policy.find import Flow, find_policy, matches
from mrouter.policy.model import Match, Policy, PolicyTable, PortRange, SizeRange, Steer
from mrouter.policy.prefix_sets import make_prefix_set
from mrouter.policy.size_ranges import LARGEST_PACKET

pytestmark = pytest.mark.netns

TABLES = 20
POLICIES_A_TABLE = 25
PACKETS_A_TABLE = 60
RUNS_A_TABLE = 6
RUN_FIELDS = ("ports", "destinations", "sources", "devices")

TCP_NUMBER, UDP_NUMBER, ICMPV6_NUMBER, GRE_NUMBER, ESP_NUMBER = 6, 17, 58, 47, 50
ICMP_NUMBER = 1
WITH_PORTS = (TCP_NUMBER, UDP_NUMBER)
PORTS = range(20)
SUBNETS = 6
CODE_POINTS = (0, 10, 46)
FAR = [CN, *(CN + step for step in range(1, 4))]
BOARD4, FAR4 = IPv4Network("10.7.0.0/16"), [IPv4Address("198.51.100.0") + n for n in range(4)]
ECHO_REQUEST, ECHO_REPLY, NODE_INFORMATION_QUERY = 128, 129, 139
#: <linux/if_tun.h>
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
PACKET_SIZES = (100, 101, 300, 1200)
MACS = [f"02:00:00:00:01:{last:02x}" for last in range(3)]


def sample(random, values, most):
    return tuple(random.sample(values, random.randint(1, min(most, len(values)))))


def random_ports(random):
    bounds = sorted(random.sample(PORTS, random.choice([1, 2, 4])))
    if len(bounds) == 1 or random.random() < 0.5:
        return tuple(PortRange(port, port) for port in bounds)
    return tuple(PortRange(*pair) for pair in zip(bounds[::2], bounds[1::2], strict=True))


def random_packet_sizes(random):
    first, last = sorted(random.choices((0, 100, 101, 300, 1200, 65535), k=2))
    return (SizeRange(first, random.choice([last, LARGEST_PACKET])),)


def source_of(subnet, host):
    return IPv6Address(int(plan.MOBILE_NETWORK_PREFIX.network_address) + (subnet << 48) + host)


def source4_of(subnet, host):
    return BOARD4[(subnet << 8) + host]


def random_sources(random):
    """Return prefixes in any order, some of them inside others, of one family or of both."""

    def make():
        subnet, shorter = random.randint(1, SUBNETS), random.choice([0, 2, 4])
        if random.random() < 0.5:
            return IPv4Network((source4_of(subnet, 0), 24 - shorter), False)
        return IPv6Network((source_of(subnet, 0), 80 - shorter), False)

    return tuple(make() for _ in range(random.randint(1, 3)))


def random_destinations(random):
    def make():
        if random.random() < 0.5:
            return IPv4Network((random.choice(FAR4), random.choice([24, 30, 31, 32])), False)
        return IPv6Network((random.choice(FAR), random.choice([64, 126, 127, 128])), False)

    return tuple(make() for _ in range(random.randint(1, 2)))


def random_sets(random):
    """Return some sets of each end, which many policies are to share."""
    return [
        [make_prefix_set(f"{end}-{index}.x", make(random)) for index in range(2)]
        for end, make in (("here", random_sources), ("there", random_destinations))
    ]


def random_match(random, sets):
    if random.random() < 0.4:
        ports = Match(sample(random, WITH_PORTS, 2), (), random_ports(random))
        more = random_fields(random, sets, True, 1)
        one = random.choice(
            ["source_macs", "source_sets", "destination_sets", "packet_sizes", "none_of", ""]
        )
        if one == "none_of":
            return replace(ports, none_of=random_fields(random, sets, True, 0.25))
        return replace(ports, **{one: getattr(more, one)}) if one else ports
    with_ports = random.random() < 0.5
    every = (TCP_NUMBER, UDP_NUMBER, ICMP_NUMBER, ICMPV6_NUMBER, GRE_NUMBER, ESP_NUMBER)
    some = random.random() < 0.5
    match = random_fields(random, sets, with_ports, 0.4)
    if with_ports or some:
        match = replace(match, protocols=sample(random, WITH_PORTS if with_ports else every, 3))
    if random.random() < 0.5:
        none_of = random_fields(random, sets, with_ports, 0.25)
        if random.random() < 0.2:
            none_of = replace(none_of, protocols=sample(random, every, 2))
        match = replace(match, none_of=none_of)
    return match


def random_fields(random, sets, with_ports, chance):
    """Return a match that fills each field but the protocols by ``chance``."""
    here, there = sets

    def maybe(values, chance=chance):
        return values if random.random() < chance else ()

    return Match(
        source_ports=maybe(random_ports(random)) if with_ports else (),
        destination_ports=maybe(random_ports(random)) if with_ports else (),
        source_prefixes=maybe(random_sources(random)),
        destination_prefixes=maybe(random_destinations(random)),
        dscp=maybe(sample(random, CODE_POINTS, 2)),
        ingress=maybe(random.choice([("lan0",), ("lan9",), ("lan9", "lan0")]), chance / 2),
        icmpv6_types=maybe(sample(random, (ECHO_REQUEST, NODE_INFORMATION_QUERY), 2), chance / 3),
        source_macs=maybe(sample(random, MACS, 2)),
        source_sets=maybe(sample(random, here, 2)),
        destination_sets=maybe(sample(random, there, 2)),
        packet_sizes=maybe(random_packet_sizes(random), chance / 2),
    )


def random_table(random):
    """Return a table whose first policies do not take it all: each takes a fifth at most."""
    policies = []
    sets = random_sets(random)
    flows = [random_flow(random, host) for host in range(1, 41)]
    while len(policies) < POLICIES_A_TABLE:
        match = random_match(random, sets)
        if sum(matches(match, flow) for flow in flows) <= len(flows) / 5:
            policies.append(Policy(f"policy-{len(policies)}", match, Steer((LTE,))))
    return PolicyTable((*policies, Policy("default", Match(), Steer((LTE,)))))


def random_flow(random, host):
    is_ipv4 = random.random() < 0.5
    ping = ICMP_NUMBER if is_ipv4 else ICMPV6_NUMBER
    protocol = random.choice([TCP_NUMBER, UDP_NUMBER, ping] * 2 + [GRE_NUMBER, ESP_NUMBER])
    with_ports = protocol in WITH_PORTS
    return Flow(
        protocol=protocol,
        source=(source4_of if is_ipv4 else source_of)(random.randint(1, SUBNETS), host),
        destination=random.choice(FAR4 if is_ipv4 else FAR),
        source_port=random.choice(PORTS) if with_ports else None,
        destination_port=random.choice(PORTS) if with_ports else None,
        dscp=random.choice(CODE_POINTS),
        ingress="lan0",
        icmpv6_type=random.choice([ECHO_REQUEST, NODE_INFORMATION_QUERY])
        if protocol == ICMPV6_NUMBER
        else None,
        source_mac=random.choice(MACS),
        packet_size=random.choice(PACKET_SIZES),
    )


def make_packet(flow):
    packet = make_headers(flow)
    return packet / Raw(bytes(max(0, (flow.packet_size or 0) - len(packet))))


def make_headers(flow):
    ends = {"src": str(flow.source), "dst": str(flow.destination)}
    if flow.source.version == 4:
        header = IP(**ends, tos=flow.dscp << 2, proto=flow.protocol)
    else:
        header = IPv6(**ends, tc=flow.dscp << 2, nh=flow.protocol)
    if flow.protocol == ICMP_NUMBER:
        return header / ICMP(id=1)
    if flow.protocol == TCP_NUMBER:
        return header / TCP(sport=flow.source_port, dport=flow.destination_port, flags="S")
    if flow.protocol == UDP_NUMBER:
        return header / UDP(sport=flow.source_port, dport=flow.destination_port)
    if flow.icmpv6_type == ECHO_REQUEST:
        return header / ICMPv6EchoRequest(id=1)
    if flow.icmpv6_type is not None:
        return header / ICMPv6Unknown(type=flow.icmpv6_type, msgbody=bytes(12))
    return header


def send_frames(world, flows):
    """Send a packet of each flow from its device's own MAC address."""
    links = json.loads(world.lab.execute("mr", ["ip", "-j", "link", "show", "lan0"]).stdout)
    routes = json.loads(
        world.lab.execute("lfn", ["ip", "-6", "-j", "route", "get", str(CN)]).stdout
    )
    with contextlib.closing(
        world.nodes["lfn"](socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)
    ) as sender:
        sender.bind((routes[0]["dev"], ETH_P_IPV6))
        for flow in flows:
            frame = Ether(src=flow.source_mac, dst=links[0]["address"]) / make_packet(flow)
            sender.send(bytes(frame))


def read_verdicts(world, numbers):
    """Return the policy that the kernel found, by the flow's source address."""
    names = {number: name for name, number in numbers.items()}
    listing = world.lab.execute("mr", ["conntrack", "-L"]).stdout
    listing += world.lab.execute("mr", ["conntrack", "-L", "-f", "ipv6"]).stdout
    found = re.findall(r" src=(\S+) dst=.* mark=(\d+)", listing)
    return {
        ip_address(source): names.get(marks.policy_of_mark(int(mark))) for source, mark in found
    }


def make_dual_router(policies):
    path = make_path(LTE, ipv4=True)
    return make_mobile_router(policies=policies, paths=[path], ipv4_prefixes=(BOARD4,))


@pytest.mark.parametrize("seed", range(TABLES))
def test_the_kernel_finds_the_policy_that_plain_reading_finds(world, seed, monkeypatch):
    random = Random(seed)
    if seed % 2:  # as maps what would be rules, in a table of this size
        monkeypatch.setattr(policy_runs, "LEAST_RUN", 2)
    table = random_table(random)
    flows = [random_flow(random, host) for host in range(1, PACKETS_A_TABLE + 1)]
    assert_kernel_finds_what_reading_finds(world, table, flows)


def random_run_match(random, fields, sets):
    """Return a match of some of ``fields``, whose values are few, so that they meet in maps."""
    match = Match()
    if "ports" in fields:
        match = replace(match, protocols=sample(random, WITH_PORTS, 2),
                        destination_ports=random_ports(random))  # fmt: skip
    if "destinations" in fields:
        match = replace(match, destination_prefixes=random_destinations(random))
    if "sources" in fields:
        match = replace(match, source_prefixes=random_sources(random))
    if "devices" in fields:
        match = replace(match, source_macs=sample(random, MACS, 2))
    more = random_fields(random, sets, "ports" in fields, 0.4)
    rest = random.choice(("dscp", "packet_sizes", "none_of", "", ""))
    if rest == "none_of":
        return replace(match, none_of=more)
    return replace(match, **{rest: getattr(more, rest)}) if rest else match


def random_runs(random):
    """Return a table of some long runs; each policy takes a tenth at most."""
    flows = [random_flow(random, host) for host in range(1, 61)]
    sets = random_sets(random)
    policies = []
    for _ in range(RUNS_A_TABLE):
        fields = random.sample(RUN_FIELDS, random.randint(1, 3))
        for _ in range(random.choice((3, 10, 30))):
            while True:
                match = random_run_match(random, fields, sets)
                if sum(matches(match, flow) for flow in flows) <= len(flows) / 10:
                    break
            policies.append(Policy(f"policy-{len(policies)}", match, Steer((LTE,))))
    return PolicyTable((*policies, Policy("default", Match(), Steer((LTE,)))))


@pytest.mark.parametrize("seed", range(TABLES))
def test_the_kernel_finds_the_policy_in_long_runs_that_plain_reading_finds(
    world, seed, monkeypatch
):
    random = Random(seed)
    monkeypatch.setattr(policy_runs, "LEAST_RUN", random.choice((2, 3, policy_runs.LEAST_RUN)))
    # little room: long runs are cut in parts as well
    monkeypatch.setattr(policy_runs, "MOST_GROWTH", random.choice((2, 4, 16)))
    flows = [random_flow(random, host) for host in range(1, PACKETS_A_TABLE + 1)]
    # those of the second table bring along the numbers of the first
    for _ in range(2):
        assert_kernel_finds_what_reading_finds(world, random_runs(random), flows)


def assert_kernel_finds_what_reading_finds(world, table, flows):
    numbers = number_policies(table)
    world.apply_mr(make_dual_router(table))
    world.apply_ha(make_home_agent(links=[]))

    send_frames(world, flows)

    wanted = {flow.source: find_policy(table, flow).name for flow in flows}
    assert len(set(wanted.values())) > 3
    assert read_verdicts(world, numbers) == wanted


def test_a_verdict_stays_with_its_flow_over_a_reload_that_does_not_concern_it(world):
    random = Random(1)
    flows = [random_flow(random, host) for host in range(1, 31)]
    before = random_table(random)
    world.apply_mr(make_dual_router(before))
    send_frames(world, flows)
    verdicts = read_verdicts(world, number_policies(before))
    last = PolicyTable((*before.policies[:-1], Policy("new", Match((99,)), Steer((LTE,))),
                        before.policies[-1]))  # fmt: skip

    world.apply_mr(make_dual_router(last))
    send_frames(world, flows)

    assert read_verdicts(world, number_policies(last)) == verdicts


def test_a_flow_is_classified_again_when_a_policy_before_its_own_has_changed(world):
    flow = Flow(UDP_NUMBER, source_of(1, 1), CN, 7, 7, ingress="lan0")
    old = PolicyTable((Policy("default", Match(), Steer((LTE,))),))
    new = PolicyTable((Policy("seven", Match((17,), (), (PortRange(7, 7),)), Steer((LTE,))),
                       *old.policies))  # fmt: skip
    for table, name in ((old, "default"), (new, "seven"), (old, "default")):
        world.apply_mr(make_mobile_router(policies=table))
        world.send("lfn", make_packet(flow))
        assert read_verdicts(world, number_policies(table)) == {flow.source: name}


@pytest.mark.parametrize("most_deleted", [0, 100])
def test_a_set_that_changes_is_obeyed_at_once(world, monkeypatch, most_deleted):
    monkeypatch.setattr(nft, "MOST_DELETED", most_deleted)
    random = Random(1)
    far = [CN + step for step in range(32)]
    flows = [
        Flow(UDP_NUMBER, source_of(1, host), address, 7, 7, ingress="lan0", source_mac=MACS[0])
        for host, address in enumerate(far, start=1)
    ]
    for _ in range(12):
        prefixes = [
            IPv6Network((random.choice(far), random.randint(125, 128)), strict=False)
            for _ in range(random.randint(1, 9))
        ]
        match = Match(destination_sets=(make_prefix_set("there", prefixes),))
        table = PolicyTable(
            (Policy("in", match, Steer((LTE,))), Policy("default", Match(), Steer((LTE,))))
        )
        world.apply_mr(make_mobile_router(policies=table))
        send_frames(world, flows)
        assert read_verdicts(world, number_policies(table)) == {
            flow.source: find_policy(table, flow).name for flow in flows
        }


@pytest.mark.parametrize("most_deleted", [0, 100])
def test_a_map_that_changes_is_obeyed_at_once(world, monkeypatch, most_deleted):
    monkeypatch.setattr(nft, "MOST_DELETED", most_deleted)
    random = Random(1)
    flows = [random_flow(random, host) for host in range(1, PACKETS_A_TABLE + 1)]
    here = [flow.source for flow in flows if flow.source.version == 4]
    # the map has its name from the first of the run
    first = Policy("first", Match(source_prefixes=(IPv4Network("10.9.0.0/16"),)), Steer((LTE,)))
    maps = set()
    for _ in range(8):
        run = []
        for number in range(20):
            prefix = IPv4Network((random.choice(here), random.choice([25, 30, 32])), strict=False)
            match = Match(source_prefixes=(prefix,), dscp=random.choice(((), (46,), (0, 10))))
            run.append(Policy(f"p{number}", match, Steer((LTE,))))
        table = PolicyTable((first, *run, Policy("default", Match(), Steer((LTE,)))))
        assert_kernel_finds_what_reading_finds(world, table, flows)
        maps.add(world.lab.execute("mr", ["nft", "list", "maps", "ip"]).stdout)
    assert len(set(re.findall(r"map (sources_\w+_ranges)", "".join(maps)))) == 1


NOT_A_DEVICE = PolicyTable(
    (
        Policy("others", Match(none_of=Match(source_macs=(MACS[0],))), Steer((LTE,))),
        Policy("default", Match(), Steer((LTE,))),
    )
)


def test_what_the_router_itself_sends_has_no_mac_address(world):
    world.apply_mr(make_mobile_router(policies=NOT_A_DEVICE))

    flow = Flow(UDP_NUMBER, plan.HOME_ADDRESS, CN, 7, 7)
    world.send("mr", make_packet(flow))

    assert find_policy(NOT_A_DEVICE, flow).name == "others"
    assert read_verdicts(world, number_policies(NOT_A_DEVICE)) == {flow.source: "others"}


def test_what_comes_in_by_an_interface_without_mac_addresses_has_none(world):
    flow = Flow(UDP_NUMBER, source_of(1, 1), CN, 7, 7, ingress="tun9")
    device = world.nodes["mr"](os.open, "/dev/net/tun", os.O_RDWR)
    try:
        request = struct.pack("16sH22x", b"tun9", IFF_TUN | IFF_NO_PI)
        world.nodes["mr"](fcntl.ioctl, device, TUNSETIFF, request)
        world.lab.execute("mr", ["ip", "link", "set", "tun9", "up"])
        world.apply_mr(make_mobile_router(policies=NOT_A_DEVICE, ingress=("lan0", "tun9")))

        os.write(device, bytes(make_packet(flow)))

        assert read_verdicts(world, number_policies(NOT_A_DEVICE)) == {flow.source: "others"}
    finally:
        os.close(device)


def test_the_answer_to_a_ping_from_far_meets_the_policy_of_echo_replies(world):
    match = Match(icmpv6_types=(ECHO_REPLY,))
    table = PolicyTable(
        (Policy("pong", match, Steer((LTE,))), Policy("default", Match(), Steer((LTE,))))
    )
    world.apply_mr(make_mobile_router(policies=table))

    world.send("cn", IPv6(src=str(CN), dst=str(plan.LFN_ADDRESS)) / ICMPv6EchoRequest(id=1))

    numbers = number_policies(table)
    world.wait_for(lambda: read_verdicts(world, numbers) == {CN: "pong"})
