"""RFC 6275 towards correspondent nodes: sections 5.2.7, 11.6, 11.7 and 11.8."""

from dataclasses import replace
from itertools import pairwise

import pytest
from protocol_world import HOME, LTE, SAT, WIFI, at, counts, make_router, notes, only
from route_world import (
    CORRESPONDENT,
    OTHER_CORRESPONDENT,
    RouteWorld,
    make_node,
    make_route_answer,
    only_send,
    sends,
    sign_and_pass,
)
from test_draft_routes import connected, hand, router_after_tests

from mrouter.protocol.bindings import BindingState
from mrouter.protocol.events import (
    Counted,
    PacketReceived,
    PeerWithoutMobility,
    SendPacket,
    TimerFired,
)
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    Packet,
    find_option,
)
from mrouter.wire.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    NonceIndices,
)


def registered_world(*addresses):
    """Return a world whose home registration stands, and nothing is on the path."""
    world = RouteWorld()
    world.connect(*addresses)
    while not any(entry.usable for entry in world.router.entries):
        world.deliver()
    world.on_path = []
    return world


def sent_at(world, kind, seconds):
    """Return when packets of ``kind`` go out while nothing arrives, and those packets."""
    found = []
    end = world.seconds + seconds
    while (deadline := world.router.next_deadline()) <= 1000.0 + end:
        effects = world.router.handle(TimerFired(), at(deadline - 1000.0))
        found += [(deadline - 1000.0, effect.packet) for effect in sends(effects, kind)]
    return [moment for moment, _ in found], [packet for _, packet in found]


# --- 11.6: return routability -----------------------------------------------------------------


@pytest.mark.parametrize("kind", [HomeTestInit, CareOfTestInit])
def test_11_8_inits_are_repeated_ever_more_slowly_up_to_32_seconds(kind):
    moments, _ = sent_at(registered_world(LTE), kind, 110)
    assert moments == pytest.approx([1, 3, 7, 15, 31, 63, 95], abs=0.1)


def test_11_6_1_both_inits_go_out_at_once():
    router, home, care_of = pending_tests()
    assert (len(home.cookie), len(care_of.cookie)) == (8, 8)
    assert only(router.routes).binding.state is BindingState.REGISTERING


@pytest.mark.parametrize("kind", [CareOfTestInit, BindingUpdate])
def test_11_8_no_more_than_three_messages_of_a_type_go_out_within_a_second(kind):
    links = [replace(LTE, link=f"link{n}", address=LTE.address + n, ifpri=n) for n in range(10)]
    world = RouteWorld()
    moments = []
    book = world._book

    def watch(effects):
        moments.extend(
            world.seconds
            for effect in sends(effects, kind)
            if effect.packet.destination == CORRESPONDENT
        )
        book(effects)

    world._book = watch
    world.connect(*links)
    world.settle(10)
    assert len(world.node.entries) == 10
    apart = [later - earlier for earlier, later in zip(moments, moments[3:], strict=False)]
    assert min(apart) > 0.999
    assert len(moments) == 10


@pytest.mark.parametrize("kind", [HomeTestInit, CareOfTestInit])
def test_11_8_repeated_inits_have_new_cookies(kind):
    _, packets = sent_at(registered_world(LTE), kind, 110)
    cookies = [packet.message.cookie for packet in packets]
    assert len(set(cookies)) == len(cookies) == 7


def test_11_6_1_cookies_of_home_and_care_of_test_differ():
    world = RouteWorld()
    world.connect(LTE)
    world.settle(1)
    home = only(p for p in world.sent if isinstance(p.message, HomeTestInit))
    care_of = only(p for p in world.sent if isinstance(p.message, CareOfTestInit))
    assert home.message.cookie != care_of.message.cookie


def pending_tests():
    """Return a router that waits for both tests, and its two Inits."""
    world = RouteWorld()
    world.connect(LTE)
    world.deliver()
    effects = world.router.handle(PacketReceived(world.on_path.pop()[0]), at(0))
    home, care_of = only_send(effects, HomeTestInit), only_send(effects, CareOfTestInit)
    return world.router, home.packet.message, care_of.packet.message


