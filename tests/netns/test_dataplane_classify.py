"""The ruleset finds the same policy as plain reading of the file."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network
from random import Random

import pytest
from dataplane_world import CN, LTE, make_home_agent, make_mobile_router
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Raw

from mrouter.dataplane import marks
from mrouter.dataplane.classify import number_policies
from mrouter.lab import plan
from mrouter.policy.find import Flow, find_policy
from mrouter.policy.model import Match, Policy, PolicyTable, PortRange, Steer

pytestmark = pytest.mark.netns

TABLES = 10
POLICIES_A_TABLE = 25
PACKETS_A_TABLE = 60

TCP_NUMBER, UDP_NUMBER, ICMPV6_NUMBER, GRE_NUMBER, ESP_NUMBER = 6, 17, 58, 47, 50
WITH_PORTS = (TCP_NUMBER, UDP_NUMBER)
PORTS = range(20)
SUBNETS = 6
CODE_POINTS = (0, 10, 46)
FAR = [CN, *(CN + step for step in range(1, 4))]


def sample(random, values, most):
    return tuple(random.sample(values, random.randint(1, min(most, len(values)))))


def random_ports(random):
    bounds = sorted(random.sample(PORTS, random.choice([1, 2, 4])))
    if len(bounds) == 1 or random.random() < 0.5:
        return tuple(PortRange(port, port) for port in bounds)
    return tuple(PortRange(*pair) for pair in zip(bounds[::2], bounds[1::2], strict=True))


def source_of(subnet, host):
    return IPv6Address(int(plan.MOBILE_NETWORK_PREFIX.network_address) + (subnet << 48) + host)


def random_sources(random):
    """Return prefixes in any order, some of them inside others."""
    return tuple(
        IPv6Network((source_of(random.randint(1, SUBNETS), 0), random.choice([76, 78, 80])), False)
        for _ in range(random.randint(1, 3))
    )


def random_destinations(random):
    return tuple(
        IPv6Network((random.choice(FAR), random.choice([64, 126, 127, 128])), False)
        for _ in range(random.randint(1, 2))
    )


def random_match(random):
    if random.random() < 0.5:
        return Match(sample(random, WITH_PORTS, 2), (), random_ports(random))
    with_ports = random.random() < 0.5
    every = (TCP_NUMBER, UDP_NUMBER, ICMPV6_NUMBER, GRE_NUMBER, ESP_NUMBER)
    some = random.random() < 0.5

    def maybe(values, chance=0.4):
        return values if random.random() < chance else ()

    return Match(
        protocols=sample(random, WITH_PORTS if with_ports else every, 3)
        if with_ports or some
        else (),
        source_ports=maybe(random_ports(random)) if with_ports else (),
        destination_ports=maybe(random_ports(random)) if with_ports else (),
        source_prefixes=maybe(random_sources(random)),
        destination_prefixes=maybe(random_destinations(random)),
        dscp=maybe(sample(random, CODE_POINTS, 2)),
        ingress=maybe(random.choice([("lan0",), ("lan9",), ("lan9", "lan0")])),
    )


def random_table(random):
    """Return a table whose first policies do not take it all: each looks at two things or more."""
    policies = []
    while len(policies) < POLICIES_A_TABLE:
        match = random_match(random)
        looks = match.protocols, match.source_ports, match.destination_ports, match.dscp
        if sum(map(bool, (*looks, match.source_prefixes, match.destination_prefixes))) > 1:
            policies.append(Policy(f"policy-{len(policies)}", match, Steer((LTE,))))
    return PolicyTable((*policies, Policy("default", Match(), Steer((LTE,)))))


def random_flow(random, host):
    protocol = random.choice([TCP_NUMBER, UDP_NUMBER] * 2 + [ICMPV6_NUMBER, GRE_NUMBER, ESP_NUMBER])
    with_ports = protocol in WITH_PORTS
    return Flow(
        protocol=protocol,
        source=source_of(random.randint(1, SUBNETS), host),
        destination=random.choice(FAR),
        source_port=random.choice(PORTS) if with_ports else None,
        destination_port=random.choice(PORTS) if with_ports else None,
        dscp=random.choice(CODE_POINTS),
        ingress="lan0",
    )


def make_packet(flow):
    header = IPv6(src=str(flow.source), dst=str(flow.destination), tc=flow.dscp << 2)
    if flow.protocol == TCP_NUMBER:
        return header / TCP(sport=flow.source_port, dport=flow.destination_port, flags="S")
    if flow.protocol == UDP_NUMBER:
        return header / UDP(sport=flow.source_port, dport=flow.destination_port)
    if flow.protocol == ICMPV6_NUMBER:
        return header / ICMPv6EchoRequest(id=1)
    header.nh = flow.protocol
    return header / Raw(bytes(16))


def read_verdicts(world, numbers):
    """Return the policy that the kernel found, by the flow's source address."""
    names = {number: name for name, number in numbers.items()}
    listing = world.lab.execute("mr", ["conntrack", "-L", "-f", "ipv6"]).stdout
    found = re.findall(r" src=(\S+) dst=.* mark=(\d+)", listing)
    return {
        IPv6Address(source): names.get(marks.policy_of_mark(int(mark))) for source, mark in found
    }


@pytest.mark.parametrize("seed", range(TABLES))
def test_the_kernel_finds_the_policy_that_plain_reading_finds(world, seed):
    random = Random(seed)
    table = random_table(random)
    numbers = number_policies(table)
    world.apply_mr(make_mobile_router(policies=table))
    world.apply_ha(make_home_agent(links=[]))
    flows = [random_flow(random, host) for host in range(1, PACKETS_A_TABLE + 1)]

    world.send("lfn", *map(make_packet, flows))

    wanted = {flow.source: find_policy(table, flow).name for flow in flows}
    assert len(set(wanted.values())) > 5
    assert read_verdicts(world, numbers) == wanted


def test_a_verdict_stays_with_its_flow_over_a_reload_that_does_not_concern_it(world):
    random = Random(1)
    flows = [random_flow(random, host) for host in range(1, 31)]
    before = random_table(random)
    world.apply_mr(make_mobile_router(policies=before))
    world.send("lfn", *map(make_packet, flows))
    verdicts = read_verdicts(world, number_policies(before))
    last = PolicyTable((*before.policies[:-1], Policy("new", Match((99,)), Steer((LTE,))),
                        before.policies[-1]))  # fmt: skip

    world.apply_mr(make_mobile_router(policies=last))
    world.send("lfn", *map(make_packet, flows))

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
