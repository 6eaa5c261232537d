"""draft-wakikawa-mobileip-multiplecoa-01, the mobile router's side: sections 3, 5.2, 7.x."""

import itertools
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from protocol_world import (
    HOME,
    HOME_AGENT,
    LTE,
    SAT,
    WIFI,
    at,
    connect,
    counts,
    is_changed,
    make_acknowledgement,
    make_router,
    notes,
    only,
    packets,
    register,
    run_until,
    send,
    through_wire,
)

from mrouter.protocol.bindings import BindingState
from mrouter.protocol.events import (
    AdvertiseNeighbour,
    Counted,
    EgressChanged,
    SendPacket,
    StopRequested,
)
from mrouter.wire.messages import (
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    Packet,
    find_option,
)
from mrouter.wire.options import AlternateCareOfAddress, CareOfAddressInformation

ELSEWHERE = replace(LTE, address=IPv6Address("2001:db8:5::10"))
SECOND_ON_LTE = replace(LTE, address=IPv6Address("2001:db8:1::20"))
AT_HOME = replace(LTE, address=HOME)


def information_of(packet):
    return find_option(packet.message, CareOfAddressInformation)


def alternate_of(packet):
    option = find_option(packet.message, AlternateCareOfAddress)
    return option and option.address


def refresh_request(information=None, source=HOME_AGENT):
    message = BindingRefreshRequest((information,) if information else ())
    return Packet(source, LTE.address, message, routing_home_address=HOME)


# --- 3, 5.2, 5.3.2: IFID, IFPRI and CoAINFO ---------------------------------------------------


def test_5_3_2_every_care_of_address_is_registered_with_m_flag_and_coainfo():
    updates = connect(make_router(), LTE, WIFI, SAT)
    assert [update.source for update in updates] == [LTE.address, WIFI.address, SAT.address]
    assert all(update.message.multiple for update in updates)
    assert [information_of(update).ifpri for update in updates] == [0, 1, 2]


def test_5_3_2_each_update_leaves_by_its_own_link():
    effects = make_router().handle(EgressChanged((LTE, WIFI)), at(0))
    assert [e.link for e in effects if isinstance(e, SendPacket)] == ["lte", "wifi"]


def test_3_ifids_are_random_not_zero_and_do_not_collide():
    seen = set()
    for seed in range(40):
        ifids = [information_of(u).ifid for u in connect(make_router(seed), LTE, WIFI, SAT)]
        assert len(set(ifids)) == 3
        assert all(1 <= ifid <= 255 for ifid in ifids)
        seen.update(ifids)
    assert len(seen) > 60


def test_5_2_ifid_is_renewed_before_the_old_one_ends():
    router = make_router(ifid_renewal=50.0)
    old = only(register(router, LTE))
    ((seconds, effects),) = run_until(router, 50)
    fresh = through_wire(only(packets(effects)))
    assert seconds == 50
    assert information_of(fresh).ifid != information_of(old).ifid
    assert [entry.usable for entry in router.entries] == [True, False]
    assert len({entry.slot for entry in router.entries}) == 2

    effects = send(router, make_acknowledgement(fresh), at(51))
    farewell = only(packets(effects))
    assert farewell.message.lifetime == 0
    assert information_of(farewell) == information_of(old)
    send(router, make_acknowledgement(through_wire(farewell), lifetime=0), at(51))
    assert only(router.entries).ifid == information_of(fresh).ifid


def test_5_2_fresh_ifid_waits_while_an_update_about_the_old_one_is_unanswered():
    router = make_router(ifid_renewal=98.0)
    old = only(register(router, LTE))
    refreshes = [p for _, effects in run_until(router, 100) for p in packets(effects)]
    assert len(refreshes) > 1
    assert {information_of(packet) for packet in refreshes} == {information_of(old)}

    effects = send(router, make_acknowledgement(through_wire(refreshes[-1])), at(100))
    assert information_of(only(packets(effects))).ifid != information_of(old).ifid


def test_5_2_refused_fresh_ifid_leaves_the_old_one_in_use():
    router = make_router(ifid_renewal=50.0)
    register(router, LTE)
    ((_, effects),) = run_until(router, 50)
    fresh = through_wire(only(packets(effects)))
    send(router, make_acknowledgement(fresh, 130, lifetime=0), at(50))
    assert only(router.entries).usable