def test_11_6_2_update_goes_out_when_both_tests_have_come():
    router, home, care_of = pending_tests()
    home_test = Packet(CORRESPONDENT, HOME, HomeTest(1, home.cookie, b"homehome"))
    assert hand(router, home_test, via_home_agent=True) == []
    care_of_test = Packet(CORRESPONDENT, LTE.address, CareOfTest(2, care_of.cookie, b"careofco"))
    update = only_send(hand(router, care_of_test), BindingUpdate).packet
    assert find_option(update.message, NonceIndices) == NonceIndices(1, 2)


def test_11_6_2_home_test_outside_the_tunnel_is_ignored():
    router, home, _ = pending_tests()
    packet = Packet(CORRESPONDENT, HOME, HomeTest(1, home.cookie, bytes(8)))
    assert hand(router, packet) == [Counted("signalling-dropped", "not-through-home-agent")]


@pytest.mark.parametrize("which", ["source", "cookie", "destination", "repeated"])
def test_11_6_2_home_test_that_does_not_match_is_ignored(which):
    router, home, _ = pending_tests()
    packet = Packet(CORRESPONDENT, HOME, HomeTest(1, home.cookie, bytes(8)))
    if which == "source":
        packet = replace(packet, source=WIFI.address)
    elif which == "cookie":
        packet = replace(packet, message=HomeTest(1, bytes(8), bytes(8)))
    elif which == "destination":
        packet = replace(packet, destination=LTE.address)
    else:
        assert hand(router, packet, via_home_agent=True) == []
    effects = hand(router, packet, via_home_agent=True)
    assert [what for what, _ in counts(effects)] == ["signalling-dropped"]
    assert sends(effects) == []


@pytest.mark.parametrize("which", ["source", "cookie", "destination", "repeated"])
def test_11_6_2_care_of_test_that_does_not_match_is_ignored(which):
    router, _, care_of = pending_tests()
    packet = Packet(CORRESPONDENT, LTE.address, CareOfTest(1, care_of.cookie, bytes(8)))
    if which == "source":
        packet = replace(packet, source=WIFI.address)
    elif which == "cookie":
        packet = replace(packet, message=CareOfTest(1, bytes(8), bytes(8)))
    elif which == "destination":
        packet = replace(packet, destination=WIFI.address)
    else:
        assert hand(router, packet) == []
    effects = hand(router, packet)
    assert [what for what, _ in counts(effects)] == ["signalling-dropped"]
    assert sends(effects) == []


def test_11_6_2_care_of_test_for_an_address_that_is_gone_is_ignored():
    world = registered_world(LTE)
    world.connect(WIFI)
    packet = Packet(CORRESPONDENT, LTE.address, CareOfTest(1, bytes(8), bytes(8)))
    assert sends(hand(world.router, packet, world.seconds), BindingUpdate) == []


# --- 5.2.7: tokens ----------------------------------------------------------------------------


def test_5_2_7_fresh_home_token_is_used_for_a_new_care_of_address():
    world = connected(LTE)
    world.settle(200)
    world.messages_to_node()
    world.connect(LTE, WIFI)
    world.settle(2)
    assert world.messages_to_node(HomeTestInit) == []
    assert len(world.node.entries) == 2


def test_5_2_7_home_token_is_not_used_after_210_seconds():
    world = connected(LTE)
    world.settle(212)
    world.messages_to_node()
    world.connect(LTE, WIFI)
    world.settle(2)
    assert len(world.messages_to_node(HomeTestInit)) == 1
    assert len(world.node.entries) == 2


