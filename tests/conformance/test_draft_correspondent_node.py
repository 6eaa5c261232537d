"""draft-wakikawa-mobileip-multiplecoa-01 at the correspondent node: sections 4, 5.1 and 8."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from protocol_world import HOME, LTE, OTHER_HOME, SAT, WIFI, at, counts, is_changed, only, packets
from route_world import CORRESPONDENT, make_node, make_route_update, route_answer_of

from mrouter.protocol.events import (
    BindingsUsed,
    CareOfAddressFailed,
    Counted,
    HomeAddressOptionSeen,
    PacketReceived,
    TimerFired,
)
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    Packet,
    find_option,
)
from mrouter.wire.options import BindingAuthorizationData, CareOfAddressInformation

ELSEWHERE = IPv6Address("2001:db8:9::9")


def send(node, update, moment):
    return node.handle(PacketReceived(update), moment)


def register(node, moment, **how):
    answer = route_answer_of(node, make_route_update(node, moment, **how), moment)
    assert answer.message.status < 128
    return answer


def register_three(node):
    for ifid, link in [(11, LTE), (22, WIFI), (33, SAT)]:
        register(node, at(0), ifid=ifid, ifpri=link.ifpri, source=link.address)


def keys(node):
    return [(entry.ifid, entry.care_of_address, entry.ifpri) for entry in node.entries]


def route(node):
    return only(node.routes).care_of_address


# --- 5.1, 8.2, 8.3 ----------------------------------------------------------------------------


def test_5_1_another_ifid_makes_another_binding_of_the_same_home_address():
    node = make_node()
    register_three(node)
    assert keys(node) == [(11, LTE.address, 0), (22, WIFI.address, 1), (33, SAT.address, 2)]
    assert [entry.slot for entry in node.entries] == [1, 2, 3]


def test_8_3_same_ifid_updates_care_of_address_and_ifpri():
    node = make_node()
    register_three(node)
    register(node, at(1), ifid=22, ifpri=9, sequence=2, source=ELSEWHERE)
    assert keys(node)[1] == (22, ELSEWHERE, 9)


def test_8_3_m_flag_without_coainfo_is_silently_dropped():
    node = make_node()
    update = make_route_update(node, at(0), multiple=True)
    assert send(node, update, at(0)) == [Counted("signalling-dropped", "coainfo-missing")]
    assert node.entries == ()


def test_8_3_update_without_coainfo_leaves_exactly_one_binding():
    node = make_node()
    register_three(node)
    effects = send(node, make_route_update(node, at(1), sequence=2, source=ELSEWHERE), at(1))
    assert is_changed(effects)
    assert keys(node) == [(None, ELSEWHERE, 0)]


def test_8_3_first_ifid_ends_the_binding_without_one():
    node = make_node()
    register(node, at(0), sequence=5)
    register(node, at(1), ifid=1, sequence=6)
    assert keys(node) == [(1, LTE.address, 0)]


def test_8_3_bindings_of_another_home_address_are_left_alone():
    node = make_node()
    register_three(node)
    register(node, at(1), home=OTHER_HOME)
    assert len(node.entries) == 4


def test_5_2_renewed_ifid_of_a_care_of_address_takes_the_place_of_the_old_one():
    node = make_node()
    register(node, at(0), ifid=1)
    register(node, at(1), ifid=2)
    assert keys(node) == [(2, LTE.address, 0)]


# --- 8.4: Binding Acknowledgements ------------------------------------------------------------


def test_8_4_success_has_status_1_the_coainfo_and_is_authorized():
    node = make_node()
    answer = register(node, at(0), ifid=11, ifpri=3)
    assert (answer.source, answer.destination) == (CORRESPONDENT, LTE.address)
    assert answer.routing_home_address == HOME
    assert answer.message.status == BindingStatus.ACCEPTED_NP_COA
    assert answer.message.options[0] == CareOfAddressInformation(11, 3)
    assert isinstance(answer.message.options[-1], BindingAuthorizationData)


def test_8_4_status_in_the_request_is_not_copied():
    # Dialect rfc5648 has room for one, and could not say an acceptance beside it.
    node = make_node()
    update = make_route_update(node, at(0), ifid=11)
    information, *rest = update.message.options
    options = (replace(information, status=200), *rest)
    update = replace(update, message=replace(update.message, options=options))
    answer = route_answer_of(node, update, at(0)).message
    assert answer.status == BindingStatus.ACCEPTED_NP_COA
    assert find_option(answer, CareOfAddressInformation) == CareOfAddressInformation(11, 0)


def test_8_4_success_without_coainfo_has_status_0():
    answer = register(make_node(), at(0))
    assert answer.message.status == BindingStatus.ACCEPTED
    assert find_option(answer.message, CareOfAddressInformation) is None


def test_8_4_success_without_the_a_flag_is_not_answered():
    node = make_node()
    effects = send(node, make_route_update(node, at(0), ifid=1, acknowledge=False), at(0))
    assert packets(effects) == []
    assert keys(node) == [(1, LTE.address, 0)]


def test_8_4_error_is_answered_without_the_a_flag_too_and_names_the_interface():
    node = make_node()
    register(node, at(0), ifid=1, sequence=9)
    update = make_route_update(node, at(1), ifid=1, sequence=9, acknowledge=False)
    answer = route_answer_of(node, update, at(1)).message
    assert answer.status == BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
    assert find_option(answer, CareOfAddressInformation) == CareOfAddressInformation(1, 0)


# --- 7.7, 8.3: de-registration ----------------------------------------------------------------


def test_7_7_deregistration_with_coainfo_ends_that_binding():
    node = make_node()
    register_three(node)
    update = make_route_update(node, at(1), ifid=22, ifpri=1, sequence=2, lifetime=0)
    effects = send(node, update, at(1))
    assert is_changed(effects)
    answer = only(packets(effects)).message
    assert (answer.status, answer.lifetime) == (1, 0)
    assert [ifid for ifid, *_ in keys(node)] == [11, 33]


def test_7_7_deregistration_without_coainfo_ends_all():
    node = make_node()
    register_three(node)
    send(node, make_route_update(node, at(1), sequence=2, lifetime=0), at(1))
    assert node.entries == ()


def test_7_7_care_of_address_that_is_the_home_address_ends_the_binding():
    node = make_node()
    register_three(node)
    update = make_route_update(node, at(1), ifid=11, sequence=2, alternate=HOME)
    send(node, update, at(1))
    assert [ifid for ifid, *_ in keys(node)] == [22, 33]


def test_7_7_deregistration_of_an_unknown_binding_is_no_error():
    node = make_node()
    effects = send(node, make_route_update(node, at(0), ifid=5, lifetime=0), at(0))
    assert not is_changed(effects)
    assert only(packets(effects)).message.status == 1


# --- 4, 8.1: choice of the care-of address ----------------------------------------------------


def test_8_1_lowest_ifpri_is_chosen():
    node = make_node()
    register_three(node)
    assert route(node) == LTE.address
    register(node, at(1), ifid=11, ifpri=7, sequence=2)
    assert route(node) == WIFI.address


def test_8_1_of_equal_ifpri_the_newest_care_of_address_is_chosen():
    node = make_node()
    register(node, at(0), ifid=1)
    register(node, at(1), ifid=2, source=WIFI.address)
    assert route(node) == WIFI.address
    register(node, at(2), ifid=1, sequence=2)  # a mere refresh
    assert route(node) == WIFI.address


def test_4_failed_care_of_address_is_left_for_the_next_one():
    node = make_node()
    register_three(node)
    assert is_changed(node.handle(CareOfAddressFailed(LTE.address), at(1)))
    assert route(node) == WIFI.address
    node.handle(CareOfAddressFailed(WIFI.address), at(2))
    assert route(node) == SAT.address


def test_4_without_any_working_care_of_address_packets_go_to_the_home_address():
    node = make_node()
    register(node, at(0), ifid=1)
    node.handle(CareOfAddressFailed(LTE.address), at(1))
    assert node.routes == ()


def test_4_failed_care_of_address_is_used_again_once_it_is_registered_anew():
    node = make_node()
    register_three(node)
    node.handle(CareOfAddressFailed(LTE.address), at(1))
    effects = send(node, make_route_update(node, at(2), ifid=11, sequence=2), at(2))
    assert is_changed(effects)
    assert route(node) == LTE.address


def test_4_failed_care_of_address_is_forgotten_with_its_binding():
    node = make_node()
    register(node, at(0), ifid=1, lifetime=8)
    node.handle(CareOfAddressFailed(LTE.address), at(1))
    node.handle(TimerFired(), at(8))
    assert (node.entries, node._choice._failed, node._choice._changes) == ((), set(), {})


@pytest.mark.parametrize("address", [LTE.address, ELSEWHERE])
def test_4_second_failure_or_that_of_a_stranger_changes_nothing(address):
    node = make_node()
    register_three(node)
    node.handle(CareOfAddressFailed(LTE.address), at(1))
    assert node.handle(CareOfAddressFailed(address), at(2)) == []


# --- 4: loss ----------------------------------------------------------------------------------


def see_traffic(node, seconds, *, sent, received=()):
    """Return the effects of a look at the counters; bindings are known by their IFIDs."""
    sides = (frozenset((HOME, ifid) for ifid in ifids) for ifids in (sent, received))
    return node.handle(BindingsUsed(*sides), at(seconds))


def send_unheard(node, first, last):
    """Return (seconds, IFID) of each request while packets go by the route and none come."""
    asked = []
    for seconds in range(first, last + 1):
        effects = see_traffic(node, seconds, sent=[entry.ifid for entry in node.routes])
        requests = packets(effects, BindingRefreshRequest)
        asked += [
            (seconds, find_option(p.message, CareOfAddressInformation).ifid) for p in requests
        ]
    return asked


def test_4_silent_care_of_address_is_asked_for_twice_and_then_left():
    node = make_node()
    register_three(node)
    see_traffic(node, 9, sent=[11], received=[11])
    assert send_unheard(node, 10, 17) == [(12, 11), (15, 11)]
    assert route(node) == LTE.address
    effects = see_traffic(node, 18, sent=[11])
    assert is_changed(effects)
    assert route(node) == WIFI.address
    assert len(node.entries) == 3  # what it sends from there may well arrive


def test_4_care_of_address_that_is_heard_of_again_stays():
    node = make_node()
    register_three(node)
    see_traffic(node, 9, sent=[11], received=[11])
    assert len(send_unheard(node, 10, 15)) == 2
    see_traffic(node, 16, sent=[11], received=[11])
    assert send_unheard(node, 17, 18) == []
    assert route(node) == LTE.address


def test_4_care_of_address_that_proves_itself_is_not_asked_for_soon_again():
    """Else a flow that goes one way only would have it refreshed without end."""
    node = make_node()
    register_three(node)
    see_traffic(node, 99, sent=[11], received=[11])
    assert send_unheard(node, 100, 102) == [(102, 11)]
    register(node, at(103), ifid=11, sequence=2)
    assert send_unheard(node, 104, 132) == []
    assert send_unheard(node, 133, 133) == [(133, 11)]
    assert route(node) == LTE.address


def test_4_lone_packet_that_needs_no_answer_asks_for_nothing():
    node = make_node()
    register_three(node)
    see_traffic(node, 60, sent=[11])
    for seconds in range(61, 100):
        assert see_traffic(node, seconds, sent=[]) == []


def test_4_care_of_addresses_that_packets_are_not_sent_to_are_not_judged():
    node = make_node()
    register_three(node)
    for seconds in range(60, 100):
        assert packets(see_traffic(node, seconds, sent=[22, 33], received=[11])) == []
    assert route(node) == LTE.address


def test_4_binding_update_that_is_repeated_on_and_on_has_lost_its_answers():
    node = make_node()
    register_three(node)
    for sequence, seconds in enumerate((100, 101, 103), start=2):
        register(node, at(seconds), ifid=11, sequence=sequence)
        assert route(node) == LTE.address
    register(node, at(107), ifid=11, sequence=5)
    assert route(node) == WIFI.address
    # further ones of the same repetition prove nothing
    for sequence, seconds in enumerate((115, 131, 163), start=6):
        register(node, at(seconds), ifid=11, sequence=sequence)
        assert route(node) == WIFI.address
    register(node, at(210), ifid=11, sequence=9)
    assert route(node) == LTE.address


def test_4_refreshes_of_a_short_binding_are_no_repetitions():
    node = make_node()
    register(node, at(0), ifid=1, lifetime=20)
    for sequence in range(2, 12):
        register(node, at(16 * (sequence - 1)), ifid=1, sequence=sequence, lifetime=20)
    assert route(node) == LTE.address


def test_4_lost_care_of_address_that_moves_is_used_at_once():
    node = make_node()
    register_three(node)
    see_traffic(node, 9, sent=[11], received=[11])
    send_unheard(node, 10, 18)
    assert route(node) == WIFI.address
    register(node, at(19), ifid=11, sequence=2, source=ELSEWHERE)
    assert route(node) == ELSEWHERE


def test_4_watch_forgets_a_binding_that_has_ended():
    node = make_node()
    register(node, at(0), ifid=1, lifetime=8)
    see_traffic(node, 1, sent=[1])
    node.handle(TimerFired(), at(8))
    kept = (known for name, known in vars(node._watch).items() if name != "_sending")
    assert [len(known) for known in kept] == [0, 0, 0, 0]


# --- 8.5: Binding Refresh Requests ------------------------------------------------------------


def requests_until(node, seconds):
    found = []
    while (deadline := node.next_deadline()) is not None and deadline <= 1000.0 + seconds:
        effects = node.handle(TimerFired(), at(deadline - 1000.0))
        found += [(deadline - 1000.0, p) for p in packets(effects, BindingRefreshRequest)]
    return found


def test_8_5_binding_in_use_is_asked_to_be_refreshed_with_its_coainfo():
    node = make_node()
    register(node, at(0), ifid=1, ifpri=4, lifetime=400)
    node.handle(BindingsUsed(frozenset({(HOME, 1)})), at(10))
    requests = requests_until(node, 399)
    assert [seconds for seconds, _ in requests] == [340, 360, 380]
    request = requests[0][1]
    assert (request.source, request.destination) == (CORRESPONDENT, HOME)
    assert request.message.options == (CareOfAddressInformation(1, 4),)


def test_8_5_plain_binding_gets_a_plain_request():
    node = make_node()
    register(node, at(0))
    node.handle(BindingsUsed(frozenset({(HOME, None)})), at(10))
    assert requests_until(node, 345)[0][1].message.options == ()


@pytest.mark.parametrize("used", [frozenset(), frozenset({(HOME, 2)})])
def test_8_5_binding_out_of_use_just_ends(used):
    node = make_node()
    register(node, at(0), ifid=1, lifetime=400)
    node.handle(BindingsUsed(used), at(10))
    assert requests_until(node, 399) == []
    effects = node.handle(TimerFired(), at(400))
    assert is_changed(effects)
    assert (node.entries, node.routes) == ((), ())


# --- 8.6: Binding Errors ----------------------------------------------------------------------


def test_8_6_data_from_an_unregistered_care_of_address_gets_a_binding_error():
    node = make_node()
    register(node, at(0), ifid=1)
    effects = node.handle(HomeAddressOptionSeen(ELSEWHERE, HOME), at(1))
    error = only(packets(effects, BindingError))
    assert (error.source, error.destination) == (CORRESPONDENT, ELSEWHERE)
    assert error.message == BindingError(1, HOME)
    assert counts(effects) == [("data-dropped", "unknown-binding")]


def test_8_6_data_from_any_registered_care_of_address_is_fine():
    node = make_node()
    register_three(node)
    for link in (LTE, WIFI, SAT):
        assert node.handle(HomeAddressOptionSeen(link.address, HOME), at(1)) == []


def test_8_6_binding_errors_are_limited():
    node = make_node()
    seen = HomeAddressOptionSeen(ELSEWHERE, HOME)
    sent = [len(packets(node.handle(seen, at(step / 100)))) for step in range(100)]
    assert sum(sent) == 10


def test_8_6_nothing_is_sent_to_an_address_that_is_not_one_nodes():
    effects = make_node().handle(HomeAddressOptionSeen(IPv6Address("ff02::1"), HOME), at(0))
    assert packets(effects) == []


# --- other packets ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (Packet(LTE.address, HOME, BindingUpdate(1, 4)), "not-for-this-node"),
        (Packet(IPv6Address("::"), CORRESPONDENT, BindingUpdate(1, 4)), "bad-source"),
        (Packet(LTE.address, CORRESPONDENT, BindingAcknowledgement(0, 1, 4)), "unexpected-message"),
    ],
)
def test_other_packets_are_dropped(packet, reason):
    node = make_node()
    effects = node.handle(PacketReceived(packet), at(0))
    assert effects == [Counted("signalling-dropped", reason)]
