"""RFC 5648 at the home agent: several bindings in one Binding Update, overwriting, returning."""

from dataclasses import replace
from ipaddress import IPv6Address
from random import Random

import pytest
from home_agent_world import (
    RFC5648,
    bid,
    bids,
    keys,
    make_message,
    make_open_agent,
    sign,
    update,
)
from protocol_world import (
    HOME,
    HOME_AGENT,
    KEY,
    LTE,
    OTHER_HOME,
    PREFIX,
    SAT,
    WIFI,
    at,
    counts,
    is_changed,
    make_agent,
    only,
    packets,
    run_until,
    send,
)

from mrouter.protocol.correspondent_node import CorrespondentNode
from mrouter.protocol.events import CheckDuplicate, DuplicateChecked, ForwardingFailed
from mrouter.protocol.keys import PacketSigner
from mrouter.protocol.settings import CorrespondentNodeSettings
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import BindingAcknowledgement
from mrouter.wire.options import CareOfAddressInformation
from mrouter.wire.packet import parse_packet, serialize_packet

THREE = (bid(11, LTE), bid(22, WIFI, 1), bid(33, SAT, 2))


@pytest.fixture
def agent():
    return make_open_agent()


@pytest.fixture
def strict():
    """Return a home agent as dialect rfc5648 configures it."""
    return make_open_agent(refuse_mixed=True, require_addresses=True)


def register_three(agent, **how):
    return update(agent, *THREE, **how)


# --- 4.1: sequence numbers ----------------------------------------------------------------------


def test_4_1_one_sequence_number_for_all_bindings_is_good(agent):
    for sequence, option in enumerate([bid(11, LTE), bid(22, WIFI), bid(11, LTE)]):
        assert update(agent, option, sequence=sequence).status == 1


def test_4_1_updates_of_two_bindings_may_overtake_one_another(agent):
    update(agent, bid(11, LTE), sequence=8)
    assert update(agent, bid(22, WIFI), sequence=7).status == 1


# --- 4.3: the option ----------------------------------------------------------------------------


def test_4_3_answer_has_no_care_of_address(agent):
    answer = register_three(agent)
    options = [o for o in answer.options if isinstance(o, CareOfAddressInformation)]
    assert options == [bid(11), bid(22, ifpri=1), bid(33, ifpri=2)]


def test_4_3_status_in_a_binding_update_is_ignored(agent):
    answer = update(agent, CareOfAddressInformation(11, 0, status=167))
    assert (answer.status, bids(answer)) == (BindingStatus.ACCEPTED_NP_COA, [(11, 0)])


# --- 5.1, 6.2: which care-of address --------------------------------------------------------------


def test_6_2_option_without_an_address_registers_the_source(agent):
    update(agent, bid(11), source=WIFI.address)
    assert keys(agent) == [(11, WIFI.address)]


def test_6_2_option_without_an_address_registers_the_alternate_care_of_address(agent):
    update(agent, bid(11), source=WIFI.address, alternate=SAT.address)
    assert keys(agent) == [(11, SAT.address)]


def test_6_2_address_in_the_option_takes_the_place_of_the_packets(agent):
    update(agent, bid(11, LTE), source=WIFI.address, alternate=SAT.address)
    assert keys(agent) == [(11, LTE.address)]


def test_answer_goes_where_the_update_came_from(agent):
    effects = send(agent, make_message(bid(11, LTE), source=WIFI.address), at(0))
    assert only(packets(effects)).destination == WIFI.address


def test_5_1_known_binding_may_be_refreshed_without_its_address(strict):
    register_three(strict)
    update(strict, bid(11), source=SAT.address, sequence=2)
    assert keys(strict) == [(11, LTE.address), (22, WIFI.address), (33, SAT.address)]


def test_5_1_several_known_bindings_may_be_refreshed_without_their_addresses(strict):
    agent = strict
    register_three(agent)
    answer = update(agent, bid(11), bid(22), bid(33), sequence=2, source=WIFI.address, seconds=9)
    assert answer.status == BindingStatus.ACCEPTED_NP_COA
    assert keys(agent) == [(11, LTE.address), (22, WIFI.address), (33, SAT.address)]
    assert {entry.expires_at for entry in agent.entries} == {at(129).monotonic}