def test_5_2_ifid_is_renewed_again_and_again():
    router = make_router(seed=2, ifid_renewal=50.0)
    register(router, LTE)
    ifids, seconds = set(), 0.0
    while seconds < 400:
        seconds = router.next_deadline() - 1000
        for _, effects in run_until(router, seconds):
            for packet in packets(effects):
                lifetime = packet.message.lifetime
                answer = make_acknowledgement(through_wire(packet), lifetime=lifetime)
                for farewell in packets(send(router, answer, at(seconds))):
                    send(router, make_acknowledgement(through_wire(farewell)), at(seconds))
        ifids.add(only(router.entries).ifid)
    assert len(ifids) >= 8


# --- 7.2: several addresses on one interface --------------------------------------------------


def test_7_2_each_address_of_one_interface_has_its_own_ifid():
    first, second = connect(make_router(), LTE, SECOND_ON_LTE)
    assert information_of(first).ifid != information_of(second).ifid
    assert (first.source, second.source) == (LTE.address, SECOND_ON_LTE.address)


def test_7_2_address_that_is_deleted_is_deregistered_with_its_coainfo():
    router = make_router()
    updates = register(router, LTE, WIFI)
    farewell = only(connect(router, WIFI, seconds=10))
    assert farewell.message.lifetime == 0
    assert information_of(farewell) == information_of(updates[0])
    # The link is gone, so another one carries it and names the address.
    assert (farewell.source, alternate_of(farewell)) == (WIFI.address, LTE.address)


def test_7_2_deleted_address_is_not_usable_from_the_same_moment():
    router = make_router()
    register(router, LTE, WIFI)
    effects = router.handle(EgressChanged((WIFI,)), at(10))
    assert is_changed(effects[:1])
    states = {entry.link: (entry.state, entry.usable) for entry in router.entries}
    assert states["lte"] == (BindingState.DEREGISTERING, False)
    assert states["wifi"] == (BindingState.REGISTERED, True)


def test_7_2_changed_address_gets_a_new_ifid_and_the_old_one_is_deregistered():
    router = make_router()
    old = only(register(router, LTE))
    farewell, update = sorted(
        connect(router, ELSEWHERE, seconds=10), key=lambda packet: packet.message.lifetime
    )
    assert information_of(farewell) == information_of(old)
    assert alternate_of(farewell) == LTE.address
    assert information_of(update).ifid != information_of(old).ifid
    assert update.source == ELSEWHERE.address


def test_7_2_deregistration_is_repeated_until_the_lifetime_has_run_out():
    router = make_router()
    register(router, LTE, WIFI)
    connect(router, WIFI, seconds=1)
    fired = run_until(router, 200)
    repeated = [
        seconds
        for seconds, effects in fired
        for packet in packets(effects)
        if packet.message.lifetime == 0
    ]
    assert repeated == [2, 4, 8, 16, 32, 64, 96]
    assert [entry.link for entry in router.entries] == ["wifi"]
    assert any("deregistration-unanswered" in notes(effects) for _, effects in fired)


@pytest.mark.parametrize(("status", "lifetime"), [(0, 0), (1, 0), (133, 0), (128, 0)])
def test_7_2_answered_deregistration_is_over(status, lifetime):
    router = make_router()
    register(router, LTE, WIFI)
    farewell = only(connect(router, WIFI, seconds=1))
    send(router, make_acknowledgement(farewell, status, lifetime=lifetime), at(1))
    assert only(router.entries).link == "wifi"


def test_7_2_address_that_comes_back_gets_a_new_ifid():
    router = make_router()
    updates = register(router, LTE, WIFI)
    connect(router, WIFI, seconds=1)
    (update,) = connect(router, LTE, WIFI, seconds=1.5)
    assert information_of(update).ifid != information_of(updates[0]).ifid


def test_7_2_address_that_comes_back_never_gets_its_last_ifid_by_chance():
    router = make_router()
    seconds, seen = 0, []
    for _ in range(600):
        connect(router, LTE, seconds=seconds)
        seen.append(only(router.entries).ifid)
        router.handle(EgressChanged(()), at(seconds + 1))
        seconds += 200  # past every lifetime

    assert all(last != fresh for last, fresh in itertools.pairwise(seen))