def test_5_2_7_update_is_never_sent_with_an_old_token():
    router, update = router_after_tests(LTE, lifetime=600)
    seconds, index = 0.0, find_option(update.packet.message, NonceIndices)
    while seconds < 210:
        seconds = router.next_deadline() - 1000.0
        for effect in sends(router.handle(TimerFired(), at(seconds)), BindingUpdate):
            if effect.packet.destination == CORRESPONDENT:
                assert find_option(effect.packet.message, NonceIndices) == index
                last = seconds
    effects = []
    while seconds < 400:
        seconds = router.next_deadline() - 1000.0
        effects += router.handle(TimerFired(), at(seconds))
    routed = [e for e in sends(effects) if e.packet.destination == CORRESPONDENT]
    assert last < 210
    assert {type(e.packet.message) for e in routed} == {HomeTestInit, CareOfTestInit}


# --- 11.7.1, 11.8: Binding Updates ------------------------------------------------------------


def test_11_8_update_is_repeated_with_a_new_sequence_number_each_time():
    router, update = router_after_tests(LTE)
    first = update.packet.message.sequence
    seconds, sent = 0.0, []
    while seconds < 40:
        seconds = router.next_deadline() - 1000.0
        sent += [
            (round(seconds), effect.packet.message.sequence)
            for effect in sends(router.handle(TimerFired(), at(seconds)), BindingUpdate)
            if effect.packet.destination == CORRESPONDENT
        ]
    assert sent == [(n, (first + i) % 65536) for i, n in enumerate([1, 3, 7, 15, 31, 63], 1)]


def test_11_7_2_binding_is_refreshed_before_420_seconds_are_over():
    world = connected(LTE, WIFI)
    for _ in range(200):
        world.settle(10)
        assert {view[1] for view in world.node_view()} == {LTE.address, WIFI.address}
        assert world.router_view() == world.node_view()


@pytest.mark.parametrize(("wanted", "asked"), [(1000, 420), (420, 420), (60, 60), (1, 4)])
def test_11_7_2_lifetime_asked_for_is_at_most_420_seconds(wanted, asked):
    _, update = router_after_tests(LTE, route_lifetime=wanted)
    assert update.packet.message.lifetime == asked


def test_11_7_2_no_sequence_number_is_used_twice_for_a_correspondent():
    world = RouteWorld()
    world.connect(LTE, WIFI, SAT)
    world.settle(400)
    world.connect(LTE)
    world.settle(5)
    updates = world.messages_to_node(BindingUpdate)
    numbers = [packet.message.sequence for packet in updates]
    assert {packet.source for packet in updates} == {LTE.address, WIFI.address, SAT.address}
    assert {(b - a) % 65536 for a, b in pairwise(numbers)} == {1}


def test_11_7_2_sequence_numbers_begin_anywhere():
    first = {router_after_tests(LTE, seed=seed)[1].packet.message.sequence for seed in range(10)}
    assert len(first) == 10


def test_11_7_2_update_is_a_correspondent_registration_from_the_care_of_address():
    _, update = router_after_tests(LTE)
    packet, message = update.packet, update.packet.message
    assert (packet.source, packet.destination, packet.home_address) == (
        LTE.address,
        CORRESPONDENT,
        HOME,
    )
    assert (message.home_registration, message.key_management) == (False, False)


def test_11_7_2_deregistration_names_the_home_address_and_no_care_of_nonce():
    world = connected(LTE, WIFI)
    world.messages_to_node()
    world.connect(LTE)
    world.settle(2)
    farewell = only(world.messages_to_node(BindingUpdate))
    assert farewell.message.lifetime == 0
    assert find_option(farewell.message, AlternateCareOfAddress).address == HOME
    assert find_option(farewell.message, NonceIndices).care_of == 0


# --- 11.7.3: Binding Acknowledgements ---------------------------------------------------------


def test_11_7_3_refresh_advice_of_a_correspondent_is_ignored():
    router, update = router_after_tests(LTE)
    answer = make_route_answer(update)
    advice = BindingRefreshAdvice(40)
    options = (answer.message.options[0], advice, BindingAuthorizationData())
    advised = replace(answer, message=replace(answer.message, options=options))
    effect = SendPacket(advised, authorization=update.authorization)
    hand(router, sign_and_pass(effect))
    binding = only(router.routes).binding
    assert binding.usable
    assert router._routes.next_deadline() - 1000 == pytest.approx(336, abs=1)