def test_6_2_167_for_an_unknown_bid_without_an_address(strict):
    answer = update(strict, bid(11))
    assert (answer.status, bids(answer)) == (BindingStatus.MCOA_UNKNOWN_COA, [(11, 0)])
    assert strict.entries == ()


def test_6_2_167_for_one_of_several_without_an_address(strict):
    answer = update(strict, bid(11), bid(22, WIFI))
    assert answer.status == BindingStatus.MCOA_NOT_COMPLETE
    assert bids(answer) == [(11, BindingStatus.MCOA_UNKNOWN_COA), (22, 0)]
    assert keys(strict) == [(22, WIFI.address)]


@pytest.mark.parametrize("address", [HOME_AGENT, PREFIX[1]])
def test_6_2_address_that_no_tunnel_could_lead_to_is_refused(agent, address):
    option = CareOfAddressInformation(11, 0, care_of_address=address)
    assert update(agent, option).status == BindingStatus.ADMINISTRATIVELY_PROHIBITED
    assert agent.entries == ()


@pytest.mark.parametrize("lifetime", [120, 0])
def test_6_2_164_for_an_option_that_could_not_be_read(agent, lifetime):
    register_three(agent)
    before = agent.entries
    malformed = CareOfAddressInformation(11, 0, malformed=True)
    answer = update(agent, malformed, bid(22, SAT), lifetime=lifetime, sequence=2)
    assert answer.status == BindingStatus.MCOA_MALFORMED
    assert bids(answer) == [(11, 0), (22, 0)]
    assert agent.entries is before


# --- 6.2: bulk registration -----------------------------------------------------------------------


def test_6_2_several_bindings_are_registered_at_once(agent):
    effects = send(agent, make_message(*THREE, lifetime=100, sequence=7), at(0))
    assert is_changed(effects)
    assert keys(agent) == [(11, LTE.address), (22, WIFI.address), (33, SAT.address)]
    assert [entry.ifpri for entry in agent.entries] == [0, 1, 2]
    assert {(entry.lifetime, entry.sequence) for entry in agent.entries} == {(100, 7)}
    assert len({entry.slot for entry in agent.entries}) == 3


def test_6_2_bulk_registration_has_one_answer_with_all_its_bindings(agent):
    answer = register_three(agent)
    assert (answer.status, answer.lifetime) == (BindingStatus.ACCEPTED_NP_COA, 120)
    assert bids(answer) == [(11, 0), (22, 0), (33, 0)]


def test_6_2_known_bid_with_another_address_is_updated(agent):
    register_three(agent)
    moved = IPv6Address("2001:db8:9::1")
    slots = [entry.slot for entry in agent.entries]
    option = CareOfAddressInformation(22, 1, care_of_address=moved)
    assert update(agent, option, bid(33, SAT, 2), sequence=2).status == 1
    assert keys(agent) == [(11, LTE.address), (22, moved), (33, SAT.address)]
    assert [entry.slot for entry in agent.entries] == slots


def test_6_2_two_bindings_may_change_places(agent):
    update(agent, bid(11, LTE), bid(22, WIFI))
    update(agent, bid(11, WIFI), bid(22, LTE), sequence=2)
    assert keys(agent) == [(11, WIFI.address), (22, LTE.address)]


def test_6_2_bindings_that_are_not_named_stay(agent):
    update(agent, bid(11, LTE))
    update(agent, bid(22, WIFI), bid(33, SAT))
    assert [ifid for ifid, _ in keys(agent)] == [11, 22, 33]


def test_refresh_of_several_changes_nothing(agent):
    register_three(agent)
    effects = send(agent, make_message(*THREE, sequence=2), at(50))
    assert not is_changed(effects)
    assert {entry.expires_at for entry in agent.entries} == {at(170).monotonic}


