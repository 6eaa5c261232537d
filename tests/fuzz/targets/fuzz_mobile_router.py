"""The mobile router: whatever links, home agents, correspondent nodes and strangers do."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from protocol_world import HOME, HOME_AGENT, KEY, LTE, OTHER_KEY, ROUTER
from route_world import CORRESPONDENT
from story import (
    Story,
    check_effects,
    check_slots,
    fire_if_due,
    make_random_seeds,
    without_authenticators,
)
from vehicle import (
    ANYCAST,
    CARE_OF_ADDRESSES,
    CORRESPONDENTS,
    CROWD,
    HOME_PREFIX,
    LINKS,
    OTHER_AGENT,
    SENDERS,
    STATUSES,
    Vehicle,
    list_bindings,
    list_usable,
)
from wanted_flows import pick_wanted

from mrouter.protocol.bindings import BindingState
from mrouter.protocol.discovering_router import DiscoveringMobileRouter
from mrouter.protocol.events import (
    CareOfAddressFailed,
    CorrespondentsChanged,
    DiscoveryReceived,
    EgressChanged,
    FlowsWanted,
    PacketReceived,
    SendDiscovery,
    SendPacket,
    StopRequested,
)
from mrouter.protocol.keygen_tokens import AuthorizationSigner
from mrouter.protocol.keys import PacketSigner, to_ntp_timestamp
from mrouter.protocol.mobile_router import MobileRouter
from mrouter.protocol.update_list import Binding, restore_binding
from mrouter.wire.home_discovery import (
    DiscoveryPacket,
    HomeAgentReply,
    HomePrefix,
    PrefixAdvertisement,
)
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    HomeTest,
    HomeTestInit,
    Packet,
    find_option,
)
from mrouter.wire.options import (
    BindingAuthorizationData,
    BindingRefreshAdvice,
    CareOfAddressInformation,
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
    MnHaAuthentication,
    ReplayProtection,
)

#: A crowd takes its time.
_CROWDED_STEPS = 8
#: How many messages are remembered, to be answered.
_REMEMBERED = 12
_RECENT = 4
_NETWORKS = (IPv4Network("192.0.2.0/24"), IPv4Network("10.0.0.0/9"))


def test_one_input(data):
    _Life(Story(data)).run()


def make_seeds():
    return make_random_seeds()


class _Life:
    def __init__(self, story):
        self.story = story
        self.finds_home_agent = story.pick((False, False, True))
        self.settings = replace(
            ROUTER,
            home_agent=ANYCAST if self.finds_home_agent else HOME_AGENT,
            prefixes=story.pick((ROUTER.prefixes, ROUTER.prefixes, ())),
            explicit=story.chance(),
            security=story.pick((KEY, KEY, None)),
            lifetime=story.pick((120, 4, story.number(0, 300000))),
            ifid_renewal=story.pick((None, 30.0)),
            correspondents=(CORRESPONDENT,),
            route_lifetime=story.pick((420, 4)),
            ipv4_prefixes=story.pick((_NETWORKS, _NETWORKS[:1], ())),
        )
        self.vehicle = Vehicle(self._make_role(), story)
        self.addresses = ()
        self.stopped = False
        self.sent = []
        self.asked = []
        self.usable = set()
        self.crowd = ()
        if story.number(0, 31) == 0:
            self.crowd, story.steps_left = CROWD, _CROWDED_STEPS

    def _make_role(self, kept=(), home_agent=None):
        if self.finds_home_agent:
            return DiscoveringMobileRouter(self.settings, self.story.random, kept, home_agent)
        return MobileRouter(self.settings, self.story.random, kept)

    def run(self):
        steps = (
            self._change_links,
            self._change_links,
            self._answer_all,
            self._answer_all,
            self._answer_all,
            self._answer_one,
            self._answer_one,
            self._answer_one,
            self._answer_discovery,
            self._answer_discovery,
            self._ask_for_refresh,
            self._complain,
            self._send_any_octets,
            self._change_correspondents,
            self._want_flows,
            self._lose_care_of_address,
            self._restart,
            self._stop,
        )
        self._change_links()
        while self.story.goes_on():
            self.story.let_time_pass(self.vehicle.next_deadline())
            self.story.pick(steps)()
            self._tell(None)

    # --- events ---------------------------------------------------------------------------

    def _change_links(self):
        story = self.story
        addresses = [
            replace(link, ifpri=story.number(0, 125)) if story.chance() else link
            for link in LINKS
            if story.chance()
        ]
        if story.chance():
            addresses += self.crowd
        self.addresses = tuple(addresses)
        self._tell(EgressChanged(self.addresses))

    def _answer_one(self):
        if self.sent:
            effect = self.story.pick(self.sent[-_RECENT:])
            self._answer(effect, good=self.story.chance(), right=self.story.chance())

    def _answer_all(self):
        """Have nothing go wrong for once."""
        sent, self.sent = self.sent, []
        for effect in sent:
            self._answer(effect, good=True, right=True)

    def _answer(self, effect, *, good, right):
        """Answer with good news or any; ``right``: as who may do so."""
        message = effect.packet.message
        if isinstance(message, BindingUpdate):
            self._acknowledge(effect, message, good=good, right=right)
        else:
            self._answer_test(effect.packet, message, right=right)

    def _acknowledge(self, effect, update, *, good, right):
        packet = effect.packet
        home = HOME if packet.source != HOME else None
        make = self._make_good_answer if good else self._make_odd_answer
        answer = Packet(packet.destination, packet.source, make(update), None, home)
        self._sign(answer, effect, right=right)

    def _make_good_answer(self, update):
        kept = (CareOfAddressInformation, ReplayProtection)
        return BindingAcknowledgement(
            1,
            update.sequence,
            update.lifetime,
            mobile_router=update.mobile_router,
            options=(
                *[
                    IPv4AddressAcknowledgement(0, option.address, option.prefix_length)
                    for option in update.options
                    if isinstance(option, IPv4HomeAddress)
                ],
                *[option for option in update.options if isinstance(option, kept)],
            ),
        )

    def _make_odd_answer(self, update):
        story = self.story
        options = [BindingRefreshAdvice(4 * story.number(0, 40))] if story.chance() else []
        for network in _NETWORKS:
            if story.chance():
                status = story.pick((0, 0, 127, 128, 133, 255))
                length = story.number(1, 32) if status < 128 else 0
                address = story.pick((network[0], network[1]))
                options.append(IPv4AddressAcknowledgement(status, address, length))
        information = find_option(update, CareOfAddressInformation)
        if information is not None and story.number(0, 3):
            options.append(information)
        replay = find_option(update, ReplayProtection)
        if replay is not None and story.number(0, 3):
            stamp = to_ntp_timestamp(story.now.unix + story.number(-100, 100))
            options.append(story.pick((replay, replay, ReplayProtection(stamp))))
        return BindingAcknowledgement(
            story.pick(STATUSES),
            story.pick((update.sequence, update.sequence, story.number(0, 0xFFFF))),
            story.pick((update.lifetime, 4 * story.number(0, 0xFFFF))),
            mobile_router=story.chance(),
            options=tuple(options),
        )

    def _sign(self, packet, effect, *, right):
        """Send ``packet``, an answer to what ``effect`` sent, signed rightly or not."""
        story = self.story
        option, signer, trusted = self._pick_signer(effect, right=right)
        if option is not None:
            options = (*without_authenticators(packet.message.options), option)
            packet = replace(packet, message=replace(packet.message, options=options))
        received = story.deliver(packet, signer)
        if received is not None:
            self._tell(PacketReceived(received, story.chance()), trusted=trusted)

    def _pick_signer(self, effect, *, right):
        """Return an option, a signer, and whether the receiver has to believe them."""
        if effect.authorization is not None:
            authorization = effect.authorization
            if not right:
                authorization = replace(authorization, key=bytes(20))
            return BindingAuthorizationData(), AuthorizationSigner(authorization), right
        if self.settings.security is None:
            return None, None, True
        key = KEY if right else self.story.pick((OTHER_KEY, replace(KEY, key=b"wrong")))
        return MnHaAuthentication(key.spi), PacketSigner(key), right

    def _answer_test(self, packet, init, *, right):
        story = self.story
        kind = HomeTest if isinstance(init, HomeTestInit) else CareOfTest
        cookie = init.cookie if right or story.chance() else bytes(8)
        test = kind(story.number(0, 0xFFFF), cookie, story.random.randbytes(8))
        via_home_agent = right or story.chance()
        self._deliver(Packet(packet.destination, packet.source, test), via_home_agent)

    def _answer_discovery(self):
        story = self.story
        number = story.number(0, 0xFFFF)
        source, destination = story.pick(SENDERS), story.pick(CARE_OF_ADDRESSES)
        if self.asked and story.number(0, 3):
            packet = story.pick(self.asked).packet
            number, destination = packet.message.identifier, packet.source
            source = story.pick((self.vehicle.role.home_agent, source))
        listed = (HOME_AGENT, OTHER_AGENT, HOME, CORRESPONDENT, LTE.address)
        agents = tuple(address for address in listed if story.chance())
        prefixes = tuple(
            HomePrefix(prefix, story.number(0, 0xFFFFFFFF), story.number(0, 0xFFFFFFFF))
            for prefix in (HOME_PREFIX, IPv6Network("2001:db8:77::/48"))
            if story.chance()
        )
        prefixes = tuple(p for p in prefixes if p.preferred_lifetime <= p.valid_lifetime)
        message = story.pick(
            (
                HomeAgentReply(number, agents, story.number(0, 7) > 0),
                PrefixAdvertisement(number, prefixes),
            )
        )
        home = story.pick((None, HOME, HOME))
        packet = DiscoveryPacket(source, destination, message, routing_home_address=home)
        self._tell(DiscoveryReceived(packet))

    def _ask_for_refresh(self):
        options = self._name_binding()
        message = BindingRefreshRequest(options)
        destination = self.story.pick((HOME, *CARE_OF_ADDRESSES))
        home = self.story.pick((None, HOME))
        packet = Packet(self.story.pick(SENDERS), destination, message, None, home)
        self._deliver(packet, self.story.chance())

    def _complain(self):
        destination = self.story.pick((HOME, *CARE_OF_ADDRESSES))
        message = BindingError(self.story.number(0, 3), HOME, self._name_binding())
        self._deliver(Packet(self.story.pick(SENDERS), destination, message), self.story.chance())

    def _name_binding(self):
        routes = [route.binding for route in self.vehicle.role.routes]
        known = [entry.ifid for entry in (*self.vehicle.role.entries, *routes)]
        ifid = self.story.pick((None, self.story.ifid(), *known))
        return () if ifid is None else (CareOfAddressInformation(ifid, 0),)

    def _send_any_octets(self):
        story = self.story
        packet = story.invent_packet(SENDERS, (HOME, *CARE_OF_ADDRESSES), (HOME,))
        if packet is None:
            return
        if self.sent and story.chance():
            self._sign(packet, story.pick(self.sent), right=story.chance())
            return
        # without a key between them, the home agent is believed by its address
        trusted = self.settings.security is None
        self._tell(PacketReceived(packet, story.chance()), trusted=trusted)

    def _deliver(self, packet, via_home_agent):
        received = self.story.deliver(packet)
        if received is not None:
            self._tell(PacketReceived(received, via_home_agent))

    def _change_correspondents(self):
        wanted = tuple(address for address in CORRESPONDENTS if self.story.chance())
        self._tell(CorrespondentsChanged(wanted))

    def _want_flows(self):
        links = [address.link for address in LINKS]
        wanted = pick_wanted(self.story, links, (*ROUTER.prefixes, IPv6Network(HOME)))
        self._tell(FlowsWanted(wanted))
        states = self.vehicle.role.flow_states
        assert self.stopped or self.finds_home_agent or len(states) == len(wanted)

    def _lose_care_of_address(self):
        self._tell(CareOfAddressFailed(self.story.pick(CARE_OF_ADDRESSES)))

    def _restart(self):
        if self.stopped:
            return
        role, story = self.vehicle.role, self.story
        usable = [entry for entry in role.entries if entry.usable]
        kept = [
            restore_binding(Binding, entry, story.monotonic, self.settings.ifid_renewal)
            for entry in usable
        ]
        routes = [route for route in role.routes if route.binding.usable]
        home_agent = role.home_agent if usable else None
        self.vehicle = Vehicle(self._make_role(kept, home_agent), story)
        self.vehicle.role.restore_routes(routes, story.monotonic)
        assert list_usable({None: self.vehicle.role.entries}) == list_usable({None: usable})
        self._tell(EgressChanged(self.addresses))

    def _stop(self):
        if self.story.number(0, 7) == 0:
            self.stopped = True
            self._tell(StopRequested(self.story.chance()))

    # --- what must hold -------------------------------------------------------------------

    def _tell(self, event, *, trusted=False):
        """Hand ``event`` over (None: the timer, if it is due); ``trusted``: it may be believed."""
        story = self.story
        was_stopped = self.stopped and not isinstance(event, StopRequested)
        if event is None:
            effects = fire_if_due(self.vehicle, story)
        else:
            effects = self.vehicle.handle(event, story.now)
        check_effects(effects, story, self._find_signer)
        sent = [effect for effect in effects if isinstance(effect, SendPacket)]
        self.sent = [*self.sent, *sent][-_REMEMBERED:]
        asked = [effect for effect in effects if isinstance(effect, SendDiscovery)]
        self.asked = [*self.asked, *asked][-_REMEMBERED:]
        assert not (was_stopped and sent)
        bindings = list_bindings(self.vehicle.role)
        before, self.usable = self.usable, list_usable(bindings)
        assert trusted or self.usable <= before, "a binding that nobody vouches for"
        self._check_bindings(bindings, fired=event is None)

    def _find_signer(self, effect):
        if effect.authorization is not None:
            return AuthorizationSigner(effect.authorization)
        signed = find_option(effect.packet.message, MnHaAuthentication) is not None
        assert signed == (effect.key_for is not None)
        return PacketSigner(KEY) if signed else None

    def _check_bindings(self, bindings, *, fired):
        for entries in bindings.values():
            check_slots(entries)
            ifids = [entry.ifid for entry in entries]
            assert len(set(ifids)) == len(ifids)
            assert all(1 <= ifid <= 255 for ifid in ifids)
        if self.stopped:  # what stays is for the next run
            assert self.vehicle.role.next_deadline() is None
            return
        present = {(address.link, address.address) for address in self.addresses}
        for entries in bindings.values():
            for entry in entries:
                assert all(
                    any(network.subnet_of(own) for own in self.settings.ipv4_prefixes)
                    for network in entry.ipv4_prefixes
                ), "an IPv4 network that is not on board"
                if entry.usable:
                    assert entry.expires_at is not None
                    assert not fired or entry.expires_at > self.story.monotonic
                if entry.state is not BindingState.DEREGISTERING:
                    assert (entry.link, entry.care_of_address) in present, "a link that has gone"
