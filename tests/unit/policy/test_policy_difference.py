from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.policy.difference import (
    FieldChange,
    PolicyChange,
    compare_tables,
    describe_difference,
    find_changing_flows,
    read_tracked_flow,
)
from mrouter.policy.find import Flow
from mrouter.policy.model import (
    Bicast,
    Drop,
    Match,
    Policy,
    PolicyTable,
    PortRange,
    SizeRange,
    Steer,
)
from mrouter.policy.prefix_sets import make_prefix_set
from mrouter.policy.resolve import LinkSituation

NOW = LinkSituation({"sat": "down"})
LTE, WIFI = Steer(("lte", "wifi")), Steer(("wifi", "lte"))
CALL = Policy("call", Match((17,), destination_ports=(PortRange(5004, 5004),)), LTE)
WEB = Policy("web", Match((6,), destination_ports=(PortRange(443, 443),)), LTE)
MARKED = Policy("marked", Match(dscp=(46,)), LTE)
DEFAULT = Policy("default", Match(), LTE)
ROW = {
    "protocol": "udp",
    "source": "2001:db8:a1::5",
    "source_port": 40000,
    "destination": "2001:db8::1",
    "destination_port": 5004,
    "icmpv6_type": None,
    "policy": "call",
    "links": ["lte"],
}
FLOW = read_tracked_flow(ROW)


def table(*policies):
    return PolicyTable((*policies, DEFAULT))


def changes(old, new, **tracked):
    found = find_changing_flows([replace(FLOW, **tracked)], old, new, NOW)
    return [(each.policies, each.links) for each in found]


# --- policies ---------------------------------------------------------------------------


def test_equal_tables_have_no_difference():
    assert not compare_tables(table(CALL, WEB), table(CALL, WEB))


def test_policies_are_added_and_removed_by_their_names():
    difference = compare_tables(table(CALL, WEB), table(WEB, MARKED))
    assert (difference.added, difference.removed) == (("marked",), ("call",))
    assert not difference.moved
    assert not difference.changed


def test_the_one_that_moved_is_told_not_those_that_it_passed():
    assert compare_tables(table(CALL, WEB, MARKED), table(MARKED, CALL, WEB)).moved == ("marked",)


@given(st.permutations(range(7)))
def test_without_the_moved_ones_the_order_is_the_same(order):
    policies = [replace(CALL, name=f"p{n}") for n in range(7)]
    moved = compare_tables(table(*policies), table(*(policies[n] for n in order))).moved
    rest = [n for n in order if f"p{n}" not in moved]
    assert rest == sorted(rest)
    assert bool(moved) == (list(order) != sorted(order))


def test_a_change_is_told_field_by_field():
    match = Match((17, 6), destination_ports=CALL.match.destination_ports, dscp=(46,))
    new = replace(CALL, match=match, action=Bicast(("lte", "wifi"), 2), remark=46)
    assert compare_tables(table(CALL), table(new)).changed == (
        PolicyChange(
            "call",
            (
                FieldChange("match.dscp", "", "ef"),
                FieldChange("match.protocol", "udp", "udp, tcp"),
                FieldChange("action", "links lte, wifi", "bicast lte, wifi (2 copies)"),
                FieldChange("remark", "", "ef"),
            ),
        ),
    )


def test_other_prefixes_in_a_set_are_a_change():
    def using(prefix):
        named = make_prefix_set("company", [IPv6Network(prefix)])
        return table(replace(CALL, match=Match(destination_sets=(named,))))

    (change,) = compare_tables(using("2001:db8:1::/48"), using("2001:db8:2::/48")).changed
    assert [each.field for each in change.changes] == ["match.destination"]


def test_lists_that_look_the_same_when_cut_short_are_a_change():
    def using(*dscp):
        return table(replace(CALL, match=Match(dscp=dscp)))

    assert compare_tables(using(*range(20)), using(*range(19), 63)).changed


# --- flows ------------------------------------------------------------------------------


def test_a_row_of_the_agent_is_read():
    flow = Flow(17, IPv6Address("2001:db8:a1::5"), IPv6Address("2001:db8::1"), 40000, 5004)
    assert (FLOW.flow, FLOW.policy, FLOW.links) == (flow, "call", ("lte",))
    assert read_tracked_flow({**ROW, "protocol": "47"}).flow.protocol == 47


def test_a_flow_moves_when_an_earlier_policy_takes_it():
    new = Policy("new", Match((17,)), WIFI)
    assert changes(table(CALL), table(new, CALL)) == [(("new",), ("wifi",))]


def test_a_flow_moves_when_its_policy_goes():
    assert changes(table(CALL), table(WEB)) == [(("default",), ("lte",))]


def test_a_flow_whose_policy_has_other_links_is_told():
    assert changes(table(CALL), table(replace(CALL, action=WIFI))) == [(("call",), ("wifi",))]


@pytest.mark.parametrize(
    "new",
    [table(CALL, WEB), table(WEB, CALL), table(CALL, replace(DEFAULT, name="x", action=WIFI))],
)
def test_a_flow_whose_answer_is_the_same_is_not_told(new):
    assert changes(table(CALL), new) == []


def test_links_that_are_down_are_not_taken():
    found = find_changing_flows([FLOW], table(CALL), table(replace(CALL, action=Drop())), NOW)
    assert [each.links for each in found] == [()]


def test_a_policy_by_dscp_may_or_may_not_take_a_tracked_flow():
    assert changes(table(CALL), table(MARKED, CALL)) == [(("marked", "call"), ("lte",))]


def test_a_flow_that_met_a_dscp_has_it():
    new = Policy("new", Match((17,), dscp=(46,)), WIFI)
    assert changes(table(MARKED), table(new, MARKED), policy="marked") == [(("new",), ("wifi",))]


def test_a_flow_that_missed_a_dscp_has_another():
    old, new = table(MARKED, CALL), table(replace(MARKED, action=WIFI), CALL)
    assert changes(old, new) == []


SMALL = Policy("small", Match((17,), packet_sizes=(SizeRange(0, 200),)), WIFI)


def test_a_flow_that_met_a_packet_size_may_miss_it_with_its_next_packet():
    old, new = table(SMALL, CALL), table(MARKED, SMALL, CALL)
    (found,) = changes(old, new, policy="small")
    assert found == (("marked", "small", "call"), ("lte",))


def test_a_flow_that_missed_a_packet_size_may_meet_it_with_its_next_packet():
    old, new = table(SMALL, CALL), table(replace(SMALL, action=LTE), CALL)
    assert changes(old, new) == [(("small", "call"), ("lte",))]


def test_a_flow_of_a_policy_that_is_no_longer_known_is_passed_over():
    assert changes(table(CALL), table(), policy="gone") == []


def test_as_json_a_flow_shows_what_is_known_of_it():
    found = find_changing_flows([FLOW], table(CALL), table(WEB), NOW)
    (flow,) = describe_difference(compare_tables(table(CALL), table(WEB)), found)["flows"]
    assert flow == {
        "protocol": "udp",
        "source": "2001:db8:a1::5",
        "source_port": 40000,
        "destination": "2001:db8::1",
        "destination_port": 5004,
        "policy": "call",
        "links": ["lte"],
        "new_policies": ["default"],
        "new_links": ["lte"],
    }
