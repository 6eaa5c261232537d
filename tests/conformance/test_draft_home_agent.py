"""draft-wakikawa-mobileip-multiplecoa-01, the receiver's side: sections 5.1, 5.3.3, 7.7, 8.x."""

from dataclasses import replace

import pytest
from protocol_world import (
    HOME,
    HOME_AGENT,
    LTE,
    OTHER_HOME,
    OTHER_KEY,
    SAT,
    WIFI,
    answer_of,
    at,
    counts,
    is_changed,
    make_agent,
    make_update,
    only,
    packets,
    run_until,
    send,
)

from mrouter.protocol.events import BindingsChanged, Counted, ForwardingFailed, SendPacket
from mrouter.wire.constants import BindingErrorStatus, BindingStatus
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    CareOfTestInit,
    HomeTest,
    Packet,
    find_option,
)
from mrouter.wire.options import CareOfAddressInformation


def keys(agent):
    return [(entry.ifid, entry.care_of_address, entry.ifpri) for entry in agent.entries]


def register_three(agent):
    for second, (ifid, link) in enumerate([(11, LTE), (22, WIFI), (33, SAT)]):
        update = make_update(at(second), ifid=ifid, ifpri=link.ifpri, source=link.address)
        assert answer_of(agent, update, at(second)).status == 1


# --- 5.1, 8.2, 8.3: Binding Cache -------------------------------------------------------------


def test_5_1_another_ifid_makes_another_binding_of_the_same_home_address():
    agent = make_agent()
    register_three(agent)
    assert keys(agent) == [(11, LTE.address, 0), (22, WIFI.address, 1), (33, SAT.address, 2)]


def test_5_1_same_ifid_updates_the_care_of_address_and_keeps_the_slot():
    agent = make_agent()
    register_three(agent)
    slots = {entry.ifid: entry.slot for entry in agent.entries}
    moved = make_update(at(5), ifid=22, ifpri=1, sequence=2, source=SAT.address)
    assert is_changed(send(agent, moved, at(5)))
    assert keys(agent)[1] == (22, SAT.address, 1)
    assert {entry.ifid: entry.slot for entry in agent.entries} == slots


def test_5_1_priority_is_overwritten_by_the_newest():
    agent = make_agent()
    register_three(agent)
    effects = send(agent, make_update(at(5), ifid=11, ifpri=9, sequence=2), at(5))
    assert is_changed(effects)
    assert keys(agent)[0] == (11, LTE.address, 9)


def test_slots_are_unique_per_home_address():
    agent = make_agent()
    register_three(agent)
    assert sorted(entry.slot for entry in agent.entries) == [1, 2, 3]


def test_pure_refresh_changes_no_binding():
    agent = make_agent()
    register_three(agent)
    effects = send(agent, make_update(at(50), ifid=11, sequence=2), at(50))
    assert [type(effect) for effect in effects] == [SendPacket]
    assert agent.entries[0].expires_at == at(170).monotonic


def test_63rd_binding_of_a_home_address_is_refused_for_want_of_resources():
    agent = make_agent()
    for ifid in range(1, 63):
        update = make_update(at(ifid / 8), ifid=ifid, source=LTE.address + ifid)
        assert answer_of(agent, update, at(ifid / 8)).status == 1
    refused = answer_of(agent, make_update(at(9), ifid=63), at(9))
    assert refused.status == BindingStatus.INSUFFICIENT_RESOURCES
    assert len(agent.entries) == 62


# --- 8.3: receiving Binding Updates -----------------------------------------------------------


def test_8_3_m_flag_without_coainfo_is_silently_dropped():
    agent = make_agent()
    effects = send(agent, make_update(at(0), multiple=True), at(0))
    assert effects == [Counted("signalling-dropped", "coainfo-missing")]
    assert agent.entries == ()


def test_8_3_coainfo_without_m_flag_is_a_multiple_registration():
    agent = make_agent()
    answer = answer_of(agent, make_update(at(0), ifid=11, multiple=False), at(0))
    assert answer.status == BindingStatus.ACCEPTED_NP_COA
    assert keys(agent) == [(11, LTE.address, 0)]


