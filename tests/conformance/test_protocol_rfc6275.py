"""RFC 6275: sequence numbers, home registrations, retransmission, refreshing."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from protocol_world import (
    HOME,
    HOME_AGENT,
    KEY,
    LTE,
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
    without_keys,
)

from mrouter.protocol.bindings import BindingState
from mrouter.protocol.events import BindingsChanged, Counted, HomeAgentReached, TimerFired
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import BindingUpdate, find_option
from mrouter.wire.options import AlternateCareOfAddress, BindingRefreshAdvice

# --- 9.5.1: sequence numbers at the home agent ------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "received", "accepted"),
    [
        (15, 16, True),
        (15, 15, False),
        (15, 14, False),
        (15, 15 + 32767, True),
        (15, 15 + 32768, False),
        (15, 0, False),
        (65535, 0, True),
        (65535, 65534, False),
        (65535, 32766, True),
        (65535, 32767, False),
        (0, 65535, False),
        (0, 32767, True),
        (0, 32768, False),
    ],
)
def test_9_5_1_sequence_numbers_are_compared_modulo_two_to_the_sixteenth(
    stored, received, accepted
):
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1, sequence=stored), at(0))
    answer = answer_of(agent, make_update(at(1), ifid=1, sequence=received), at(1))
    if accepted:
        assert (answer.status, answer.sequence) == (1, received)
    else:
        assert (answer.status, answer.sequence) == (135, stored)
        assert only(agent.entries).sequence == stored


def test_9_5_1_each_binding_counts_for_itself():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1, sequence=1000), at(0))
    assert answer_of(agent, make_update(at(1), ifid=2, sequence=5), at(1)).status == 1


def test_9_5_1_sequence_number_is_checked_on_deregistration_too():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1, sequence=10), at(0))
    update = make_update(at(1), ifid=1, sequence=10, lifetime=0)
    assert answer_of(agent, update, at(1)).status == 135
    assert len(agent.entries) == 1


# --- 10.3.1, 10.3.2: home registrations -------------------------------------------------------


def test_10_3_1_home_address_that_is_not_served_gets_133():
    stranger = IPv6Address("2001:db8:aaaa::999")
    effects = send(make_agent(), make_update(at(0), ifid=1, home=stranger), at(0))
    assert only(packets(effects)).message.status == 133
    assert counts(effects) == [("binding-refused", "not-home-agent-for-this-mobile-node")]


def test_10_3_1_home_address_outside_the_home_link_gets_132():
    stranger = IPv6Address("2001:db8:ffff::999")
    answer = answer_of(make_agent(), make_update(at(0), ifid=1, home=stranger), at(0))
    assert answer.status == BindingStatus.NOT_HOME_SUBNET


def test_10_3_1_lifetime_is_cut_to_what_is_allowed():
    agent = make_agent(max_lifetime=62)
    assert answer_of(agent, make_update(at(0), ifid=1, lifetime=1000), at(0)).lifetime == 60
    assert only(agent.entries).expires_at == at(60).monotonic


def test_10_3_1_registration_needs_the_home_address_option():
    agent = make_agent()
    update = make_update(at(0), ifid=1, source=HOME, home=None, alternate=LTE.address)
    assert answer_of(agent, update, at(0)).status == BindingStatus.REASON_UNSPECIFIED
    assert agent.entries == ()


def test_10_3_2_deregistration_from_home_needs_none():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    update = make_update(at(1), ifid=1, sequence=2, source=HOME, home=None, lifetime=0)
    assert answer_of(agent, update, at(1)).status < 128
    assert agent.entries == ()


def deregister_without_keys(agent, **how):
    send(agent, make_update(at(0), ifid=1, sequence=10, key=None), at(0))
    end = make_update(at(1), ifid=1, sequence=12, lifetime=0, key=None, **how)
    assert answer_of(agent, end, at(1)).status < 128


@pytest.mark.parametrize(("seconds", "status"), [(2, 135), (10.9, 135), (11.1, 1)])
def test_10_3_2_delayed_update_does_not_bring_an_ended_binding_back_for_10_s(seconds, status):
    agent = make_agent(**without_keys())
    deregister_without_keys(agent)
    answer = answer_of(agent, make_update(at(0.9), ifid=1, sequence=11, key=None), at(seconds))
    assert answer.status == status
    assert answer.sequence == (12 if status == 135 else 11)
    assert len(agent.entries) == (status == 1)


def test_10_3_2_next_update_registers_again_at_once():
    agent = make_agent(**without_keys())
    deregister_without_keys(agent)
    answer = answer_of(agent, make_update(at(2), ifid=1, sequence=13, key=None), at(2))
    assert answer.status == 1


def test_10_3_2_other_bindings_are_registered_all_the_same():
    agent = make_agent(**without_keys())
    deregister_without_keys(agent)
    answer = answer_of(agent, make_update(at(2), ifid=2, sequence=3, key=None), at(2))
    assert answer.status == 1


def test_10_3_2_deregistration_of_all_speaks_for_each_binding():
    agent = make_agent(**without_keys())
    send(agent, make_update(at(0), ifid=1, sequence=10, key=None), at(0))
    end = make_update(at(1), sequence=12, lifetime=0, key=None, source=HOME, home=None)
    assert answer_of(agent, end, at(1)).status < 128
    delayed = make_update(at(0.9), ifid=1, sequence=11, key=None)
    assert answer_of(agent, delayed, at(2)).status == 135
    assert agent.entries == ()


def test_10_3_2_nothing_to_deregister_gets_133():
    update = make_update(at(0), ifid=1, lifetime=0)
    assert answer_of(make_agent(), update, at(0)).status == 133


# --- 11.7.1: Binding Updates of the mobile router ---------------------------------------------


def test_11_7_1_home_registration_is_sent_from_the_care_of_address():
    update = only(connect(make_router(), LTE))
    assert (update.source, update.destination) == (LTE.address, HOME_AGENT)
    assert update.home_address == HOME
    message = update.message
    assert (message.acknowledge, message.home_registration, message.lifetime) == (True, True, 120)


def test_11_7_1_ipsec_needs_the_alternate_care_of_address():
    update = only(connect(make_router(security=None), LTE))
    assert find_option(update.message, AlternateCareOfAddress).address == LTE.address


def test_11_7_1_authentication_option_does_not():
    update = only(connect(make_router(), LTE))
    assert find_option(update.message, AlternateCareOfAddress) is None


def test_11_7_1_sequence_numbers_of_all_bindings_differ():
    first, second = connect(make_router(), LTE, WIFI)
    assert first.message.sequence != second.message.sequence


# --- 11.7.3: Binding Acknowledgements ---------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"sequence": 1}, "not-the-last-update"),
        ({"source": IPv6Address("2001:db8:9::1")}, "not-from-home-agent"),
        ({"home": IPv6Address("2001:db8:aaaa::999")}, "not-for-this-node"),
    ],
)
def test_11_7_3_acknowledgement_that_is_not_ours_is_ignored(how, reason):
    router = make_router()
    update = only(connect(router, LTE))
    effects = send(router, make_acknowledgement(update, **how), at(0))
    assert effects == [Counted("signalling-dropped", reason)]
    assert only(router.entries).state is BindingState.REGISTERING


def test_11_7_3_second_acknowledgement_is_ignored():
    router = make_router()
    update = only(register(router, LTE))
    effects = send(router, make_acknowledgement(update, 128, lifetime=0), at(1))
    assert effects == [Counted("signalling-dropped", "not-the-last-update")]
    assert only(router.entries).usable


def test_11_7_3_sequence_out_of_window_is_put_right_at_once():
    router = make_router()
    update = only(connect(router, LTE))
    refusal = make_acknowledgement(update, 135, lifetime=0, sequence=40000)
    repeated = only(packets(send(router, refusal, at(0.1)), BindingUpdate))
    assert repeated.message.sequence == 40001


def test_11_7_3_number_that_has_been_followed_already_is_not_followed_again():
    router = make_router(security=None)
    update = only(connect(router, LTE))
    refusal = make_acknowledgement(update, 135, lifetime=0, sequence=40000, key=None)
    send(router, refusal, at(0.1))
    effects = send(router, refusal, at(0.2))
    assert effects == [Counted("signalling-dropped", "not-the-last-update")]


def test_11_7_3_acceptance_makes_the_binding_usable():
    router = make_router()
    update = only(connect(router, LTE))
    effects = send(router, make_acknowledgement(update, lifetime=60), at(0.5))
    assert effects[0] == BindingsChanged()
    entry = only(router.entries)
    assert (entry.state, entry.usable, entry.status) == (BindingState.REGISTERED, True, 1)
    # The lifetime counts from when the update was sent, which is the safe side.
    assert entry.expires_at == at(60).monotonic


def test_11_7_3_granted_lifetime_cannot_be_longer_than_asked_for():
    router = make_router()
    register(router, LTE, lifetime=10_000)
    assert only(router.entries).expires_at == at(120).monotonic


@pytest.mark.parametrize(("lifetime", "refreshed"), [(120, 96), (60, 48), (12, 9), (4, 2)])
def test_11_7_1_binding_is_refreshed_before_it_ends(lifetime, refreshed):
    router = make_router()
    register(router, LTE, lifetime=lifetime)
    ((seconds, effects),) = run_until(router, refreshed)
    assert seconds == refreshed
    assert only(packets(effects)).message.lifetime == 120
    assert not is_changed(effects)
    entry = only(router.entries)
    assert (entry.state, entry.usable) == (BindingState.REFRESHING, True)


def test_6_2_4_refresh_advice_is_followed():
    router = make_router()
    register(router, LTE, more=(BindingRefreshAdvice(40),))
    assert router.next_deadline() == at(40).monotonic


def test_binding_whose_refresh_is_not_answered_ends_with_its_lifetime():
    router = make_router()
    register(router, LTE)
    run_until(router, 119)
    assert only(router.entries).usable
    seconds, effects = run_until(router, 120)[-1]
    assert (seconds, effects[0]) == (120, BindingsChanged())
    entry = only(router.entries)
    assert (entry.state, entry.usable, entry.expires_at) == (BindingState.REGISTERING, False, None)


# --- 11.8: retransmission ---------------------------------------------------------------------


def test_11_8_first_registration_is_repeated_after_1_5_s_doubling_to_32_s():
    router = make_router()
    connect(router, LTE)
    sent = [seconds for seconds, effects in run_until(router, 150) if packets(effects)]
    assert sent == [1.5, 4.5, 10.5, 22.5, 46.5, 78.5, 110.5, 142.5]


def test_registration_is_repeated_at_once_when_the_home_agent_is_reached_again():
    router = make_router()
    connect(router, LTE, WIFI)
    run_until(router, 60)
    reached = HomeAgentReached(frozenset({LTE.address}))
    again = packets(router.handle(reached, at(60)))
    assert [packet.source for packet in again] == [LTE.address]
    sent = [
        seconds
        for seconds, effects in run_until(router, 66)
        if any(packet.source == LTE.address for packet in packets(effects))
    ]
    assert sent == [61.5, 64.5]


def test_refresh_is_repeated_at_once_when_the_home_agent_is_reached_again():
    router = make_router()
    register(router, LTE)
    run_until(router, 110)
    reached = HomeAgentReached(frozenset({LTE.address}))
    assert [packet.source for packet in packets(router.handle(reached, at(110)))] == [LTE.address]


def test_nothing_is_repeated_that_has_been_answered():
    router = make_router()
    register(router, LTE)
    assert router.handle(HomeAgentReached(frozenset({LTE.address})), at(1)) == []


def test_13_first_registration_waits_as_long_as_the_operator_says():
    router = make_router(first_registration_timeout=5.0)
    connect(router, LTE)
    sent = [seconds for seconds, effects in run_until(router, 110) if packets(effects)]
    assert sent == [5, 15, 35, 67, 99]


def test_13_refresh_does_not_wait_for_duplicate_address_detection():
    router = make_router(first_registration_timeout=5.0)
    register(router, LTE)
    sent = [seconds for seconds, effects in run_until(router, 112) if packets(effects)]
    assert sent == [96, 97, 99, 103, 111]


def test_11_8_refresh_is_repeated_after_1_s():
    router = make_router()
    register(router, LTE)
    sent = [seconds for seconds, effects in run_until(router, 112) if packets(effects)]
    assert sent == [96, 97, 99, 103, 111]


def test_11_8_every_repetition_has_a_new_sequence_number():
    router = make_router()
    first = only(connect(router, LTE)).message.sequence
    repeated = [
        packet.message.sequence
        for _, effects in run_until(router, 50)
        for packet in packets(effects)
    ]
    assert repeated == [(first + n) % 65536 for n in range(1, len(repeated) + 1)]


def test_11_8_answer_to_an_earlier_repetition_does_not_count():
    router = make_router()
    update = only(connect(router, LTE))
    run_until(router, 2)
    send(router, make_acknowledgement(update), at(2.1))
    assert not only(router.entries).usable


def test_refused_registration_is_tried_again_ever_more_slowly():
    router = make_router()
    update = only(connect(router, LTE))
    seconds, tries = 0.0, []
    for _ in range(7):
        send(router, make_acknowledgement(update, 128, lifetime=0), at(seconds))
        seconds = router.next_deadline() - 1000
        effects = router.handle(TimerFired(), at(seconds))
        update = through_wire(only(packets(effects)))
        tries.append(seconds)
    assert [b - a for a, b in zip([0, *tries], tries, strict=False)] == [
        60, 120, 240, 480, 960, 960, 960,
    ]  # fmt: skip


def test_repaired_home_agent_brings_the_vehicle_back():
    router = make_router()
    update = only(connect(router, LTE))
    send(router, make_acknowledgement(update, 130, lifetime=0), at(0))
    ((_, effects),) = run_until(router, 60)
    again = through_wire(only(packets(effects)))
    send(router, make_acknowledgement(again), at(60))
    assert only(router.entries).usable


# --- both sides under IPsec -------------------------------------------------------------------


def test_update_under_ipsec_is_accepted_by_a_home_agent_without_keys():
    update = only(connect(make_router(security=None), LTE))
    agent = make_agent(**without_keys())
    answer = through_wire(only(packets(send(agent, update, at(0)))), None)
    assert answer.message.status == 1
    assert KEY.spi not in [getattr(option, "spi", None) for option in answer.message.options]


def test_priority_change_is_told():
    router = make_router()
    register(router, LTE)
    update = only(connect(router, replace(LTE, ifpri=9), seconds=5))
    assert update.message.options[0].ifpri == 9


# --- 10.3.1, 10.3.2: what a plain home registration is answered -------------------------------


def plain_answer(agent, moment, **how):
    return answer_of(agent, make_update(moment, mobile_router=False, **how), moment)


def test_10_3_1_acknowledgement_of_a_plain_registration():
    agent = make_agent()
    answer = plain_answer(agent, at(0), sequence=777, lifetime=100, key_management=True)
    assert (answer.status, answer.sequence, answer.lifetime) == (0, 777, 100)
    assert not answer.key_management
    # bindings are kept over a restart, so that nobody need refresh them earlier
    assert find_option(answer, BindingRefreshAdvice) is None


def test_10_3_2_acknowledgement_of_a_plain_deregistration():
    agent = make_agent()
    plain_answer(agent, at(0))
    answer = plain_answer(agent, at(1), sequence=2, lifetime=0, key_management=True)
    assert (answer.status, answer.sequence, answer.lifetime) == (0, 2, 0)
    assert not answer.key_management
    assert find_option(answer, BindingRefreshAdvice) is None
    assert agent.entries == ()


@pytest.mark.parametrize("sequence", [0, 1, 32768, 65535])
def test_9_5_1_any_sequence_number_may_be_the_first(sequence):
    answer = plain_answer(make_agent(), at(0), sequence=sequence)
    assert (answer.status, answer.sequence) == (0, sequence)


def test_10_3_1_binding_lives_no_longer_than_the_home_prefix():
    agent = make_agent(prefix_lifetime=90)
    assert plain_answer(agent, at(0), lifetime=120).lifetime == 88
    assert only(agent.entries).expires_at == at(88).monotonic


def test_10_3_1_update_without_the_a_flag_is_answered_too():
    answer = plain_answer(make_agent(), at(0), acknowledge=False)
    assert answer.status == 0


# --- 11.5.3, 11.7.1 ---------------------------------------------------------------------------


def test_11_7_1_k_and_l_flags_are_clear():
    message = only(connect(make_router(), LTE)).message
    assert (message.key_management, message.link_local_compatible) == (False, False)


def test_11_7_1_sequence_numbers_begin_anywhere():
    first = {only(connect(make_router(seed), LTE)).message.sequence for seed in range(10)}
    assert len(first) == 10


def test_11_5_3_no_more_than_three_updates_about_an_address_go_out_within_a_second():
    router = make_router()
    sent = [(0.0, packet) for packet in connect(router, LTE)]
    for step in range(1, 40):  # an address that comes and goes
        seconds = step / 20
        addresses = () if step % 2 else (LTE,)
        for _, effects in run_until(router, seconds):
            sent += [(seconds, packet) for packet in packets(effects, BindingUpdate)]
        sent += [(seconds, packet) for packet in connect(router, *addresses, seconds=seconds)]
    moments = [seconds for seconds, packet in sent if packet.message.lifetime]
    assert len(moments) >= 3
    apart = [later - earlier for earlier, later in zip(moments, moments[3:], strict=False)]
    assert all(seconds > 0.95 for seconds in apart)
