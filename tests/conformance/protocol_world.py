"""A mobile router and a home agent in a world without sockets; every packet passes as bytes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from random import Random

from mrouter.protocol.events import (
    BindingsChanged,
    Counted,
    EgressAddress,
    EgressChanged,
    Instant,
    Noted,
    PacketReceived,
    SendPacket,
    TimerFired,
)
from mrouter.protocol.home_agent import HomeAgent
from mrouter.protocol.keys import PacketSigner, to_ntp_timestamp
from mrouter.protocol.mobile_router import MobileRouter
from mrouter.protocol.settings import (
    Algorithm,
    HomeAgentSettings,
    MobileRouterSettings,
    SecurityAssociation,
    ServedMobileRouter,
)
from mrouter.wire.format import WireFormat
from mrouter.wire.messages import BindingAcknowledgement, BindingUpdate, Packet
from mrouter.wire.options import (
    AlternateCareOfAddress,
    CareOfAddressInformation,
    MnHaAuthentication,
    MobileNetworkPrefix,
    ReplayProtection,
)
from mrouter.wire.packet import parse_packet, serialize_packet

HOME_AGENT = IPv6Address("2001:db8:aaaa::1")
HOME = IPv6Address("2001:db8:aaaa::100")
OTHER_HOME = IPv6Address("2001:db8:aaaa::200")
PREFIX = IPv6Network("2001:db8:bbbb::/56")
OTHER_PREFIX = IPv6Network("2001:db8:cccc::/56")
KEY = SecurityAssociation(256, Algorithm.HMAC_SHA256, b"k" * 32)
OTHER_KEY = SecurityAssociation(257, Algorithm.HMAC_SHA1, b"o" * 16)
FORMAT = WireFormat()
EPOCH = 1_800_000_000.0

LTE = EgressAddress("lte", "wan0", IPv6Address("2001:db8:1::10"), 0)
WIFI = EgressAddress("wifi", "wan1", IPv6Address("2001:db8:2::10"), 1)
SAT = EgressAddress("sat", "wan2", IPv6Address("2001:db8:3::10"), 2)

ROUTER = MobileRouterSettings(
    home_address=HOME,
    home_agent=HOME_AGENT,
    prefixes=(PREFIX,),
    explicit=False,
    security=KEY,
    lifetime=120,
)
AGENT = HomeAgentSettings(
    address=HOME_AGENT,
    home_prefixes=(IPv6Network("2001:db8:aaaa::/64"),),
    served=(
        ServedMobileRouter(HOME, (PREFIX,), (KEY,)),
        ServedMobileRouter(OTHER_HOME, (OTHER_PREFIX,), (OTHER_KEY,)),
    ),
)


def at(seconds, skew=0.0):
    return Instant(monotonic=1000.0 + seconds, unix=EPOCH + seconds + skew)


def make_agent(started=-1.0, **changes):
    return HomeAgent(replace(AGENT, **changes), at(started))


def make_router(seed=1, **changes):
    return MobileRouter(replace(ROUTER, **changes), Random(seed))


def without_keys():
    served = tuple(replace(router, security=()) for router in AGENT.served)
    return {"served": served}


def through_wire(packet, key=KEY):
    """Return ``packet`` as its receiver parses it, signed with ``key`` if it asks for that."""
    return parse_packet(serialize_packet(packet, FORMAT, key and PacketSigner(key)), FORMAT)


def make_update(
    moment,
    *,
    ifid=None,
    ifpri=0,
    sequence=1,
    lifetime=120,
    source=LTE.address,
    home=HOME,
    key=KEY,
    signed_by=None,
    timestamp="now",
    alternate=None,
    prefixes=(),
    destination=HOME_AGENT,
    **flags,
):
    """Return a Binding Update as the home agent receives it; keyword flags override the usual."""
    options = []
    if ifid is not None:
        options.append(CareOfAddressInformation(ifid, ifpri))
    if alternate is not None:
        options.append(AlternateCareOfAddress(alternate))
    options += [MobileNetworkPrefix(prefix) for prefix in prefixes]
    if timestamp == "now":
        timestamp = to_ntp_timestamp(moment.unix) if key else None
    if timestamp is not None:
        options.append(ReplayProtection(timestamp))
    if key:
        options.append(MnHaAuthentication(key.spi))
    usual = {"multiple": ifid is not None, "mobile_router": True}
    message = BindingUpdate(
        sequence=sequence,
        lifetime=lifetime,
        options=tuple(options),
        **{"acknowledge": True, "home_registration": True, **usual, **flags},
    )
    packet = Packet(source, destination, message, home_address=home)
    return through_wire(packet, signed_by or key)


def make_acknowledgement(
    update,
    status=1,
    *,
    lifetime=120,
    sequence=None,
    timestamp="echo",
    information="copy",
    key=KEY,
    signed_by=None,
    more=(),
    source=HOME_AGENT,
    home=HOME,
    **flags,
):
    """Return the home agent's answer to ``update`` (a Packet) as the mobile router receives it."""
    options = list(more)
    for option in update.message.options:
        if isinstance(option, CareOfAddressInformation) and information == "copy":
            options.append(option)
        if isinstance(option, ReplayProtection) and timestamp is not None:
            stamp = option.timestamp if timestamp == "echo" else timestamp
            options.append(ReplayProtection(stamp))
    if key:
        options.append(MnHaAuthentication(key.spi))
    message = BindingAcknowledgement(
        status=status,
        sequence=update.message.sequence if sequence is None else sequence,
        lifetime=lifetime,
        options=tuple(options),
        **{"mobile_router": update.message.mobile_router, **flags},
    )
    packet = Packet(source, update.source, message, routing_home_address=home)
    return through_wire(packet, signed_by or key)


