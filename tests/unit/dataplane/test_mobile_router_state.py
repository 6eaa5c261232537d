from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from state_world import (
    HOME_AGENT,
    LINKS,
    POLICIES,
    check_state,
    find_set,
    follow_policy,
    make_mobile_router,
    make_path,
    mobile_routers,
    path_lists,
)

from mrouter.dataplane import marks
from mrouter.dataplane.fake import render_routing
from mrouter.dataplane.mobile_router import build_mobile_router, choose_paths
from mrouter.dataplane.state import Encapsulation, Rule

NO_LEAK = Rule(marks.STRICT_TABLE, marks.ENCAP, marks.ENCAP, unreachable=True)


@settings(max_examples=40)
@given(mobile_routers())
def test_every_state_keeps_to_its_numbers_and_names(view):
    check_state(build_mobile_router(view))


@settings(max_examples=40)
@given(mobile_routers())
def test_what_is_to_be_encapsulated_and_has_no_tunnel_is_unreachable(view):
    rules = build_mobile_router(view).rules

    assert NO_LEAK in rules
    tunnels = [rule for rule in rules if rule.mark & marks.ENCAP and rule != NO_LEAK]
    assert all(rule.table < NO_LEAK.table for rule in tunnels)


@settings(max_examples=40)
@given(mobile_routers(usable=st.just(False)))
def test_without_a_usable_path_every_action_drops_and_no_tunnel_stands(view):
    state = build_mobile_router(view)

    for policy in view.policies.policies:
        (rule,) = follow_policy(state, view, policy.name)
        assert rule.endswith(" drop")
    assert {route.table for route in state.routes} <= {marks.DECAP_TABLE}


@settings(max_examples=40)
@given(mobile_routers())
def test_a_path_that_is_not_usable_still_accepts_what_the_home_agent_sends(view):
    accepted = find_set(build_mobile_router(view), "decap")

    assert set(accepted) == {str(path.care_of_address) for path in view.paths}


@settings(max_examples=40)
@given(mobile_routers())
def test_each_usable_path_has_a_table_of_its_own(view):
    state = build_mobile_router(view)
    defaults = [route for route in state.routes if route.destination == IPv6Network("::/0")]

    usable = [path for path in view.paths if path.usable]
    assert sorted(route.table for route in defaults) == sorted(
        marks.slot_table(path.slot) for path in usable
    )
    assert all(route.tunnel is not None for route in defaults)


@given(path_lists())
def test_a_link_uses_its_first_usable_path(paths):
    chosen = choose_paths(paths)

    for link in LINKS:
        usable = [path for path in paths if path.link == link and path.usable]
        assert chosen.get(link) == (usable[0] if usable else None)


def test_steering_takes_the_first_link_that_is_usable():
    view = make_mobile_router([make_path("lte"), make_path("wifi", usable=False)])

    assert follow_policy(build_mobile_router(view), view, "bulk") == ("goto link_1",)


def test_bicast_sends_a_copy_by_one_link_and_itself_by_the_other():
    view = make_mobile_router()

    *copies, mark, last = follow_policy(build_mobile_router(view), view, "call")

    assert copies == ["jump copy_1"]
    assert mark.endswith(f"| {marks.ENCAP | marks.BICAST | marks.mark_slot(2):#010x}")
    assert last == "accept"


@pytest.mark.parametrize(("link", "slot"), [("lte", 1), ("wifi", 2)])
def test_bicast_over_one_remaining_link_makes_no_copies(link, slot):
    view = make_mobile_router([make_path(link), make_path("sat")])

    assert follow_policy(build_mobile_router(view), view, "call") == (f"goto link_{slot}",)


def test_a_failover_changes_actions_and_no_classification():
    before = build_mobile_router(make_mobile_router())
    paths = [make_path("lte"), make_path("wifi", usable=False), make_path("sat")]
    after = build_mobile_router(make_mobile_router(paths))

    changed = {chain.name for chain in after.table.chains if chain not in before.table.chains}
    assert changed == {"action_0", "action_1"}
    assert after.table.sets == before.table.sets


def test_a_home_address_inside_the_prefix_is_not_named_twice():
    view = make_mobile_router(home_address=IPv6Address("2001:db8:a1::100"))

    assert list(find_set(build_mobile_router(view), "home")) == ["2001:db8:a1::/64"]


def test_the_routing_of_seg6_reads_so():
    paths = [make_path("lte"), make_path("wifi", gateway=None), make_path("sat", usable=False)]

    assert (
        render_routing(build_mobile_router(make_mobile_router(paths)))
        == f"""\
accept router advertisements on lte0
accept router advertisements on wifi0
accept router advertisements on sat0
rule 7601: mark 0x84100000/0x87f00000 lookup 7601
rule 7602: mark 0x84200000/0x87f00000 lookup 7602
rule 7690: mark 0x08000000/0x08000000 lookup 7690
rule 7701: mark 0x04100000/0x87f00000 lookup 7701
rule 7702: mark 0x04200000/0x87f00000 lookup 7702
rule 7770: mark 0x04000000/0x04000000 unreachable
route 7601: {HOME_AGENT}/128 via 2001:db8:1::1 dev lte0
route 7602: {HOME_AGENT}/128 dev wifi0
route 7690: fd6d:726f:7574:6572::1/128 decapsulate dev lan0
route 7690: fd6d:726f:7574:6572::2/128 decapsulate, lookup 255 dev lan0
route 7701: ::/0 encapsulate to {HOME_AGENT} via 2001:db8:1::1 dev lte0
route 7702: ::/0 encapsulate to {HOME_AGENT} dev wifi0
"""
    )


def test_the_routing_of_ip6tnl_reads_so():
    view = replace(make_mobile_router([make_path("lte")]), encapsulation=Encapsulation.IP6TNL)

    assert (
        render_routing(build_mobile_router(view))
        == f"""\
device ip6tnl
accept router advertisements on lte0
accept router advertisements on wifi0
accept router advertisements on sat0
rule 7601: from 2001:db8:1::2 lookup 7601
rule 7701: mark 0x04100000/0x87f00000 lookup 7701
rule 7770: mark 0x04000000/0x04000000 unreachable
route 7601: {HOME_AGENT}/128 via 2001:db8:1::1 dev lte0
route 7701: ::/0 encapsulate from 2001:db8:1::2 to {HOME_AGENT} dev mrouter0
"""
    )


def test_policies_with_the_same_action_share_its_chain():
    view = make_mobile_router(policies=POLICIES)

    names = [chain.name for chain in build_mobile_router(view).table.chains]
    assert [name for name in names if name.startswith("action_")] == [
        "action_0", "action_1", "action_2", "action_3",
    ]  # fmt: skip