def test_4_4_status_4_and_each_ones_own_when_some_are_refused(agent):
    answer = update(
        agent, bid(11, LTE), CareOfAddressInformation(22, 1, care_of_address=HOME_AGENT)
    )
    assert answer.status == BindingStatus.MCOA_NOT_COMPLETE
    assert bids(answer) == [(11, 0), (22, BindingStatus.ADMINISTRATIVELY_PROHIBITED)]
    assert answer.lifetime == 120
    assert keys(agent) == [(11, LTE.address)]


def test_refusals_in_bulk_are_counted(agent):
    options = bid(11, LTE), CareOfAddressInformation(22, 1, care_of_address=HOME_AGENT)
    effects = send(agent, make_message(*options), at(0))
    assert counts(effects) == [("binding-refused", "administratively-prohibited")]


def test_6_2_status_4_also_when_all_are_refused_for_reasons_of_their_own(strict):
    answer = update(strict, bid(11), CareOfAddressInformation(22, 1, care_of_address=HOME_AGENT))
    assert (answer.status, answer.lifetime) == (BindingStatus.MCOA_NOT_COMPLETE, 0)
    assert bids(answer) == [
        (11, BindingStatus.MCOA_UNKNOWN_COA),
        (22, BindingStatus.ADMINISTRATIVELY_PROHIBITED),
    ]
    assert strict.entries == ()


def test_6_2_reason_that_all_share_is_the_whole_answers(strict):
    answer = update(strict, bid(11), bid(22))
    assert (answer.status, answer.lifetime) == (BindingStatus.MCOA_UNKNOWN_COA, 0)
    assert bids(answer) == [(11, 0), (22, 0)]


def test_164_to_all_for_a_bid_that_is_there_twice(agent):
    answer = update(agent, bid(11, LTE), bid(11, WIFI))
    assert (answer.status, bids(answer)) == (BindingStatus.MCOA_MALFORMED, [(11, 0), (11, 0)])
    assert agent.entries == ()


def test_two_bids_for_one_care_of_address_are_one_too_many(agent):
    answer = update(agent, bid(11, LTE), bid(22, LTE))
    assert answer.status == BindingStatus.MCOA_NOT_COMPLETE
    assert bids(answer) == [(11, 0), (22, BindingStatus.MCOA_MALFORMED)]
    assert keys(agent) == [(11, LTE.address)]


def test_sequence_number_must_be_greater_than_that_of_each_binding(agent):
    update(agent, bid(11, LTE), sequence=4)
    update(agent, bid(22, WIFI), sequence=9)
    answer = update(agent, bid(11, LTE), bid(22, WIFI), sequence=7)
    assert answer.status == BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
    assert answer.sequence == 9
    assert update(agent, bid(11, LTE), bid(22, WIFI), sequence=10).status == 1


def test_the_greatest_sequence_number_is_told_across_the_wrap(agent):
    update(agent, bid(11, LTE), sequence=65535)
    update(agent, bid(22, WIFI), sequence=3)
    assert update(agent, bid(11, LTE), bid(22, WIFI), sequence=65530).sequence == 3


def test_what_concerns_the_whole_update_refuses_all(agent):
    answer = update(make_open_agent(max_lifetime=0), *THREE)
    assert answer.status == BindingStatus.ADMINISTRATIVELY_PROHIBITED
    assert [ifid for ifid, _ in bids(answer)] == [11, 22, 33]


def test_each_binding_ends_at_its_time(agent):
    register_three(agent)
    update(agent, bid(22, WIFI, 1), sequence=2, seconds=50)
    run_until(agent, 121)
    assert keys(agent) == [(22, WIFI.address)]


def test_binding_of_several_that_cannot_be_forwarded_to_is_taken_back(agent):
    register_three(agent)
    effects = agent.handle(ForwardingFailed(HOME, 22), at(1))
    answer = only(packets(effects, BindingAcknowledgement)).message
    assert (answer.status, bids(answer)) == (BindingStatus.FORWARDING_SETUP_FAILED, [(22, 0)])
    assert [ifid for ifid, _ in keys(agent)] == [11, 33]


# --- 6.2: de-registration -------------------------------------------------------------------------