# --- 11.3.6: Binding Errors -------------------------------------------------------------------


NO_MOBILITY = PeerWithoutMobility(CORRESPONDENT)


def test_11_3_5_node_without_mobility_header_is_asked_no_more():
    router, _home, _care_of = pending_tests()
    effects = router.handle(NO_MOBILITY, at(0.2))
    assert notes(effects) == ["route-optimization-not-supported"]
    assert sends(effects) == []
    assert only(router.routes).binding.state is BindingState.REFUSED
    assert sends(router.handle(TimerFired(), at(30)), HomeTestInit | CareOfTestInit) == []


def test_11_3_5_node_without_mobility_header_that_answers_an_update_is_left_too():
    router, _update = router_after_tests(LTE, WIFI)
    router.handle(NO_MOBILITY, at(0.2))
    assert {route.binding.state for route in router.routes} == {BindingState.REFUSED}
    assert sends(router.handle(TimerFired(), at(30)), BindingUpdate | CareOfTestInit) == []


def test_11_3_5_node_without_mobility_header_is_tried_again_ever_more_slowly():
    world = RouteWorld()
    tried = []

    def answer(event):
        if isinstance(event, PacketReceived):
            tried.append(world.seconds)
            world.tell_router(NO_MOBILITY)

    world.tell_node = answer
    world.connect(LTE, WIFI)
    world.settle(2000)
    begun = [later for earlier, later in pairwise([-60, *tried]) if later - earlier > 1]
    pauses = [round(later - earlier) for earlier, later in pairwise(begun)]
    assert pauses == [60, 120, 240, 480, 960]
    assert len(tried) <= 2 * len(begun)  # a Home and a Care-of Test Init each time


def test_11_3_5_node_that_has_learnt_of_mobility_is_bound_at_the_next_try():
    world = registered_world(LTE, WIFI)
    world.pass_time(2)
    world.tell_router(NO_MOBILITY)
    world.on_path = []
    world.settle(70)
    assert {view[1] for view in world.node_view()} == {LTE.address, WIFI.address}
    assert world.node_view() == world.router_view()


def test_11_3_5_unrecognized_header_does_not_end_what_was_accepted():
    world = connected(LTE, WIFI)
    held = world.router.routes
    effects = world.router.handle(NO_MOBILITY, at(3))
    assert Counted("signalling-dropped", "parameter-problem-ignored") in effects
    assert world.router.routes == held


def test_11_3_5_unrecognized_header_is_ignored_while_nothing_is_asked():
    router, _home, _care_of = pending_tests()
    router.handle(NO_MOBILITY, at(0.2))
    again = router.handle(NO_MOBILITY, at(0.3))
    assert again == [Counted("signalling-dropped", "parameter-problem-ignored")]


def test_11_3_5_unrecognized_header_makes_no_entry():
    router, _home, _care_of = pending_tests()
    effects = router.handle(PeerWithoutMobility(OTHER_CORRESPONDENT), at(0.2))
    assert effects == [Counted("signalling-dropped", "not-a-correspondent")]
    assert only(router.routes).correspondent == CORRESPONDENT


@pytest.mark.parametrize("status", [1, 2])
def test_11_3_6_binding_error_of_a_stranger_is_ignored(status):
    world = connected(LTE)
    held = world.router.routes
    error = Packet(OTHER_CORRESPONDENT, LTE.address, BindingError(status, HOME))
    effects = hand(world.router, error, 3)
    assert [what for what, _ in counts(effects)] == ["signalling-dropped"]
    assert sends(effects) == []
    assert world.router.routes == held


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"sequence": 1}, ("signalling-dropped", "not-the-last-update")),
        ({"signed": False}, ("authentication-failed", "missing")),
        ({"routing_home_address": WIFI.address}, ("signalling-dropped", "not-for-this-node")),
    ],
)
def test_11_7_3_acknowledgement_that_is_not_ours_is_ignored(how, expected):
    router, update = router_after_tests(LTE)
    effects = hand(router, make_route_answer(update, **how))
    assert counts(effects) == [expected]
    assert not only(router.routes).binding.usable


