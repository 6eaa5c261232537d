from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mrouter.agent.downlink import compile_downlink, describe_downlink
from mrouter.policy.find import Flow, find_policy
from mrouter.policy.model import (
    Balance,
    Bicast,
    Drop,
    Match,
    Policy,
    PolicyTable,
    PortRange,
    SizeRange,
    Steer,
    Tier,
)
from mrouter.policy.prefix_sets import make_prefix_set
from mrouter.protocol.flow_bindings import MAX_FLOW_BINDINGS, FlowState, WantedFlow
from mrouter.wire.traffic_selectors import TrafficSelector

ON_BOARD = [IPv6Address("2001:db8:a1::1") + step for step in range(4)]
FAR = [IPv6Address("2001:db8:c::1") + step for step in range(4)]
UDP = 17
CALL = Policy("call", Match((UDP,), (), (PortRange(5004, 5007),)), Bicast(("lte", "wifi"), 2))
DEFAULT = Policy("default", Match(), Steer(("lte", "wifi", "sat")))


def compile_one(match, action=DEFAULT.action):
    return [each.wanted for each in compile_downlink(PolicyTable((Policy("one", match, action),)))]


def test_destination_ports_become_source_ports():
    (flow,) = compile_one(CALL.match, CALL.action)
    selector = TrafficSelector(source_ports=(5004, 5007), next_header=(UDP, UDP))
    assert flow == WantedFlow(selector, ("lte", "wifi"), copies=2)


def test_addresses_change_places_too():
    (flow,) = compile_one(
        Match(
            source_prefixes=(IPv6Network("2001:db8:a1::/64"),),
            destination_prefixes=(IPv6Network("2001:db8:c::10/128"),),
        )
    )
    far = IPv6Address("2001:db8:c::10")
    last = IPv6Address("2001:db8:a1::ffff:ffff:ffff:ffff")
    assert flow.selector.source == (far, far)
    assert flow.selector.destination == (IPv6Address("2001:db8:a1::"), last)


def test_lists_become_a_flow_for_each_combination():
    ports = (PortRange(1, 1), PortRange(9, 9), PortRange(2, 3))
    flows = compile_one(Match((6, UDP), (), ports))
    assert {(flow.selector.next_header, flow.selector.source_ports) for flow in flows} == {
        (protocol, both_ends) for protocol in ((6, 6), (UDP, UDP)) for both_ends in ((1, 3), (9, 9))
    }


def test_what_matches_everything_asks_for_nothing():
    assert compile_one(Match()) == [WantedFlow(TrafficSelector(), DEFAULT.action.links)]


def test_shared_flows_go_by_the_link_of_the_greatest_weight_then_by_the_others():
    action = Balance((Tier(("wifi", "lte"), (1, 3)), Tier(("sat",))))

    assert compile_one(Match(), action) == [WantedFlow(TrafficSelector(), ("lte", "wifi", "sat"))]


def test_policies_by_interface_and_those_that_drop_have_no_flow():
    assert compile_one(Match(ingress=("lan0",))) == []
    assert compile_one(Match(), Drop()) == []


def make_set(size):
    return make_prefix_set(
        f"set-{size}", [IPv6Network((int(FAR[0]) + (step << 64), 128)) for step in range(size)]
    )


@pytest.mark.parametrize(
    "match",
    [
        Match(source_macs=("02:00:00:00:00:01",)),
        Match(icmpv6_types=(128,)),
        Match(packet_sizes=(SizeRange(0, 200),)),
        Match(flow_sizes=(SizeRange(0, 10**7),)),
        Match(destination_domains=("example.com",)),
        Match(none_of=Match(dscp=(46,))),
        Match(destination_sets=(make_set(9),)),
        Match(source_sets=(make_set(5), make_set(4))),
    ],
)
def test_what_a_traffic_selector_cannot_say_has_no_flow(match):
    table = PolicyTable((Policy("one", match, DEFAULT.action), DEFAULT))
    flows = compile_downlink(table)
    assert [flow.policy for flow in flows] == ["default"]
    assert describe_downlink(table, flows, ())["one"] == "not-expressible"


@pytest.mark.parametrize(
    "match",
    [
        Match(destination_prefixes=(IPv4Network("192.0.2.0/24"),)),
        Match(source_sets=(make_prefix_set("x", [IPv4Network("192.168.7.0/24")]),)),
    ],
)
def test_a_policy_for_ipv4_has_no_flow(match):
    table = PolicyTable((Policy("one", match, DEFAULT.action), DEFAULT))
    flows = compile_downlink(table)
    assert [flow.policy for flow in flows] == ["default"]
    assert describe_downlink(table, flows, ())["one"] == "not-expressible"


