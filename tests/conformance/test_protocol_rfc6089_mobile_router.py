"""RFC 6089, the mobile router's side: its policies as flow bindings at the home agent."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from protocol_world import (
    FORMAT,
    LTE,
    SAT,
    WIFI,
    World,
    at,
    connect,
    counts,
    make_acknowledgement,
    make_agent,
    make_router,
    notes,
    only,
    packets,
    register,
    run_until,
    send,
    through_wire,
)

from mrouter.protocol.events import EgressChanged, FlowsWanted, StopRequested
from mrouter.protocol.flow_bindings import MAX_FLOW_BINDINGS, WantedFlow
from mrouter.wire.constants import FlowStatus
from mrouter.wire.messages import BindingUpdate
from mrouter.wire.options import FlowIdentification, FlowSummary
from mrouter.wire.packet import serialize_packet
from mrouter.wire.traffic_selectors import TrafficSelector


def from_port(port):
    return TrafficSelector(source_ports=(port, port), next_header=(17, 17))


CALL = WantedFlow(from_port(5004), ("lte", "wifi", "sat"), copies=2)
BULK = WantedFlow(from_port(5001), ("wifi", "lte"))
REST = WantedFlow(TrafficSelector(), ("lte", "wifi"))
FLOWS = (CALL, BULK, REST)


def want(machine, *flows, seconds=0.0):
    effects = machine.handle(FlowsWanted(flows), at(seconds))
    return [through_wire(packet) for packet in packets(effects, BindingUpdate)]


def identifications(packet):
    return [each for each in packet.message.options if isinstance(each, FlowIdentification)]


def summary(packet):
    return [
        fid for each in packet.message.options if isinstance(each, FlowSummary) for fid in each.fids
    ]


def ifids(router):
    return {entry.link: entry.ifid for entry in router.entries if entry.usable}


def accept(update, **statuses):
    """Return an acceptance that answers each flow binding, by default with success."""
    told = statuses.get("told", {})
    answers = [
        FlowIdentification(each.fid, each.priority, status=told.get(each.fid, 0))
        for each in identifications(update)
    ]
    kept = summary(update)
    answers += [
        FlowIdentification(fid, fid, status=status) for fid, status in told.items() if fid in kept
    ]
    return make_acknowledgement(update, more=answers)


def registered(*addresses, flows=FLOWS):
    """Return a mobile router whose home agent has accepted all, and the last Binding Update."""
    router = make_router()
    register(router, *addresses)
    (update,) = want(router, *flows, seconds=1.0)
    send(router, accept(update), at(1.0))
    return router, update


# --- what is asked for ------------------------------------------------------------------------


def test_5_2_2_1_flow_bindings_name_the_bindings_of_the_links_that_are_registered():
    router, update = registered(LTE, WIFI)
    known = ifids(router)
    assert [(each.fid, each.ifids, each.selector) for each in identifications(update)] == [
        (1, (known["lte"], known["wifi"]), CALL.selector),
        (2, (known["wifi"],), BULK.selector),
        (3, (known["lte"],), REST.selector),
    ]
    assert [state.name for state in router.flow_states] == ["accepted"] * 3


def test_4_2_each_flow_binding_has_a_priority_of_its_own_in_the_order_of_the_policies():
    _router, update = registered(LTE, WIFI)
    priorities = [each.priority for each in identifications(update)]
    assert priorities == sorted(set(priorities))
    assert 0 not in priorities
    assert 0 not in [each.fid for each in identifications(update)]


def test_the_update_with_flow_bindings_is_a_refresh_of_the_preferred_binding():
    router, update = registered(LTE, WIFI)
    assert update.source == LTE.address
    assert update.message.lifetime == 120
    assert len(router.entries) == 2


def test_nothing_is_said_of_flows_where_none_are_wanted():
    router = make_router()
    updates = register(router, LTE, WIFI)
    assert not any(identifications(each) or summary(each) for each in updates)
    assert want(router) == []


def test_5_2_3_a_refresh_keeps_the_flow_bindings_by_a_summary_alone():
    router, _update = registered(LTE, WIFI)
    refreshes = [
        through_wire(packet)
        for _second, effects in run_until(router, 97.0)
        for packet in packets(effects, BindingUpdate)
    ]
    assert refreshes
    for update in refreshes:
        assert summary(update) == [1, 2, 3]
        assert identifications(update) == []


def test_a_link_that_is_lost_moves_its_flows_in_the_same_instant():
    router, _update = registered(LTE, WIFI)
    wifi = ifids(router)["wifi"]
    updates = connect(router, WIFI, seconds=2.0)

    (moved,) = [each for each in updates if each.message.lifetime]
    assert moved.source == WIFI.address
    assert {each.fid: each.ifids for each in identifications(moved)} == {1: (wifi,), 3: (wifi,)}
    assert summary(moved) == [2]


def test_a_link_that_comes_back_takes_its_flows_back_once_it_is_registered():
    router, _update = registered(LTE)
    first = connect(router, LTE, WIFI, seconds=2.0)
    (registration,) = first
    assert identifications(registration) == []
    assert summary(registration) == [1, 2, 3]

    effects = send(router, accept(registration), at(2.1))

    (told,) = [through_wire(packet) for packet in packets(effects, BindingUpdate)]
    assert {each.fid for each in identifications(told)} == {1, 2}


def test_changed_policies_are_told_and_those_that_are_gone_are_left_out():
    router, _update = registered(LTE, WIFI)
    (update,) = want(router, BULK, seconds=5.0)
    assert [(each.fid, each.selector) for each in identifications(update)] == [(1, BULK.selector)]
    assert summary(update) == []


def test_flows_of_links_that_are_all_down_are_not_asked_for():
    router, update = registered(SAT, flows=(BULK, CALL))
    assert [each.fid for each in identifications(update)] == [2]
    assert [state.name for state in router.flow_states] == ["no-link", "accepted"]


def test_5_3_3_a_de_registration_of_one_of_several_names_what_stays():
    router, _update = registered(LTE, WIFI)
    updates = connect(router, WIFI, seconds=2.0)

    (ending,) = [each for each in updates if not each.message.lifetime]
    assert summary(ending) == [1, 2, 3]
    assert identifications(ending) == []


def test_a_de_registration_names_what_is_asked_for_and_not_answered_yet():
    router = make_router()
    register(router, LTE, WIFI)
    (update,) = want(router, BULK, REST, seconds=1.0)
    assert len(identifications(update)) == 2
    updates = connect(router, LTE, seconds=1.1)
    (ending,) = [each for each in updates if not each.message.lifetime]
    assert summary(ending) == [1, 2]


def test_silence_about_what_a_de_registration_has_overtaken_is_no_refusal():
    router = make_router()
    register(router, LTE, WIFI)
    (update,) = want(router, REST, seconds=1.0)
    (ending,) = connect(router, LTE, seconds=1.1)
    send(router, make_acknowledgement(ending), at(1.2))
    effects = send(router, make_acknowledgement(update), at(1.6))
    assert notes(effects) == []
    (again,) = packets(effects, BindingUpdate)
    assert [each.fid for each in identifications(again)] == [1]


def test_a_home_agent_without_flow_bindings_gets_no_summary_in_a_de_registration():
    router = make_router()
    register(router, LTE, WIFI)
    (update,) = want(router, *FLOWS, seconds=1.0)
    send(router, make_acknowledgement(update), at(1.0))
    (ending,) = connect(router, WIFI, seconds=2.0)
    assert summary(ending) == []


def test_the_last_de_registrations_say_nothing_of_flows():
    router, _update = registered(LTE)
    effects = router.handle(StopRequested(deregister=True), at(3.0))
    (ending,) = packets(effects, BindingUpdate)
    assert ending.message.lifetime == 0
    assert not identifications(ending)
    assert not summary(ending)


# --- what is answered -------------------------------------------------------------------------


def test_4_2_a_refused_flow_binding_is_counted_and_not_asked_for_again():
    router = make_router()
    register(router, LTE, WIFI)
    (update,) = want(router, *FLOWS, seconds=1.0)
    effects = send(
        router, accept(update, told={2: FlowStatus.ADMINISTRATIVELY_PROHIBITED}), at(1.0)
    )

    assert ("flow-binding-refused", "administratively-prohibited") in counts(effects)
    assert packets(effects, BindingUpdate) == []
    assert [state.name for state in router.flow_states] == [
        "accepted",
        "administratively-prohibited",
        "accepted",
    ]


def test_a_refused_flow_binding_is_tried_again_when_a_link_is_new():
    router = make_router()
    register(router, LTE)
    (update,) = want(router, CALL, seconds=1.0)
    send(router, accept(update, told={1: FlowStatus.BID_NOT_FOUND}), at(1.0))
    (registration,) = connect(router, LTE, SAT, seconds=2.0)
    effects = send(router, accept(registration), at(2.0))
    (told,) = packets(effects, BindingUpdate)
    assert [each.fid for each in identifications(told)] == [1]


def test_what_was_refused_for_want_of_a_binding_is_tried_again_after_a_refresh():
    router = make_router()
    register(router, LTE, WIFI)
    (update,) = want(router, CALL, seconds=1.0)
    send(router, accept(update, told={1: FlowStatus.BID_NOT_FOUND}), at(1.0))
    ((second, effects),) = run_until(router, 96.0)
    refresh = through_wire(only(packets(effects, BindingUpdate)))
    assert identifications(refresh) == []

    effects = send(router, accept(refresh), at(second))

    told = through_wire(only(packets(effects, BindingUpdate)))
    assert only(identifications(told)).fid == 1


def test_5_3_5_silence_about_a_summary_alone_is_acceptance():
    router, _update = registered(LTE)
    ((second, effects),) = run_until(router, 97.0)
    refresh = through_wire(only(packets(effects, BindingUpdate)))
    assert summary(refresh) == [1, 2, 3]

    effects = send(router, make_acknowledgement(refresh), at(second))

    assert notes(effects) == []
    assert [state.name for state in router.flow_states] == ["accepted"] * 3


def test_5_2_6_flow_binding_that_the_answer_does_not_copy_is_not_accepted():
    router = make_router()
    register(router, LTE, WIFI)
    (update,) = want(router, *FLOWS, seconds=1.0)
    copied = [replace(each, status=0) for each in identifications(update)[:2]]
    send(router, make_acknowledgement(update, more=copied), at(1.0))
    names = [state.name for state in router.flow_states]
    assert names == ["accepted", "accepted", "reason-unspecified"]


def test_5_2_6_a_fid_that_the_home_agent_has_lost_is_sent_in_full():
    router, _update = registered(LTE)
    ((second, effects),) = run_until(router, 97.0)
    refresh = through_wire(only(packets(effects, BindingUpdate)))

    effects = send(router, accept(refresh, told={2: FlowStatus.FID_NOT_FOUND}), at(second))
    assert packets(effects, BindingUpdate) == []  # three a second at most (RFC 6275 §12)

    ((later, effects),) = run_until(router, second + 0.9)
    told = through_wire(only(packets(effects, BindingUpdate)))
    assert later - second == pytest.approx(1 / 3)
    assert only(identifications(told)).fid == 2
    assert summary(told) == [1, 3]


def test_a_home_agent_that_knows_no_flow_bindings_is_not_bothered_again():
    router = make_router()
    register(router, LTE, WIFI)
    (update,) = want(router, *FLOWS, seconds=1.0)
    effects = send(router, make_acknowledgement(update), at(1.0))

    assert "flow-bindings-not-supported" in notes(effects)
    assert [state.name for state in router.flow_states] == ["not-supported"] * 3
    later = [through_wire(p) for _s, e in run_until(router, 200.0) for p in packets(e)]
    assert later
    assert not any(identifications(each) or summary(each) for each in later)


def test_what_a_de_registration_has_overtaken_is_told_again():
    world = World()
    world.tell_router(EgressChanged((LTE, WIFI)))
    world.settle(2)
    world.tell_router(FlowsWanted((REST,)))
    world.tell_router(EgressChanged((LTE,)))
    (push,) = [n for n, (_to, packet) in enumerate(world.on_path) if identifications(packet)]
    world.on_path.append(world.on_path.pop(push))
    world.settle(3)
    assert only(world.router.flow_states).name == "accepted"
    assert pushed(world) == [(("lte",), REST.selector)]


def test_after_all_links_were_gone_the_home_agent_is_asked_once_more():
    router = make_router()
    register(router, LTE)
    (update,) = want(router, REST, seconds=1.0)
    send(router, make_acknowledgement(update), at(1.0))
    assert only(router.flow_states).name == "not-supported"
    router.handle(EgressChanged(()), at(2.0))
    (registration,) = connect(router, LTE, seconds=200.0)
    effects = send(router, make_acknowledgement(registration), at(200.0))
    effects += [e for _s, each in run_until(router, 201.0) for e in each]
    assert any(identifications(packet) for packet in packets(effects, BindingUpdate))


def test_an_unanswered_update_is_repeated_and_another_link_is_tried():
    router = make_router()
    register(router, LTE, WIFI)
    want(router, *FLOWS, seconds=1.0)
    sources = [
        through_wire(packet).source
        for _second, effects in run_until(router, 2.5)
        for packet in packets(effects, BindingUpdate)
        if identifications(packet)
    ]
    assert set(sources) == {LTE.address, WIFI.address}


def test_an_answer_to_an_older_update_changes_nothing():
    router = make_router()
    register(router, LTE, WIFI)
    (update,) = want(router, CALL, seconds=1.0)
    want(router, BULK, seconds=1.1)
    later = [through_wire(p) for _s, e in run_until(router, 3.0) for p in packets(e)]
    send(router, accept(later[-1]), at(3.0))
    assert [state.name for state in router.flow_states] == ["accepted"]

    send(router, accept(update), at(3.1))

    assert [state.name for state in router.flow_states] == ["accepted"]


def test_flow_bindings_that_do_not_fit_into_one_update_follow_in_the_next():
    router = make_router()
    register(router, LTE)
    flows = [
        WantedFlow(
            TrafficSelector(
                source=(IPv6Address(index << 64), IPv6Address((index << 64) + 1)),
                destination=(IPv6Address(1), IPv6Address(2)),
                source_ports=(1, 2),
                destination_ports=(3, 4),
                next_header=(6, 17),
            ),
            ("lte",),
        )
        for index in range(1, MAX_FLOW_BINDINGS + 1)
    ]
    (update,) = want(router, *flows, seconds=1.0)
    seconds = 1.0
    for _round in range(200):
        assert len(serialize_packet(update, FORMAT)) <= 1280
        send(router, accept(update), at(seconds))
        told = [
            (second, through_wire(packet))
            for second, effects in run_until(router, seconds + 1.0)
            for packet in packets(effects, BindingUpdate)
        ]
        if not told:
            break
        seconds, update = told[0]
    assert {state.name for state in router.flow_states} == {"accepted"}
    assert len(router.flow_states) == MAX_FLOW_BINDINGS


# --- both together ----------------------------------------------------------------------------


def pushed(world):
    """Return (links, selector) of the home agent's flow bindings, by priority."""
    links = {entry.ifid: entry.link for entry in world.router.entries}
    return [
        (tuple(links[ifid] for ifid in flow.ifids), flow.selector) for flow in world.agent.flows
    ]


