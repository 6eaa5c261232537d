"""RFC 6275 at the correspondent node: sections 5.2, 9.4 and 9.5."""

import hashlib
import hmac
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from protocol_world import FORMAT, HOME, LTE, WIFI, at, counts, only, packets
from route_world import (
    COOKIE,
    CORRESPONDENT,
    ask_care_of,
    ask_home,
    make_node,
    make_route_update,
    route_answer_of,
)

from mrouter.protocol.events import Counted, HomeAddressOptionSeen, PacketReceived
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import (
    BindingAcknowledgement,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    Packet,
    find_option,
)
from mrouter.wire.options import BindingAuthorizationData, NonceIndices
from mrouter.wire.packet import parse_packet, serialize_packet

LINK_LOCAL = IPv6Address("fe80::1")


def send(node, packet, moment):
    return node.handle(PacketReceived(packet), moment)


# --- 5.2, 9.4: return routability -------------------------------------------------------------


def test_9_4_3_home_test_answers_to_the_home_address():
    node = make_node()
    effects = send(node, Packet(HOME, CORRESPONDENT, HomeTestInit(COOKIE)), at(0))
    answer = only(packets(effects))
    assert (answer.source, answer.destination) == (CORRESPONDENT, HOME)
    assert isinstance(answer.message, HomeTest)
    assert answer.message.cookie == COOKIE


def test_5_2_5_care_of_token_of_a_plain_mobile_node_ends_with_octet_1():
    node = make_node()
    token = ask_care_of(node, at(0), LTE.address).keygen_token
    secret = node._keys.get_current(at(0).monotonic)
    expected = hmac.digest(secret.key, LTE.address.packed + secret.nonce + b"\1", hashlib.sha1)
    assert token == expected[:8]


@pytest.mark.parametrize("init", [HomeTestInit(COOKIE), CareOfTestInit(COOKIE)])
def test_9_4_test_init_with_a_home_address_option_is_silently_ignored(init):
    packet = Packet(LTE.address, CORRESPONDENT, init, home_address=HOME)
    effects = send(make_node(), packet, at(0))
    assert effects == [Counted("signalling-dropped", "test-with-home-address")]


@pytest.mark.parametrize("init", [HomeTestInit(COOKIE), CareOfTestInit(COOKIE)])
def test_9_4_test_init_from_an_address_that_is_not_routable_is_ignored(init):
    effects = send(make_node(), Packet(LINK_LOCAL, CORRESPONDENT, init), at(0))
    assert effects == [Counted("signalling-dropped", "bad-source")]


def test_5_2_test_inits_leave_no_state_behind():
    node = make_node()
    ask_home(node, at(0))
    secrets = dict(node._keys._secrets)
    for number in range(100):
        ask_home(node, at(0), IPv6Address(int(HOME) + number))
        ask_care_of(node, at(0), IPv6Address(int(LTE.address) + number))
    assert node._keys._secrets == secrets
    assert (node.entries, len(node._sequences), node.next_deadline()) == ((), 0, None)


def test_5_2_7_tokens_are_accepted_for_210_seconds_and_not_after_240():
    node = make_node()
    for age, status in [(210, 1), (239, 1), (240, 138), (500, 138)]:
        start = age * 10
        ask_home(node, at(start))
        update = make_route_update(
            node, at(start), asked=at(start), ifid=1, sequence=age, lifetime=4
        )
        answer = route_answer_of(node, update, at(start + age))
        assert (age, answer.message.status) == (age, status)


def test_5_2_7_tokens_of_a_key_before_the_last_are_accepted():
    node = make_node()
    tokens = (ask_home(node, at(0)), ask_care_of(node, at(0), LTE.address))
    later = ask_home(node, at(31))
    assert later.nonce_index != tokens[0].nonce_index
    answer = route_answer_of(node, make_route_update(node, at(31), tokens=tokens), at(31))
    assert answer.message.status == 0


def test_5_2_7_tokens_of_two_nonces_go_together():
    node = make_node()
    home = ask_home(node, at(0))
    care_of = ask_care_of(node, at(100), LTE.address)
    update = make_route_update(node, at(100), tokens=(home, care_of))
    indices = find_option(update.message, NonceIndices)
    assert indices.home != indices.care_of
    assert route_answer_of(node, update, at(100)).message.status == 0


# --- 9.5.1: whether a Binding Update is valid -------------------------------------------------


