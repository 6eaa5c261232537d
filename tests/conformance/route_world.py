"""A mobile router, its home agent and a correspondent node; every packet passes as bytes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from random import Random

from protocol_world import (
    FORMAT,
    HOME,
    HOME_AGENT,
    KEY,
    LTE,
    at,
    make_agent,
    make_router,
)

from mrouter.protocol.correspondent_node import CorrespondentNode
from mrouter.protocol.events import (
    CorrespondentsChanged,
    EgressChanged,
    PacketReceived,
    SendPacket,
    TimerFired,
)
from mrouter.protocol.keygen_tokens import (
    AuthorizationSigner,
    BindingAuthorization,
    compute_binding_key,
)
from mrouter.protocol.keys import PacketSigner
from mrouter.protocol.settings import CorrespondentNodeSettings
from mrouter.wire.constants import Dialect
from mrouter.wire.format import WireFormat
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingUpdate,
    CareOfTestInit,
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
from mrouter.wire.packet import parse_packet, serialize_packet

CORRESPONDENT = IPv6Address("2001:db8:dddd::1")
OTHER_CORRESPONDENT = IPv6Address("2001:db8:dddd::2")
#: Who reads so knows neither the draft's M flag nor its CoAINFO: a plain RFC 6275 node.
PLAIN = WireFormat(Dialect.RFC5648)
COOKIE = b"a cookie"


def make_node(seed=7, **changes):
    settings = CorrespondentNodeSettings(**{"address": CORRESPONDENT, **changes})
    return CorrespondentNode(settings, Random(seed))


def sign_and_pass(effect, fmt=FORMAT, *, written=FORMAT):
    """Return the packet of ``effect``, signed as it asks for, as a reader of ``fmt`` gets it."""
    signer = PacketSigner(KEY)
    if effect.authorization is not None:
        signer = AuthorizationSigner(effect.authorization)
    return parse_packet(serialize_packet(effect.packet, written, signer), fmt)


def sends(effects, kind=object):
    return [
        effect
        for effect in effects
        if isinstance(effect, SendPacket) and isinstance(effect.packet.message, kind)
    ]


def only_send(effects, kind=object):
    (effect,) = sends(effects, kind)
    return effect


# --- a mobile node written by hand, for the correspondent node's tests ------------------------


def ask(node, moment, source, init):
    """Return the message that a Home or Care-of Test Init from ``source`` is answered with."""
    packet = Packet(source, CORRESPONDENT, init)
    return only_send(node.handle(PacketReceived(packet), moment)).packet.message


def ask_home(node, moment, home=HOME):
    return ask(node, moment, home, HomeTestInit(COOKIE))


def ask_care_of(node, moment, source, information=None):
    options = () if information is None else (information,)
    return ask(node, moment, source, CareOfTestInit(COOKIE, options))


def make_route_update(
    node,
    moment,
    *,
    ifid=None,
    ifpri=0,
    sequence=1,
    lifetime=400,
    source=LTE.address,
    home=HOME,
    alternate=None,
    named=None,
    of=None,
    asked=None,
    tokens=None,
    signed_for=None,
    nonces="yes",
    **flags,
):
    """Return an authorized Binding Update as ``node`` receives it.

    ``named`` is the care-of address that the option with ``ifid`` holds, ``of`` the one that is
    meant without words. ``asked`` is the moment of the return routability, ``tokens`` its (Home
    Test, Care-of Test).
    """
    information = None
    if ifid is not None:
        information = CareOfAddressInformation(ifid, ifpri, care_of_address=named)
    care_of = named or of or alternate or source
    asked = asked or moment
    home_test, care_of_test = tokens or (
        ask_home(node, asked, home),
        ask_care_of(node, asked, care_of, information),
    )
    ending = lifetime == 0 or care_of == home
    options = [] if information is None else [information]
    if alternate is not None:
        options.append(AlternateCareOfAddress(alternate))
    if nonces == "yes":
        index = 0 if ending else care_of_test.nonce_index
        options.append(NonceIndices(home_test.nonce_index, index))
    options.append(BindingAuthorizationData())
    message = BindingUpdate(
        sequence=sequence,
        lifetime=lifetime,
        options=tuple(options),
        **{"acknowledge": True, "multiple": ifid is not None, **flags},
    )
    key = compute_binding_key(home_test.keygen_token, None if ending else care_of_test.keygen_token)
    covered = home if ending else care_of
    authorization = BindingAuthorization(signed_for or covered, CORRESPONDENT, key)
    packet = Packet(source, CORRESPONDENT, message, home_address=None if source == home else home)
    effect = SendPacket(packet, authorization=authorization)
    # CoAINFO has no room for an address
    return sign_and_pass(effect) if named is None else sign_and_pass(effect, PLAIN, written=PLAIN)


def route_answer_of(node, packet, moment):
    effects = node.handle(PacketReceived(packet), moment)
    return sign_and_pass(only_send(effects, BindingAcknowledgement))


# --- a correspondent node written by hand, for the mobile router's tests ----------------------


def make_route_answer(update, status=1, *, information="copy", **changes):
    """Return the answer to the Binding Update that ``update``, an effect, sends."""
    packet = update.packet
    options = []
    copied = find_option(packet.message, CareOfAddressInformation)
    if copied is not None and information == "copy":
        options.append(copied)
    signed = changes.pop("signed", True)
    if signed:
        options.append(BindingAuthorizationData())
    authorization = changes.pop("authorization", update.authorization)
    message = BindingAcknowledgement(
        status,
        changes.pop("sequence", packet.message.sequence),
        changes.pop("lifetime", packet.message.lifetime),
        options=tuple(options),
    )
    answer = Packet(packet.destination, packet.source, message, routing_home_address=HOME)
    return sign_and_pass(
        SendPacket(replace(answer, **changes), authorization=authorization if signed else None)
    )


# --- all three --------------------------------------------------------------------------------


class RouteWorld:
    """The three machines and the paths between them; the caller decides what the paths do.

    What goes to the home address passes the home agent, which tunnels it by any binding it has.
    What goes to a care-of address arrives while the mobile router has that address.
    """

    def __init__(self, router=None, agent=None, node=None, fmt=FORMAT):
        self.router = router or make_router(correspondents=(CORRESPONDENT,))
        self.agent = agent or make_agent()
        self.node = node or make_node()
        self.fmt = fmt  # what the correspondent node knows
        self.addresses = ()
        self.seconds = 0.0
        self.on_path = []  # (receiver, packet, whether through the home agent)
        self.sent = []  # every packet
        self.silent = set()  # care-of addresses that nothing gets to

    def connect(self, *addresses):
        self.addresses = addresses
        self.tell_router(EgressChanged(addresses))

    def optimize(self, *correspondents):
        self.tell_router(CorrespondentsChanged(correspondents))

    def tell_router(self, event):
        self._book(self.router.handle(event, at(self.seconds)))

    def tell_agent(self, event):
        self._book(self.agent.handle(event, at(self.seconds)))

    def tell_node(self, event):
        self._book(self.node.handle(event, at(self.seconds)))

    def _book(self, effects):
        for effect in sends(effects):
            destination = effect.packet.destination
            fmt = self.fmt if destination == CORRESPONDENT else FORMAT
            packet = sign_and_pass(effect, fmt)
            self.sent.append(packet)
            self.on_path.append((packet, effect.via_home_agent))

    @property
    def at_home(self):
        return any(address.address == HOME for address in self.addresses)

    def deliver(self, index=0):
        self.hand_over(*self.on_path.pop(index))

    def hand_over(self, packet, via_home_agent=False):
        if via_home_agent and not self.agent.entries:
            return
        if packet.destination == HOME_AGENT:
            self.tell_agent(PacketReceived(packet))
        elif packet.destination == CORRESPONDENT:
            self.tell_node(PacketReceived(packet))
        elif packet.destination == HOME:
            tunnelled = bool(self.agent.entries)
            if tunnelled or self.at_home:
                self.tell_router(PacketReceived(packet, via_home_agent=tunnelled))
        elif packet.destination in {address.address for address in self.addresses} - self.silent:
            self.tell_router(PacketReceived(packet))

    def pass_time(self, seconds):
        """Let time pass; timers fire at their time, and nothing is delivered meanwhile."""
        end = self.seconds + seconds
        while (deadline := self._next_deadline()) is not None and deadline <= 1000.0 + end:
            self.seconds = max(self.seconds, deadline - 1000.0)
            self._fire()
        self.seconds = end

    def settle(self, seconds):
        """Let time pass with paths that lose nothing and deliver in order, in 5 ms."""
        end = self.seconds + seconds
        while self.seconds < end:
            while self.on_path:
                self.seconds += 0.005
                self.deliver()
            deadline = self._next_deadline()
            step = end if deadline is None else min(end, deadline - 1000.0)
            self.pass_time(max(step - self.seconds, 0.005))

    def _fire(self):
        for tell in (self.tell_router, self.tell_agent, self.tell_node):
            tell(TimerFired())

    def _next_deadline(self):
        machines = (self.router, self.agent, self.node)
        deadlines = [machine.next_deadline() for machine in machines]
        return min((at for at in deadlines if at is not None), default=None)

    def node_view(self):
        return {(e.ifid, e.care_of_address, e.ifpri) for e in self.node.entries}

    def router_view(self):
        bindings = [route.binding for route in self.router.routes if route.binding.usable]
        return {(None if b.plain else b.ifid, b.care_of_address, b.ifpri) for b in bindings}

    def messages_to_node(self, kind=object):
        """Return the packets to the correspondent node since the last call."""
        found = [
            packet
            for packet in self.sent
            if packet.destination == CORRESPONDENT and isinstance(packet.message, kind)
        ]
        self.sent = []
        return found