def test_8_3_update_without_coainfo_leaves_exactly_one_binding():
    agent = make_agent()
    register_three(agent)
    effects = send(agent, make_update(at(5), source=SAT.address), at(5))
    assert is_changed(effects)
    assert keys(agent) == [(None, SAT.address, 0)]


def test_8_3_first_ifid_ends_the_binding_without_one():
    agent = make_agent()
    send(agent, make_update(at(0), source=SAT.address), at(0))
    send(agent, make_update(at(1), ifid=11), at(1))
    assert keys(agent) == [(11, LTE.address, 0)]


def test_8_3_bindings_of_another_home_address_are_left_alone():
    agent = make_agent()
    register_three(agent)
    other = make_update(at(4), source=SAT.address, home=OTHER_HOME, key=OTHER_KEY)
    assert answer_of(agent, other, at(4)).status == 0
    assert len(agent.entries) == 4


# --- 5.3.3, 8.4: Binding Acknowledgements -----------------------------------------------------


def test_8_4_success_has_status_1_and_the_coainfo_copied():
    agent = make_agent()
    answer = answer_of(agent, make_update(at(0), ifid=11, ifpri=7), at(0))
    assert answer.status == 1
    assert find_option(answer, CareOfAddressInformation) == CareOfAddressInformation(11, 7)
    assert answer.lifetime == 120


def test_8_4_success_without_coainfo_has_status_0():
    answer = answer_of(make_agent(), make_update(at(0)), at(0))
    assert answer.status == 0
    assert find_option(answer, CareOfAddressInformation) is None


def test_8_4_error_carries_the_coainfo_too():
    answer = answer_of(make_agent(max_lifetime=0), make_update(at(0), ifid=11), at(0))
    assert answer.status == BindingStatus.ADMINISTRATIVELY_PROHIBITED
    assert find_option(answer, CareOfAddressInformation) == CareOfAddressInformation(11, 0)


def test_5_3_3_home_registration_is_answered_also_without_the_a_flag():
    update = make_update(at(0), ifid=11, acknowledge=False)
    assert answer_of(make_agent(), update, at(0)).status == 1


def test_answer_goes_where_the_update_came_from_with_the_home_address_in_the_routing_header():
    update = make_update(at(0), ifid=11, source=WIFI.address, alternate=LTE.address)
    packet = only(packets(send(make_agent(), update, at(0))))
    assert (packet.source, packet.destination) == (HOME_AGENT, WIFI.address)
    assert packet.routing_home_address == HOME


def test_forwarding_stands_before_it_is_acknowledged():
    effects = send(make_agent(), make_update(at(0), ifid=11), at(0))
    assert [type(effect) for effect in effects[:2]] == [BindingsChanged, SendPacket]


# --- 7.7, 7.8: de-registration ----------------------------------------------------------------


def test_7_7_coainfo_names_the_one_binding_that_ends():
    agent = make_agent()
    register_three(agent)
    update = make_update(at(5), ifid=22, lifetime=0, sequence=2, source=SAT.address)
    answer = answer_of(agent, update, at(5))
    assert (answer.status, answer.lifetime) == (1, 0)
    assert [entry.ifid for entry in agent.entries] == [11, 33]


def test_7_7_care_of_address_that_matches_the_home_address_ends_the_one_binding():
    agent = make_agent()
    register_three(agent)
    update = make_update(at(5), ifid=22, sequence=2, alternate=HOME)
    assert answer_of(agent, update, at(5)).lifetime == 0
    assert [entry.ifid for entry in agent.entries] == [11, 33]


def test_7_7_without_coainfo_all_bindings_end():
    agent = make_agent()
    register_three(agent)
    effects = send(agent, make_update(at(5), lifetime=0), at(5))
    assert is_changed(effects)
    assert agent.entries == ()


def test_7_8_returning_home_ends_all_bindings():
    agent = make_agent()
    register_three(agent)
    update = make_update(at(5), source=HOME, home=None, lifetime=0)
    packet = only(packets(send(agent, update, at(5))))
    assert (packet.destination, packet.routing_home_address) == (HOME, None)
    assert packet.message.status == 0
    assert agent.entries == ()