def test_6_2_several_bindings_are_ended_at_once(agent):
    register_three(agent)
    answer = update(agent, bid(11), bid(33), lifetime=0, sequence=2, source=WIFI.address)
    assert (answer.status, answer.lifetime) == (BindingStatus.ACCEPTED_NP_COA, 0)
    assert bids(answer) == [(11, 0), (33, 0)]
    assert keys(agent) == [(22, WIFI.address)]


def test_6_2_133_for_the_bid_that_is_not_known(agent):
    register_three(agent)
    answer = update(agent, bid(11), bid(44), lifetime=0, sequence=2)
    assert answer.status == BindingStatus.MCOA_NOT_COMPLETE
    assert bids(answer) == [(11, 0), (44, BindingStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE)]
    assert [ifid for ifid, _ in keys(agent)] == [22, 33]


def test_6_2_133_for_a_single_bid_that_is_not_known(agent):
    register_three(agent)
    answer = update(agent, bid(44), lifetime=0, sequence=2)
    assert answer.status == BindingStatus.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE
    assert len(agent.entries) == 3


def test_6_2_overwriting_is_ignored_in_a_deregistration(agent):
    register_three(agent)
    update(agent, bid(11), lifetime=0, sequence=2, overwrite=True)
    assert [ifid for ifid, _ in keys(agent)] == [22, 33]


def test_6_2_deregistration_without_a_bid_ends_all(agent):
    register_three(agent)
    assert update(agent, lifetime=0).status == BindingStatus.ACCEPTED
    assert agent.entries == ()


def test_care_of_address_that_is_the_home_address_ends_that_binding_alone(agent):
    register_three(agent)
    home = CareOfAddressInformation(11, 0, care_of_address=HOME)
    answer = update(agent, home, bid(22, WIFI, 1), sequence=2)
    assert (answer.status, answer.lifetime) == (BindingStatus.ACCEPTED_NP_COA, 120)
    assert [ifid for ifid, _ in keys(agent)] == [22, 33]


# --- 6.2: the O flag, and bindings with and without BID -------------------------------------------


def test_6_2_overwriting_replaces_all_other_bindings(agent):
    register_three(agent)
    effects = send(agent, make_message(bid(44, WIFI), sequence=2, overwrite=True), at(1))
    assert is_changed(effects)
    assert keys(agent) == [(44, WIFI.address)]


def test_overwriting_keeps_the_slot_of_a_care_of_address(agent):
    register_three(agent)
    slot = {entry.care_of_address: entry.slot for entry in agent.entries}[SAT.address]
    update(agent, bid(44, SAT), sequence=2, overwrite=True)
    assert only(agent.entries).slot == slot


def test_6_2_overwriting_leaves_other_home_addresses_alone(agent):
    register_three(agent, home=OTHER_HOME)
    update(agent, bid(44, WIFI), overwrite=True)
    assert len(agent.entries) == 4


def test_overwriting_makes_room_when_all_slots_are_taken(agent):
    links = [CareOfAddressInformation(n, 0, care_of_address=LTE.address + n) for n in range(1, 63)]
    assert update(agent, *links).status == BindingStatus.ACCEPTED_NP_COA
    full = update(agent, bid(99, WIFI))
    assert full.status == BindingStatus.INSUFFICIENT_RESOURCES
    answer = update(agent, bid(99, WIFI), sequence=2, overwrite=True)
    assert answer.status == BindingStatus.ACCEPTED_NP_COA
    assert keys(agent) == [(99, WIFI.address)]


def test_overwriting_must_follow_what_any_binding_has_registered(agent):
    update(agent, bid(22, WIFI), sequence=9)
    late = update(agent, bid(11, LTE), sequence=8, overwrite=True)
    assert (late.status, late.sequence) == (BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, 9)
    assert keys(agent) == [(22, WIFI.address)]