@pytest.mark.parametrize("keys", [True, False])
def test_the_home_agent_follows_links_and_policies(keys):
    world = World()
    if not keys:
        served = tuple(replace(each, security=()) for each in make_agent()._settings.served)
        world = World(make_router(security=None), make_agent(served=served))
    world.tell_router(FlowsWanted(FLOWS))
    world.tell_router(EgressChanged((LTE, WIFI)))
    world.settle(3)
    assert pushed(world) == [
        (("lte", "wifi"), CALL.selector),
        (("wifi",), BULK.selector),
        (("lte",), REST.selector),
    ]

    world.tell_router(EgressChanged((LTE,)))
    world.settle(3)
    assert [links for links, _selector in pushed(world)] == [("lte",)] * 3

    world.tell_router(FlowsWanted((REST,)))
    world.settle(3)
    assert pushed(world) == [(("lte",), REST.selector)]

    world.settle(300)
    assert pushed(world) == [(("lte",), REST.selector)]


def test_a_home_agent_that_lost_its_memory_is_told_all_again():
    world = World()
    world.tell_router(FlowsWanted(FLOWS))
    world.tell_router(EgressChanged((LTE, WIFI)))
    world.settle(3)
    world.agent = make_agent(started=world.seconds)
    world.settle(130)
    assert len(pushed(world)) == 3
