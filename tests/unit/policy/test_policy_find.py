from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from mrouter.policy.find import Flow, find_policy
from mrouter.policy.model import Drop, Match, Policy, PolicyTable, PortRange, Steer
from mrouter.policy.prefix_sets import make_prefix_set

FLOW = Flow(
    protocol=17,
    source=IPv6Address("2001:db8:a1::5"),
    destination=IPv6Address("2001:db8:c::9"),
    source_port=40000,
    destination_port=5004,
    dscp=46,
    ingress="lan0",
    source_mac="02:00:00:00:00:01",
)
PING = replace(FLOW, protocol=58, source_port=None, destination_port=None, icmpv6_type=128)
NEAR = make_prefix_set("near", [IPv6Network("2001:db8:b::/48"), IPv6Network("2001:db8:c::/48")])
ELSEWHERE = make_prefix_set("elsewhere", [IPv6Network("2001:db8:e::/48")])
FULL_MATCH = Match(
    protocols=(6, 17),
    source_ports=(PortRange(1, 2), PortRange(40000, 40010)),
    destination_ports=(PortRange(5000, 5004),),
    source_prefixes=(IPv6Network("2001:db8:a1::/64"),),
    destination_prefixes=(IPv6Network("2001:db8:b::/48"), IPv6Network("2001:db8:c::/48")),
    dscp=(0, 46),
    ingress=("lan1", "lan0"),
)


def found(match, flow):
    table = PolicyTable(
        (Policy("p", match, Drop()), Policy("default", Match(), Steer(("lte",))))
    )  # fmt: skip
    return find_policy(table, flow).name


def test_a_flow_that_meets_every_condition_is_found():
    assert found(FULL_MATCH, FLOW) == "p"


def test_an_empty_match_matches_a_flow_without_ports():
    assert found(Match(), replace(FLOW, source_port=None, destination_port=None)) == "p"


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": 58},
        {"source": IPv6Address("2001:db8:a2::5")},
        {"destination": IPv6Address("2001:db8:d::9")},
        {"source_port": 39999},
        {"source_port": 40011},
        {"source_port": None},
        {"destination_port": 5005},
        {"destination_port": 4999},
        {"destination_port": None},
        {"dscp": 1},
        {"ingress": "lan2"},
    ],
)
def test_a_flow_that_misses_one_condition_takes_the_default(other):
    assert found(FULL_MATCH, replace(FLOW, **other)) == "default"


@pytest.mark.parametrize(
    ("match", "flow", "name"),
    [
        (Match(icmpv6_types=(129, 128)), PING, "p"),
        (Match(icmpv6_types=(129,)), PING, "default"),
        (Match(icmpv6_types=(128,)), FLOW, "default"),
        (Match(source_macs=("02:00:00:00:00:01",)), FLOW, "p"),
        (Match(source_macs=("02:00:00:00:00:02",)), FLOW, "default"),
        (Match(source_macs=("02:00:00:00:00:01",)), replace(FLOW, source_mac=None), "default"),
        (Match(destination_sets=(ELSEWHERE, NEAR)), FLOW, "p"),
        (Match(destination_sets=(ELSEWHERE,)), FLOW, "default"),
        (Match(source_sets=(NEAR,)), FLOW, "default"),
        (
            Match(destination_prefixes=tuple(NEAR.prefixes), destination_sets=(ELSEWHERE,)),
            FLOW,
            "p",
        ),
        (
            Match(destination_prefixes=tuple(ELSEWHERE.prefixes), destination_sets=(NEAR,)),
            FLOW,
            "p",
        ),
    ],
)
def test_types_devices_and_sets_are_looked_at(match, flow, name):
    assert found(match, flow) == name


@pytest.mark.parametrize(
    ("none_of", "flow", "name"),
    [
        (Match(), FLOW, "p"),
        (Match(dscp=(45,)), FLOW, "p"),
        (Match(dscp=(46,)), FLOW, "default"),
        (Match(protocols=(6,), dscp=(46,)), FLOW, "default"),
        (Match(protocols=(6,), dscp=(45,)), FLOW, "p"),
        (
            Match(destination_prefixes=tuple(ELSEWHERE.prefixes), destination_sets=(NEAR,)),
            FLOW,
            "default",
        ),
        (Match(destination_sets=(ELSEWHERE,)), FLOW, "p"),
        (Match(icmpv6_types=(128,)), FLOW, "p"),
        (Match(icmpv6_types=(128,)), PING, "default"),
        (Match(destination_ports=(PortRange(0, 65535),)), PING, "p"),
        (Match(source_macs=("02:00:00:00:00:01",)), replace(FLOW, source_mac=None), "p"),
    ],
)
def test_none_of_is_what_no_single_field_of_may_match(none_of, flow, name):
    assert found(Match(none_of=none_of), flow) == name


def test_a_negation_stands_beside_what_is_asked_for():
    narrowed = replace(FULL_MATCH, none_of=Match(destination_ports=(PortRange(5002, 5003),)))
    assert found(narrowed, FLOW) == "p"
    assert found(narrowed, replace(FLOW, destination_port=5003)) == "default"
    assert found(narrowed, replace(FLOW, protocol=58)) == "default"


def test_the_first_of_two_matches_wins():
    one = Policy("one", Match(protocols=(17,)), Drop())
    two = Policy("two", FULL_MATCH, Drop())
    default = Policy("default", Match(), Drop())
    assert find_policy(PolicyTable((one, two, default)), FLOW) is one
    assert find_policy(PolicyTable((two, one, default)), FLOW) is two