# --- 8.5: Binding Refresh Requests ------------------------------------------------------------


def test_8_5_refresh_is_requested_with_coainfo_before_the_binding_ends():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=11, ifpri=3, lifetime=100), at(0))
    fired = run_until(agent, 99)
    assert [seconds for seconds, _ in fired] == [85, 90, 95]
    packet = only(packets(fired[0][1]))
    assert packet.message == BindingRefreshRequest((CareOfAddressInformation(11, 3),))
    assert (packet.destination, packet.routing_home_address) == (LTE.address, HOME)


def test_8_5_plain_binding_gets_a_plain_request():
    agent = make_agent()
    send(agent, make_update(at(0), lifetime=100), at(0))
    ((_, effects),) = run_until(agent, 85)
    assert only(packets(effects)).message == BindingRefreshRequest()


def test_binding_ends_when_its_lifetime_runs_out():
    agent = make_agent()
    register_three(agent)
    (*_, (seconds, effects)) = run_until(agent, 120)
    assert seconds == 120
    assert effects[0] == BindingsChanged()
    assert [entry.ifid for entry in agent.entries] == [22, 33]


# --- 8.6: Binding Errors ----------------------------------------------------------------------


def test_8_6_message_for_a_correspondent_node_gets_a_binding_error():
    information = CareOfAddressInformation(11, 0)
    message = CareOfTestInit(b"cookie 8", options=(information,))
    packet = Packet(LTE.address, HOME_AGENT, message)
    answer = only(packets(send(make_agent(), packet, at(0)))).message
    assert answer.status == BindingErrorStatus.UNRECOGNIZED_MH_TYPE
    assert answer.options == (information,)


def test_8_6_binding_errors_are_limited_in_rate():
    agent = make_agent()
    packet = Packet(LTE.address, HOME_AGENT, CareOfTestInit(b"cookie 8"))
    sent = [
        len(packets(send(agent, packet, at(seconds)), BindingError))
        for seconds in (0, 0.01, 0.05, 0.2)
    ]
    assert sent == [1, 0, 0, 1]


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (
            make_update(
                at(0),
                home=OTHER_HOME,
                key=OTHER_KEY,
                home_registration=False,
                mobile_router=False,
            ),
            "not-home-registration",
        ),
        (make_update(at(0), ifid=1, destination=SAT.address), "not-for-this-node"),
        (Packet(LTE.address, HOME_AGENT, BindingRefreshRequest()), "unexpected-message"),
        (Packet(LTE.address, HOME_AGENT, HomeTest(1, bytes(8), bytes(8))), "unexpected-message"),
    ],
)
def test_what_is_not_ours_is_counted_and_disturbs_nothing(packet, reason):
    agent = make_agent()
    register_three(agent)
    before = agent.entries
    effects = send(agent, packet, at(4))
    assert effects == [Counted("signalling-dropped", reason)]
    assert agent.entries is before


def test_nothing_is_sent_to_a_multicast_source():
    packet = replace(make_update(at(0)), source=type(HOME)("ff02::1"))
    assert packets(send(make_agent(), packet, at(0))) == []


# --- forwarding that fails --------------------------------------------------------------------


def test_binding_that_cannot_be_forwarded_to_is_taken_back_with_143():
    agent = make_agent()
    register_three(agent)
    effects = agent.handle(ForwardingFailed(HOME, 22), at(4))
    assert [entry.ifid for entry in agent.entries] == [11, 33]
    assert effects[0] == BindingsChanged()
    packet = only(packets(effects, BindingAcknowledgement))
    assert packet.destination == WIFI.address
    assert packet.message.status == BindingStatus.FORWARDING_SETUP_FAILED
    assert find_option(packet.message, CareOfAddressInformation) == CareOfAddressInformation(22, 1)
    assert counts(effects) == [("binding-refused", "forwarding-setup-failed")]


def test_forwarding_failure_of_a_binding_that_is_gone_is_nothing():
    assert make_agent().handle(ForwardingFailed(HOME, 22), at(0)) == []