def test_without_any_link_the_deregistration_waits_for_one():
    router = make_router()
    old = only(register(router, LTE))
    assert connect(router, seconds=10) == []
    assert run_until(router, 50) == []
    farewell, update = connect(router, WIFI, seconds=60)
    assert (farewell.message.lifetime, information_of(farewell)) == (0, information_of(old))
    assert update.message.lifetime == 120


def test_without_any_link_the_deregistration_is_forgotten_with_the_lifetime():
    router = make_router()
    register(router, LTE)
    connect(router, seconds=10)
    run_until(router, 120)
    assert router.entries == ()
    assert router.next_deadline() is None


def test_more_addresses_than_slots_are_left_out():
    router = make_router()
    many = tuple(
        replace(LTE, address=IPv6Address(int(LTE.address) + number)) for number in range(70)
    )
    effects = router.handle(EgressChanged(many), at(0))
    assert len(packets(effects)) == 62
    assert ("registration-refused", "no-free-slot") in counts(effects)


# --- 7.4: Binding Acknowledgements ------------------------------------------------------------


def test_7_4_status_1_with_coainfo_registers_that_address():
    router = make_router()
    first, _ = connect(router, LTE, WIFI)
    send(router, make_acknowledgement(first), at(0))
    assert {entry.link: entry.usable for entry in router.entries} == {"lte": True, "wifi": False}


@pytest.mark.parametrize("how", [{"information": None}, {"status": 0}])
def test_7_4_home_agent_without_coainfo_gets_the_primary_only(how):
    router = make_router()
    _, second = connect(router, LTE, WIFI)
    effects = send(router, make_acknowledgement(second, **how), at(0))
    plain = only(packets(effects, BindingUpdate))
    assert "multiple-registration-not-supported" in notes(effects)
    assert plain.source == LTE.address
    assert (plain.message.multiple, information_of(plain)) == (False, None)
    assert [entry.link for entry in router.entries] == ["lte"]


def fall_back(router, *addresses):
    update = connect(router, *addresses)[0]
    effects = send(router, make_acknowledgement(update, information=None, status=0), at(0))
    plain = through_wire(only(packets(effects)))
    send(router, make_acknowledgement(plain, 0), at(0))
    return plain


def test_7_4_plain_registration_is_accepted_with_status_0():
    router = make_router()
    fall_back(router, LTE, WIFI)
    assert only(router.entries).usable


def test_7_4_next_primary_overwrites_the_plain_registration():
    router = make_router()
    plain = fall_back(router, LTE, WIFI)
    update = only(connect(router, WIFI, seconds=10))
    assert (update.source, update.message.lifetime) == (WIFI.address, 120)
    assert information_of(update) is None
    assert update.message.sequence == plain.message.sequence + 1


def test_7_4_several_addresses_are_tried_again_once_all_links_were_gone():
    router = make_router()
    fall_back(router, LTE, WIFI)
    connect(router, seconds=10)
    updates = connect(router, LTE, WIFI, seconds=20)
    assert [update.message.multiple for update in updates] == [True, True]


# --- 7.5: Binding Refresh Requests ------------------------------------------------------------


def test_7_5_request_with_coainfo_refreshes_that_binding():
    router = make_router()
    _, wifi = register(router, LTE, WIFI)
    update = only(packets(send(router, refresh_request(information_of(wifi)), at(10))))
    assert update.source == WIFI.address
    assert all(entry.usable for entry in router.entries)


def test_7_5_request_without_coainfo_refreshes_all():
    router = make_router()
    register(router, LTE, WIFI)
    assert len(packets(send(router, refresh_request(), at(10)))) == 2


def test_7_5_requests_are_followed_at_most_once_a_second():
    router = make_router()
    register(router, LTE)
    sent = 0
    for step in range(40):
        seconds = 10 + step / 10
        for packet in packets(send(router, refresh_request(), at(seconds))):
            sent += 1
            send(router, make_acknowledgement(through_wire(packet)), at(seconds))
    assert sent == 4


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (refresh_request(CareOfAddressInformation(0, 0)), "unknown-binding"),
        (refresh_request(source=SAT.address), "not-from-home-agent"),
        (replace(refresh_request(), routing_home_address=SAT.address), "not-for-this-node"),
    ],
)
def test_7_5_request_that_is_not_ours_is_ignored(packet, reason):
    router = make_router()
    register(router, LTE)
    assert send(router, packet, at(10)) == [Counted("signalling-dropped", reason)]


