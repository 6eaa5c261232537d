"""The home agent: whatever comes, only who has the key moves a binding, and only its own."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from itertools import groupby

from protocol_world import (
    AGENT,
    HOME,
    HOME_AGENT,
    KEY,
    LTE,
    OTHER_HOME,
    OTHER_KEY,
    OTHER_PREFIX,
    PREFIX,
    SAT,
    WIFI,
)
from story import (
    Story,
    check_effects,
    check_slots,
    fire_if_due,
    make_random_seeds,
    without_authenticators,
)
from wanted_flows import pick_flow_options

from mrouter.protocol.bindings import MAX_SLOT
from mrouter.protocol.events import (
    CheckDuplicate,
    DiscoveryReceived,
    DuplicateChecked,
    ForwardingFailed,
    PacketReceived,
    StopRequested,
    TimerFired,
)
from mrouter.protocol.flow_bindings import MAX_FLOW_BINDINGS
from mrouter.protocol.flow_table import may_steer
from mrouter.protocol.home_agent import HomeAgent
from mrouter.protocol.keys import PacketSigner, to_ntp_timestamp
from mrouter.protocol.settings import PeerHomeAgent, SecurityAssociation, ServedMobileRouter
from mrouter.wire.constants import Dialect
from mrouter.wire.home_discovery import (
    DiscoveryPacket,
    HomeAgentRequest,
    PrefixSolicitation,
    find_anycast_address,
)
from mrouter.wire.messages import BindingUpdate, CareOfTestInit, HomeTestInit, Packet, find_option
from mrouter.wire.options import (
    AlternateCareOfAddress,
    CareOfAddressInformation,
    IPv4HomeAddress,
    MnHaAuthentication,
    MobileNetworkPrefix,
    ReplayProtection,
)

KEYLESS_HOME = IPv6Address("2001:db8:aaaa::300")
NODE_HOME = IPv6Address("2001:db8:aaaa::400")
NEXT_KEY = replace(KEY, spi=258, key=b"the next key")
NODE_KEY = replace(KEY, spi=300, key=b"the node's key")
KEYLESS_PREFIX = IPv6Network("2001:db8:eeee::/64")
LAN, OTHER_LAN = IPv4Network("192.0.2.0/24"), IPv4Network("198.51.100.0/24")
SERVED = (
    ServedMobileRouter(HOME, (PREFIX,), (KEY, NEXT_KEY), ipv4_prefixes=(LAN,)),
    ServedMobileRouter(OTHER_HOME, (OTHER_PREFIX,), (OTHER_KEY,), ipv4_prefixes=(OTHER_LAN,)),
    ServedMobileRouter(KEYLESS_HOME, (KEYLESS_PREFIX,), ()),
    ServedMobileRouter(NODE_HOME, (), (NODE_KEY,)),
)
ROUTERS = {router.home_address: router for router in SERVED}
WRONG_KEY = SecurityAssociation(KEY.spi, KEY.algorithm, b"not the key")
KEYS = (KEY, NEXT_KEY, OTHER_KEY, NODE_KEY, WRONG_KEY)
STRANGER = IPv6Address("2001:db8:aaaa::999")
HOMES = (*ROUTERS, STRANGER, IPv6Address("2001:db8:9999::1"), HOME_AGENT)
NESTED = (PREFIX[2], OTHER_PREFIX[2], KEYLESS_PREFIX[2])
CARE_OF_ADDRESSES = (LTE.address, WIFI.address, SAT.address, *NESTED, HOME, HOME_AGENT)
SOURCES = (*CARE_OF_ADDRESSES, OTHER_HOME, KEYLESS_HOME, IPv6Address("fe80::1"))
PREFIXES = (PREFIX, OTHER_PREFIX, next(PREFIX.subnets(8)), IPv6Network("::/0"))
NETWORKS = (LAN, OTHER_LAN, next(LAN.subnets(3)), IPv4Network("0.0.0.0/8"))
ANYCAST = find_anycast_address(AGENT.home_prefixes[0])


def test_one_input(data):
    _Life(Story(data)).run()


def make_seeds():
    return make_random_seeds()


class _Life:
    def __init__(self, story):
        self.story = story
        self.settings = replace(
            AGENT,
            served=SERVED,
            nemo=story.pick((True, True, False)),
            home_link=story.pick((None, "home0")),
            refuse_mixed=story.chance(),
            peers=(PeerHomeAgent(STRANGER, 5, nemo=story.chance()),),
        )
        self.agent = HomeAgent(self.settings, story.now)
        self.is_bulk = story.fmt.dialect is Dialect.RFC5648
        self.checks = []
        self.spis = {association.spi: association for r in SERVED for association in r.security}

    def run(self):
        steps = (
            self._send_update,
            self._send_update,
            self._send_update,
            self._send_any_octets,
            self._send_test,
            self._look_for_home_agents,
            self._finish_check,
            self._fail_forwarding,
            self._restart,
            self._tell_other,
        )
        while self.story.goes_on():
            self.story.let_time_pass(self.agent.next_deadline())
            self.story.pick(steps)()
            self._tell(None)

    # --- events ---------------------------------------------------------------------------

    def _send_update(self):
        if self.story.chance():
            self._send_good_update()
        else:
            self._send_odd_update()

    def _send_good_update(self):
        """Register one binding as a sound mobile router does, but perhaps any prefix."""
        story, router = self.story, self.story.pick(SERVED)
        option = CareOfAddressInformation(story.number(1, 3), story.number(0, 126))
        more = pick_flow_options(story, router.prefixes) if story.chance() else []
        if router.prefixes and story.chance():
            more.append(MobileNetworkPrefix(story.pick(PREFIXES)))
        more += self._ask_for_ipv4()
        update = BindingUpdate(
            self._find_sequence(router.home_address),
            story.pick((120, 120, 8, 0)),
            acknowledge=True,
            home_registration=True,
            mobile_router=bool(router.prefixes),
            multiple=True,
            options=(option, *more, self._stamp(0)),
        )
        source = story.pick(CARE_OF_ADDRESSES)
        key = story.pick(router.security or (None,))
        self._send(Packet(source, HOME_AGENT, update, router.home_address), key, key)

    def _ask_for_ipv4(self):
        story = self.story
        networks = [story.pick(NETWORKS) for _ in range(story.pick((0, 0, 1, 2)))]
        return [
            IPv4HomeAddress(story.pick((each[0], each[9])), each.prefixlen, story.chance())
            for each in networks
        ]

    def _find_sequence(self, home):
        """Return a number that follows all of ``home``'s, unless those are far apart."""
        known = [entry.sequence for entry in self.agent.entries if entry.home_address == home]
        return (max(known, default=0) + 1) % 65536

    def _send_odd_update(self):
        story = self.story
        home = story.pick(HOMES)
        key, signed_by = self._pick_keys(home)
        informations = self._name_bindings()
        options = [*informations]
        if story.chance():
            options.append(AlternateCareOfAddress(story.pick(CARE_OF_ADDRESSES)))
        if story.chance():
            options += map(MobileNetworkPrefix, {story.pick(PREFIXES), story.pick(PREFIXES)})
        if story.chance():
            options += pick_flow_options(story, PREFIXES)
        options += self._ask_for_ipv4()
        if story.number(0, 3):
            options.append(self._stamp(story.pick((0, 0, 0, 3, -3, 100))))
        update = BindingUpdate(
            story.pick((self._find_sequence(home), story.number(0, 0xFFFF))),
            story.pick((0, 4, 120, 4 * story.number(0, 0xFFFF))),
            acknowledge=story.chance(),
            home_registration=story.number(0, 7) > 0,
            link_local_compatible=story.chance(),
            mobile_router=story.chance(),
            multiple=bool(informations),
            overwrite=self.is_bulk and story.chance(),
            options=tuple(options),
        )
        packet = Packet(story.pick(SOURCES), HOME_AGENT, update, story.pick((home, home, None)))
        self._send(packet, key, signed_by)

    def _name_bindings(self):
        """Return what names bindings: none for a plain one, several in dialect rfc5648 alone."""
        story = self.story
        if not self.is_bulk:
            count = story.pick((0, 1, 1))
            return [
                CareOfAddressInformation(story.ifid(), story.number(0, 0xFF)) for _ in range(count)
            ]
        return [
            CareOfAddressInformation(
                story.ifid(),
                story.number(0, 126),
                care_of_address=story.pick((None, None, *CARE_OF_ADDRESSES)),
                home_and_foreign=story.number(0, 7) == 0,
            )
            for _ in range(story.pick((0, 1, 1, 2, 3)))
        ]

    def _send_any_octets(self):
        packet = self.story.invent_packet(SOURCES, (HOME_AGENT, HOME_AGENT, STRANGER), HOMES)
        if packet is not None and self.story.chance():
            key, signed_by = self._pick_keys(packet.home_address or packet.source)
            self._send(packet, key, signed_by)
        elif packet is not None:
            self._send(packet, None, None)

    def _pick_keys(self, home):
        """Return an association to name, and one to sign with: half of the time the right one."""
        router = ROUTERS.get(home)
        if router is not None and router.security and self.story.chance():
            key = self.story.pick(router.security)
            return key, key
        key = self.story.pick((None, *KEYS))
        return key, key and self.story.pick((key, *KEYS))

    def _stamp(self, skew):
        return ReplayProtection(to_ntp_timestamp(self.story.now.unix + skew))

    def _send(self, packet, key, signed_by):
        if key is not None:
            options = without_authenticators(packet.message.options)
            if find_option(packet.message, ReplayProtection) is None and self.story.chance():
                options += (self._stamp(0),)
            message = replace(packet.message, options=(*options, MnHaAuthentication(key.spi)))
            packet = replace(packet, message=message)
        received = self.story.deliver(packet, signed_by and PacketSigner(signed_by))
        if received is None:
            return
        home = received.home_address or received.source
        router = ROUTERS.get(home)
        trusted = router is not None and (
            not router.security or (signed_by in router.security and signed_by.spi == key.spi)
        )
        self._tell(PacketReceived(received), home if trusted else None)

    def _send_test(self):
        story = self.story
        message = story.pick((HomeTestInit, CareOfTestInit))(story.random.randbytes(8))
        received = story.deliver(Packet(story.pick(SOURCES), HOME_AGENT, message))
        if received is not None:
            self._tell(PacketReceived(received))

    def _look_for_home_agents(self):
        story = self.story
        number = story.number(0, 0xFFFF)
        message = story.pick((HomeAgentRequest(number, story.chance()), PrefixSolicitation(number)))
        source, destination = story.pick(SOURCES[:-1]), story.pick((ANYCAST, HOME_AGENT))
        packet = DiscoveryPacket(source, destination, message, story.pick((None, *HOMES)))
        self._tell(DiscoveryReceived(packet))

    def _finish_check(self):
        home = self.story.pick((*self.checks, HOME))
        self._tell(DuplicateChecked(home, self.story.chance()), home)

    def _fail_forwarding(self):
        known = [(entry.home_address, entry.ifid) for entry in self.agent.entries]
        home, ifid = self.story.pick((*known, (HOME, None)))
        self._tell(ForwardingFailed(home, ifid), home)

    def _restart(self):
        restarted = HomeAgent(self.settings, self.story.now)
        restarted.restore(self.agent.save())
        restarted.handle(TimerFired(), self.story.now)
        self.agent.handle(TimerFired(), self.story.now)
        assert restarted.entries == self.agent.entries, "a restart changes bindings"
        assert restarted.flows == self.agent.flows, "a restart changes flow bindings"
        self.agent, self.checks = restarted, []

    def _tell_other(self):
        self._tell(StopRequested(self.story.chance()))

    # --- what must hold -------------------------------------------------------------------

    def _tell(self, event, trusted_home=None):
        """Hand ``event`` over (None: the timer, if it is due); ``trusted_home`` may change."""
        before, flows_before = self.agent.entries, self.agent.flows
        if event is None:
            effects = fire_if_due(self.agent, self.story)
        else:
            effects = self.agent.handle(event, self.story.now)
        self.checks += [e.home_address for e in effects if isinstance(e, CheckDuplicate)]
        check_effects(effects, self.story, self._find_signer)
        self._check_entries()
        untouched = [e for e in before if e.expires_at > self.story.monotonic]
        assert [e for e in untouched if e.home_address != trusted_home] == [
            e for e in self.agent.entries if e.home_address != trusted_home
        ], "a binding that nobody had a right to change"
        homes = {entry.home_address for entry in self.agent.entries} - {trusted_home}
        assert [flow for flow in flows_before if flow.home_address in homes] == [
            flow for flow in self.agent.flows if flow.home_address in homes
        ], "a flow binding that nobody had a right to change"
        self._check_flows()

    def _find_signer(self, effect):
        option = find_option(effect.packet.message, MnHaAuthentication)
        assert (option is None) == (effect.key_for is None)
        if option is None:
            return None
        association = self.spis[option.spi]
        assert association in ROUTERS[effect.key_for].security, "signed with another's key"
        return PacketSigner(association)

    def _check_entries(self):
        now, settings = self.story.monotonic, self.settings
        for home, group in groupby(self.agent.entries, key=lambda entry: entry.home_address):
            router, entries = ROUTERS[home], list(group)
            check_slots(entries)
            assert len(entries) <= MAX_SLOT
            ifids = [entry.ifid for entry in entries]
            assert len(set(ifids)) == len(ifids)
            assert ifids == [None] or None not in ifids, "a plain binding beside others"
            for entry in entries:
                assert now < entry.expires_at <= now + entry.lifetime
                assert settings.min_lifetime <= entry.lifetime <= settings.max_lifetime
                assert entry.care_of_address not in (HOME_AGENT, home)
                assert not any(entry.care_of_address in prefix for prefix in router.prefixes)
                assert bool(entry.prefixes) == entry.mobile_router
                assert all(
                    any(prefix.subnet_of(own) for own in router.prefixes)
                    for prefix in entry.prefixes
                ), "another's prefix"
                assert all(
                    any(network.subnet_of(own) for own in router.ipv4_prefixes)
                    for network in entry.ipv4_prefixes
                ), "another's IPv4 network"
                ordered = sorted(entry.ipv4_prefixes)
                assert not any(map(IPv4Network.overlaps, ordered, ordered[1:]))
        deadline = self.agent.next_deadline()
        ends = [entry.expires_at for entry in self.agent.entries]
        assert not ends or (deadline is not None and deadline <= min(ends))

    def _check_flows(self):
        bound = {entry.home_address for entry in self.agent.entries}
        for home, group in groupby(self.agent.flows, key=lambda flow: flow.home_address):
            flows = list(group)
            assert home in bound, "a flow binding without any binding"
            assert len(flows) <= MAX_FLOW_BINDINGS
            for numbers in ([flow.fid for flow in flows], [flow.priority for flow in flows]):
                assert 0 not in numbers
                assert len(set(numbers)) == len(numbers)
            assert all(may_steer(flow.selector, ROUTERS[home]) for flow in flows)
