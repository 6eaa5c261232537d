from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from state_world import (
    HOME_AGENT,
    LINKS,
    find_chain,
    home_agents,
    make_binding,
    make_home_agent,
    make_mobile_router,
    mobile_routers,
)

from mrouter.dataplane import marks
from mrouter.dataplane.home_agent import build_home_agent
from mrouter.dataplane.mobile_router import build_mobile_router
from mrouter.dataplane.state import Encapsulation

BINDINGS = tuple(map(make_binding, LINKS))


def names_of(state):
    return {chain.name for chain in state.table.chains} | {s.name for s in state.table.sets}


def view_of(encapsulation, bindings=BINDINGS):
    return make_home_agent(bindings, encapsulation=encapsulation)


def test_what_seg6_delivers_is_remembered_by_its_slot_and_answered_by_it():
    view = view_of(Encapsulation.SEG6)
    state = build_home_agent(view)
    slots = sorted({binding.slot for binding in view.bindings})

    assert any(rule.endswith("jump delivered") for rule in find_chain(state, "input"))
    request, otherwise = find_chain(state, "delivered")
    assert request.startswith("icmpv6 type echo-request ")
    assert otherwise == "goto inner"
    answers = find_chain(state, "answer")
    assert answers[-1] == "goto downlink"
    for slot, rule in zip(slots, answers[:-1], strict=True):
        assert rule.endswith(f"@asked_{slot} goto to_{slot}")
        assert f"{marks.mark_slot(slot):#010x} : jump asked_{slot}" in request
    rules = find_chain(state, "out")
    assert rules[-2:] == ("icmpv6 type echo-reply goto answer", "goto downlink")


@pytest.mark.parametrize(
    "view",
    [view_of(Encapsulation.IP6TNL), view_of(Encapsulation.SEG6, bindings=())],
    ids=["tracked", "no binding"],
)
def test_where_nothing_has_to_be_remembered_nothing_is(view):
    state = build_home_agent(view)
    assert not [name for name in names_of(state) if name.startswith(("asked", "answer", "deliv"))]
    assert "icmpv6 type echo-reply goto answer" not in find_chain(state, "out")


@settings(max_examples=40)
@given(home_agents())
def test_every_chain_that_an_answer_may_go_to_stands(view):
    state = build_home_agent(replace(view, encapsulation=Encapsulation.SEG6))
    names = names_of(state)
    for slot in {binding.slot for binding in view.bindings}:
        assert {f"asked_{slot}", f"to_{slot}"} <= names


def test_a_slot_that_several_routers_have_is_asked_for_once():
    view = view_of(Encapsulation.SEG6, bindings=(make_binding(slot=3), make_binding(slot=3)))
    assert len(find_chain(build_home_agent(view), "answer")) == 2


@settings(max_examples=40)
@given(mobile_routers())
def test_only_a_marked_echo_request_to_the_home_agent_passes_the_policies_by(view):
    rules = find_chain(build_mobile_router(view), "output")
    steered = rules.index("ip6 saddr @home jump uplink")
    mark = f"meta mark & {marks.ENCAP:#010x} == {marks.ENCAP:#010x}"
    passing = f"icmpv6 type echo-request ip6 daddr {HOME_AGENT} {mark} accept"
    assert rules.index(passing) < steered


def test_answers_to_probes_are_not_counted_where_they_are_tracked():
    def count_rules(encapsulation):
        view = replace(make_mobile_router(), encapsulation=encapsulation)
        return find_chain(build_mobile_router(view), "inner")

    tracked = count_rules(Encapsulation.IP6TNL)
    (answer,) = (rule for rule in tracked if "echo-reply" in rule)
    assert answer.endswith(" accept")
    (count,) = (n for n, rule in enumerate(tracked) if "@received" in rule)
    assert tracked.index(answer) < count
    assert not any("echo-reply" in rule for rule in count_rules(Encapsulation.SEG6))