@pytest.mark.parametrize(
    ("home_age", "care_of_age", "status"),
    [
        (300, 10, BindingStatus.EXPIRED_HOME_NONCE_INDEX),
        (10, 300, BindingStatus.EXPIRED_CARE_OF_NONCE_INDEX),
        (300, 310, BindingStatus.EXPIRED_NONCES),
    ],
)
def test_9_5_1_expired_nonces_are_told_apart_without_authorization_data(
    home_age, care_of_age, status
):
    node = make_node()
    ages = sorted([(home_age, "home"), (care_of_age, "care-of")], reverse=True)
    asked = {}
    for age, which in ages:
        moment = at(400 - age)
        if which == "home":
            asked[which] = ask_home(node, moment)
        else:
            asked[which] = ask_care_of(node, moment, LTE.address)
    update = make_route_update(node, at(400), tokens=(asked["home"], asked["care-of"]))
    answer = route_answer_of(node, update, at(400)).message
    assert (answer.status, answer.sequence) == (status, update.message.sequence)
    assert find_option(answer, BindingAuthorizationData) is None
    assert node.entries == ()


def test_9_5_1_care_of_nonce_is_not_looked_at_to_delete():
    node = make_node()
    route_answer_of(node, make_route_update(node, at(0)), at(0))
    update = make_route_update(node, at(1), sequence=2, lifetime=0)
    indices = find_option(update.message, NonceIndices)
    assert indices.care_of == 0 != indices.home
    assert route_answer_of(node, update, at(1)).message.status == 0
    assert node.entries == ()


def test_9_5_1_expired_home_nonce_cannot_delete():
    node = make_node()
    route_answer_of(node, make_route_update(node, at(0)), at(0))
    update = make_route_update(node, at(300), asked=at(1), sequence=2, lifetime=0)
    answer = route_answer_of(node, update, at(300)).message
    assert answer.status == BindingStatus.EXPIRED_HOME_NONCE_INDEX
    assert len(node.entries) == 1


def test_9_5_1_update_without_nonce_indices_is_silently_discarded():
    node = make_node()
    effects = send(node, make_route_update(node, at(0), nonces="no"), at(0))
    assert effects == [Counted("authentication-failed", "nonces-missing")]


def test_9_5_1_update_without_authorization_data_is_silently_discarded():
    node = make_node()
    update = make_route_update(node, at(0))
    message = replace(update.message, options=update.message.options[:-1])
    effects = send(node, replace(update, message=message), at(0))
    assert effects == [Counted("authentication-failed", "missing")]


def forge(packet, **changes):
    """Return ``packet`` with other contents under its old authenticator, as it is received."""
    message_changes = changes.pop("message", {})
    forged = replace(packet, message=replace(packet.message, **message_changes), **changes)
    return parse_packet(serialize_packet(forged, FORMAT), FORMAT)


@pytest.mark.parametrize(
    "changes",
    [
        {"message": {"sequence": 500}},
        {"message": {"lifetime": 4}},
        {"message": {"lifetime": 0}},
        {"message": {"acknowledge": False}},
        {"source": WIFI.address},
        {"home_address": IPv6Address("2001:db8:aaaa::666")},
    ],
)
def test_9_5_1_forged_update_changes_nothing_and_gets_no_answer(changes):
    node = make_node()
    effects = send(node, forge(make_route_update(node, at(0), ifid=1), **changes), at(0))
    assert effects == [Counted("authentication-failed", "wrong")]
    assert node.entries == ()


@pytest.mark.parametrize("which", ["home", "care-of"])
def test_9_5_1_update_with_one_wrong_token_changes_nothing(which):
    node = make_node()
    home, care_of = ask_home(node, at(0)), ask_care_of(node, at(0), LTE.address)
    if which == "home":
        home = replace(home, keygen_token=bytes(8))
    else:
        care_of = replace(care_of, keygen_token=bytes(8))
    effects = send(node, make_route_update(node, at(0), tokens=(home, care_of)), at(0))
    assert effects == [Counted("authentication-failed", "wrong")]


def test_9_5_1_home_token_alone_cannot_register():
    node = make_node()
    update = make_route_update(node, at(0), lifetime=0)
    effects = send(node, forge(update, message={"lifetime": 400}), at(0))
    assert counts(effects) == [("binding-refused", "expired-care-of-nonce-index")]
    assert node.entries == ()