def test_overwriting_ends_what_stood_of_a_binding_that_is_refused(agent):
    register_three(agent)
    bad = CareOfAddressInformation(11, 0, care_of_address=HOME_AGENT)
    answer = update(agent, bad, bid(22, WIFI, 1), sequence=2, overwrite=True)
    assert answer.status == BindingStatus.MCOA_NOT_COMPLETE
    assert keys(agent) == [(22, WIFI.address)]


def test_overwriting_that_is_refused_as_a_whole_leaves_all_as_it_was(agent):
    register_three(agent)
    before = agent.entries
    bad = CareOfAddressInformation(44, 0, care_of_address=HOME_AGENT)
    assert update(agent, bad, sequence=2, overwrite=True).status >= 128
    assert agent.entries is before


def test_6_2_update_without_a_bid_replaces_all_bindings(agent):
    register_three(agent)
    assert update(agent, source=SAT.address).status == BindingStatus.ACCEPTED
    assert keys(agent) == [(None, SAT.address)]


def test_6_2_165_for_a_bid_while_a_binding_without_stands():
    agent = make_open_agent(refuse_mixed=True)
    update(agent, source=SAT.address)
    before = agent.entries
    answer = update(agent, bid(11, LTE))
    assert answer.status == BindingStatus.MCOA_NON_MCOA_BINDING_EXISTS
    assert bids(answer) == [(11, 0)]
    assert agent.entries is before


def test_6_2_overwriting_ends_the_binding_without_a_bid():
    agent = make_open_agent(refuse_mixed=True)
    update(agent, source=SAT.address)
    answer = update(agent, bid(11, LTE), sequence=2, overwrite=True)
    assert answer.status == BindingStatus.ACCEPTED_NP_COA
    assert keys(agent) == [(11, LTE.address)]


def test_6_2_update_without_a_bid_is_ordinary_whatever_stands():
    agent = make_open_agent(refuse_mixed=True)
    register_three(agent)
    update(agent, source=SAT.address)
    assert update(agent, source=WIFI.address, sequence=2).status == BindingStatus.ACCEPTED
    assert keys(agent) == [(None, WIFI.address)]


# --- 6.2: correspondent nodes ---------------------------------------------------------------------


def refuse_at_a_correspondent_node(*options):
    """Return the answer of a correspondent node that registers nothing."""
    node = CorrespondentNode(CorrespondentNodeSettings(address=HOME_AGENT), Random(1))
    message = make_message(*options, home_registration=False)
    answer = only(packets(send(node, message, at(0)), BindingAcknowledgement)).message
    assert node.entries == ()
    return answer


def test_6_2_168_for_several_bindings_at_a_correspondent_node():
    answer = refuse_at_a_correspondent_node(bid(11, LTE), bid(22, WIFI))
    assert answer.status == BindingStatus.MCOA_BULK_REGISTRATION_PROHIBITED


def test_6_2_164_for_an_unreadable_option_at_a_correspondent_node():
    malformed = CareOfAddressInformation(11, 0, malformed=True)
    answer = refuse_at_a_correspondent_node(malformed)
    assert answer.status == BindingStatus.MCOA_MALFORMED


def test_6_2_status_of_a_correspondent_nodes_answer_is_in_its_header():
    answer = refuse_at_a_correspondent_node(CareOfAddressInformation(11, 0, status=7), bid(22))
    assert answer.status == BindingStatus.MCOA_BULK_REGISTRATION_PROHIBITED
    assert {status for _, status in bids(answer)} == {0}


# --- replay protection, as bytes ------------------------------------------------------------------


def make_signed(*options, moment, **how):
    return sign(make_message(*options, timestamp=moment, **how))


def answer_to(agent, packet, seconds):
    """Return the answer, with both packets as bytes in between."""
    answer = only(packets(send(agent, packet, at(seconds)), BindingAcknowledgement))
    data = serialize_packet(answer, RFC5648, PacketSigner(KEY))
    return parse_packet(data, RFC5648).message


