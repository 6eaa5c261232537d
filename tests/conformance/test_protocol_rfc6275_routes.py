"""RFC 6275 towards correspondent nodes: sections 5.2.7, 11.6, 11.7 and 11.8."""

from dataclasses import replace

import pytest
from protocol_world import HOME, LTE, WIFI, at, counts, make_router, only
from route_world import CORRESPONDENT, RouteWorld, make_node, make_route_answer, only_send, sends
from test_draft_routes import connected, hand, router_after_tests

from mrouter.protocol.bindings import BindingState
from mrouter.protocol.events import Counted, PacketReceived, TimerFired
from mrouter.wire.messages import (
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    Packet,
    find_option,
)
from mrouter.wire.options import NonceIndices


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


# --- 11.7.3: Binding Acknowledgements ---------------------------------------------------------


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
    assert repeated == 3


def test_node_that_has_restarted_is_registered_with_again_by_the_next_refresh():
    world = connected(LTE, WIFI)
    world.node = make_node(seed=99)
    world.settle(400)
    assert world.node_view() == world.router_view()
    assert len(world.node_view()) == 2


def test_route_whose_refresh_is_not_answered_ends_with_its_lifetime():
    world = connected(LTE)
    world.silent.add(LTE.address)
    start = world.seconds
    while any(route.binding.usable for route in world.router.routes):
        world.settle(5)
    assert 410 < world.seconds - start < 430
    assert only(world.router.routes).binding.state is BindingState.REGISTERING


def test_without_correspondents_nothing_is_sent_but_to_the_home_agent():
    world = RouteWorld(make_router())
    world.connect(LTE, WIFI)
    world.settle(500)
    assert world.messages_to_node() == []
    assert world.router.routes == ()