def test_11_7_3_acknowledgement_under_another_key_is_ignored():
    router, update = router_after_tests(LTE)
    wrong = replace(update.authorization, key=bytes(20))
    effects = hand(router, make_route_answer(update, authorization=wrong))
    assert counts(effects) == [("authentication-failed", "wrong")]


def test_11_7_3_second_acknowledgement_is_ignored():
    router, update = router_after_tests(LTE)
    hand(router, make_route_answer(update))
    effects = hand(router, make_route_answer(update, 128, lifetime=0))
    assert counts(effects) == [("signalling-dropped", "not-the-last-update")]
    assert only(router.routes).binding.usable


def test_11_7_3_sequence_number_out_of_window_is_put_right_at_once():
    router, update = router_after_tests(LTE)
    answer = make_route_answer(update, 135, sequence=40000, lifetime=0)
    repeated = only_send(hand(router, answer), BindingUpdate).packet
    assert repeated.message.sequence == 40001


def test_11_7_3_number_that_has_been_followed_already_is_not_followed_again():
    router, update = router_after_tests(LTE)
    answer = make_route_answer(update, 135, sequence=40000, lifetime=0)
    hand(router, answer)
    effects = hand(router, answer)
    assert counts(effects) == [("signalling-dropped", "not-the-last-update")]
    assert not sends(effects, BindingUpdate)


@pytest.mark.parametrize(
    ("status", "kinds"),
    [
        (136, [HomeTestInit]),
        (137, [CareOfTestInit]),
        (138, [HomeTestInit, CareOfTestInit]),
    ],
)
def test_11_7_3_expired_nonces_are_renewed(status, kinds):
    router, update = router_after_tests(LTE)
    effects = hand(router, make_route_answer(update, status, signed=False, lifetime=0))
    assert [type(effect.packet.message) for effect in sends(effects)] == kinds


def test_11_7_3_endless_complaints_are_not_answered_without_end():
    router, update = router_after_tests(LTE)
    repeated = 0
    for _ in range(10):
        answer = make_route_answer(update, 135, sequence=update.packet.message.sequence)
        for effect in sends(hand(router, answer), BindingUpdate):
            update = effect
            repeated += 1
    assert repeated == 2


def test_node_that_has_restarted_is_registered_with_again_by_the_next_refresh():
    world = connected(LTE, WIFI)
    world.node = make_node(seed=99)
    world.settle(400)
    assert world.node_view() == world.router_view()
    assert len(world.node_view()) == 2


def seconds_until_left(world, kind):
    """Return how long the only route stays usable when no ``kind`` comes from the far end."""
    tell_router = world.tell_router

    def lose(event):
        packet = getattr(event, "packet", None)
        if packet is None or packet.source != CORRESPONDENT or not isinstance(packet.message, kind):
            tell_router(event)

    world.tell_router = lose
    start = world.seconds
    while world.seconds < start + 500 and only(world.router.routes).binding.usable:
        world.settle(1)
    assert only(world.router.routes).binding.state is BindingState.REGISTERING
    world.tell_router = tell_router
    return world.seconds - start


def test_route_whose_update_is_not_answered_ends_with_its_lifetime():
    lasted = seconds_until_left(connected(LTE), BindingAcknowledgement)
    assert lasted == pytest.approx(420, abs=5)


@pytest.mark.parametrize("lost", [HomeTest, CareOfTest])
def test_5_2_9_route_is_left_when_return_routability_fails_after_3_repetitions(lost):
    world = connected(LTE)
    # a refresh is due after 336 s, its tests are repeated after 1, 2 and 4 s, and given up after 8
    assert seconds_until_left(world, lost) == pytest.approx(336 + 15, abs=5)
    world.settle(40)
    assert only(world.router.routes).binding.usable


def test_without_correspondents_nothing_is_sent_but_to_the_home_agent():
    world = RouteWorld(make_router())
    world.connect(LTE, WIFI)
    world.settle(500)
    assert world.messages_to_node() == []
    assert world.router.routes == ()