def test_9_5_1_alternate_care_of_address_is_the_one_that_is_authorized():
    node = make_node()
    update = make_route_update(node, at(0), source=WIFI.address, alternate=LTE.address)
    assert route_answer_of(node, update, at(0)).destination == WIFI.address
    assert only(node.entries).care_of_address == LTE.address


def test_9_5_1_alternate_care_of_address_under_the_sources_authenticator_is_discarded():
    node = make_node()
    update = make_route_update(
        node, at(0), source=WIFI.address, alternate=LTE.address, signed_for=WIFI.address
    )
    assert send(node, update, at(0)) == [Counted("authentication-failed", "wrong")]


@pytest.mark.parametrize("address", [LINK_LOCAL, IPv6Address("::1")])
def test_9_5_1_addresses_must_be_routable(address):
    node = make_node()
    update = replace(make_route_update(node, at(0)), home_address=address)
    assert send(node, update, at(0)) == [Counted("signalling-dropped", "bad-address")]


def test_10_3_1_home_registration_is_refused_with_131():
    node = make_node()
    update = make_route_update(node, at(0), home_registration=True, nonces="no")
    answer = route_answer_of(node, update, at(0)).message
    assert answer.status == BindingStatus.HOME_REGISTRATION_NOT_SUPPORTED
    assert node.entries == ()


def test_9_5_1_home_registration_with_nonce_indices_is_discarded():
    node = make_node()
    effects = send(node, make_route_update(node, at(0), home_registration=True), at(0))
    assert effects == [Counted("signalling-dropped", "nonces-in-home-registration")]


# --- 9.5.1, 5.2.8, 9.5.3: sequence numbers and replays ----------------------------------------


@pytest.mark.parametrize(
    ("stored", "received", "accepted"),
    [(15, 16, True), (15, 15, False), (15, 15 + 32768, False), (65535, 0, True)],
)
def test_9_5_1_sequence_number_must_grow(stored, received, accepted):
    node = make_node()
    route_answer_of(node, make_route_update(node, at(0), ifid=1, sequence=stored), at(0))
    update = make_route_update(node, at(1), ifid=1, sequence=received)
    answer = route_answer_of(node, update, at(1)).message
    assert (answer.status, answer.sequence) == ((1, received) if accepted else (135, stored))
    assert isinstance(answer.options[-1], BindingAuthorizationData)


@pytest.mark.parametrize("ended_by", ["deregistration", "deregistration of all", "expiry"])
def test_5_2_8_ended_binding_cannot_be_brought_back_by_a_replay(ended_by):
    node = make_node()
    lifetime = 8 if ended_by == "expiry" else 400
    recorded = make_route_update(node, at(0), ifid=1, sequence=1, lifetime=lifetime)
    route_answer_of(node, recorded, at(0))
    if ended_by != "expiry":
        ifid = 1 if ended_by == "deregistration" else None
        farewell = make_route_update(node, at(1), ifid=ifid, sequence=2, lifetime=0)
        route_answer_of(node, farewell, at(1))
    for second in range(20, 400, 10):
        send(node, recorded, at(second))
        assert node.entries == ()


def test_9_5_3_delayed_update_loses_against_the_deregistration_of_all():
    node = make_node()
    delayed = make_route_update(node, at(0), ifid=9, sequence=7)
    route_answer_of(node, make_route_update(node, at(1), sequence=8, lifetime=0), at(1))
    assert route_answer_of(node, delayed, at(2)).message.status == 135
    assert node.entries == ()


def test_9_5_3_delayed_deregistration_of_all_loses_against_what_came_after():
    node = make_node()
    delayed = make_route_update(node, at(0), sequence=7, lifetime=0)
    route_answer_of(node, make_route_update(node, at(1), ifid=9, sequence=8), at(1))
    assert route_answer_of(node, delayed, at(2)).message.status == 135
    assert len(node.entries) == 1


# --- 9.5.2: caching ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "granted"), [(400, 400), (420, 420), (424, 420), (262140, 420), (4, 4)]
)
def test_9_5_2_lifetime_is_at_most_420_seconds(asked, granted):
    node = make_node(max_lifetime=10_000)
    answer = route_answer_of(node, make_route_update(node, at(0), lifetime=asked), at(0))
    assert answer.message.lifetime == granted
    assert only(node.entries).expires_at == at(granted).monotonic


