"""RFC 3963: messages (4), the mobile router (5), the home agent (6)."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from random import Random

import pytest
from protocol_world import (
    AGENT,
    FORMAT,
    HOME,
    HOME_AGENT,
    LTE,
    OTHER_PREFIX,
    PREFIX,
    ROUTER,
    WIFI,
    answer_of,
    at,
    connect,
    is_changed,
    make_acknowledgement,
    make_agent,
    make_router,
    make_update,
    notes,
    only,
    packets,
    register,
    send,
    through_wire,
)

from mrouter.protocol.bindings import BindingState
from mrouter.protocol.discovering_router import DiscoveringMobileRouter
from mrouter.protocol.events import (
    DiscoveryReceived,
    EgressChanged,
    ForwardingFailed,
    SendDiscovery,
    StopRequested,
)
from mrouter.wire.constants import BindingStatus
from mrouter.wire.home_discovery import DiscoveryPacket, HomeAgentReply, find_anycast_address
from mrouter.wire.message_codec import parse_message, serialize_message
from mrouter.wire.messages import BindingAcknowledgement, BindingUpdate, find_option
from mrouter.wire.options import MobileNetworkPrefix

SECOND = HOME_AGENT + 1
OTHER_PART = IPv6Network("2001:db8:bbbb:9::/64")
PART = IPv6Network("2001:db8:bbbb:7::/64")
NOBODYS = IPv6Network("2001:db8:dddd::/56")


# --- 5.2: sending Binding Updates --------------------------------------------------------


def test_5_2_mobile_router_sets_the_r_flag():
    assert only(connect(make_router(), LTE)).message.mobile_router


def test_5_2_mobile_node_without_a_prefix_does_not():
    assert not only(connect(make_router(prefixes=()), LTE)).message.mobile_router


def test_5_2_implicit_mode_names_no_prefix():
    assert find_option(only(connect(make_router(), LTE)).message, MobileNetworkPrefix) is None


def test_5_2_explicit_mode_names_every_prefix():
    update = only(connect(make_router(explicit=True, prefixes=(PREFIX, OTHER_PREFIX)), LTE))
    named = [o.prefix for o in update.message.options if isinstance(o, MobileNetworkPrefix)]
    assert named == [PREFIX, OTHER_PREFIX]


def test_5_2_refresh_in_explicit_mode_names_every_prefix():
    router = make_router(explicit=True)
    register(router, LTE)
    refresh = only(connect(router, replace(LTE, ifpri=5), seconds=10))
    assert find_option(refresh.message, MobileNetworkPrefix) == MobileNetworkPrefix(PREFIX)


def test_5_2_mobile_router_registers_with_the_home_registration_flag():
    assert only(connect(make_router(), LTE)).message.home_registration


def test_5_2_refresh_has_the_r_flag_of_the_first_registration():
    router = make_router()
    register(router, LTE)
    refresh = only(connect(router, replace(LTE, ifpri=5), seconds=10))
    assert refresh.message.mobile_router


# --- 4.3: the Mobile Network Prefix option ----------------------------------------------------


def test_4_3_reserved_octet_is_written_as_zero_and_ignored():
    update = BindingUpdate(1, 4, options=(MobileNetworkPrefix(PREFIX),))
    header = serialize_message(update, FORMAT).header
    reserved = header.index(PREFIX.network_address.packed) - 2
    assert header[reserved] == 0
    header[reserved] = 0xFF
    assert parse_message(bytes(header), FORMAT).message == update


def test_5_8_deregistration_in_explicit_mode_names_no_prefix():
    router = make_router(explicit=True)
    register(router, LTE)
    ending = only(packets(router.handle(StopRequested(deregister=True), at(1)), BindingUpdate))
    assert ending.message.lifetime == 0
    assert find_option(ending.message, MobileNetworkPrefix) is None


# --- 5.3: receiving Binding Acknowledgements --------------------------------------------------


def test_5_3_home_agent_that_does_not_set_r_is_left():
    router = make_router()
    update = only(connect(router, LTE))
    effects = send(router, make_acknowledgement(update, mobile_router=False), at(0))
    assert only(packets(effects)).message.lifetime == 0
    assert "nemo-not-supported" in notes(effects)
    entry = only(router.entries)
    assert (entry.state, entry.usable) == (BindingState.REFUSED, False)


def test_5_3_mobile_node_does_not_need_r():
    router = make_router(prefixes=())
    register(router, LTE)
    assert only(router.entries).usable


@pytest.mark.parametrize("status", [140, 141, 142, 143])
def test_5_4_refusal_stops_the_registration_of_that_address(status):
    router = make_router()
    first, second = connect(router, LTE, WIFI)
    send(router, make_acknowledgement(first, status, lifetime=0), at(0))
    send(router, make_acknowledgement(second), at(0))
    states = {entry.link: (entry.state, entry.status) for entry in router.entries}
    assert states == {
        "lte": (BindingState.REFUSED, status),
        "wifi": (BindingState.REGISTERED, 1),
    }


@pytest.mark.parametrize("status", [140, 141, 142, 143])
def test_5_4_2_refusal_in_explicit_mode_leaves_no_binding(status):
    router = make_router(explicit=True)
    update = only(connect(router, LTE))
    send(router, make_acknowledgement(update, status, lifetime=0), at(0))
    entry = only(router.entries)
    assert (entry.state, entry.usable, entry.expires_at) == (BindingState.REFUSED, False, None)


def make_searcher_with_two_home_agents():
    """Return a mobile router that knows two home agents, and its first Binding Update."""
    anycast = find_anycast_address(AGENT.home_prefixes[0])
    router = DiscoveringMobileRouter(replace(ROUTER, home_agent=anycast), Random(7))
    effects = router.handle(EgressChanged((LTE,)), at(0))
    request = only([e.packet for e in effects if isinstance(e, SendDiscovery)])
    reply = HomeAgentReply(request.message.identifier, (SECOND, HOME_AGENT), mobile_router=True)
    found = DiscoveryReceived(DiscoveryPacket(SECOND, request.source, reply))
    return router, through_wire(only(packets(router.handle(found, at(0.1)), BindingUpdate)))


def test_5_3_home_agent_without_nemo_is_deregistered_before_the_next_is_tried():
    router, update = make_searcher_with_two_home_agents()
    answer = make_acknowledgement(update, source=SECOND, mobile_router=False)
    sent = packets(send(router, answer, at(0.2)), BindingUpdate)
    assert [(p.destination, p.message.lifetime) for p in sent] == [(SECOND, 0), (HOME_AGENT, 120)]


@pytest.mark.parametrize("status", [140, 141, 142, 143])
def test_5_4_refusal_leads_to_another_home_agent_of_the_home_link(status):
    router, update = make_searcher_with_two_home_agents()
    refusal = make_acknowledgement(update, status, lifetime=0, source=SECOND)
    assert only(packets(send(router, refusal, at(0.2)), BindingUpdate)).destination == HOME_AGENT


# --- 6.1, 6.2: prefix table and Binding Cache -------------------------------------------------


def test_6_2_implicit_mode_takes_the_prefixes_of_the_table():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    assert only(agent.entries).prefixes == (PREFIX,)


def test_6_2_explicit_mode_takes_the_prefixes_of_the_options():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1, prefixes=(PART,)), at(0))
    assert only(agent.entries).prefixes == (PART,)


def test_6_2_every_prefix_of_the_options_is_taken():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1, prefixes=(PART, OTHER_PART)), at(0))
    assert only(agent.entries).prefixes == (PART, OTHER_PART)


def test_6_2_r_flag_without_h_flag_is_answered_with_140():
    agent = make_agent()
    update = make_update(at(0), ifid=1, home_registration=False)
    assert answer_of(agent, update, at(0)).status == (
        BindingStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED
    )
    assert agent.entries == ()


def test_6_2_without_r_there_is_no_prefix():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1, mobile_router=False), at(0))
    entry = only(agent.entries)
    assert (entry.prefixes, entry.mobile_router) == ((), False)


def refuse(agent, **how):
    """Return the status of a refused update; nothing else may have happened."""
    send(agent, make_update(at(0), ifid=1), at(0))
    before = agent.entries
    status = answer_of(agent, make_update(at(1), ifid=1, sequence=2, **how), at(1)).status
    assert agent.entries is before
    return status


def test_6_2_prefix_of_another_mobile_router_is_not_authorized():
    status = refuse(make_agent(), prefixes=(PART, OTHER_PREFIX))
    assert status == BindingStatus.NOT_AUTHORIZED_FOR_PREFIX


def test_6_2_prefix_of_nobody_is_not_authorized():
    assert refuse(make_agent(), prefixes=(NOBODYS,)) == BindingStatus.NOT_AUTHORIZED_FOR_PREFIX


@pytest.mark.parametrize(
    ("prefixes", "status"),
    [
        ((), BindingStatus.FORWARDING_SETUP_FAILED),
        ((PART,), BindingStatus.NOT_AUTHORIZED_FOR_PREFIX),
    ],
)
def test_6_2_mobile_node_without_a_prefix_may_not_be_a_mobile_router(prefixes, status):
    agent = make_agent(served=(replace(AGENT.served[0], prefixes=()),))
    assert answer_of(agent, make_update(at(0), ifid=1, prefixes=prefixes), at(0)).status == status
    assert agent.entries == ()


def test_6_2_prefix_that_a_refresh_leaves_out_is_not_forwarded_for_any_more():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1, prefixes=(PART, OTHER_PART)), at(0))
    effects = send(agent, make_update(at(1), ifid=1, sequence=2, prefixes=(PART,)), at(1))
    assert is_changed(effects)
    assert only(agent.entries).prefixes == (PART,)


@pytest.mark.parametrize(
    ("prefixes", "status"),
    [((), BindingStatus.FORWARDING_SETUP_FAILED), ((PREFIX,), BindingStatus.INVALID_PREFIX)],
)
def test_6_2_forwarding_that_fails_ends_the_binding_with_143_or_141(prefixes, status):
    agent, router = make_agent(), make_router(explicit=bool(prefixes))
    update = only(connect(router, LTE))
    accepted = only(packets(send(agent, update, at(0)), BindingAcknowledgement))
    send(router, through_wire(accepted), at(0))
    effects = agent.handle(ForwardingFailed(HOME, only(agent.entries).ifid), at(1))
    failed = only(packets(effects, BindingAcknowledgement))
    assert failed.message.status == status
    assert agent.entries == ()
    send(router, through_wire(failed), at(1))
    assert only(router.entries).state is BindingState.REFUSED


@pytest.mark.parametrize("home_registration", [True, False])
def test_6_6_home_agent_without_nemo_answers_140(home_registration):
    agent = make_agent(nemo=False)
    update = make_update(at(0), ifid=1, home_registration=home_registration)
    answer = answer_of(agent, update, at(0))
    assert answer.status == BindingStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED
    assert not answer.mobile_router
    assert agent.entries == ()


def test_6_6_home_agent_without_nemo_serves_a_mobile_node():
    agent = make_agent(nemo=False)
    update = make_update(at(0), ifid=1, mobile_router=False)
    assert answer_of(agent, update, at(0)).status == 1
    assert only(agent.entries).prefixes == ()


def test_6_2_refused_prefix_does_not_end_the_binding_of_another_home_address():
    agent = make_agent()
    assert refuse(agent, prefixes=(OTHER_PREFIX,)) == 142
    assert {entry.home_address for entry in agent.entries} == {HOME}


# --- 6.6: sending Binding Acknowledgements ----------------------------------------------------


@pytest.mark.parametrize("flag", [True, False])
def test_6_6_r_flag_is_echoed(flag):
    update = make_update(at(0), ifid=1, mobile_router=flag)
    assert answer_of(make_agent(), update, at(0)).mobile_router is flag


# --- 6.4: the tunnel's far end -----------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("2001:db8:bbbb:7::1", BindingStatus.ADMINISTRATIVELY_PROHIBITED),
        ("2001:db8:aaaa::1", BindingStatus.ADMINISTRATIVELY_PROHIBITED),
        ("fe80::1", BindingStatus.REASON_UNSPECIFIED),
        ("::1", BindingStatus.REASON_UNSPECIFIED),
        ("::ffff:192.0.2.1", BindingStatus.REASON_UNSPECIFIED),
    ],
)
def test_6_4_care_of_address_that_no_tunnel_can_lead_to_is_refused(address, status):
    # The codec already refuses to carry some of these in an option: so as the source.
    assert refuse(make_agent(), source=IPv6Address(address)) == status


# --- 6.7: de-registration ---------------------------------------------------------------------


@pytest.mark.parametrize("prefixes", [(PREFIX,), (OTHER_PREFIX,), (NOBODYS,)])
def test_6_7_prefixes_of_a_deregistration_are_ignored(prefixes):
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    farewell = make_update(at(1), ifid=1, sequence=2, lifetime=0, prefixes=prefixes)
    answer = answer_of(agent, farewell, at(1))
    assert (answer.status, answer.lifetime) == (1, 0)
    assert agent.entries == ()


def test_6_7_r_flag_of_a_deregistration_is_ignored():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    farewell = make_update(at(1), ifid=1, sequence=2, lifetime=0, mobile_router=False)
    assert answer_of(agent, farewell, at(1)).status == 1
    assert agent.entries == ()
