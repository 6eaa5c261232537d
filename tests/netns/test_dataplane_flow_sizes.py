"""Flows that have carried much are classified again: by the kernel as by plain reading."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import pytest
from dataplane_world import (
    CN,
    LFN,
    LTE,
    WIFI,
    echo,
    make_home_agent,
    make_mobile_router,
    udp,
    uplinks,
)
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from test_dataplane_classify import (
    TCP_NUMBER,
    make_dual_router,
    make_packet,
    random_flow,
    random_match,
    random_sets,
    send_frames,
)

from mrouter.dataplane import marks, policy_runs
from mrouter.dataplane.steering import Steering
from mrouter.policy.find import find_policy, matches
from mrouter.policy.model import Drop, Match, Policy, PolicyTable, SizeRange, Steer
from mrouter.policy.size_ranges import LARGEST_FLOW

pytestmark = pytest.mark.netns

TABLES = 12
POLICIES_A_TABLE = 20
FLOWS_A_TABLE = 40
ROUNDS = 7
SIZES = (250, 500, 1300, 2500, 5000)


def from_size(first, last=LARGEST_FLOW):
    return (SizeRange(first, last),)


def random_sizes(random):
    first, last = sorted(random.sample((0, *SIZES, LARGEST_FLOW + 1), 2))
    return from_size(first, last - 1)


def random_table(random):
    """Return a table with flow sizes in half of its policies, each taking a third at most."""
    policies = []
    sets = random_sets(random)
    flows = [random_flow(random, host) for host in range(1, 41)]
    while len(policies) < POLICIES_A_TABLE:
        match = random_match(random, sets)
        if sum(matches(match, flow) for flow in flows) > len(flows) / 3:
            continue
        if random.random() < 0.3:
            match = replace(match, flow_sizes=random_sizes(random))
        elif random.random() < 0.3:
            none_of = match.none_of or Match()
            match = replace(match, none_of=replace(none_of, flow_sizes=random_sizes(random)))
        policies.append(Policy(f"policy-{len(policies)}", match, Steer((LTE,))))
    bulk = Policy("bulk", Match((17, 58), flow_sizes=from_size(1300)), Steer((WIFI,)))
    policies.insert(random.randrange(POLICIES_A_TABLE), bulk)
    return PolicyTable((*policies, Policy("default", Match(), Steer((LTE,)))))


def random_lasting_flow(random, host):
    """Return a flow that is not TCP's, of which a packet can't be sent again and again."""
    while (flow := random_flow(random, host)).protocol == TCP_NUMBER:
        pass
    return flow


def read_verdicts(world, table):
    """Return the policy that the kernel found last for each flow, by its source address."""
    names = Steering(table).names
    listing = world.lab.execute("mr", ["conntrack", "-L"]).stdout
    listing += world.lab.execute("mr", ["conntrack", "-L", "-f", "ipv6"]).stdout
    found = re.findall(r" src=(\S+) dst=.* mark=(\d+)", listing)
    return {source: names.get(marks.policy_of_mark(int(mark))) for source, mark in found}


@pytest.mark.parametrize("seed", range(TABLES))
def test_the_kernel_finds_the_policy_of_a_flows_size_that_plain_reading_finds(
    world, seed, monkeypatch
):
    if seed % 2:  # as maps what would be rules, in a table of this size
        monkeypatch.setattr(policy_runs, "LEAST_RUN", 2)
    random = Random(seed)
    table = random_table(random)
    world.apply_mr(make_dual_router(table))
    world.apply_ha(make_home_agent(links=[]))
    flows = [random_lasting_flow(random, host) for host in range(1, FLOWS_A_TABLE + 1)]
    carried = dict.fromkeys(flows, 0)
    moved = set()
    before = {}
    for _ in range(ROUNDS):
        send_frames(world, flows)
        for flow in flows:
            carried[flow] += len(make_packet(flow))
        wanted = {
            str(flow.source): find_policy(table, replace(flow, flow_size=carried[flow])).name
            for flow in flows
        }
        assert read_verdicts(world, table) == wanted
        moved |= {source for source in before if before[source] != wanted[source]}
        before = wanted
    assert moved


BULK = PolicyTable(
    (
        Policy("bulk", Match(flow_sizes=from_size(3000)), Steer((WIFI,))),
        Policy("default", Match(), Steer((LTE,))),
    )
)


def links_of(captured):
    return [link for link, _source in uplinks(captured)]


def exchange(world, *packets):
    (captured,) = world.exchange("lfn", *packets, at=["net"])
    return links_of(captured)


def test_a_flow_takes_another_link_with_the_packet_that_makes_it_large(world):
    world.apply_mr(make_mobile_router(policies=BULK))
    packet = udp(LFN, CN, payload=bytes(952))  # of 1000 octets
    assert [exchange(world, packet) for _ in range(4)] == [[LTE], [LTE], [WIFI], [WIFI]]
    assert exchange(world, udp(LFN, CN, sport=40001)) == [LTE]


def test_a_flow_that_becomes_too_large_can_be_dropped(world):
    table = PolicyTable((replace(BULK.policies[0], action=Drop()), BULK.policies[1]))
    world.apply_mr(make_mobile_router(policies=table))
    packet = udp(LFN, CN, payload=bytes(952))
    assert [exchange(world, packet) for _ in range(4)] == [[LTE], [LTE], [], []]


def test_what_comes_from_the_far_end_counts_too(world):
    world.apply_mr(make_mobile_router(policies=BULK))
    there, back = udp(LFN, CN, 9), udp(CN, LFN, 40000, bytes(952), sport=9)
    assert exchange(world, there) == [LTE]
    world.exchange("cn", back, back, back, at=["lfn"])
    assert exchange(world, there) == [WIFI]


def test_an_error_does_not_choose_for_its_flow(world):
    """It goes as the flow does; the flow's next packet makes it large."""
    world.apply_mr(make_mobile_router(policies=BULK))
    there = udp(LFN, CN, 9)
    assert exchange(world, there) == [LTE]
    back = udp(CN, LFN, 40000, bytes(952), sport=9)
    world.exchange("cn", back, back, back, at=["lfn"])
    error = IPv6(src=str(LFN), dst=str(CN)) / ICMPv6DestUnreach(code=1) / back
    assert exchange(world, error) == [LTE]
    assert read_verdicts(world, BULK) == {str(LFN): "default"}
    assert exchange(world, there) == [WIFI]


