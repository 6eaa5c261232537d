"""IPv4 networks on board at the mobile router and its home agent (RFC 5555 §3, §4.4, §4.5)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from random import Random

import pytest
from home_agent_world import RFC5648, bid, bids, make_message, sign
from protocol_world import (
    AGENT,
    HOME,
    LTE,
    OTHER_HOME,
    ROUTER,
    WIFI,
    World,
    at,
    connect,
    counts,
    is_changed,
    make_acknowledgement,
    make_agent,
    make_router,
    notes,
    only,
    packets,
    register,
    run_until,
    send,
    through_wire,
)

from mrouter.protocol.events import (
    BindingsChanged,
    EgressChanged,
    ForwardingFailed,
    StopRequested,
)
from mrouter.protocol.mobile_router import MobileRouter
from mrouter.protocol.update_list import Binding, restore_binding
from mrouter.wire.constants import BindingStatus, IPv4Status
from mrouter.wire.messages import BindingAcknowledgement, BindingUpdate
from mrouter.wire.options import (
    CareOfAddressInformation,
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
)
from mrouter.wire.packet import parse_packet, serialize_packet

LAN, CAMERAS = IPv4Network("192.0.2.0/24"), IPv4Network("198.51.100.64/26")
FOREIGN = IPv4Network("203.0.113.0/24")
ASKED = (
    IPv4HomeAddress(LAN.network_address, 24, request_prefix=True),
    IPv4HomeAddress(CAMERAS.network_address, 26, request_prefix=True),
)
GRANTED = (
    IPv4AddressAcknowledgement(0, LAN.network_address, 24),
    IPv4AddressAcknowledgement(0, CAMERAS.network_address, 26),
)
REFUSED = tuple(IPv4AddressAcknowledgement(133, each.address) for each in GRANTED)


def make_ipv4_router(*networks, **changes):
    return make_router(ipv4_prefixes=networks or (LAN, CAMERAS), **changes)


def make_ipv4_agent(*networks, keys=False, **changes):
    """Return a home agent that gives ``networks`` to ``HOME``."""
    served = tuple(
        replace(
            router,
            security=router.security if keys else (),
            ipv4_prefixes=networks if router.home_address == HOME else (FOREIGN,),
        )
        for router in AGENT.served
    )
    return make_agent(**{"served": served, **changes})


def asked(packet):
    return tuple(each for each in packet.message.options if isinstance(each, IPv4HomeAddress))


def answered(message):
    return tuple(each for each in message.options if isinstance(each, IPv4AddressAcknowledgement))


def accept(router, update, *answers, seconds=0.0):
    return send(router, make_acknowledgement(update, more=answers), at(seconds))


def states(router):
    return [state.name for state in router.ipv4_states]


def ask(agent, *options, seconds=0.0, **how):
    """Send a Binding Update with ``options``; return (effects, the answer)."""
    effects = send(agent, make_message(*options, **how), at(seconds))
    return effects, only(packets(effects, BindingAcknowledgement)).message


def ask_address(address, length, *, prefix=True):
    return IPv4HomeAddress(IPv4Address(address), length, request_prefix=prefix)


# --- 4.4.2: the mobile router's Binding Updates ------------------------------------------------


def test_4_4_2_every_update_names_every_ipv4_network():
    router = make_ipv4_router()
    updates = connect(router, LTE, WIFI)
    assert [asked(update) for update in updates] == [ASKED, ASKED]
    for update in updates:
        accept(router, update, *GRANTED)
    refreshes = [p for _s, effects in run_until(router, 119.0) for p in packets(effects)]
    assert len(refreshes) >= 2
    assert {asked(through_wire(packet)) for packet in refreshes} == {ASKED}


def test_4_4_2_without_an_ipv4_network_nothing_is_asked_for():
    assert asked(only(connect(make_router(), LTE))) == ()


def test_4_4_2_a_plain_binding_asks_for_ipv4_too():
    router = make_ipv4_router()
    (update,) = connect(router, LTE)
    effects = send(router, make_acknowledgement(update, 0, information=None), at(0))
    plain = through_wire(only(packets(effects, BindingUpdate)))
    assert not plain.message.multiple
    assert asked(plain) == ASKED
    effects = accept(router, plain, *GRANTED)
    assert only(router.entries).ipv4_prefixes == (LAN, CAMERAS)


def test_4_4_2_dialect_rfc5648_has_the_same_options():
    router = make_ipv4_router(follow_rfc5648=True)
    effects = router.handle(EgressChanged((LTE,)), at(0))
    unsigned = only(packets(effects, BindingUpdate))
    options = tuple(option for option in unsigned.message.options[:-1])
    packet = replace(unsigned, message=replace(unsigned.message, options=options))
    read = parse_packet(serialize_packet(packet, RFC5648), RFC5648)
    assert asked(read) == ASKED


def test_4_4_2_a_mobile_node_without_ipv6_networks_asks_for_ipv4():
    router = make_ipv4_router(LAN, prefixes=())
    (update,) = connect(router, LTE)
    assert not update.message.mobile_router
    assert asked(update) == ASKED[:1]


def test_4_4_2_a_deregistration_asks_for_nothing():
    router = make_ipv4_router()
    for update in connect(router, LTE):
        accept(router, update, *GRANTED)
    effects = router.handle(StopRequested(deregister=True), at(1))
    update = through_wire(only(packets(effects, BindingUpdate)))
    assert update.message.lifetime == 0
    assert asked(update) == ()


# --- 3.2.1: the mobile router and the answer ---------------------------------------------------


def test_3_2_1_granted_networks_are_the_bindings():
    router = make_ipv4_router()
    (update,) = connect(router, LTE)
    assert only(router.entries).ipv4_prefixes == ()
    assert states(router) == ["pending", "pending"]
    assert is_changed(accept(router, update, *GRANTED))
    entry = only(router.entries)
    assert entry.usable
    assert entry.ipv4_prefixes == (LAN, CAMERAS)
    assert states(router) == ["accepted", "accepted"]


def test_3_2_1_each_binding_has_what_its_own_answer_grants():
    router = make_ipv4_router(LAN)
    first, second = connect(router, LTE, WIFI)
    accept(router, first, GRANTED[0])
    accept(router, second, REFUSED[0])
    assert [entry.ipv4_prefixes for entry in router.entries] == [(LAN,), ()]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (128, "reason-unspecified"),
        (129, "administratively-prohibited"),
        (133, "prefix-allocation-unauthorized"),
        (200, "other"),
    ],
)
def test_3_2_1_a_refusal_leaves_ipv6_as_it_is(status, name):
    router = make_ipv4_router(LAN)
    (update,) = connect(router, LTE)
    refusal = IPv4AddressAcknowledgement(status, LAN.network_address)
    effects = accept(router, update, refusal)
    entry = only(router.entries)
    assert entry.usable
    assert entry.ipv4_prefixes == ()
    assert counts(effects) == [("ipv4-prefix-refused", name)]
    assert "ipv4-prefix-refused" in notes(effects)
    assert states(router) == [name]


def test_3_2_1_any_status_below_128_is_an_acceptance():
    router = make_ipv4_router(LAN)
    (update,) = connect(router, LTE)
    accept(router, update, IPv4AddressAcknowledgement(127, LAN.network_address, 24))
    assert only(router.entries).ipv4_prefixes == (LAN,)


def test_3_2_1_one_network_of_two_may_be_refused():
    router = make_ipv4_router()
    (update,) = connect(router, LTE)
    accept(router, update, GRANTED[0], REFUSED[1])
    assert only(router.entries).ipv4_prefixes == (LAN,)
    assert states(router) == ["accepted", "prefix-allocation-unauthorized"]


def test_3_2_1_a_network_that_is_not_answered_beside_another_is_not_granted():
    router = make_ipv4_router()
    (update,) = connect(router, LTE)
    effects = accept(router, update, GRANTED[1])
    assert only(router.entries).ipv4_prefixes == (CAMERAS,)
    assert counts(effects) == [("ipv4-prefix-refused", "unanswered")]
    assert states(router) == ["unanswered", "accepted"]


@pytest.mark.parametrize(("length", "granted"), [(25, "192.0.2.0/25"), (16, "192.0.2.0/24")])
def test_3_2_1_the_answers_prefix_length_overrides_but_grants_no_more_than_was_asked(
    length, granted
):
    router = make_ipv4_router(LAN)
    (update,) = connect(router, LTE)
    accept(router, update, IPv4AddressAcknowledgement(0, LAN.network_address, length))
    assert only(router.entries).ipv4_prefixes == (IPv4Network(granted),)


def test_3_2_1_what_was_not_asked_for_is_not_taken():
    router = make_ipv4_router(LAN)
    (update,) = connect(router, LTE)
    gift = IPv4AddressAcknowledgement(0, FOREIGN.network_address, 24)
    accept(router, update, GRANTED[0], gift)
    assert only(router.entries).ipv4_prefixes == (LAN,)


def test_3_2_1_a_grant_that_ends_or_begins_with_a_refresh_changes_the_bindings():
    router = make_ipv4_router(LAN)
    (update,) = connect(router, LTE)
    accept(router, update, GRANTED[0])
    for answer, networks in ((REFUSED[0], ()), (GRANTED[0], (LAN,))):
        due = router.next_deadline() - 1000.0
        ((_, effects),) = run_until(router, due)
        refresh = through_wire(only(packets(effects, BindingUpdate)))
        effects = accept(router, refresh, answer, seconds=due)
        assert is_changed(effects)
        assert only(router.entries).ipv4_prefixes == networks


def test_3_2_1_a_refresh_that_grants_the_same_changes_nothing():
    router = make_ipv4_router(LAN)
    (update,) = connect(router, LTE)
    accept(router, update, GRANTED[0])
    due = router.next_deadline() - 1000.0
    ((_, effects),) = run_until(router, due)
    refresh = through_wire(only(packets(effects, BindingUpdate)))
    assert accept(router, refresh, GRANTED[0], seconds=due) == []


def test_3_2_1_a_binding_that_is_not_usable_any_more_has_no_ipv4():
    router = make_ipv4_router(LAN)
    (update,) = connect(router, LTE)
    accept(router, update, GRANTED[0])
    run_until(router, 121.0)
    entry = only(router.entries)
    assert not entry.usable
    assert entry.ipv4_prefixes == ()


def test_3_2_1_a_home_agent_that_knows_no_ipv4_is_noted_once_and_serves_ipv6():
    router = make_ipv4_router()
    noted = []
    for update in connect(router, LTE, WIFI):
        noted += notes(accept(router, update))
    seconds = 0.0
    while seconds < 300.0:
        seconds = router.next_deadline() - 1000.0
        for _second, effects in run_until(router, seconds):
            for packet in packets(effects, BindingUpdate):
                noted += notes(accept(router, through_wire(packet), seconds=seconds))
    assert noted.count("ipv4-not-supported") == 1
    assert states(router) == ["not-supported", "not-supported"]
    assert [(entry.usable, entry.ipv4_prefixes) for entry in router.entries] == [(True, ())] * 2


def test_3_2_1_a_home_agent_that_learns_ipv4_is_believed_at_the_next_refresh():
    router = make_ipv4_router(LAN)
    register(router, LTE)
    due = router.next_deadline() - 1000.0
    ((_, effects),) = run_until(router, due)
    refresh = through_wire(only(packets(effects, BindingUpdate)))
    assert asked(refresh) == ASKED[:1]
    assert is_changed(accept(router, refresh, GRANTED[0], seconds=due))
    assert states(router) == ["accepted"]


def test_4_4_2_a_refusal_is_noted_once_and_counted_each_time():
    router = make_ipv4_router(LAN)
    first, second = connect(router, LTE, WIFI)
    effects = [accept(router, update, REFUSED[0]) for update in (first, second)]
    assert [notes(each).count("ipv4-prefix-refused") for each in effects] == [1, 0]
    assert [len(counts(each)) for each in effects] == [1, 1]


def test_restarted_router_goes_on_with_the_ipv4_networks_that_it_still_has():
    router = make_ipv4_router()
    (update,) = connect(router, LTE)
    accept(router, update, *GRANTED)
    kept = [restore_binding(Binding, entry, 1001.0, None) for entry in router.entries]
    settings = replace(ROUTER, ipv4_prefixes=(LAN, FOREIGN))
    again = MobileRouter(settings, Random(2), kept)
    assert only(again.entries).ipv4_prefixes == (LAN,)


# --- 4.5: the home agent -----------------------------------------------------------------------


@pytest.mark.parametrize("named", [(), (CareOfAddressInformation(7, 0),)])
def test_4_5_own_networks_are_granted_and_each_is_acknowledged(named):
    agent = make_ipv4_agent(LAN, CAMERAS)
    effects, answer = ask(agent, *named, *ASKED)
    assert effects[0] == BindingsChanged()
    assert answered(answer) == GRANTED
    assert only(agent.entries).ipv4_prefixes == (LAN, CAMERAS)


def test_4_5_a_part_of_a_network_is_granted():
    agent = make_ipv4_agent(LAN)
    _, answer = ask(agent, ask_address("192.0.2.128", 25))
    assert only(answered(answer)).prefix_length == 25
    assert only(agent.entries).ipv4_prefixes == (IPv4Network("192.0.2.128/25"),)


def test_4_5_an_address_is_granted_as_one_and_copied():
    agent = make_ipv4_agent(LAN)
    _, answer = ask(agent, ask_address("192.0.2.7", 32, prefix=False))
    assert answered(answer) == (IPv4AddressAcknowledgement(0, IPv4Address("192.0.2.7"), 32),)
    assert only(agent.entries).ipv4_prefixes == (IPv4Network("192.0.2.7/32"),)


def test_4_5_an_address_with_its_prefix_stands_for_the_network_and_is_copied():
    agent = make_ipv4_agent(LAN)
    _, answer = ask(agent, ask_address("192.0.2.7", 24))
    assert answered(answer) == (IPv4AddressAcknowledgement(0, IPv4Address("192.0.2.7"), 24),)
    assert only(agent.entries).ipv4_prefixes == (LAN,)


def test_3_1_1_an_address_and_a_prefix_in_two_options_are_both_acknowledged():
    agent = make_ipv4_agent(LAN)
    options = (ask_address("192.0.2.7", 32, prefix=False), ASKED[0], ASKED[0])
    _, answer = ask(agent, *options)
    assert [(each.status, each.prefix_length) for each in answered(answer)] == [
        (0, 32),
        (0, 24),
        (0, 24),
    ]
    assert only(agent.entries).ipv4_prefixes == (LAN,), "none within another"


@pytest.mark.parametrize("request_prefix", [True, False])
def test_3_1_1_the_p_flag_decides_nothing_about_what_is_known(request_prefix):
    agent = make_ipv4_agent(LAN)
    option = replace(ASKED[0], request_prefix=request_prefix)
    for sequence in (1, 2):
        _, answer = ask(agent, option, sequence=sequence)
        assert answered(answer) == GRANTED[:1]


@pytest.mark.parametrize(
    ("option", "status"),
    [
        (ask_address("203.0.113.0", 24), IPv4Status.PREFIX_ALLOCATION_UNAUTHORIZED),
        (ask_address("192.0.0.0", 16), IPv4Status.PREFIX_ALLOCATION_UNAUTHORIZED),
        (ask_address("203.0.113.9", 32, prefix=False), IPv4Status.INCORRECT_HOME_ADDRESS),
        (ask_address("224.0.0.1", 32), IPv4Status.INVALID_ADDRESS),
        (ask_address("127.0.0.1", 32), IPv4Status.INVALID_ADDRESS),
        (ask_address("169.254.1.0", 24), IPv4Status.INVALID_ADDRESS),
        (ask_address("255.255.255.255", 32), IPv4Status.INVALID_ADDRESS),
        (ask_address("0.0.0.1", 32), IPv4Status.INVALID_ADDRESS),
        (ask_address("0.0.0.0", 24), IPv4Status.PREFIX_ALLOCATION_UNAUTHORIZED),
        (ask_address("0.0.0.0", 32, prefix=False), IPv4Status.DYNAMIC_ASSIGNMENT_NOT_AVAILABLE),
    ],
)
def test_4_5_what_is_not_the_mobile_routers_is_refused_and_ipv6_accepted(option, status):
    agent = make_ipv4_agent(LAN)
    effects, answer = ask(agent, bid(7), option)
    assert answer.status == BindingStatus.ACCEPTED_NP_COA
    assert answer.lifetime == 120
    assert answered(answer) == (IPv4AddressAcknowledgement(status, option.address),)
    reason = status.name.lower().replace("_", "-")
    assert counts(effects) == [("ipv4-prefix-refused", reason)]
    entry = only(agent.entries)
    assert entry.prefixes
    assert entry.ipv4_prefixes == ()


def test_4_5_ipv4_is_prohibited_where_the_mobile_router_has_none():
    agent = make_ipv4_agent()
    _, answer = ask(agent, ASKED[0])
    assert only(answered(answer)).status == IPv4Status.ADMINISTRATIVELY_PROHIBITED


def test_4_5_what_is_granted_does_not_depend_on_what_is_refused_beside_it():
    agent = make_ipv4_agent(LAN)
    _, answer = ask(agent, ASKED[1], ASKED[0])
    assert answered(answer) == (REFUSED[1], GRANTED[0])
    assert only(agent.entries).ipv4_prefixes == (LAN,)


def test_4_5_one_mobile_router_does_not_get_anothers_network():
    agent = make_ipv4_agent(LAN)
    _, answer = ask(agent, ASKED[0], home=OTHER_HOME)
    assert only(answered(answer)).status == IPv4Status.PREFIX_ALLOCATION_UNAUTHORIZED


def test_4_5_who_asks_for_no_ipv4_gets_no_acknowledgement_of_it():
    agent = make_ipv4_agent(LAN)
    _, answer = ask(agent, bid(7))
    assert answered(answer) == ()
    assert only(agent.entries).ipv4_prefixes == ()


def test_4_5_a_refused_update_has_no_acknowledgement_of_ipv4():
    agent = make_ipv4_agent(LAN)
    _, answer = ask(agent, ASKED[0], lifetime=0)
    assert answer.status >= 128
    assert answered(answer) == ()


def test_4_5_a_deregistration_has_no_acknowledgement_of_ipv4():
    agent = make_ipv4_agent(LAN)
    ask(agent, bid(7), ASKED[0])
    _, answer = ask(agent, bid(7), ASKED[0], sequence=2, lifetime=0)
    assert answer.status < 128
    assert answered(answer) == ()
    assert agent.entries == ()


def test_4_4_2_an_update_without_the_option_takes_ipv4_from_its_binding_alone():
    agent = make_ipv4_agent(LAN)
    ask(agent, bid(7), ASKED[0])
    ask(agent, bid(8), ASKED[0], source=WIFI.address)
    effects, _ = ask(agent, bid(7), sequence=2)
    assert is_changed(effects)
    assert [entry.ipv4_prefixes for entry in agent.entries] == [(), (LAN,)]


def test_4_5_a_refresh_that_grants_the_same_changes_nothing():
    agent = make_ipv4_agent(LAN, CAMERAS)
    ask(agent, bid(7), *ASKED)
    effects, answer = ask(agent, bid(7), *reversed(ASKED), sequence=2)
    assert not is_changed(effects)
    assert answered(answer) == GRANTED[::-1]


def test_4_5_a_mobile_node_gets_its_networks_too():
    agent = make_ipv4_agent(LAN)
    ask(agent, ASKED[0], mobile_router=False)
    entry = only(agent.entries)
    assert (entry.prefixes, entry.ipv4_prefixes) == ((), (LAN,))


def test_4_5_ipv4_ends_with_its_binding():
    agent = make_ipv4_agent(LAN)
    ask(agent, bid(7), ASKED[0])
    agent.handle(ForwardingFailed(HOME, 7), at(1))
    assert agent.entries == ()


# --- RFC 5648 §8.2: several care-of addresses --------------------------------------------------


def test_8_2_bindings_of_one_update_have_the_same_ipv4_networks_and_one_answer():
    agent = make_ipv4_agent(LAN, CAMERAS, keys=True)
    packet = sign(make_message(bid(7, LTE), bid(8, WIFI), *ASKED, timestamp=0))
    effects = send(agent, packet, at(0))
    answer = only(packets(effects, BindingAcknowledgement)).message
    assert answered(answer) == GRANTED
    assert bids(answer) == [(7, 0), (8, 0)]
    assert [entry.ipv4_prefixes for entry in agent.entries] == [(LAN, CAMERAS)] * 2


def test_8_2_acknowledgements_of_ipv4_stand_before_any_binding_identifier():
    agent = make_ipv4_agent(LAN)
    _, answer = ask(agent, bid(7, LTE), bid(8, WIFI), ASKED[0])
    kinds = [type(option) for option in answer.options]
    assert kinds[:2] == [IPv4AddressAcknowledgement, CareOfAddressInformation]


def test_8_2_an_answer_in_which_every_binding_is_refused_says_nothing_of_ipv4():
    agent = make_ipv4_agent(LAN)
    effects, answer = ask(agent, bid(7, home_and_foreign=True), ASKED[0])
    assert answer.status >= 128
    assert answered(answer) == ()
    assert ("ipv4-prefix-refused", "success") not in counts(effects)


# --- both ends ---------------------------------------------------------------------------------


def test_both_ends_agree_on_the_ipv4_networks_of_every_binding():
    world = World(make_ipv4_router(), make_ipv4_agent(LAN, keys=True))
    world.tell_router(EgressChanged((LTE, WIFI)))
    world.settle(300)
    agent = {(e.ifid, e.ipv4_prefixes) for e in world.agent.entries}
    router = {(e.ifid, e.ipv4_prefixes) for e in world.router.entries if e.usable}
    assert agent == router
    assert {networks for _, networks in agent} == {(LAN,)}
    assert states(world.router) == ["accepted", "prefix-allocation-unauthorized"]


def test_restarted_home_agent_keeps_ipv4_as_far_as_it_is_still_allowed():
    agent = make_ipv4_agent(LAN, CAMERAS)
    ask(agent, bid(7), *ASKED)
    for networks in ((LAN, CAMERAS), (LAN,), ()):
        again = make_ipv4_agent(*networks)
        again.restore(agent.save())
        entry = only(again.entries)
        assert entry.ipv4_prefixes == networks
        assert entry.prefixes
