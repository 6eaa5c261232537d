"""RFC 3963 without several care-of addresses, at both ends (the draft §7.4, §8.3, §8.4)."""

from dataclasses import replace

import pytest
from protocol_world import (
    LTE,
    PREFIX,
    SAT,
    WIFI,
    World,
    answer_of,
    at,
    make_agent,
    make_router,
    make_update,
    notes,
    only,
    send,
    without_keys,
)

from mrouter.protocol.bindings import BindingState
from mrouter.protocol.events import EgressChanged, PacketReceived
from mrouter.wire.messages import BindingAcknowledgement, BindingUpdate, find_option
from mrouter.wire.options import CareOfAddressInformation


def strip(packet, *, nemo):
    """Return ``packet`` as a home agent reads it that knows neither the M flag nor CoAINFO.

    Without ``nemo`` it does not know the R flag, either.
    """
    message = packet.message
    if not isinstance(message, BindingUpdate):
        return packet
    known = tuple(o for o in message.options if not isinstance(o, CareOfAddressInformation))
    flags = {"multiple": False, "mobile_router": message.mobile_router and nemo}
    return replace(packet, message=replace(message, options=known, **flags))


class PlainWorld(World):
    """The mobile router, and a home agent that understands RFC 3963 only, or not even that."""

    def __init__(self, *, nemo=True):
        router = make_router(security=None)
        super().__init__(router=router, agent=make_agent(**without_keys()))
        self.nemo = nemo
        self.noted = []

    def tell_router(self, event):
        effects = self.router.handle(event, at(self.seconds, self.skew))
        self.noted += notes(effects)
        self._book(effects, "agent")

    def tell_agent(self, event):
        if isinstance(event, PacketReceived):
            event = PacketReceived(strip(event.packet, nemo=self.nemo))
        super().tell_agent(event)

    def connect(self, *addresses):
        self.tell_router(EgressChanged(addresses))


@pytest.mark.parametrize("links", [(LTE,), (LTE, WIFI, SAT)])
def test_mobile_router_keeps_its_primary_care_of_address_at_a_plain_home_agent(links):
    world = PlainWorld()
    world.connect(*links)
    world.settle(10)
    entry = only(world.agent.entries)
    assert (entry.ifid, entry.care_of_address) == (None, LTE.address)
    assert (entry.prefixes, entry.mobile_router) == ((PREFIX,), True)
    binding = only(world.router.entries)
    assert (binding.care_of_address, binding.usable, binding.plain) == (LTE.address, True, True)


def test_plain_binding_is_refreshed_for_as_long_as_it_takes():
    world = PlainWorld()
    world.connect(LTE, WIFI)
    for _ in range(20):
        world.settle(60)
        assert only(world.agent.entries).expires_at > at(world.seconds).monotonic
        assert only(world.router.entries).usable


def test_plain_binding_moves_with_the_primary_care_of_address():
    world = PlainWorld()
    world.connect(LTE, WIFI)
    world.settle(10)
    world.connect(WIFI)
    world.settle(10)
    assert only(world.agent.entries).care_of_address == WIFI.address
    assert only(world.router.entries).usable


def test_rfc_3963_5_3_home_agent_without_nemo_is_deregistered_and_it_is_said():
    world = PlainWorld(nemo=False)
    world.connect(LTE, WIFI)
    world.settle(10)
    assert "nemo-not-supported" in world.noted
    assert world.agent.entries == ()
    assert {e.state for e in world.router.entries} == {BindingState.REFUSED}


def test_home_agent_serves_a_plain_mobile_router():
    agent = make_agent()
    answer = answer_of(agent, make_update(at(0), prefixes=(PREFIX,)), at(0))
    assert isinstance(answer, BindingAcknowledgement)
    assert (answer.status, answer.mobile_router) == (0, True)
    assert find_option(answer, CareOfAddressInformation) is None
    assert only(agent.entries).prefixes == (PREFIX,)


def test_plain_mobile_router_moves_and_deregisters():
    agent = make_agent()
    send(agent, make_update(at(0)), at(0))
    moved = make_update(at(1), sequence=2, source=WIFI.address)
    assert answer_of(agent, moved, at(1)).status == 0
    assert only(agent.entries).care_of_address == WIFI.address
    ended = make_update(at(2), sequence=3, source=WIFI.address, lifetime=0)
    assert answer_of(agent, ended, at(2)).status == 0
    assert agent.entries == ()
