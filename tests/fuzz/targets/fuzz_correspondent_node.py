"""The correspondent node: only return routability moves a binding, and memory is bounded."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from itertools import groupby

from protocol_world import HOME, HOME_AGENT, LTE, OTHER_HOME, SAT, WIFI
from route_world import COOKIE, CORRESPONDENT
from story import (
    Story,
    check_effects,
    check_slots,
    fire_if_due,
    make_random_seeds,
    without_authenticators,
)

from mrouter.protocol.bindings import MAX_SLOT
from mrouter.protocol.correspondent_node import CorrespondentNode
from mrouter.protocol.events import (
    BindingsUsed,
    CareOfAddressFailed,
    HomeAddressOptionSeen,
    PacketReceived,
    SendPacket,
    StopRequested,
)
from mrouter.protocol.keygen_tokens import (
    AuthorizationSigner,
    BindingAuthorization,
    compute_binding_key,
)
from mrouter.protocol.settings import CorrespondentNodeSettings
from mrouter.wire.messages import (
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

MAX_BINDINGS = 3
MAX_LIFETIME = 400
HOMES = (HOME, OTHER_HOME, *(IPv6Address(int(HOME) + number) for number in range(1, 9)))
CARE_OF_ADDRESSES = (LTE.address, WIFI.address, SAT.address, *HOMES[:2], CORRESPONDENT)
SOURCES = (*CARE_OF_ADDRESSES, IPv6Address("fe80::1"))
DESTINATIONS = (CORRESPONDENT, CORRESPONDENT, HOME_AGENT)
#: How many tests' answers a mobile node keeps at a time.
_KEPT_TESTS = 16
_NO_TEST = HomeTest(0, COOKIE, bytes(8))


def test_one_input(data):
    _Life(Story(data)).run()


def make_seeds():
    return make_random_seeds()


class _Life:
    def __init__(self, story):
        self.story = story
        self.node = self._make_node()
        self.home_tests = {}
        self.care_of_tests = {}

    def _make_node(self):
        settings = CorrespondentNodeSettings(CORRESPONDENT, MAX_LIFETIME, MAX_BINDINGS)
        return CorrespondentNode(settings, self.story.random)

    def run(self):
        steps = (
            self._send_update,
            self._send_update,
            self._send_update,
            self._ask_home,
            self._ask_care_of,
            self._send_any_octets,
            self._lose_care_of_address,
            self._use_bindings,
            self._send_data,
            self._restart,
            self._tell_other,
        )
        while self.story.goes_on():
            self.story.let_time_pass(self.node.next_deadline())
            self.story.pick(steps)()
            self._tell(None)

    # --- events ---------------------------------------------------------------------------

    def _ask_home(self, home=None):
        home = home or self.story.pick(SOURCES)
        self._ask(self.home_tests, home, home, HomeTestInit(COOKIE), HomeTest)

    def _ask_care_of(self, address=None, information=None):
        address = address or self.story.pick(SOURCES)
        options = () if information is None else (information,)
        init = CareOfTestInit(COOKIE, options)
        self._ask(self.care_of_tests, (address, information), address, init, CareOfTest)

    def _ask(self, tests, key, source, init, kind):
        received = self.story.deliver(Packet(source, CORRESPONDENT, init))
        if received is None:
            return
        for effect in self._tell(PacketReceived(received)):
            if isinstance(effect, SendPacket) and isinstance(effect.packet.message, kind):
                assert effect.packet.message.cookie == COOKIE
                tests[key] = effect.packet.message
        while len(tests) > _KEPT_TESTS:
            del tests[next(iter(tests))]

    def _send_update(self):
        if self.story.chance():
            self._send_good_update()
        else:
            self._send_odd_update()

    def _send_good_update(self):
        """Register one binding as a sound mobile node does."""
        story, home = self.story, self.story.pick(HOMES)
        information = CareOfAddressInformation(story.number(1, 3), story.number(0, 126))
        update = BindingUpdate(
            self._find_sequence(home),
            story.pick((120, 120, 8, 0)),
            acknowledge=True,
            multiple=True,
            options=(information,),
        )
        source = story.pick(CARE_OF_ADDRESSES[:3])
        self._authorize(Packet(source, CORRESPONDENT, update, home), right=True)

    def _find_sequence(self, home):
        """Return a number that follows all of ``home``'s, unless those are far apart."""
        known = [entry.sequence for entry in self.node.entries if entry.home_address == home]
        return (max(known, default=0) + 1) % 65536

    def _send_odd_update(self):
        story = self.story
        home, source = story.pick(HOMES), story.pick(CARE_OF_ADDRESSES)
        options = []
        if story.chance():
            options.append(CareOfAddressInformation(story.ifid(), story.number(0, 126)))
        is_multiple = bool(options)
        if story.chance():
            options.append(AlternateCareOfAddress(story.pick(CARE_OF_ADDRESSES)))
        update = BindingUpdate(
            story.pick((self._find_sequence(home), story.number(0, 0xFFFF))),
            story.pick((0, 4, 120, 4 * story.number(0, 0xFFFF))),
            acknowledge=story.chance(),
            home_registration=story.number(0, 7) == 0,
            multiple=is_multiple,
            options=tuple(options),
        )
        packet = Packet(source, CORRESPONDENT, update, None if source == home else home)
        self._authorize(packet, right=story.chance())

    def _send_any_octets(self):
        packet = self.story.invent_packet(SOURCES, DESTINATIONS, HOMES)
        if packet is None:
            return
        if isinstance(packet.message, BindingUpdate) and self.story.chance():
            self._authorize(packet, right=self.story.chance())
        else:
            self._tell(PacketReceived(packet))

    def _authorize(self, packet, *, right):
        """Send ``packet`` with nonces, fresh or not, and an authenticator, right or not."""
        story, update = self.story, packet.message
        home = packet.home_address or packet.source
        alternate = find_option(update, AlternateCareOfAddress)
        care_of = packet.source if alternate is None else alternate.address
        information = find_option(update, CareOfAddressInformation)
        if right or story.chance():
            self._ask_home(home)
            self._ask_care_of(care_of, information)
        ending = update.lifetime == 0 or care_of == home
        home_test = self.home_tests.get(home, _NO_TEST)
        care_of_test = self.care_of_tests.get((care_of, information), _NO_TEST)
        options = [o for o in update.options if not isinstance(o, NonceIndices)]
        indices = NonceIndices(home_test.nonce_index, care_of_test.nonce_index)
        message = replace(
            update,
            options=(*without_authenticators(options), indices, BindingAuthorizationData()),
        )
        key = compute_binding_key(
            home_test.keygen_token, None if ending else care_of_test.keygen_token
        )
        authorization = BindingAuthorization(
            home if ending else care_of, packet.destination, key if right else bytes(20)
        )
        received = story.deliver(
            replace(packet, message=message), AuthorizationSigner(authorization)
        )
        if received is None:
            return
        tokens = [home_test] if ending else [home_test, care_of_test]
        self._tell(PacketReceived(received), home if right and _NO_TEST not in tokens else None)

    def _lose_care_of_address(self):
        self._tell(CareOfAddressFailed(self.story.pick(CARE_OF_ADDRESSES)))

    def _use_bindings(self):
        entries = self.node.entries
        used = {(e.home_address, e.ifid) for e in entries if self.story.chance()}
        self._tell(BindingsUsed(frozenset(used)))

    def _send_data(self):
        source, home = self.story.pick(SOURCES), self.story.pick(HOMES)
        self._tell(HomeAddressOptionSeen(source, home))

    def _restart(self):
        restarted = self._make_node()
        restarted.restore(self.node.save())
        assert restarted.entries == self.node.entries, "a restart changes bindings"
        self.node = restarted
        # the node keys have gone, so that no old token is good any more
        self.home_tests, self.care_of_tests = {}, {}

    def _tell_other(self):
        self._tell(StopRequested(self.story.chance()))

    # --- what must hold -------------------------------------------------------------------

    def _tell(self, event, trusted_home=None):
        """Hand ``event`` over (None: the timer, if it is due); ``trusted_home`` may change."""
        before = self.node.entries
        if event is None:
            effects = fire_if_due(self.node, self.story)
        else:
            effects = self.node.handle(event, self.story.now)
        check_effects(effects, self.story, _find_signer)
        self._check_entries()
        untouched = [e for e in before if e.expires_at > self.story.monotonic]
        assert [e for e in untouched if e.home_address != trusted_home] == [
            e for e in self.node.entries if e.home_address != trusted_home
        ], "a binding that nobody had a right to change"
        return effects

    def _check_entries(self):
        node, now = self.node, self.story.monotonic
        entries = node.entries
        assert len(entries) <= MAX_BINDINGS
        assert len(node._sequences) <= MAX_BINDINGS
        keys = {(entry.home_address, entry.ifid) for entry in entries}
        assert set(node._choice._changes) == keys
        assert node._choice._failed <= keys
        for home, group in groupby(entries, key=lambda entry: entry.home_address):
            bound = list(group)
            check_slots(bound)
            assert len(bound) <= MAX_SLOT
            ifids = [entry.ifid for entry in bound]
            assert ifids == [None] or None not in ifids, "a plain binding beside others"
            assert node._choice.choose(home) in (None, *bound)
            for entry in bound:
                assert now < entry.expires_at <= now + entry.lifetime
                assert 0 < entry.lifetime <= MAX_LIFETIME
                assert CORRESPONDENT not in (home, entry.care_of_address)
                assert entry.care_of_address != home
                assert not entry.prefixes
        homes = [route.home_address for route in node.routes]
        assert len(set(homes)) == len(homes)
        deadline = node.next_deadline()
        ends = [entry.expires_at for entry in entries]
        assert not ends or (deadline is not None and deadline <= min(ends))


def _find_signer(effect):
    return effect.authorization and AuthorizationSigner(effect.authorization)
