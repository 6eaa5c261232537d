"""What the machines take over from a former run, and one binding for one care-of address."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from protocol_world import (
    AGENT,
    HOME,
    LTE,
    OTHER_KEY,
    ROUTER,
    WIFI,
    answer_of,
    at,
    connect,
    counts,
    is_changed,
    make_acknowledgement,
    make_agent,
    make_router,
    make_update,
    only,
    packets,
    register,
    run_until,
    send,
    through_wire,
)

from mrouter.protocol.events import EgressChanged, ForwardingFailed
from mrouter.protocol.mobile_router import MobileRouter
from mrouter.protocol.update_list import Binding, restore_binding
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import BindingAcknowledgement
from mrouter.wire.options import CareOfAddressInformation


def restart_agent(agent, seconds, **changes):
    restarted = make_agent(started=seconds, **changes)
    restarted.restore(agent.save())
    return restarted


def restart_router(router, seconds, **changes):
    kept = [e for e in router.entries if e.usable]
    renewal = changes.get("ifid_renewal")
    bindings = [restore_binding(Binding, entry, at(seconds).monotonic, renewal) for entry in kept]
    return MobileRouter(replace(ROUTER, **changes), Random(99), bindings)


def ifid_of(packet):
    return only(o for o in packet.message.options if isinstance(o, CareOfAddressInformation)).ifid


# --- the home agent -----------------------------------------------------------------------


def make_agent_with_two():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=11, sequence=7), at(0))
    send(agent, make_update(at(0), ifid=22, sequence=9, source=WIFI.address), at(0))
    return agent


def test_a_restarted_home_agent_has_the_same_bindings():
    agent = make_agent_with_two()
    assert restart_agent(agent, 10).entries == agent.entries


def test_a_restored_binding_ends_at_its_time():
    agent = restart_agent(make_agent_with_two(), 10)
    run_until(agent, 119)
    assert len(agent.entries) == 2
    run_until(agent, 120)
    assert agent.entries == ()


def test_a_restored_binding_is_refreshed_by_the_next_sequence_number():
    agent = restart_agent(make_agent_with_two(), 10)
    update = make_update(at(11), ifid=11, sequence=8)
    assert answer_of(agent, update, at(11)).status == BindingStatus.ACCEPTED_NP_COA


def test_a_sequence_number_from_before_the_restart_is_refused():
    agent = restart_agent(make_agent_with_two(), 10)
    answer = answer_of(agent, make_update(at(11), ifid=11, sequence=7), at(11))
    assert (answer.status, answer.sequence) == (BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, 7)


def test_what_was_recorded_before_the_restart_cannot_be_replayed_though_its_clock_was_ahead():
    agent = make_agent()
    ahead = make_update(at(5), ifid=11, sequence=7)
    send(agent, ahead, at(0))
    send(agent, make_update(at(5.1), ifid=11, sequence=8, lifetime=0), at(0.1))
    agent = restart_agent(agent, 1)
    assert answer_of(agent, ahead, at(2)).status == BindingStatus.ID_MISMATCH
    assert agent.entries == ()


def test_a_mobile_router_that_is_no_longer_served_is_not_restored():
    agent = make_agent_with_two()
    assert restart_agent(agent, 10, served=AGENT.served[1:]).entries == ()


def test_a_binding_for_a_prefix_that_was_taken_away_is_not_restored():
    agent = make_agent_with_two()
    bereft = tuple(replace(router, prefixes=()) for router in AGENT.served)
    assert restart_agent(agent, 10, served=bereft).entries == ()


def test_a_binding_made_under_a_key_that_was_taken_away_is_not_restored():
    agent = make_agent_with_two()
    rekeyed = tuple(replace(router, security=(OTHER_KEY,)) for router in AGENT.served)
    assert restart_agent(agent, 10, served=rekeyed).entries == ()


def test_a_home_agent_without_nemo_restores_no_mobile_router():
    assert restart_agent(make_agent_with_two(), 10, nemo=False).entries == ()


def test_forwarding_that_fails_after_a_restart_is_answered_as_the_last_update_was():
    agent = restart_agent(make_agent_with_two(), 10)
    effects = agent.handle(ForwardingFailed(HOME, 22), at(11))
    answer = through_wire(only(packets(effects, BindingAcknowledgement)))
    assert answer.message.status == BindingStatus.FORWARDING_SETUP_FAILED
    assert answer.destination == WIFI.address


# --- the mobile router --------------------------------------------------------------------


def test_a_restarted_mobile_router_keeps_ifids_and_slots_and_carries_traffic():
    router = make_router()
    register(router, LTE, WIFI)
    before = [(e.ifid, e.slot, e.care_of_address, e.usable) for e in router.entries]
    router = restart_router(router, 10)
    router.handle(EgressChanged((LTE, WIFI)), at(10))
    assert [(e.ifid, e.slot, e.care_of_address, e.usable) for e in router.entries] == before


def test_a_restarted_mobile_router_refreshes_at_once_with_the_next_sequence_numbers():
    router = make_router()
    old = register(router, LTE, WIFI)
    fresh = connect(restart_router(router, 10), LTE, WIFI, seconds=10)
    assert [ifid_of(p) for p in fresh] == [ifid_of(p) for p in old]
    last = old[-1].message.sequence
    assert [p.message.sequence for p in fresh] == [last + 1, last + 2]


def test_a_link_that_went_during_the_restart_is_deregistered():
    router = make_router()
    old = register(router, LTE, WIFI)
    updates = connect(restart_router(router, 10), LTE, seconds=10)
    farewell = only(p for p in updates if p.message.lifetime == 0)
    assert ifid_of(farewell) == ifid_of(old[1])


def test_a_restored_binding_that_nobody_refreshes_ends_at_its_time():
    router = make_router()
    register(router, LTE)
    router = restart_router(router, 10)
    connect(router, LTE, seconds=10)
    run_until(router, 119)
    assert only(router.entries).usable
    run_until(router, 121)
    assert not only(router.entries).usable


def test_a_binding_that_ended_during_the_restart_carries_no_traffic():
    router = make_router()
    register(router, LTE)
    router = restart_router(router, 200)
    connect(router, LTE, seconds=200)
    assert not only(router.entries).usable


def test_a_restored_ifid_is_renewed_in_its_turn():
    router = make_router(ifid_renewal=50.0)
    old = only(register(router, LTE))
    router = restart_router(router, 10, ifid_renewal=50.0)
    refresh = only(connect(router, LTE, seconds=10))
    send(router, make_acknowledgement(refresh), at(10))
    fresh = [ifid_of(p) for _, effects in run_until(router, 60) for p in packets(effects)]
    assert set(fresh) - {ifid_of(old)}


# --- one binding for one care-of address --------------------------------------------------


def test_a_new_ifid_for_a_care_of_address_takes_the_old_ones_place_and_slot():
    agent = make_agent_with_two()
    effects = send(agent, make_update(at(5), ifid=33, source=WIFI.address), at(5))
    assert is_changed(effects)
    assert [(e.ifid, e.slot) for e in agent.entries] == [(11, 1), (33, 2)]


def test_a_refresh_waits_while_a_fresh_ifid_is_unanswered():
    router = make_router(ifid_renewal=95.0)
    old = only(register(router, LTE))
    sent = [p for _, effects in run_until(router, 95) for p in packets(effects)]
    fresh = through_wire(sent[-1])
    assert ifid_of(fresh) != ifid_of(old)
    later = [p for _, effects in run_until(router, 99) for p in packets(effects)]
    assert {ifid_of(p) for p in later} == {ifid_of(fresh)}
    answer = make_acknowledgement(through_wire(later[-1]))
    farewell = only(packets(send(router, answer, at(99))))
    assert (ifid_of(farewell), farewell.message.lifetime) == (ifid_of(old), 0)


def test_a_home_agent_that_has_replaced_the_old_ifid_already_ends_it_at_the_mobile_router():
    agent, router = make_agent(), make_router(ifid_renewal=50.0)
    old = only(connect(router, LTE))
    answer = through_wire(only(packets(send(agent, old, at(0)))))
    send(router, answer, at(0))
    ((_, effects),) = run_until(router, 50)
    fresh = through_wire(only(packets(effects)))
    answer = through_wire(only(packets(send(agent, fresh, at(50)))))
    farewell = through_wire(only(packets(send(router, answer, at(50)))))
    effects = send(agent, farewell, at(50))
    assert ("binding-refused", "not-home-agent-for-this-mobile-node") in counts(effects)
    send(router, through_wire(only(packets(effects))), at(50))
    assert only(router.entries).ifid == ifid_of(fresh) == only(agent.entries).ifid
