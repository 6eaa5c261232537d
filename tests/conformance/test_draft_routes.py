"""draft-wakikawa-mobileip-multiplecoa-01 towards correspondent nodes: sections 3, 5.2, 7.3-7.8."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from protocol_world import HOME, LTE, SAT, WIFI, at, counts, is_changed, make_router, notes, only
from route_world import (
    CORRESPONDENT,
    OTHER_CORRESPONDENT,
    PLAIN,
    RouteWorld,
    make_node,
    make_route_answer,
    only_send,
    sends,
)

from mrouter.protocol.bindings import BindingState
from mrouter.protocol.events import Counted, EgressChanged, PacketReceived, StopRequested
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
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
    CareOfAddressInformation,
    NonceIndices,
)

AT_HOME = replace(LTE, address=HOME)


def information_of(packet):
    return find_option(packet.message, CareOfAddressInformation)


def connected(*addresses, **how):
    """Return a world whose mobile router is registered everywhere."""
    world = connecting(*addresses, **how)
    world.sent = []
    return world


def connecting(*addresses, **how):
    """Return the same, with what was sent for it."""
    world = RouteWorld(**how)
    world.connect(*addresses)
    world.settle(2)
    return world


def states(world):
    return {r.binding.link: (r.binding.state, r.binding.usable) for r in world.router.routes}


def updates_until_settled(world, seconds=2):
    world.settle(seconds)
    return world.messages_to_node(BindingUpdate)


def router_after_tests(*addresses, **changes):
    """Return a router whose first Binding Update to the correspondent node is sent, and that."""
    world = RouteWorld(make_router(correspondents=(CORRESPONDENT,), **changes))
    world.connect(*addresses)
    router = world.router
    captured = []
    handle = router.handle
    router.handle = lambda event, now: captured.append(handle(event, now)) or captured[-1]
    while not [e for effects in captured for e in effects if _is_route_update(e)]:
        world.deliver()
    del router.handle
    return router, next(e for effects in captured for e in effects if _is_route_update(e))


def _is_route_update(effect):
    return bool(sends([effect], BindingUpdate)) and effect.packet.destination == CORRESPONDENT


def hand(router, packet, seconds=0.1, **how):
    return router.handle(PacketReceived(packet, **how), at(seconds))


# --- 7.3: order -------------------------------------------------------------------------------


def test_7_3_primary_goes_first_and_the_others_after_its_acknowledgement():
    world = connecting(LTE, WIFI, SAT)
    kinds = [(type(p.message).__name__, p.source) for p in world.messages_to_node()]
    assert kinds == [
        ("HomeTestInit", HOME),
        ("CareOfTestInit", LTE.address),
        ("BindingUpdate", LTE.address),
        ("CareOfTestInit", WIFI.address),
        ("CareOfTestInit", SAT.address),
        ("BindingUpdate", WIFI.address),
        ("BindingUpdate", SAT.address),
    ]


def test_7_3_others_wait_while_the_primary_is_not_acknowledged():
    router, _ = router_after_tests(LTE, WIFI)
    for second in range(1, 100):
        effects = router.handle(EgressChanged((LTE, WIFI)), at(second))
        assert sends(effects, CareOfTestInit) == [] or all(
            e.packet.source == LTE.address for e in sends(effects, CareOfTestInit)
        )


def test_7_3_others_begin_when_the_primary_is_acknowledged():
    router, update = router_after_tests(LTE, WIFI)
    effects = hand(router, make_route_answer(update))
    init = only_send(effects, CareOfTestInit)
    assert (init.packet.source, init.link) == (WIFI.address, "wifi")
    assert sends(effects, HomeTestInit) == []


def test_7_3_non_primary_is_not_used_before_its_acknowledgement():
    world = connecting(LTE)
    world.connect(LTE, WIFI)
    while not any(
        isinstance(packet.message, BindingUpdate) and packet.source == WIFI.address
        for packet, _ in world.on_path
        if packet.destination == CORRESPONDENT
    ):
        world.deliver()
    assert states(world)["wifi"] == (BindingState.REGISTERING, False)
    world.settle(1)
    assert states(world)["wifi"] == (BindingState.REGISTERED, True)


def test_7_3_primary_has_ifpri_0_and_no_other_has():
    world = connected(replace(LTE, ifpri=5), replace(WIFI, ifpri=5), replace(SAT, ifpri=9))
    assert [e.ifpri for e in sorted(world.node.entries, key=lambda e: e.slot)] == [0, 5, 9]
    world = connected(replace(LTE, ifpri=0), replace(WIFI, ifpri=0))
    assert [e.ifpri for e in sorted(world.node.entries, key=lambda e: e.slot)] == [0, 1]


def test_7_3_home_test_init_goes_through_the_home_agent_and_care_of_test_init_does_not():
    world = RouteWorld()
    world.connect(LTE)
    world.deliver()
    effects = world.router.handle(PacketReceived(world.on_path.pop()[0]), at(0.1))
    home, care_of = only_send(effects, HomeTestInit), only_send(effects, CareOfTestInit)
    assert (home.via_home_agent, home.packet.source, home.link) == (True, HOME, None)
    assert (care_of.via_home_agent, care_of.link) == (False, "lte")


def test_7_3_nothing_is_sent_to_the_correspondent_before_the_home_registration():
    world = RouteWorld()
    world.connect(LTE)
    assert world.messages_to_node() == []
    assert world.router.routes[0].binding.state is BindingState.REGISTERING


def test_5_3_2_update_has_m_flag_coainfo_nonces_and_authorization():
    _, update = router_after_tests(LTE)
    message = update.packet.message
    assert (message.multiple, message.acknowledge, message.home_registration) == (
        True,
        True,
        False,
    )
    assert (message.mobile_router, message.link_local_compatible) == (False, False)
    assert [type(option) for option in message.options] == [
        CareOfAddressInformation,
        NonceIndices,
        BindingAuthorizationData,
    ]
    assert (update.packet.home_address, update.link) == (HOME, "lte")


def test_5_2_coainfo_of_test_and_update_is_the_lists():
    world = connecting(LTE, WIFI)
    listed = {
        CareOfAddressInformation(r.binding.ifid, r.binding.ifpri) for r in world.router.routes
    }
    sent = [p for p in world.messages_to_node() if not isinstance(p.message, HomeTestInit)]
    assert {information_of(packet) for packet in sent} == listed


def test_7_3_correspondents_can_be_named_later():
    world = RouteWorld(make_router())
    world.connect(LTE, WIFI)
    world.settle(2)
    assert world.node.entries == ()
    world.optimize(CORRESPONDENT)
    world.settle(2)
    assert world.node_view() == world.router_view()
    assert len(world.node_view()) == 2


def test_correspondent_that_is_not_named_any_more_is_deregistered():
    world = connected(LTE, WIFI)
    world.optimize()
    farewell = only(updates_until_settled(world))
    assert (farewell.message.lifetime, information_of(farewell)) == (0, None)
    assert (world.node.entries, world.router.routes) == ((), ())


def test_correspondent_that_is_named_again_at_once_is_registered_again():
    world = connected(LTE, WIFI)
    world.optimize()
    world.optimize(CORRESPONDENT)
    world.settle(5)
    assert len(world.node_view()) == 2
    assert world.node_view() == world.router_view()


# --- 3, 5.2: IFIDs ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_3_ifids_of_a_care_of_address_differ_for_each_destination(seed):
    router = make_router(seed, correspondents=(CORRESPONDENT, OTHER_CORRESPONDENT))
    world = RouteWorld(router)
    world.connect(LTE, WIFI)
    world.settle(1)
    for address in (LTE.address, WIFI.address):
        ifids = [e.ifid for e in router.entries if e.care_of_address == address]
        ifids += [r.binding.ifid for r in router.routes if r.binding.care_of_address == address]
        assert len(ifids) == len(set(ifids)) == 3


def test_5_2_ifids_are_renewed_and_the_routes_stay():
    world = RouteWorld(make_router(correspondents=(CORRESPONDENT,), ifid_renewal=100.0))
    world.connect(LTE, WIFI)
    world.settle(5)
    seen = set()
    for _ in range(20):
        world.settle(50)
        assert {view[1] for view in world.node_view()} == {LTE.address, WIFI.address}
        assert world.router_view() <= world.node_view()
        seen |= {view[0] for view in world.node_view()}
    assert len(seen) >= 10


@pytest.mark.parametrize("renewal", [335.0, 337.0])  # before and after the refresh
def test_5_2_only_one_ifid_of_a_care_of_address_is_told_at_a_time(renewal):
    world = RouteWorld(make_router(correspondents=(CORRESPONDENT,), ifid_renewal=renewal))
    world.connect(LTE)
    world.settle(330)
    world.messages_to_node()
    tell_router = world.tell_router

    def lose(event):
        packet = getattr(event, "packet", None)
        if packet is None or packet.source != CORRESPONDENT or not is_answer(packet):
            tell_router(event)

    world.tell_router = lose
    world.settle(15)
    updates = world.messages_to_node(BindingUpdate)
    assert len(updates) > 1
    assert len({information_of(packet).ifid for packet in updates}) == 1

    world.tell_router = tell_router
    world.settle(60)
    assert world.node_view() == world.router_view()
    assert len(world.node_view()) == 1


def is_answer(packet):
    return isinstance(packet.message, BindingAcknowledgement)


# --- 7.4: Binding Acknowledgements ------------------------------------------------------------


def test_7_4_status_1_with_coainfo_registers_that_care_of_address():
    router, update = router_after_tests(LTE)
    effects = hand(router, make_route_answer(update))
    assert is_changed(effects)
    assert "route-registered" in notes(effects)
    assert only(router.routes).binding.usable


@pytest.mark.parametrize("how", [{"information": None, "status": 0}, {"status": 0}])
def test_7_4_answer_without_coainfo_or_of_status_0_ends_multiple_registration(how):
    router, update = router_after_tests(LTE, WIFI)
    effects = hand(router, make_route_answer(update, **how))
    assert "multiple-registration-not-supported" in notes(effects)
    binding = only(router.routes).binding
    assert (binding.link, binding.plain, binding.usable) == ("lte", True, True)
    assert sends(effects) == []


def test_7_4_plain_node_gets_the_primary_only_and_without_coainfo_from_then_on():
    world = connected(LTE, WIFI, fmt=PLAIN)
    assert world.node_view() == world.router_view() == {(None, LTE.address, 0)}
    world.messages_to_node()
    world.settle(500)
    later = world.messages_to_node()
    assert later
    assert all(information_of(packet) is None for packet in later)
    assert not any(getattr(packet.message, "multiple", False) for packet in later)
    world.connect(WIFI)
    world.settle(2)
    assert world.node_view() == world.router_view() == {(None, WIFI.address, 0)}


def test_7_4_node_that_became_a_plain_one_is_found_out_by_another_address():
    world = connected(LTE)
    world.fmt, world.node = PLAIN, make_node(seed=99)
    world.connect(LTE, WIFI)
    world.settle(5)
    assert world.node_view() == world.router_view() == {(None, LTE.address, 0)}


def test_7_4_several_addresses_are_tried_again_once_all_links_were_gone():
    world = connected(LTE, WIFI, fmt=PLAIN)
    world.fmt = RouteWorld().fmt
    world.connect()
    world.settle(1)
    world.connect(LTE, WIFI)
    world.settle(2)
    assert {view[1] for view in world.node_view()} == {LTE.address, WIFI.address}


def test_7_4_refused_address_is_left_alone_and_tried_later():
    router, update = router_after_tests(LTE, WIFI)
    effects = hand(router, make_route_answer(update, 129, lifetime=0))
    assert counts(effects) == [("registration-refused", "administratively-prohibited")]
    assert sends(effects) == []
    assert router.routes[0].binding.state is BindingState.REFUSED
    router.handle(EgressChanged((LTE, WIFI)), at(59))
    assert router.routes[0].binding.state is BindingState.REFUSED
    effects = router.handle(EgressChanged((LTE, WIFI)), at(61))
    assert only_send(effects, BindingUpdate).packet.destination == CORRESPONDENT


def test_7_4_refused_fresh_ifid_leaves_the_old_one_in_use():
    world = RouteWorld(
        make_router(correspondents=(CORRESPONDENT,), ifid_renewal=100.0), node=make_node()
    )
    world.connect(LTE)
    world.settle(2)
    held = world.node_view()
    world.node._settings = replace(world.node._settings, max_bindings=1)
    world.settle(120)
    assert world.router_view() == world.node_view() == held


# --- 7.5: Binding Refresh Requests ------------------------------------------------------------


def refresh_request(information=None, source=CORRESPONDENT, destination=HOME):
    message = BindingRefreshRequest((information,) if information else ())
    return Packet(source, destination, message)


def test_7_5_request_with_coainfo_refreshes_that_binding():
    world = connected(LTE, WIFI)
    world.pass_time(10)
    wifi = next(r.binding for r in world.router.routes if r.binding.link == "wifi")
    request = refresh_request(CareOfAddressInformation(wifi.ifid, wifi.ifpri))
    world.tell_router(PacketReceived(request))
    assert [update.source for update in updates_until_settled(world)] == [WIFI.address]


def test_7_5_request_without_coainfo_refreshes_all():
    world = connected(LTE, WIFI)
    world.pass_time(10)
    world.tell_router(PacketReceived(refresh_request()))
    assert len(updates_until_settled(world)) == 2


def test_7_5_requests_are_followed_at_most_once_a_second():
    world = connected(LTE)
    world.messages_to_node()
    for _ in range(40):
        world.settle(0.1)
        world.tell_router(PacketReceived(refresh_request()))
    assert len(world.messages_to_node(BindingUpdate)) <= 5


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (refresh_request(CareOfAddressInformation(0, 0)), "unknown-binding"),
        (refresh_request(destination=LTE.address), "not-for-this-node"),
        (refresh_request(source=OTHER_CORRESPONDENT), "not-from-home-agent"),
    ],
)
def test_7_5_request_that_is_not_ours_is_ignored(packet, reason):
    world = connected(LTE)
    effects = world.router.handle(PacketReceived(packet), at(10))
    assert Counted("signalling-dropped", reason) in effects
    assert sends(effects) == []


# --- 7.6: Binding Errors ----------------------------------------------------------------------


def error(status, information=None, destination=LTE.address):
    options = () if information is None else (information,)
    return Packet(CORRESPONDENT, destination, BindingError(status, HOME, options))


@pytest.mark.parametrize("status", [1, 2])
def test_7_6_unrecognized_message_leads_to_the_primary_only(status):
    router, _ = router_after_tests(LTE, WIFI)
    effects = hand(router, error(status))
    assert "multiple-registration-not-supported" in notes(effects)
    init = only_send(effects, CareOfTestInit)
    assert (init.packet.source, information_of(init.packet)) == (LTE.address, None)
    assert only(router.routes).binding.plain


def test_7_6_node_that_refuses_the_plain_registration_too_is_left_alone():
    router, _ = router_after_tests(LTE, WIFI)
    hand(router, error(2))
    effects = hand(router, error(2), 0.2)
    assert "route-optimization-not-supported" in notes(effects)
    assert sends(effects) == []
    assert only(router.routes).binding.state is BindingState.REFUSED
    assert router.next_deadline() > at(10).monotonic


@pytest.mark.parametrize("status", [2, 9])
def test_7_6_binding_error_does_not_end_what_was_accepted(status):
    world = connected(LTE, WIFI)
    held = world.router.routes
    effects = world.router.handle(PacketReceived(error(status)), at(3))
    assert Counted("signalling-dropped", "binding-error-ignored") in effects
    assert world.router.routes == held


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize("named", [True, False])
def test_8_6_unknown_binding_is_registered_again(status, named):
    world = connected(LTE, WIFI)
    world.pass_time(10)
    world.node = make_node(seed=99)  # it has lost everything
    wifi = next(r.binding for r in world.router.routes if r.binding.link == "wifi")
    information = CareOfAddressInformation(wifi.ifid, wifi.ifpri) if named else None
    world.tell_router(PacketReceived(error(status, information, WIFI.address)))
    world.settle(2)
    assert world.node_view() == {(wifi.ifid, WIFI.address, wifi.ifpri)}


# --- 7.7: de-registration ---------------------------------------------------------------------


def test_7_7_address_that_is_gone_is_deregistered_with_its_coainfo():
    world = connected(LTE, WIFI, SAT)
    sat = next(r.binding for r in world.router.routes if r.binding.link == "sat")
    world.connect(LTE, WIFI)
    farewell = only(updates_until_settled(world))
    assert farewell.message.lifetime == 0
    assert information_of(farewell) == CareOfAddressInformation(sat.ifid, sat.ifpri)
    assert find_option(farewell.message, AlternateCareOfAddress).address == HOME
    assert farewell.source == LTE.address
    assert {view[1] for view in world.node_view()} == {LTE.address, WIFI.address}


def test_7_7_gone_address_is_not_usable_from_the_same_moment():
    world = connected(LTE, WIFI)
    effects = world.router.handle(EgressChanged((LTE,)), at(10))
    assert is_changed(effects[:1])
    assert states(world)["wifi"] == (BindingState.DEREGISTERING, False)


def test_7_7_deregistration_needs_a_home_token_only():
    world = connected(LTE, WIFI)
    world.settle(300)
    world.messages_to_node()
    world.connect(LTE)
    world.settle(2)
    kinds = [type(packet.message) for packet in world.messages_to_node()]
    assert kinds == [HomeTestInit, BindingUpdate]
    assert {view[1] for view in world.node_view()} == {LTE.address}


def test_7_7_stopping_deregisters_all_with_one_update_without_coainfo():
    world = connected(LTE, WIFI)
    effects = world.router.handle(StopRequested(deregister=True), at(10))
    updates = [e for e in sends(effects, BindingUpdate) if e.packet.destination == CORRESPONDENT]
    farewell = only(updates).packet
    assert (farewell.message.lifetime, farewell.message.multiple) == (0, False)
    assert information_of(farewell) is None
    assert (world.router.routes, world.router.next_deadline()) == ((), None)


def test_stopping_without_deregistration_sends_nothing():
    world = connected(LTE, WIFI)
    assert sends(world.router.handle(StopRequested(deregister=False), at(10))) == []


def test_7_7_deregistration_is_repeated_until_it_is_answered():
    world = connected(LTE, WIFI)
    world.messages_to_node()
    world.connect(LTE)
    world.on_path = []
    world.pass_time(8)
    assert len(world.messages_to_node(BindingUpdate)) == 4
    world.settle(10)
    assert {view[1] for view in world.node_view()} == {LTE.address}


# --- 7.8: movement ----------------------------------------------------------------------------


def test_7_8_new_care_of_address_is_registered_and_the_old_one_is_not_any_more():
    world = connected(LTE, WIFI)
    moved = replace(WIFI, address=IPv6Address("2001:db8:7::10"))
    old = next(r.binding.ifid for r in world.router.routes if r.binding.link == "wifi")
    world.connect(LTE, moved)
    world.settle(2)
    assert {view[1:] for view in world.node_view()} == {(LTE.address, 0), (moved.address, 1)}
    assert old not in {view[0] for view in world.node_view()}


def test_7_8_next_primary_tells_its_new_priority():
    world = connected(LTE, WIFI, SAT)
    world.connect(WIFI, SAT)
    world.settle(2)
    assert {view[1:] for view in world.node_view()} == {(WIFI.address, 0), (SAT.address, 2)}
    assert world.node_view() == world.router_view()


def test_7_8_primary_interface_at_home_deregisters_all_with_one_update():
    world = connected(LTE, WIFI, SAT)
    world.connect(AT_HOME, WIFI)
    farewell = only(updates_until_settled(world))
    assert (farewell.message.lifetime, information_of(farewell)) == (0, None)
    assert (world.node.entries, world.router.routes) == ((), ())


def test_7_8_only_link_at_home_says_so_from_the_home_address():
    world = connected(LTE)
    world.connect(AT_HOME)
    farewell = only(updates_until_settled(world))
    assert (farewell.source, farewell.home_address) == (HOME, None)
    assert find_option(farewell.message, AlternateCareOfAddress) is None
    assert world.node.entries == ()


def test_7_8_at_home_the_home_test_does_not_use_the_tunnel():
    world = connected(LTE)
    world.settle(300)
    world.connect(AT_HOME)
    world.settle(2)
    assert (world.node.entries, world.router.routes) == ((), ())


def test_7_8_other_interface_at_home_deregisters_only_its_own():
    world = connected(LTE, WIFI)
    wifi = next(r.binding for r in world.router.routes if r.binding.link == "wifi")
    world.connect(LTE, replace(WIFI, address=HOME))
    farewell = only(updates_until_settled(world))
    assert information_of(farewell) == CareOfAddressInformation(wifi.ifid, wifi.ifpri)
    assert {view[1] for view in world.node_view()} == {LTE.address}


def test_7_8_leaving_home_before_the_deregistration_of_all_was_answered_loses_nothing():
    world = connected(LTE, WIFI)
    world.connect(AT_HOME)
    world.on_path = []
    world.pass_time(0.5)
    world.connect(SAT)
    world.settle(60)
    assert world.node_view() == world.router_view()
    assert {view[1] for view in world.node_view()} == {SAT.address}


# --- what is not ours -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "test", [HomeTest(1, bytes(8), bytes(8)), CareOfTest(1, bytes(8), bytes(8))]
)
def test_test_with_a_wrong_cookie_is_ignored(test):
    world = RouteWorld()
    world.connect(LTE)
    world.deliver()
    world.deliver()
    destination = HOME if isinstance(test, HomeTest) else LTE.address
    packet = Packet(CORRESPONDENT, destination, test)
    effects = hand(world.router, packet, via_home_agent=True)
    assert effects == [Counted("signalling-dropped", "unexpected-test")]