def test_bulk_registration_passes_as_bytes():
    agent = make_agent()
    bad = CareOfAddressInformation(44, 3, care_of_address=HOME_AGENT)
    answer = answer_to(agent, make_signed(*THREE, bad, moment=1), 1)
    prohibited = BindingStatus.ADMINISTRATIVELY_PROHIBITED
    assert answer.status == BindingStatus.MCOA_NOT_COMPLETE
    assert bids(answer) == [(11, 0), (22, 0), (33, 0), (44, prohibited)]
    assert keys(agent) == [(11, LTE.address), (22, WIFI.address), (33, SAT.address)]


def test_bulk_registration_that_was_recorded_does_nothing():
    agent = make_agent()
    recorded = make_signed(*THREE, moment=1)
    send(agent, recorded, at(1))
    send(agent, make_signed(bid(22), moment=2, sequence=2, lifetime=0), at(2))
    assert answer_to(agent, recorded, 3).status == BindingStatus.ID_MISMATCH
    assert [ifid for ifid, _ in keys(agent)] == [11, 33]


def test_older_update_does_not_bring_back_what_was_overwritten():
    agent = make_agent()
    late = make_signed(bid(22, WIFI), moment=1)
    send(agent, make_signed(bid(11, LTE), moment=2, overwrite=True), at(2))
    assert answer_to(agent, late, 3).status == BindingStatus.ID_MISMATCH
    assert keys(agent) == [(11, LTE.address)]


def test_update_whose_authenticator_is_wrong_does_nothing():
    agent = make_agent()
    packet = make_signed(*THREE, moment=1)
    forged = replace(packet, signed_part=packet.signed_part + b"x")
    assert answer_to(agent, forged, 1).status == BindingStatus.AUTHENTICATION_FAILED
    assert agent.entries == ()


# --- 5.6: the home link ---------------------------------------------------------------------------


@pytest.mark.parametrize("home_link", [None, "eth1"])
@pytest.mark.parametrize("lifetime", [120, 0])
def test_5_6_home_and_foreign_links_at_once_are_refused_with_169(home_link, lifetime):
    agent = make_open_agent(home_link=home_link)
    answer = update(agent, bid(11, LTE, home_and_foreign=True), lifetime=lifetime)
    assert answer.status == (BindingStatus.MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED)
    assert agent.entries == ()


def test_5_6_others_in_the_update_are_registered(agent):
    answer = update(agent, bid(11, LTE, home_and_foreign=True), bid(22, WIFI))
    prohibited = BindingStatus.MCOA_SIMULTANEOUS_HOME_AND_FOREIGN_PROHIBITED
    assert answer.status == BindingStatus.MCOA_NOT_COMPLETE
    assert bids(answer) == [(11, prohibited), (22, 0)]
    assert keys(agent) == [(22, WIFI.address)]


def test_several_bindings_wait_for_duplicate_address_detection_together():
    agent = make_open_agent(home_link="eth1")
    effects = send(agent, make_message(*THREE), at(0))
    assert effects == [CheckDuplicate(HOME, (HOME,))]
    effects = agent.handle(DuplicateChecked(HOME, duplicate=False), at(1))
    answer = only(packets(effects, BindingAcknowledgement)).message
    assert bids(answer) == [(11, 0), (22, 0), (33, 0)]
    assert len(agent.entries) == 3


def test_one_of_those_that_wait_may_be_taken_back():
    agent = make_open_agent(home_link="eth1")
    send(agent, make_message(*THREE), at(0))
    update(agent, bid(22), lifetime=0, sequence=2)
    effects = agent.handle(DuplicateChecked(HOME, duplicate=False), at(1))
    answer = only(packets(effects, BindingAcknowledgement)).message
    assert bids(answer) == [(11, 0), (33, 0)]
    assert [ifid for ifid, _ in keys(agent)] == [11, 33]


def test_134_to_all_when_another_node_has_the_home_address():
    agent = make_open_agent(home_link="eth1")
    send(agent, make_message(*THREE), at(0))
    effects = agent.handle(DuplicateChecked(HOME, duplicate=True), at(1))
    answer = only(packets(effects, BindingAcknowledgement)).message
    assert answer.status == BindingStatus.DUPLICATE_ADDRESS_DETECTION_FAILED
    assert [ifid for ifid, _ in bids(answer)] == [11, 22, 33]