def test_9_5_2_node_out_of_resources_answers_130():
    node = make_node(max_bindings=2)
    for number in range(3):
        home = IPv6Address(int(HOME) + number)
        answer = route_answer_of(node, make_route_update(node, at(0), home=home), at(0)).message
        assert answer.status == (BindingStatus.INSUFFICIENT_RESOURCES if number == 2 else 0)
    assert len(node.entries) == 2
    again = make_route_update(node, at(1), home=HOME, sequence=2)
    assert route_answer_of(node, again, at(1)).message.status == 0


def test_9_5_2_resources_come_back_with_time():
    node = make_node(max_bindings=1)
    route_answer_of(node, make_route_update(node, at(0)), at(0))
    other = IPv6Address(int(HOME) + 1)
    answer = route_answer_of(node, make_route_update(node, at(500), home=other), at(500))
    assert answer.message.status == 0


def test_9_5_4_mobile_node_at_home_is_answered_without_a_routing_header():
    node = make_node()
    route_answer_of(node, make_route_update(node, at(0)), at(0))
    update = make_route_update(node, at(1), sequence=2, source=HOME, lifetime=0)
    answer = route_answer_of(node, update, at(1))
    assert (answer.destination, answer.routing_home_address) == (HOME, None)
    assert isinstance(answer.message, BindingAcknowledgement)


# --- 8.2, 9.3, 9.5.4, 6.1.8 -------------------------------------------------------------------


@pytest.mark.parametrize("init", [HomeTestInit(COOKIE), CareOfTestInit(COOKIE), None])
def test_8_2_packet_with_a_type_2_routing_header_is_silently_discarded(init):
    node = make_node()
    packet = make_route_update(node, at(0))
    if init is not None:
        packet = Packet(LTE.address, CORRESPONDENT, init)
    effects = send(node, replace(packet, routing_home_address=CORRESPONDENT), at(0))
    assert effects == [Counted("signalling-dropped", "routing-header")]
    assert node.entries == ()


@pytest.mark.parametrize("source", ["ff02::1", "::"])
def test_9_5_4_update_without_a_unicast_source_gets_no_answer(source):
    node = make_node()
    update = replace(make_route_update(node, at(0)), source=IPv6Address(source))
    assert send(node, update, at(0)) == [Counted("signalling-dropped", "bad-source")]
    assert node.entries == ()


def test_9_5_4_mobile_node_away_is_answered_at_the_source_with_a_routing_header():
    node = make_node()
    update = make_route_update(node, at(0), source=WIFI.address, alternate=LTE.address)
    answer = route_answer_of(node, update, at(0))
    assert (answer.source, answer.destination) == (CORRESPONDENT, WIFI.address)
    assert answer.routing_home_address == HOME


def test_6_1_8_k_flag_is_ignored_and_never_set():
    node = make_node()
    answer = route_answer_of(node, make_route_update(node, at(0), key_management=True), at(0))
    assert (answer.message.status, answer.message.key_management) == (0, False)


def test_9_5_1_any_sequence_number_may_be_the_first():
    for sequence in (0, 1, 32768, 65535):
        node = make_node()
        answer = route_answer_of(node, make_route_update(node, at(0), sequence=sequence), at(0))
        assert (answer.message.status, answer.message.sequence) == (0, sequence)


def test_9_5_1_home_registration_of_a_bound_home_address_is_not_told_what_stands():
    node = make_node()
    route_answer_of(node, make_route_update(node, at(0)), at(0))
    held = node.entries
    update = make_route_update(node, at(1), sequence=2, home_registration=True, nonces="no")
    answer = route_answer_of(node, update, at(1)).message
    assert answer.status == BindingStatus.HOME_REGISTRATION_NOT_SUPPORTED
    assert node.entries is held


@pytest.mark.parametrize("source", [LTE.address, WIFI.address])
def test_6_3_home_address_option_changes_no_binding(source):
    node = make_node()
    route_answer_of(node, make_route_update(node, at(0)), at(0))
    held, routes = node.entries, node.routes
    node.handle(HomeAddressOptionSeen(source, HOME), at(1))
    node.handle(HomeAddressOptionSeen(source, IPv6Address(int(HOME) + 1)), at(2))
    assert (node.entries, node.routes) == (held, routes)


def test_9_5_3_deregistration_creates_no_binding():
    node = make_node()
    answer = route_answer_of(node, make_route_update(node, at(0), lifetime=0), at(0)).message
    assert (answer.status, answer.lifetime) == (0, 0)
    assert node.entries == ()
