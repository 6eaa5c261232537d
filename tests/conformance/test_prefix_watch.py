"""RFC 6275 §11.4.2, §11.4.3: Mobile Prefix Solicitations and what their answers change."""

from dataclasses import replace
from ipaddress import IPv6Network
from random import Random

import pytest
from protocol_world import (
    HOME,
    HOME_AGENT,
    LTE,
    WIFI,
    at,
    make_acknowledgement,
    make_router,
    packets,
    register,
    send,
    through_wire,
)

from mrouter.protocol.events import (
    Counted,
    DiscoveryReceived,
    EgressChanged,
    SendDiscovery,
    TimerFired,
)
from mrouter.protocol.prefix_watch import PrefixWatch
from mrouter.wire.home_discovery import (
    DiscoveryPacket,
    HomePrefix,
    PrefixAdvertisement,
    parse_discovery,
    serialize_discovery,
)
from mrouter.wire.messages import BindingUpdate

PREFIX = HomePrefix(IPv6Network("2001:db8:aaaa::/64"), 1000, 1000)


class Watched:
    """A mobile router's bindings and the watch beside them."""

    def __init__(self, *links):
        self.router = make_router()
        self.watch = PrefixWatch(HOME, Random(3))
        if links:
            register(self.router, *links)

    def handle(self, seconds, event=None, home_agent=HOME_AGENT):
        return self.watch.handle(
            event or TimerFired(), self.router.entries, home_agent, at(seconds).monotonic
        )

    def ask(self, seconds):
        (effect,) = self.handle(seconds)
        assert isinstance(effect, SendDiscovery)
        return effect.link, parse_discovery(serialize_discovery(effect.packet))

    def advertise(self, asked, seconds, *prefixes, **changes):
        message = PrefixAdvertisement(changes.pop("identifier", asked.message.identifier), prefixes)
        packet = DiscoveryPacket(HOME_AGENT, asked.source, message, routing_home_address=HOME)
        return self.handle(seconds, DiscoveryReceived(replace(packet, **changes)))


def accept_plainly(router, seconds, status):
    """Have a plain RFC 6275 home agent accept what the router sends at ``seconds``."""
    effects = router.handle(TimerFired() if seconds else EgressChanged((LTE,)), at(seconds))
    update = through_wire(packets(effects, BindingUpdate)[0])
    information = None if update.message.multiple else "copy"
    answer = make_acknowledgement(update, status, information=information)
    effects = send(router, answer, at(seconds))
    for packet in packets(effects, BindingUpdate):  # without CoAINFO, once that has been learnt
        send(router, make_acknowledgement(through_wire(packet), status), at(seconds))


def notes(effects):
    return [effect.name for effect in effects]


def test_first_binding_has_the_home_agent_asked_from_the_primary_care_of_address():
    link, packet = Watched(WIFI, LTE).ask(0)
    assert (link, packet.source, packet.destination) == ("lte", LTE.address, HOME_AGENT)
    assert packet.home_address == HOME


def test_nobody_is_asked_without_a_binding():
    watched = Watched()
    assert watched.handle(0) == []
    assert watched.watch.next_deadline() is None


def test_solicitation_is_repeated_after_3_s_doubling_and_then_rests():
    watched = Watched(LTE)
    watched.ask(0)
    moments, identifiers = [], []
    for _ in range(5):
        moments.append(watched.watch.next_deadline() - 1000)
        identifiers.append(watched.ask(moments[-1])[1].message.identifier)
    assert moments == [3, 9, 21, 45, 3645]
    assert len(set(identifiers[:4])) == 1


def test_answer_is_kept_and_asked_for_again_before_it_is_out_of_date():
    watched = Watched(LTE)
    _, asked = watched.ask(0)
    assert notes(watched.advertise(asked, 0.1, PREFIX)) == ["home-prefixes-changed"]
    assert watched.watch.prefixes == (PREFIX,)
    assert watched.watch.next_deadline() == pytest.approx(at(800.1).monotonic)
    _, again = watched.ask(801)
    assert watched.advertise(again, 801.1, PREFIX) == []


def test_renumbered_home_link_is_noted():
    watched = Watched(LTE)
    _, asked = watched.ask(0)
    other = HomePrefix(IPv6Network("2001:db8:ffff::/64"), 1000, 1000)
    assert notes(watched.advertise(asked, 0.1, other)) == [
        "home-prefixes-changed",
        "home-address-outlived",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": HOME_AGENT + 1},
        {"destination": WIFI.address},
        {"routing_home_address": None},
        {"routing_home_address": HOME + 1},
        {"identifier": 70000 % 65536},
    ],
)
def test_11_4_3_advertisement_that_is_not_the_answer_is_discarded(wrong):
    watched = Watched(LTE)
    _, asked = watched.ask(0)
    effects = watched.advertise(asked, 0.1, PREFIX, **wrong)
    assert effects == [Counted("discovery-dropped", "unexpected-message")]
    assert watched.watch.prefixes == ()


def test_11_4_2_identifiers_are_drawn_anew():
    watched = Watched(LTE)
    seen, seconds = set(), 0
    for _ in range(10):
        _, asked = watched.ask(seconds)
        seen.add(asked.message.identifier)
        watched.advertise(asked, seconds + 0.1, PREFIX)
        seconds = watched.watch.next_deadline() - 1000
    assert len(seen) == 10


def test_11_4_3_nothing_is_accepted_before_a_home_agent_has_accepted_a_binding():
    watched = Watched()
    message = PrefixAdvertisement(1, (PREFIX,))
    packet = DiscoveryPacket(HOME_AGENT, LTE.address, message, routing_home_address=HOME)
    assert watched.handle(0, DiscoveryReceived(packet)) == []
    assert watched.watch.prefixes == ()


def test_11_4_3_unsolicited_advertisement_is_discarded():
    watched = Watched(LTE)
    _, asked = watched.ask(0)
    watched.advertise(asked, 0.1, PREFIX)
    effects = watched.advertise(asked, 5, identifier=asked.message.identifier ^ 1)
    assert effects == [Counted("discovery-dropped", "unexpected-message")]
    assert watched.watch.prefixes == (PREFIX,)


def test_11_7_3_acceptance_on_condition_has_the_home_agent_asked_each_time():
    watched = Watched()
    accept_plainly(watched.router, 0, status=1)
    _, asked = watched.ask(0)
    watched.advertise(asked, 0.1, PREFIX)
    assert watched.handle(1) == []
    accept_plainly(watched.router, 96, status=1)
    _, again = watched.ask(96)
    watched.advertise(again, 96.1, PREFIX)
    accept_plainly(watched.router, 192, status=0)
    assert watched.handle(192) == []


def test_second_answer_is_discarded():
    watched = Watched(LTE)
    _, asked = watched.ask(0)
    watched.advertise(asked, 0.1, PREFIX)
    assert watched.advertise(asked, 0.2) == [Counted("discovery-dropped", "unexpected-message")]


def test_other_home_agent_is_asked_too():
    watched = Watched(LTE)
    watched.ask(0)
    (effect,) = watched.handle(1, home_agent=HOME_AGENT + 5)
    assert effect.packet.destination == HOME_AGENT + 5