# --- 7.6: Binding Errors ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [1, 2])
def test_7_6_binding_error_leads_to_the_primary_only(status):
    router = make_router()
    connect(router, LTE, WIFI)
    error = Packet(HOME_AGENT, LTE.address, BindingError(status, HOME))
    plain = only(packets(send(router, error, at(0))))
    assert (plain.source, plain.message.multiple) == (LTE.address, False)


@pytest.mark.parametrize("status", [2, 9])
def test_7_6_binding_error_does_not_end_what_the_home_agent_has_accepted(status):
    router = make_router()
    register(router, LTE, WIFI)
    before = router.entries
    error = Packet(HOME_AGENT, LTE.address, BindingError(status, HOME))
    assert send(router, error, at(0)) == [Counted("signalling-dropped", "binding-error-ignored")]
    assert router.entries == before


# --- 7.7: de-registration on stopping ---------------------------------------------------------


def test_7_7_stopping_deregisters_every_binding_over_its_own_link():
    router = make_router()
    updates = register(router, LTE, WIFI)
    effects = router.handle(StopRequested(deregister=True), at(10))
    farewells = packets(effects)
    assert [f.message.lifetime for f in farewells] == [0, 0]
    assert [information_of(f) for f in farewells] == [information_of(u) for u in updates]
    assert [f.source for f in farewells] == [LTE.address, WIFI.address]
    assert is_changed(effects)
    assert (router.entries, router.next_deadline()) == ((), None)


def test_stopping_without_deregistration_leaves_the_bindings_for_the_next_start():
    router = make_router()
    register(router, LTE)
    assert router.handle(StopRequested(deregister=False), at(10)) == []
    assert only(router.entries).usable
    assert router.next_deadline() is None


def test_stopped_router_does_nothing_any_more():
    router = make_router()
    register(router, LTE)
    router.handle(StopRequested(deregister=True), at(10))
    assert router.handle(EgressChanged((LTE, WIFI)), at(11)) == []


# --- 7.8: movement detection ------------------------------------------------------------------


def test_7_8_primary_interface_at_home_deregisters_all():
    router = make_router()
    register(router, LTE, WIFI)
    farewells = connect(router, AT_HOME, WIFI, seconds=10)
    assert [f.message.lifetime for f in farewells] == [0, 0]
    assert not any(entry.usable for entry in router.entries)


def test_7_8_only_link_at_home_says_so_from_the_home_address():
    router = make_router()
    register(router, LTE)
    farewell = only(connect(router, AT_HOME, seconds=10))
    assert (farewell.source, farewell.home_address) == (HOME, None)
    assert farewell.message.lifetime == 0


def test_7_8_home_address_is_advertised_once_the_last_binding_has_ended():
    router = make_router()
    register(router, LTE, WIFI)
    first, second = connect(router, AT_HOME, WIFI, seconds=10)
    effects = send(router, make_acknowledgement(first, lifetime=0), at(10))
    assert AdvertiseNeighbour((HOME,)) not in effects
    effects = send(router, make_acknowledgement(second, lifetime=0), at(10))
    assert AdvertiseNeighbour((HOME,)) in effects


def test_7_8_nothing_is_advertised_for_a_link_that_is_left_abroad():
    router = make_router()
    register(router, LTE, WIFI)
    farewell = only(connect(router, WIFI, seconds=10))
    effects = send(router, make_acknowledgement(farewell, lifetime=0), at(10))
    assert not any(isinstance(effect, AdvertiseNeighbour) for effect in effects)


def test_7_8_other_interface_at_home_deregisters_only_its_own():
    router = make_router()
    updates = register(router, LTE, WIFI)
    farewell = only(connect(router, LTE, replace(WIFI, address=HOME), seconds=10))
    assert information_of(farewell) == information_of(updates[1])
    assert (farewell.source, farewell.message.lifetime) == (LTE.address, 0)
    assert {entry.link: entry.usable for entry in router.entries} == {"lte": True, "wifi": False}
