"""RFC 6089 at the home agent: flow bindings put in, kept, replaced, refused and forgotten."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from home_agent_world import (
    RFC5648,
    bid,
    flow_statuses,
    make_message,
    make_open_agent,
    update,
)
from protocol_world import (
    AGENT,
    HOME,
    LTE,
    OTHER_HOME,
    OTHER_PREFIX,
    PREFIX,
    SAT,
    WIFI,
    at,
    counts,
    is_changed,
    notes,
    only,
    packets,
    run_until,
    send,
)

from mrouter.protocol.events import BindingsChanged, ForwardingFailed, SendPacket
from mrouter.protocol.flow_bindings import MAX_FLOW_BINDINGS, FlowBinding
from mrouter.wire.constants import BindingStatus, FlowStatus
from mrouter.wire.options import CareOfAddressInformation, FlowIdentification, FlowSummary
from mrouter.wire.packet import serialize_packet
from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector

VOICE = TrafficSelector(source_ports=(5004, 5004), next_header=(17, 17))
BULK = TrafficSelector(source_ports=(5001, 5001), next_header=(6, 6))


def flow(fid, *ifids, priority=None, selector=VOICE):
    return FlowIdentification(fid, priority or fid, ifids, selector)


def towards(first, last=None):
    return TrafficSelector(destination=(first, first if last is None else last))


def list_flows(agent):
    return [(each.fid, each.priority, each.ifids) for each in agent.flows]


@pytest.fixture
def agent():
    """Return a home agent with bindings 11 and 22; the next sequence number is 2."""
    agent = make_open_agent()
    update(agent, bid(11, LTE), bid(22, WIFI))
    return agent


@pytest.fixture
def steered(agent):
    """Return a home agent with flow bindings 1 and 2; the next sequence number is 3."""
    answer = update(agent, bid(11, LTE), flow(1, 11), flow(2, 22, 11, selector=BULK), sequence=2)
    assert flow_statuses(answer) == [(1, 0), (2, 0)]
    return agent


# --- 5.3.2: new flow bindings -------------------------------------------------------------------


def test_5_3_flow_binding_is_kept_as_it_was_asked_for(agent):
    update(agent, bid(11, LTE), flow(7, 22, 11, priority=3), sequence=2)
    assert agent.flows == (FlowBinding(HOME, 7, 3, (22, 11), VOICE),)


def test_5_3_several_are_put_in_by_one_update_in_the_order_of_their_priority(agent):
    update(agent, bid(11, LTE), flow(1, 11, priority=20), flow(2, 22, priority=10), sequence=2)
    assert list_flows(agent) == [(2, 10, (22,)), (1, 20, (11,))]


def test_5_3_each_home_address_has_its_own(agent):
    update(agent, bid(11, LTE), flow(1, 11), sequence=2)
    update(agent, bid(5, SAT), flow(1, 5), home=OTHER_HOME)
    assert [(each.home_address, each.ifids) for each in agent.flows] == [
        (HOME, (11,)),
        (OTHER_HOME, (5,)),
    ]


def test_5_3_binding_of_the_same_update_may_be_named(agent):
    answer = update(agent, bid(33, SAT), flow(1, 33, 22))
    assert flow_statuses(answer) == [(1, 0)]
    assert list_flows(agent) == [(1, 1, (33, 22))]


def test_update_without_any_bid_has_no_binding_to_go_by(agent):
    answer = update(agent, flow(1, 11))
    assert answer.status == BindingStatus.ACCEPTED
    assert flow_statuses(answer) == [(1, FlowStatus.BID_NOT_FOUND)]


# --- 5.3.2: those that stay, change and go ------------------------------------------------------


def test_5_3_those_in_the_summary_stay(steered):
    before = steered.flows
    update(steered, bid(11, LTE), FlowSummary((1, 2)), sequence=3)
    assert steered.flows is before


def test_5_3_those_that_are_not_named_go(steered):
    update(steered, bid(11, LTE), FlowSummary((2,)), sequence=3)
    assert list_flows(steered) == [(2, 2, (22, 11))]


def test_5_3_several_summaries_count_together(steered):
    before = steered.flows
    update(steered, bid(11, LTE), FlowSummary((1,)), FlowSummary((2,)), sequence=3)
    assert steered.flows is before


def test_5_3_update_that_names_none_removes_all(steered):
    effects = send(steered, make_message(bid(11, LTE), sequence=3), at(1))
    assert steered.flows == ()
    assert is_changed(effects)


def test_5_3_update_of_another_home_address_removes_none(steered):
    before = steered.flows
    update(steered, bid(5, SAT), home=OTHER_HOME)
    assert steered.flows is before


def test_5_3_update_that_is_refused_removes_none(steered):
    before = steered.flows
    assert update(steered, bid(11, LTE), sequence=1).status == 135
    assert steered.flows is before


def test_5_3_known_one_is_replaced(steered):
    again = flow(1, 22, priority=9, selector=BULK)
    update(steered, bid(11, LTE), FlowSummary((2,)), again, sequence=3)
    assert steered.flows[-1] == FlowBinding(HOME, 1, 9, (22,), BULK)
    assert len(steered.flows) == 2


def test_5_3_known_one_without_a_selector_keeps_its_own(steered):
    update(steered, bid(11, LTE), flow(2, 11, selector=None), sequence=3)
    assert steered.flows == (FlowBinding(HOME, 2, 2, (11,), BULK),)


def test_5_3_known_one_without_a_bid_reference_keeps_its_own(steered):
    update(steered, bid(11, LTE), flow(2, selector=VOICE), sequence=3)
    assert steered.flows == (FlowBinding(HOME, 2, 2, (22, 11), VOICE),)


def test_5_3_two_may_exchange_their_priorities(steered):
    options = flow(1, 11, priority=2), flow(2, 22, priority=1)
    assert flow_statuses(update(steered, bid(11, LTE), *options, sequence=3)) == [(1, 0), (2, 0)]
    assert list_flows(steered) == [(2, 1, (22,)), (1, 2, (11,))]


# --- 4.2, 5.3.2: refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "status"),
    [
        (flow(1, 11, selector=None), FlowStatus.MALFORMED),
        (flow(1), FlowStatus.MALFORMED),
        (flow(1, 44), FlowStatus.BID_NOT_FOUND),
        (flow(1, 11, 44), FlowStatus.BID_NOT_FOUND),
        (flow(1, 11, selector=UnknownSelector(9, b"x")), FlowStatus.SELECTOR_NOT_SUPPORTED),
        (FlowIdentification(1, 1, malformed=True), FlowStatus.MALFORMED),
        (FlowIdentification(0, 1, (11,), VOICE), FlowStatus.MALFORMED),
        (FlowIdentification(1, 0, (11,), VOICE), FlowStatus.MALFORMED),
    ],
)
def test_4_2_refusal_has_its_status_and_leaves_the_update_accepted(agent, option, status):
    effects = send(agent, make_message(bid(11, LTE), option, sequence=2), at(0))
    answer = effects[0].packet.message
    assert answer.status == BindingStatus.ACCEPTED_NP_COA
    assert answer.lifetime == 120
    assert flow_statuses(answer) == [(option.fid, status)]
    assert agent.flows == ()
    reason = status.name.lower().replace("_", "-")
    assert counts(effects) == [("flow-binding-refused", reason)]


def test_summary_of_more_unknown_fids_than_the_answer_holds_is_answered_in_part(agent):
    unknown = FlowSummary(tuple(range(1, 128))), FlowSummary(tuple(range(128, 251)))
    packet = only(packets(send(agent, make_message(bid(11, LTE), *unknown, sequence=2), at(0))))
    assert len(serialize_packet(packet, RFC5648)) <= 1280
    assert {status for _, status in flow_statuses(packet.message)} == {FlowStatus.FID_NOT_FOUND}


def test_4_2_132_for_a_summary_with_an_unknown_fid(steered):
    before = steered.flows
    answer = update(steered, bid(11, LTE), FlowSummary((1, 2, 9)), sequence=3)
    assert answer.options[1:] == (FlowIdentification(9, 0, status=FlowStatus.FID_NOT_FOUND),)
    assert steered.flows is before


def test_fid_that_is_in_the_summary_and_new_is_not_unknown(agent):
    answer = update(agent, bid(11, LTE), FlowSummary((1,)), flow(1, 11), sequence=2)
    assert flow_statuses(answer) == [(1, 0)]


def test_4_2_129_for_the_priority_of_another_one_that_stays(steered):
    options = FlowSummary((1,)), flow(3, 11, priority=1)
    answer = update(steered, bid(11, LTE), *options, sequence=3)
    assert flow_statuses(answer) == [(3, FlowStatus.REASON_UNSPECIFIED)]
    assert list_flows(steered) == [(1, 1, (11,))]


def test_4_2_priority_of_one_that_goes_is_free(steered):
    answer = update(steered, bid(11, LTE), flow(3, 11, priority=1), sequence=3)
    assert flow_statuses(answer) == [(3, 0)]
    assert list_flows(steered) == [(3, 1, (11,))]


def test_4_2_129_for_two_new_ones_of_the_same_priority(agent):
    options = flow(1, 11, priority=5), flow(2, 22, priority=5)
    answer = update(agent, bid(11, LTE), *options, sequence=2)
    assert flow_statuses(answer) == [(1, 0), (2, FlowStatus.REASON_UNSPECIFIED)]


def test_known_one_whose_change_is_refused_stays_as_it_was(steered):
    before = steered.flows
    options = FlowSummary((1,)), flow(2, 11, selector=towards(OTHER_HOME))
    answer = update(steered, bid(11, LTE), *options, sequence=3)
    assert flow_statuses(answer) == [(2, FlowStatus.ADMINISTRATIVELY_PROHIBITED)]
    assert steered.flows is before


def test_5_3_2_2_bids_of_a_known_one_are_replaced_also_by_one_that_there_is_not(steered):
    answer = update(steered, bid(11, LTE), FlowSummary((1,)), flow(2, 44), sequence=3)
    assert flow_statuses(answer) == [(2, 0)]
    assert list_flows(steered) == [(1, 1, (11,)), (2, 2, (44,))]


def test_priority_of_a_known_one_whose_change_is_refused_stays_taken(steered):
    before = steered.flows
    options = flow(1, 11, priority=9, selector=towards(OTHER_HOME)), flow(2, 22, priority=1)
    answer = update(steered, bid(11, LTE), *options, sequence=3)
    prohibited = FlowStatus.ADMINISTRATIVELY_PROHIBITED
    refused = [(1, prohibited), (2, FlowStatus.REASON_UNSPECIFIED)]
    assert flow_statuses(answer) == refused
    assert steered.flows is before


def test_5_3_2_all_are_rejected_when_one_fid_is_there_twice(steered):
    before = steered.flows
    options = flow(1, 11), flow(5, 11), flow(1, 22, priority=7)
    answer = update(steered, bid(11, LTE), FlowSummary((2,)), *options, sequence=3)
    malformed = FlowStatus.MALFORMED
    assert flow_statuses(answer) == [
        (1, malformed),
        (5, FlowStatus.REASON_UNSPECIFIED),
        (1, malformed),
    ]
    assert steered.flows is before


def test_128_for_more_than_there_is_room_for(agent):
    first = [flow(fid, 11) for fid in range(1, MAX_FLOW_BINDINGS)]
    update(agent, bid(11, LTE), *first, sequence=2)
    kept = FlowSummary(tuple(range(1, MAX_FLOW_BINDINGS)))
    more = flow(900, 11), flow(901, 11)
    answer = update(agent, bid(11, LTE), kept, *more, sequence=3)
    prohibited = FlowStatus.ADMINISTRATIVELY_PROHIBITED
    assert flow_statuses(answer) == [(900, 0), (901, prohibited)]
    assert len(agent.flows) == MAX_FLOW_BINDINGS


def test_room_of_those_that_go_is_free(agent):
    first = [flow(fid, 11) for fid in range(1, MAX_FLOW_BINDINGS + 1)]
    update(agent, bid(11, LTE), *first, sequence=2)
    answer = update(agent, bid(11, LTE), FlowSummary((1,)), flow(900, 11), sequence=3)
    assert flow_statuses(answer) == [(900, 0)]


@pytest.mark.parametrize(
    "selector",
    [
        towards(HOME),
        towards(PREFIX[0], PREFIX[-1]),
        towards(PREFIX[7]),
        TrafficSelector(source=(OTHER_PREFIX[0], OTHER_PREFIX[-1])),
        TrafficSelector(),
    ],
)
def test_mobile_router_steers_what_is_its_own(agent, selector):
    answer = update(agent, bid(11, LTE), flow(1, 11, selector=selector), sequence=2)
    assert flow_statuses(answer) == [(1, 0)]


@pytest.mark.parametrize(
    "selector",
    [
        towards(OTHER_HOME),
        towards(OTHER_PREFIX[7]),
        towards(PREFIX[0], PREFIX[-1] + 1),
        towards(HOME, HOME + 1),
        towards(IPv6Address("::"), IPv6Address(2**128 - 1)),
    ],
)
def test_128_for_what_is_anybody_elses(agent, selector):
    answer = update(agent, bid(11, LTE), flow(1, 11, selector=selector), sequence=2)
    assert flow_statuses(answer) == [(1, FlowStatus.ADMINISTRATIVELY_PROHIBITED)]


# --- 5.3.5: the answer --------------------------------------------------------------------------


def test_5_3_5_answer_is_a_copy_of_what_was_asked(agent):
    asked = flow(7, 11, priority=3)
    answer = update(agent, bid(11, LTE), replace(asked, status=9), sequence=2)
    assert answer.options == (bid(11), asked)


def test_5_3_5_summary_is_not_answered(steered):
    answer = update(steered, bid(11, LTE), FlowSummary((2, 1)), sequence=3)
    assert answer.options == (bid(11),)


def test_answer_to_an_update_without_flow_bindings_has_none(steered):
    assert update(steered, bid(11, LTE), sequence=3).options == (bid(11),)


def test_forwarding_stands_before_a_flow_binding_is_acknowledged(agent):
    effects = send(agent, make_message(bid(11, LTE), flow(1, 11), sequence=2), at(0))
    assert [type(effect) for effect in effects[:2]] == [BindingsChanged, SendPacket]
    assert notes(effects) == ["flow-bindings-changed"]


def test_refresh_that_changes_nothing_changes_nothing(steered):
    message = make_message(bid(11, LTE), FlowSummary((2,)), flow(1, 11), sequence=3, lifetime=120)
    effects = send(steered, message, at(0))
    assert [type(effect) for effect in effects] == [SendPacket]


def test_several_bindings_and_flow_bindings_in_one_update(agent):
    bad = CareOfAddressInformation(44, 0, care_of_address=AGENT.address)
    options = bid(33, SAT), bad, flow(1, 33), flow(2, 44)
    answer = update(agent, *options)
    assert answer.status == BindingStatus.MCOA_NOT_COMPLETE
    assert flow_statuses(answer) == [(1, 0), (2, FlowStatus.BID_NOT_FOUND)]
    assert list_flows(agent) == [(1, 1, (33,))]


# --- 4.3, 5.3.3: bindings that end --------------------------------------------------------------


def test_5_3_3_deregistration_of_one_binding_keeps_those_that_it_names(steered):
    update(steered, bid(22), FlowSummary((2,)), lifetime=0, sequence=3)
    assert list_flows(steered) == [(2, 2, (22, 11))]


def test_5_3_4_deregistration_of_one_binding_that_names_none_removes_all(steered):
    update(steered, bid(11), lifetime=0, sequence=3)
    assert steered.flows == ()


def test_4_3_inactive_one_stays_while_it_is_refreshed(steered):
    update(steered, bid(22), FlowSummary((1, 2)), lifetime=0, sequence=3)
    update(steered, bid(11, LTE), flow(1, 22, selector=None), flow(2, 11), sequence=4)
    before = steered.flows
    update(steered, bid(11, LTE), FlowSummary((1, 2)), sequence=5)
    assert steered.flows is before


def test_deregistration_of_one_binding_may_move_its_flows(steered):
    answer = update(steered, bid(11), flow(1, 22), flow(5, 11), lifetime=0, sequence=3)
    assert flow_statuses(answer) == [(1, 0), (5, FlowStatus.BID_NOT_FOUND)]
    assert list_flows(steered) == [(1, 1, (22,))]


def test_5_3_3_deregistration_without_a_bid_removes_all_whatever_it_names(steered):
    update(steered, FlowSummary((1, 2)), lifetime=0, sequence=3)
    assert steered.flows == ()


def test_all_go_with_the_last_binding(steered):
    update(steered, bid(11), bid(22), lifetime=0, sequence=3)
    assert steered.flows == ()


def test_all_go_when_the_last_lifetime_is_over(steered):
    run_until(steered, 119)
    assert len(steered.flows) == 2
    run_until(steered, 120)
    assert steered.flows == ()


def test_all_go_when_the_last_binding_cannot_be_forwarded_to(steered):
    steered.handle(ForwardingFailed(HOME, 11), at(1))
    assert len(steered.flows) == 2
    steered.handle(ForwardingFailed(HOME, 22), at(1))
    assert steered.flows == ()


def test_all_go_with_a_binding_that_has_no_bid(steered):
    update(steered, source=SAT.address)
    assert steered.flows == ()


# --- updates that overtake one another ----------------------------------------------------------


def test_older_update_by_another_link_does_not_bring_an_older_list_back(agent):
    newer = flow(1, 11, selector=BULK)
    update(agent, bid(11, LTE), newer, sequence=2, timestamp=5.0)
    before = agent.flows
    answer = update(agent, bid(22, WIFI), flow(1, 22), flow(2, 22), sequence=2, timestamp=4.0)
    assert answer.status == BindingStatus.ACCEPTED_NP_COA
    assert answer.options[1:-1] == ()
    assert agent.flows is before


def test_older_update_that_names_none_removes_none(agent):
    update(agent, bid(11, LTE), flow(1, 11), sequence=2, timestamp=5.0)
    update(agent, bid(22, WIFI), sequence=2, timestamp=4.0)
    assert list_flows(agent) == [(1, 1, (11,))]


def test_older_update_does_not_bring_back_what_a_newer_one_has_removed(agent):
    update(agent, bid(11, LTE), sequence=2, timestamp=5.0)
    update(agent, bid(22, WIFI), flow(1, 22), sequence=2, timestamp=4.0)
    assert agent.flows == ()


def test_newer_update_by_another_link_is_taken_in(agent):
    update(agent, bid(11, LTE), flow(1, 11), sequence=2, timestamp=5.0)
    update(agent, bid(22, WIFI), flow(2, 22), sequence=2, timestamp=5.25)
    assert list_flows(agent) == [(2, 2, (22,))]


# --- over a restart -----------------------------------------------------------------------------


def restart(agent, **changes):
    restarted = make_open_agent(started=10.0, **changes)
    restarted.restore(agent.save())
    return restarted


def test_restarted_home_agent_has_the_same_flow_bindings(steered):
    assert restart(steered).flows == steered.flows


def test_restarted_home_agent_does_not_take_an_older_list(agent):
    update(agent, bid(11, LTE), flow(1, 11), sequence=2, timestamp=5.0)
    agent = restart(agent)
    update(agent, bid(22, WIFI), sequence=2, timestamp=4.0, seconds=11)
    assert list_flows(agent) == [(1, 1, (11,))]


def test_flow_bindings_of_one_who_is_not_served_any_more_are_not_restored(steered):
    others = tuple(replace(router, security=()) for router in AGENT.served[1:])
    assert restart(steered, served=others).flows == ()


def test_flow_binding_for_a_prefix_that_was_taken_away_is_not_restored():
    agent = make_open_agent()
    options = flow(1, 11, selector=towards(PREFIX[7])), flow(2, 11)
    update(agent, bid(11, LTE), *options, mobile_router=False)
    bereft = (replace(AGENT.served[0], prefixes=(), security=()),)
    assert list_flows(restart(agent, served=bereft)) == [(2, 2, (11,))]