def packets(effects, kind=object):
    return [
        effect.packet
        for effect in effects
        if isinstance(effect, SendPacket) and isinstance(effect.packet.message, kind)
    ]


def only(items):
    (item,) = items
    return item


def counts(effects):
    return [(effect.what, effect.reason) for effect in effects if isinstance(effect, Counted)]


def notes(effects):
    return [effect.name for effect in effects if isinstance(effect, Noted)]


def is_changed(effects):
    return BindingsChanged() in effects


def send(machine, packet, moment):
    return machine.handle(PacketReceived(packet), moment)


def answer_of(machine, packet, moment):
    """Return the message of the one Binding Acknowledgement that ``packet`` gets."""
    return only(packets(send(machine, packet, moment), BindingAcknowledgement)).message


def connect(router, *addresses, seconds=0.0):
    """Give ``router`` these addresses; return the packets that it sends, as they arrive."""
    effects = router.handle(EgressChanged(addresses), at(seconds))
    return [through_wire(packet, KEY) for packet in packets(effects)]


def register(router, *addresses, seconds=0.0, **how):
    """Connect ``router`` and accept all that it registers; return its Binding Updates."""
    updates = connect(router, *addresses, seconds=seconds)
    for update in updates:
        send(router, make_acknowledgement(update, **how), at(seconds))
    return updates


def run_until(machine, seconds):
    """Fire the machine's timer whenever it asks; return (seconds, effects) of each time."""
    fired = []
    while (deadline := machine.next_deadline()) is not None and deadline <= 1000.0 + seconds:
        moment = at(deadline - 1000.0)
        fired.append((deadline - 1000.0, machine.handle(TimerFired(), moment)))
    return fired


class World:
    """Both machines and the path between them; the caller decides what the path does."""

    def __init__(self, router=None, agent=None, skew=0.0):
        self.router = router or make_router()
        self.agent = agent or make_agent()
        self.seconds = 0.0
        self.skew = skew
        self.on_path = []  # (receiver, packet)

    def tell_router(self, event):
        self._book(self.router.handle(event, at(self.seconds, self.skew)), "agent")

    def tell_agent(self, event):
        self._book(self.agent.handle(event, at(self.seconds)), "router")

    def _book(self, effects, receiver):
        self.on_path += [(receiver, through_wire(packet)) for packet in packets(effects)]

    def deliver(self, index=0):
        receiver, packet = self.on_path.pop(index)
        self.hand_over(receiver, packet)

    def hand_over(self, receiver, packet):
        tell = self.tell_agent if receiver == "agent" else self.tell_router
        tell(PacketReceived(packet))

    def pass_time(self, seconds):
        """Let time pass; timers fire at their time, and nothing is delivered meanwhile."""
        end = self.seconds + seconds
        while (deadline := self._next_deadline()) is not None and deadline <= 1000.0 + end:
            self.seconds = max(self.seconds, deadline - 1000.0)
            self.tell_router(TimerFired())
            self.tell_agent(TimerFired())
        self.seconds = end

    def settle(self, seconds):
        """Let time pass with a path that loses nothing and delivers in order, in 10 ms."""
        end = self.seconds + seconds
        while self.seconds < end:
            while self.on_path:
                self.seconds += 0.005
                self.deliver()
            deadline = self._next_deadline()
            step = end if deadline is None else min(end, deadline - 1000.0)
            self.pass_time(max(step - self.seconds, 0.005))

    def _next_deadline(self):
        deadlines = [self.router.next_deadline(), self.agent.next_deadline()]
        return min((d for d in deadlines if d is not None), default=None)

    def agent_view(self):
        return {(e.ifid, e.care_of_address, e.ifpri) for e in self.agent.entries}

    def router_view(self):
        return {(e.ifid, e.care_of_address, e.ifpri) for e in self.router.entries if e.usable}
