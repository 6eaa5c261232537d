"""A home agent that has lost its bindings, as in a reboot, and the mobile routers that use them."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from protocol_world import (
    HOME,
    HOME_AGENT,
    LTE,
    OTHER_HOME,
    PREFIX,
    WIFI,
    at,
    counts,
    make_agent,
    make_router,
    make_update,
    only,
    packets,
    register,
    send,
)

from mrouter.protocol.events import Counted, UnboundPacketSeen
from mrouter.wire.constants import BindingErrorStatus
from mrouter.wire.messages import BindingError, BindingUpdate, Packet

ERROR = BindingError(BindingErrorStatus.UNKNOWN_BINDING, HOME)


def see(agent, moment, source=LTE.address, inner=PREFIX[7]):
    return agent.handle(UnboundPacketSeen(source, inner), at(moment))


@pytest.mark.parametrize("inner", [HOME, PREFIX[7]], ids=["router", "network on board"])
def test_9_3_3_what_no_binding_vouches_for_is_answered_with_a_binding_error(inner):
    sent = only(packets(see(make_agent(), 0, inner=inner)))
    assert sent == Packet(HOME_AGENT, LTE.address, ERROR)


def test_9_3_3_the_rate_of_binding_errors_is_limited_for_each_mobile_router():
    agent = make_agent()
    sent = [len(packets(see(agent, moment))) for moment in (0, 0.1, 0.9, 1.1, 1.2)]
    assert sent == [1, 0, 0, 1, 0]


def test_packets_that_were_on_their_way_when_a_binding_ended_are_no_reason_to_say_so():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=7, source=WIFI.address), at(0))
    assert [entry.care_of_address for entry in agent.entries] == [WIFI.address]
    assert see(agent, 1) == []


@pytest.mark.parametrize(
    ("source", "inner"),
    [
        (LTE.address, IPv6Address("2001:db8:dddd::1")),
        (IPv6Address("fe80::1"), HOME),
        (IPv6Address("ff02::1"), HOME),
        (IPv6Address("::"), HOME),
    ],
)
def test_strangers_get_no_answer(source, inner):
    assert counts(see(make_agent(), 0, source, inner)) == [("data-dropped", "not-served")]


def test_the_mobile_router_registers_all_anew_at_once_and_uses_them_meanwhile():
    router = make_router()
    register(router, LTE, WIFI)

    effects = send(router, Packet(HOME_AGENT, WIFI.address, ERROR), at(10))

    updates = packets(effects, BindingUpdate)
    assert sorted(update.source for update in updates) == [LTE.address, WIFI.address]
    assert all(update.message.lifetime for update in updates)
    assert all(entry.usable for entry in router.entries)


def test_the_mobile_router_is_not_driven_by_binding_errors():
    router = make_router()
    register(router, LTE)
    moments = [10 + n / 10 for n in range(30)]
    error = Packet(HOME_AGENT, LTE.address, ERROR)
    sent = [len(packets(send(router, error, at(moment)), BindingUpdate)) for moment in moments]
    assert sum(sent) <= 4


@pytest.mark.parametrize(
    "packet",
    [
        Packet(OTHER_HOME, LTE.address, ERROR),
        Packet(HOME_AGENT, LTE.address, BindingError(ERROR.status, OTHER_HOME)),
    ],
    ids=["of another node", "about another"],
)
def test_other_binding_errors_change_nothing(packet):
    router = make_router()
    register(router, LTE)
    effects = send(router, packet, at(10))
    assert packets(effects) == []
    assert isinstance(only(effects), Counted)
