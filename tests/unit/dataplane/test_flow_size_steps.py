from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from nft_model import NftModel, model_of
from state_world import make_mobile_router

from mrouter.dataplane import marks
from mrouter.dataplane.flow_sizes import find_size_steps
from mrouter.dataplane.mobile_router import build_mobile_router
from mrouter.dataplane.nft import render_table
from mrouter.dataplane.steering import Steering
from mrouter.policy.model import (
    Balance,
    Match,
    Policy,
    PolicyTable,
    PortRange,
    SizeRange,
    Steer,
    Tier,
)
from mrouter.policy.size_ranges import LARGEST_FLOW

LTE, WIFI = Steer(("lte",)), Steer(("wifi",))
DEFAULT = Policy("default", Match(), LTE)
CALL = Policy("call", Match((17,), destination_ports=(PortRange(5004, 5004),)), LTE)


def bulk(*sizes, protocols=()):
    ranges = tuple(SizeRange(size, LARGEST_FLOW) for size in sizes)
    return Policy("bulk", Match(protocols, flow_sizes=ranges), WIFI)


def steer(*policies):
    return Steering(PolicyTable((*policies, DEFAULT)))


def build(*policies):
    steering = steer(*policies)
    return build_mobile_router(
        replace(
            make_mobile_router(),
            policies=steering.policies,
            numbers=steering.numbers,
            treatments=steering.treatments,
            size_steps=steering.size_steps,
        )
    )


@given(st.lists(st.integers(1, 10**12), unique=True, min_size=1, max_size=8))
def test_each_step_has_a_number_of_its_own(sizes):
    policies = [replace(CALL, name=f"call-{n}", match=Match((17,), dscp=(n,))) for n in range(9)]
    steering = steer(bulk(*sizes), *policies)
    assert len(steering.names) == len(steering.policies.policies) * (len(sizes) + 1)
    assert all(0 < number <= marks.MAX_POLICY_NUMBER for number in steering.names)
    for number, steps in steering.size_steps.items():
        assert steps.sizes == tuple(sorted(sizes))
        assert steps.numbers[0] == number
        assert len({steering.names[each] for each in steps.numbers}) == 1


def find_numbers(steering, name):
    return steering.size_steps[steering.numbers[name]].numbers


def test_numbers_of_steps_last_over_a_change_behind_them():
    other = replace(CALL, name="other", match=Match((6,)))
    before, after = steer(bulk(100), CALL), steer(bulk(100), CALL, other)
    assert find_numbers(after, "bulk") == find_numbers(before, "bulk")
    assert find_numbers(after, "call") == find_numbers(before, "call")
    assert set(find_numbers(after, "default")).isdisjoint(find_numbers(before, "default"))


def test_a_steps_number_is_of_its_size_whatever_other_sizes_there_are():
    names = {7: "call"}
    few, many = (
        find_size_steps({"call": (100,)}, names),
        find_size_steps({"call": (50, 100)}, names),
    )
    assert many[7].numbers[2] == few[7].numbers[1]


def test_flows_of_every_step_use_their_policys_links():
    steering = steer(bulk(100), CALL)
    links = steering.list_links({"lte", "wifi"})
    assert {links[number] for number in find_numbers(steering, "bulk")} == {("wifi",)}
    assert {links[number] for number in find_numbers(steering, "call")} == {("lte",)}


def test_flows_of_every_step_of_a_balanced_policy_are_counted_by_link():
    shared = replace(CALL, action=Balance((Tier(("lte", "wifi"), (1, 1)),)))
    steering = steer(bulk(100), shared)
    assert steering.list_balanced() == set(find_numbers(steering, "call"))


def test_without_flow_sizes_nothing_is_made_for_them():
    state = build(CALL)
    assert not state.flow_accounting
    assert not [chain for chain in state.table.chains if "below" in chain.name]
    assert "verdicts" not in {item.name for item in state.table.sets}


def test_policies_that_no_size_concerns_lead_to_their_actions_directly():
    state = build(CALL, bulk(100, protocols=(6,)))
    assert state.flow_accounting
    (actions,) = (item for item in state.table.sets if item.name == "actions")
    number = steer(CALL, bulk(100, protocols=(6,))).numbers["call"]
    assert actions.elements[f"{marks.mark_policy(number):#010x}"] == "goto action_0"
    (chain,) = (c for c in state.table.chains if c.name == f"policy_{number}")
    assert len(chain.rules) == 1


def test_a_flow_is_checked_in_every_step_but_the_last():
    state = build(bulk(100, 200))
    (actions,) = (item for item in state.table.sets if item.name == "actions")
    ways = sorted(verdict.removeprefix("goto ") for verdict in actions.elements.values())
    assert ways == [
        "action_0", "action_0_below_100", "action_0_below_200",
        "action_1", "action_1_below_100", "action_1_below_200",
    ]  # fmt: skip


def test_the_table_is_one_that_the_kernel_takes():
    table = build(bulk(100, 200), CALL).table
    model = NftModel()
    model.run(render_table(table))
    assert model == model_of(table)