def test_a_flow_is_not_classified_again_in_each_packet(world):
    """A flow that is large and no policy's for large flows is looked at once more, then never."""
    tcp_only = PolicyTable(
        (replace(BULK.policies[0], match=Match(none_of=Match((17,)), flow_sizes=from_size(3000))),
         BULK.policies[1])
    )  # fmt: skip
    world.apply_mr(make_mobile_router(policies=tcp_only))
    packet = udp(LFN, CN, payload=bytes(952))
    exchange(world, *[packet] * 4)
    world.lab.execute("mr", ["nft", "insert", "rule", "ip6", "mrouter", "classify", "counter"])
    exchange(world, *[packet] * 5)
    rules = world.lab.execute("mr", ["nft", "list", "chain", "ip6", "mrouter", "classify"]).stdout
    assert "counter packets 0 " in rules


def test_a_flows_step_lasts_over_a_reload_that_does_not_concern_it(world):
    world.apply_mr(make_mobile_router(policies=BULK))
    packet = udp(LFN, CN, payload=bytes(952))
    exchange(world, *[packet] * 4)
    later = Policy("later", Match((99,)), Steer((LTE,)))
    more = PolicyTable((BULK.policies[0], later, BULK.policies[1]))
    world.apply_mr(make_mobile_router(policies=more))
    assert read_verdicts(world, more) == {str(LFN): "bulk"}
    assert exchange(world, packet) == [WIFI]


def test_pings_and_their_answers_have_a_size_together(world):
    world.apply_mr(make_mobile_router(policies=BULK))
    ping = echo(LFN, CN, payload=bytes(952))
    assert [exchange(world, ping) for _ in range(3)] == [[LTE], [WIFI], [WIFI]]
