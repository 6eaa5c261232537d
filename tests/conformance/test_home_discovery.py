"""RFC 6275 §10.5, §11.4.1 and RFC 3963 §7: both sides of home agent address discovery."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from random import Random

import pytest
from protocol_world import (
    AGENT,
    HOME,
    HOME_AGENT,
    LTE,
    ROUTER,
    WIFI,
    at,
    counts,
    make_acknowledgement,
    make_agent,
    make_update,
    only,
    packets,
    run_until,
    send,
    through_wire,
)
from scapy.layers.inet6 import IPv6

from mrouter.protocol.discovering_router import DiscoveringMobileRouter
from mrouter.protocol.events import Counted, DiscoveryReceived, EgressChanged, SendDiscovery
from mrouter.protocol.settings import PeerHomeAgent
from mrouter.wire.home_discovery import (
    DiscoveryPacket,
    HomeAgentReply,
    HomeAgentRequest,
    HomePrefix,
    PrefixAdvertisement,
    PrefixSolicitation,
    find_anycast_address,
    parse_discovery,
    serialize_discovery,
)
from mrouter.wire.messages import BindingUpdate

ANYCAST = find_anycast_address(AGENT.home_prefixes[0])
SECOND, THIRD = HOME_AGENT + 1, HOME_AGENT + 2


def discoveries(effects):
    """Return what is sent, as it arrives."""
    return [
        (effect.link, parse_discovery(serialize_discovery(effect.packet)))
        for effect in effects
        if isinstance(effect, SendDiscovery)
    ]


def tell(machine, packet, seconds=0.0):
    data = serialize_discovery(packet)
    return machine.handle(DiscoveryReceived(parse_discovery(data)), at(seconds))


# --- the home agent ---------------------------------------------------------------------------


def ask(agent, *, identifier=5, mobile_router=True, destination=ANYCAST, seconds=0.0):
    message = HomeAgentRequest(identifier, mobile_router)
    return tell(agent, DiscoveryPacket(LTE.address, destination, message), seconds)


def answer(agent, **how):
    ((_, packet),) = discoveries(ask(agent, **how))
    return packet


def test_10_5_request_to_the_anycast_address_is_answered_from_a_unicast_address():
    packet = answer(make_agent())
    assert (packet.source, packet.destination) == (HOME_AGENT, LTE.address)
    assert packet.message == HomeAgentReply(5, (HOME_AGENT,), mobile_router=True)


def test_10_5_request_to_another_address_is_not():
    assert counts(ask(make_agent(), destination=HOME_AGENT)) == [
        ("discovery-dropped", "unexpected-message")
    ]


def test_10_5_1_home_agents_are_listed_by_preference():
    peers = (PeerHomeAgent(SECOND, 10), PeerHomeAgent(THIRD, -10))
    reply = answer(make_agent(peers=peers)).message
    assert reply.addresses == (SECOND, HOME_AGENT, THIRD)


def test_10_5_1_those_of_one_preference_take_turns():
    agent = make_agent(peers=(PeerHomeAgent(SECOND), PeerHomeAgent(THIRD)))
    first = {answer(agent, identifier=n).message.addresses[0] for n in range(3)}
    assert first == {HOME_AGENT, SECOND, THIRD}


def test_10_5_1_reply_fits_the_minimum_mtu():
    peers = tuple(PeerHomeAgent(IPv6Address(int(SECOND) + n), n) for n in range(200))
    agent = make_agent(peers=peers)
    ((_, packet),) = discoveries(ask(agent))
    assert len(serialize_discovery(packet)) <= 1280
    assert packet.message.addresses[0] == peers[-1].address


def test_rfc_3963_7_2_r_flag_asks_for_those_that_serve_mobile_routers():
    agent = make_agent(peers=(PeerHomeAgent(SECOND, 10, nemo=False),))
    assert answer(agent).message == HomeAgentReply(5, (HOME_AGENT,), mobile_router=True)
    without = answer(agent, mobile_router=False).message
    assert without == HomeAgentReply(5, (SECOND, HOME_AGENT))


def test_rfc_3963_7_2_without_any_all_are_listed_and_r_is_not_set():
    agent = make_agent(nemo=False, peers=(PeerHomeAgent(SECOND, 10, nemo=False),))
    assert answer(agent).message == HomeAgentReply(5, (SECOND, HOME_AGENT))


def test_replies_are_limited_in_rate():
    agent = make_agent()
    replies = [discoveries(ask(agent, identifier=n)) for n in range(100)]
    assert 0 < sum(map(len, replies)) <= 45
    assert discoveries(ask(agent, seconds=5))


def test_reply_to_a_home_agent_is_dropped():
    packet = DiscoveryPacket(LTE.address, HOME_AGENT, HomeAgentReply(1, (SECOND,)))
    assert discoveries(tell(make_agent(), packet)) == []


# --- the mobile router ------------------------------------------------------------------------


def make_searcher(**changes):
    settings = replace(ROUTER, home_agent=ANYCAST, **changes)
    return DiscoveringMobileRouter(settings, Random(7))


def start(router, *addresses, seconds=0.0):
    effects = router.handle(EgressChanged(addresses or (LTE,)), at(seconds))
    return discoveries(effects)


def reply(router, request, *addresses, seconds=0.1, mobile_router=True, source=HOME_AGENT):
    message = HomeAgentReply(request.message.identifier, addresses, mobile_router)
    return tell(router, DiscoveryPacket(source, request.source, message), seconds)


def updates(effects):
    return [through_wire(packet) for packet in packets(effects, BindingUpdate)]


def test_11_4_1_request_goes_out_over_each_link():
    sent = start(make_searcher(), LTE, WIFI)
    assert [(link, packet.source, packet.destination) for link, packet in sent] == [
        ("lte", LTE.address, ANYCAST),
        ("wifi", WIFI.address, ANYCAST),
    ]


@pytest.mark.parametrize("prefixes", [ROUTER.prefixes, ()])
def test_rfc_3963_7_1_r_flag_is_a_mobile_routers(prefixes):
    ((_, request),) = start(make_searcher(prefixes=prefixes))
    assert request.message.mobile_router is bool(prefixes)


def test_11_4_1_it_is_repeated_after_3_s_doubling_four_times_and_then_rests():
    router = make_searcher()
    start(router)
    sent = [seconds for seconds, effects in run_until(router, 150) if discoveries(effects)]
    assert sent == [3, 9, 21, 45, 105, 108, 114, 126, 150]


def test_all_repetitions_have_one_identifier():
    router = make_searcher()
    ((_, first),) = start(router)
    sent = [discoveries(effects)[0][1] for _, effects in run_until(router, 50)]
    assert {packet.message.identifier for packet in sent} == {first.message.identifier}


def test_11_4_1_it_registers_with_the_first_home_agent_of_the_list():
    router = make_searcher()
    (_, request), _ = start(router, LTE, WIFI)
    sent = updates(reply(router, request, SECOND, HOME_AGENT))
    assert {packet.destination for packet in sent} == {SECOND}
    assert [packet.source for packet in sent] == [LTE.address, WIFI.address]
    assert router.home_agent == SECOND


def test_6_6_reply_without_addresses_means_its_sender():
    router = make_searcher()
    ((_, request),) = start(router)
    reply(router, request, source=THIRD)
    assert router.home_agent == THIRD


def test_11_4_1_home_agent_that_refuses_makes_room_for_the_next():
    router = make_searcher()
    ((_, request),) = start(router)
    (update,) = updates(reply(router, request, SECOND, HOME_AGENT))
    refusal = make_acknowledgement(update, 129, lifetime=0, source=SECOND)
    (update,) = updates(send(router, refusal, at(0.2)))
    assert update.destination == HOME_AGENT
    send(router, make_acknowledgement(update), at(0.3))
    assert only(router.entries).usable


def test_11_4_1_home_agent_that_does_not_answer_makes_room_for_the_next():
    router = make_searcher()
    ((_, request),) = start(router)
    reply(router, request, SECOND, HOME_AGENT)
    tried = {
        packet.destination: seconds
        for seconds, effects in run_until(router, 12)
        for packet in updates(effects)
    }
    assert tried[HOME_AGENT] == pytest.approx(10.6)


def test_13_home_agent_may_take_as_long_for_its_answer_as_the_operator_says():
    router = make_searcher(first_registration_timeout=3.0)
    ((_, request),) = start(router)
    reply(router, request, SECOND, HOME_AGENT)
    tried = {
        packet.destination: seconds
        for seconds, effects in run_until(router, 22)
        for packet in updates(effects)
    }
    assert tried[HOME_AGENT] == pytest.approx(21.1)


def test_search_begins_anew_after_the_last_home_agent_ever_more_slowly():
    router = make_searcher()
    ((_, request),) = start(router)
    seconds, begun = 0.1, []
    for _ in range(4):
        (update,) = updates(reply(router, request, HOME_AGENT, seconds=seconds))
        send(router, make_acknowledgement(update, 129, lifetime=0), at(seconds))
        assert (router.home_agent, router.entries) == (ANYCAST, ())
        seconds = router.next_deadline() - 1000
        begun.append(seconds)
        ((_, request),) = [found for _, e in run_until(router, seconds) for found in discoveries(e)]
    waits = [b - a for a, b in zip([0.1, *begun], begun, strict=False)]
    assert waits == pytest.approx([5, 10, 20, 40])


def test_home_agent_that_dies_later_is_replaced():
    router = make_searcher()
    ((_, request),) = start(router)
    (update,) = updates(reply(router, request, HOME_AGENT, SECOND))
    send(router, make_acknowledgement(update), at(0.3))
    assert run_until(router, 119)
    assert router.home_agent == HOME_AGENT
    run_until(router, 131)
    assert router.home_agent == SECOND


def test_reply_with_another_identifier_is_ignored():
    router = make_searcher()
    ((_, request),) = start(router)
    message = HomeAgentReply(request.message.identifier ^ 1, (SECOND,), mobile_router=True)
    effects = tell(router, DiscoveryPacket(SECOND, LTE.address, message), 0.1)
    assert counts(effects) == [("discovery-dropped", "unexpected-message")]
    assert router.home_agent == ANYCAST


def test_second_reply_changes_nothing():
    router = make_searcher()
    ((_, request),) = start(router)
    reply(router, request, SECOND)
    assert updates(reply(router, request, THIRD)) == []
    assert router.home_agent == SECOND


def test_rfc_3963_7_1_home_agents_that_serve_no_mobile_router_are_not_tried():
    router = make_searcher()
    ((_, request),) = start(router)
    effects = reply(router, request, SECOND, mobile_router=False)
    assert counts(effects) == [("discovery-dropped", "nemo-not-supported")]
    assert router.home_agent == ANYCAST


def test_11_4_1_new_care_of_address_is_tried_with_the_home_agent_that_has_accepted():
    router = make_searcher()
    ((_, request),) = start(router)
    (update,) = updates(reply(router, request, SECOND, HOME_AGENT))
    send(router, make_acknowledgement(update, source=SECOND), at(0.3))
    effects = router.handle(EgressChanged((LTE, WIFI)), at(1))
    assert {packet.destination for packet in updates(effects)} == {SECOND}
    assert discoveries(effects) == []


def test_nothing_is_sent_without_a_link():
    router = make_searcher()
    start(router)
    router.handle(EgressChanged(()), at(1))
    assert router.next_deadline() is None


def test_new_link_is_asked_over_at_once():
    router = make_searcher()
    start(router, LTE)
    assert [link for link, _ in start(router, LTE, WIFI, seconds=1)] == ["lte", "wifi"]
    assert start(router, LTE, WIFI, seconds=2) == []


# --- mobile prefix solicitation: RFC 6275 §10.6 -----------------------------------------------


def solicit(agent, *, source=LTE.address, home=HOME):
    packet = DiscoveryPacket(source, HOME_AGENT, PrefixSolicitation(9), home_address=home)
    return tell(agent, packet, 1)


def test_10_6_solicitation_from_the_care_of_address_is_answered_to_the_home_address():
    agent = make_agent(prefix_lifetime=3600)
    send(agent, make_update(at(0), ifid=1), at(0))
    ((_, packet),) = discoveries(solicit(agent))
    assert (packet.destination, packet.routing_home_address) == (LTE.address, HOME)
    prefix = HomePrefix(IPv6Network("2001:db8:aaaa::/64"), 3600, 3600)
    assert packet.message == PrefixAdvertisement(9, (prefix,))


@pytest.mark.parametrize("how", [{"source": WIFI.address}, {"home": None}, {"home": SECOND}])
def test_10_6_solicitation_of_nobody_registered_is_dropped(how):
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    assert counts(solicit(agent, **how)) == [("discovery-dropped", "unexpected-message")]


def test_8_4_prefix_advertisements_can_be_switched_off():
    agent = make_agent(prefix_advertisements=False)
    send(agent, make_update(at(0), ifid=1), at(0))
    assert solicit(agent) == [Counted("discovery-dropped", "prefix-advertisements-off")]


def test_6_8_mobile_node_gets_no_more_than_one_advertisement_a_second():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    answered = []
    for tenth in range(31):
        packet = DiscoveryPacket(
            LTE.address, HOME_AGENT, PrefixSolicitation(tenth), home_address=HOME
        )
        if discoveries(tell(agent, packet, 1 + tenth / 10)):
            answered.append(tenth)
    assert answered == [0, 10, 20, 30]


# --- RFC 6275 §6.5 to §6.8: octets that are reserved, and options that are not known -----------

FLAGS_AT = 40 + 6  # in a message without extension headers


def change_octets(data, offset, octets):
    """Return ``data`` with ``octets`` at ``offset``, and a right checksum."""
    packet = IPv6(data[:offset] + octets + data[offset + len(octets) :])
    packet.plen = len(data) - 40
    layer = packet.payload
    del layer.cksum
    return bytes(packet)


@pytest.mark.parametrize(
    "message",
    [HomeAgentRequest(5), HomeAgentReply(5, (SECOND,)), PrefixSolicitation(5)],
)
def test_6_5_reserved_bits_are_sent_as_zero_and_ignored(message):
    data = serialize_discovery(DiscoveryPacket(LTE.address, HOME_AGENT, message))
    assert data[FLAGS_AT : FLAGS_AT + 2] == bytes(2)
    changed = change_octets(data, FLAGS_AT, b"\x3f\xff")
    assert parse_discovery(changed).message == message


def test_6_8_m_and_o_flags_are_clear_and_no_condition():
    prefix = HomePrefix(AGENT.home_prefixes[0], 3600, 3600)
    message = PrefixAdvertisement(5, (prefix,))
    data = serialize_discovery(DiscoveryPacket(HOME_AGENT, LTE.address, message))
    assert data[FLAGS_AT : FLAGS_AT + 2] == bytes(2)
    assert parse_discovery(change_octets(data, FLAGS_AT, b"\xff\xff")).message == message


@pytest.mark.parametrize(
    "message",
    [
        PrefixSolicitation(5),
        PrefixAdvertisement(5, (HomePrefix(AGENT.home_prefixes[0], 3600, 3600),)),
    ],
)
def test_6_7_unknown_options_are_ignored(message):
    data = serialize_discovery(DiscoveryPacket(HOME_AGENT, LTE.address, message))
    unknown = bytes((200, 1)) + bytes(6)
    longer = IPv6(data[:4] + (len(data) - 40 + 8).to_bytes(2, "big") + data[6:] + unknown)
    del longer.payload.cksum
    assert parse_discovery(bytes(longer)).message == message
