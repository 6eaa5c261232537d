from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from mrouter.policy.find import Flow
from mrouter.policy.model import Match, Policy, PolicyTable, PortRange, Steer
from mrouter.policy.overtaking import Overtaking

HERE, FAR = IPv6Address("2001:db8:a1::5"), IPv6Address("2001:db8:c::1")
WEB = Match((6,), destination_ports=(PortRange(443, 443),))
FLOW = Flow(6, HERE, FAR, 40000, 443)


def make_table(*matches):
    policies = [Policy(f"p{n}", match, Steer(("lte",))) for n, match in enumerate(matches)]
    return PolicyTable((*policies, Policy("default", Match(), Steer(("lte",)))))


def test_flows_of_later_policies_that_it_matches_are_concerned():
    overtaking = Overtaking(make_table(Match((17,)), WEB), {"p1"})
    assert overtaking.concerns(FLOW, "default")
    assert not overtaking.concerns(FLOW, "p1")
    assert not overtaking.concerns(FLOW, "p0")
    assert set(overtaking.overtaken) == {"default"}


def test_flows_that_it_can_not_match_are_not():
    overtaking = Overtaking(make_table(WEB), {"p0"})
    assert not overtaking.concerns(Flow(6, HERE, FAR, 40000, 80), "default")
    assert not overtaking.concerns(Flow(17, HERE, FAR, 40000, 443), "default")


def test_a_flow_that_began_at_the_far_end_is_looked_at_from_on_board():
    far = Match(destination_prefixes=(IPv6Network("2001:db8:c::/64"),))
    overtaking = Overtaking(make_table(far), {"p0"})
    assert overtaking.concerns(Flow(6, FAR, HERE, 443, 40000), "default")


def test_the_answers_to_a_ping_from_far_are_echo_replies():
    overtaking = Overtaking(make_table(Match(icmpv6_types=(129,))), {"p0"})
    assert overtaking.concerns(Flow(58, FAR, HERE, icmpv6_type=128), "default")


def test_what_no_running_flow_can_be_asked_is_taken_for_met():
    overtaking = Overtaking(make_table(Match(dscp=(46,)), Match((17,), dscp=(46,))), {"p0", "p1"})
    assert overtaking.concerns(FLOW, "p1")
    assert not Overtaking(make_table(Match((17,), dscp=(46,))), {"p0"}).concerns(FLOW, "default")