def test_of_a_policy_for_both_families_there_are_the_flows_of_ipv6():
    four, six = IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8:c::10/128")
    many4 = [IPv4Network((number << 8, 24)) for number in range(100)]
    sets = (make_prefix_set("x", [*many4, IPv6Network("2001:db8:d::1/128")]),)
    flows = compile_one(Match(destination_prefixes=(four, six), destination_sets=sets))
    assert [str(flow.selector.source[0]) for flow in flows] == ["2001:db8:c::10", "2001:db8:d::1"]


def test_each_prefix_of_a_small_set_has_a_flow():
    network = IPv6Network("2001:db8:e::/128")
    flows = compile_one(Match(destination_prefixes=(network,), destination_sets=(make_set(8),)))
    sources = {flow.selector.source for flow in flows}
    assert sources == {(prefix[0], prefix[0]) for prefix in (network, *make_set(8).prefixes)}
    assert {flow.selector.destination for flow in flows} == {None}


def test_there_are_never_more_flows_than_a_home_agent_takes():
    ports = tuple(PortRange(port, port) for port in range(1, 60000, 2))
    table = PolicyTable((Policy("many", Match((6,), (), ports), DEFAULT.action), DEFAULT))
    assert len(compile_downlink(table)) == MAX_FLOW_BINDINGS
    assert describe_downlink(table, compile_downlink(table), ())["default"] == "too-many"


def test_a_policy_stands_as_its_worst_flow_does():
    table = PolicyTable(
        (
            Policy("two", Match((6, UDP), (), (PortRange(1, 1),)), DEFAULT.action),
            Policy("drop", Match((58,)), Drop()),
            DEFAULT,
        )
    )
    states = (FlowState("accepted", (1,)), FlowState("pending"), FlowState("accepted", (1,)))
    assert describe_downlink(table, compile_downlink(table), states) == {
        "two": "pending",
        "drop": "not-expressible",
        "default": "accepted",
    }


def prefix_lists(addresses, least=0):
    prefixes = st.builds(
        lambda address, length: IPv6Network((address, length), strict=False),
        st.sampled_from(addresses),
        st.integers(124, 128),
    )
    return st.lists(prefixes, min_size=least, max_size=2).map(tuple)


def set_lists(addresses):
    one = prefix_lists(addresses, least=1).map(lambda found: (make_prefix_set("some", found),))
    return st.just(()) | one


port_ranges = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 3)).map(lambda p: PortRange(p[0], p[0] + p[1])),
    max_size=3,
).map(tuple)


@st.composite
def policy_tables(draw):
    policies = [
        Policy(
            f"policy-{index}",
            Match(
                protocols=tuple(draw(st.sets(st.sampled_from([6, UDP]), min_size=1))),
                source_ports=draw(port_ranges),
                destination_ports=draw(port_ranges),
                source_prefixes=draw(prefix_lists(ON_BOARD)),
                destination_prefixes=draw(prefix_lists(FAR)),
                dscp=tuple(draw(st.sets(st.integers(0, 3), max_size=2))),
                source_sets=draw(set_lists(ON_BOARD)),
                destination_sets=draw(set_lists(FAR)),
            ),
            DEFAULT.action,
        )
        for index in range(draw(st.integers(0, 5)))
    ]
    return PolicyTable((*policies, DEFAULT))


def is_matched(selector, flow):
    """Read ``selector`` for a packet of ``flow``'s other direction."""

    def within(both_ends, value):
        return both_ends is None or both_ends[0] <= value <= both_ends[1]

    return (
        within(selector.source, flow.destination)
        and within(selector.destination, flow.source)
        and within(selector.source_ports, flow.destination_port)
        and within(selector.destination_ports, flow.source_port)
        and within(selector.next_header, flow.protocol)
        and within(selector.traffic_class, 4 * flow.dscp + 2)
    )


@given(
    policy_tables(),
    st.builds(
        Flow,
        protocol=st.sampled_from([6, UDP]),
        source=st.sampled_from(ON_BOARD),
        destination=st.sampled_from(FAR),
        source_port=st.integers(1, 12),
        destination_port=st.integers(1, 12),
        dscp=st.integers(0, 3),
    ),
)
def test_the_other_direction_of_a_flow_meets_the_same_policy(table, flow):
    wanted = compile_downlink(table)
    assume(len(wanted) < MAX_FLOW_BINDINGS)  # else the last ones are left out
    first = next(each.policy for each in wanted if is_matched(each.wanted.selector, flow))
    assert first == find_policy(table, flow).name
