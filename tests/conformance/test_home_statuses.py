"""Each status by which a home registration is refused (RFC 6275 §6.1.8), and nested networks."""

from dataclasses import replace
from random import Random

import pytest
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
    WIFI,
    answer_of,
    at,
    connect,
    make_acknowledgement,
    make_agent,
    make_router,
    make_update,
    only,
    packets,
    send,
)

from mrouter.protocol.bindings import MAX_SLOT
from mrouter.protocol.correspondent_node import CorrespondentNode
from mrouter.protocol.events import DuplicateChecked, PacketReceived
from mrouter.protocol.settings import CorrespondentNodeSettings
from mrouter.wire.messages import BindingAcknowledgement

INSIDE, INSIDE_OTHER = PREFIX[7], OTHER_PREFIX[7]


def status_of(agent, **how):
    return answer_of(agent, make_update(at(5), **how), at(5)).status


def nest(agent, home, key, source, **how):
    return status_of(agent, home=home, key=key, source=source, **{"ifid": 1, **how})


# --- RFC 6275 §9.5.1, §10.3.1 -----------------------------------------------------------------


def test_128_for_a_care_of_address_that_cannot_be_one():
    assert status_of(make_agent(), source=type(HOME)("fe80::1")) == 128


def test_129_for_a_lifetime_below_the_least_allowed():
    assert status_of(make_agent(min_lifetime=60), lifetime=56) == 129


def test_129_for_a_care_of_address_that_is_the_home_agents_own():
    assert status_of(make_agent(), source=HOME_AGENT) == 129


def test_130_when_no_slot_is_left():
    agent = make_agent()
    for number in range(1, MAX_SLOT + 1):
        source = type(HOME)(int(LTE.address) + number)
        assert status_of(agent, ifid=number, source=source) == 1
    assert status_of(agent, ifid=MAX_SLOT + 1, source=WIFI.address) == 130


def test_131_from_a_node_that_is_no_home_agent():
    node = CorrespondentNode(CorrespondentNodeSettings(address=HOME_AGENT), Random(1))
    effects = node.handle(PacketReceived(make_update(at(1), ifid=1)), at(1))
    assert only(packets(effects, BindingAcknowledgement)).message.status == 131


def test_132_for_a_home_address_outside_the_home_prefixes():
    assert status_of(make_agent(), home=type(HOME)("2001:db8:ffff::1")) == 132


def test_133_for_a_home_address_that_is_not_served():
    assert status_of(make_agent(), home=type(HOME)("2001:db8:aaaa::999")) == 133


def test_133_for_a_deregistration_of_what_is_not_registered():
    assert status_of(make_agent(), lifetime=0) == 133


def test_134_when_another_node_has_the_home_address():
    agent = make_agent(home_link="eth1")
    send(agent, make_update(at(0), ifid=1), at(0))
    effects = agent.handle(DuplicateChecked(HOME, duplicate=True), at(0.5))
    assert only(packets(effects)).message.status == 134


def test_135_for_a_sequence_number_that_is_not_greater():
    agent = make_agent()
    send(agent, make_update(at(0), sequence=9), at(0))
    assert status_of(agent, sequence=9) == 135


@pytest.mark.parametrize("changed", [{"home_registration": False}, {"mobile_router": False}])
def test_139_for_another_kind_of_registration_while_one_stands(changed):
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    before = agent.entries
    assert status_of(agent, ifid=1, sequence=2, **changed) == 139
    assert agent.entries is before


def test_139_for_a_mobile_node_that_wants_to_be_a_mobile_router():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1, mobile_router=False), at(0))
    assert status_of(agent, ifid=2, source=WIFI.address) == 139


def test_kind_may_change_after_deregistration():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    assert status_of(agent, ifid=1, sequence=2, lifetime=0, mobile_router=False) == 1
    assert answer_of(agent, make_update(at(6), ifid=1, mobile_router=False), at(6)).status == 1


def test_correspondent_registration_that_nobody_vouches_for_is_not_told_what_stands():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    update = make_update(at(5), ifid=1, sequence=2, home_registration=False, signed_by=OTHER_KEY)
    assert answer_of(agent, update, at(5)).status == 146


# --- what the mobile router makes of them -----------------------------------------------------


@pytest.mark.parametrize("status", [128, 129, 130, 131, 132, 133, 134, 139])
def test_mobile_router_takes_each_as_a_refusal(status):
    router = make_router()
    update = only(connect(router, LTE))
    send(router, make_acknowledgement(update, status, lifetime=0), at(0))
    entry = only(router.entries)
    assert (entry.state.value, entry.status, entry.usable) == ("refused", status, False)


# --- nested mobile networks -------------------------------------------------------------------


def test_care_of_address_in_another_mobile_routers_network_is_accepted():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    assert nest(agent, OTHER_HOME, OTHER_KEY, INSIDE) == 1


def test_mobile_router_that_would_be_behind_itself_is_refused_with_129():
    agent = make_agent()
    assert nest(agent, OTHER_HOME, OTHER_KEY, INSIDE) == 1
    assert nest(agent, HOME, KEY, INSIDE_OTHER) == 129
    assert nest(agent, HOME, KEY, LTE.address, ifid=2) == 1


def test_ring_of_three_is_refused_with_129():
    third_home, third = type(HOME)("2001:db8:aaaa::300"), type(PREFIX)("2001:db8:dddd::/56")
    served = (
        *AGENT.served,
        replace(AGENT.served[0], home_address=third_home, prefixes=(third,)),
    )
    agent = make_agent(served=served)
    assert nest(agent, OTHER_HOME, OTHER_KEY, INSIDE) == 1
    assert nest(agent, third_home, KEY, INSIDE_OTHER) == 1
    assert nest(agent, HOME, KEY, third[7]) == 129


def test_ring_through_one_of_several_care_of_addresses_is_refused_with_129():
    agent = make_agent()
    assert nest(agent, OTHER_HOME, OTHER_KEY, LTE.address) == 1
    assert nest(agent, OTHER_HOME, OTHER_KEY, INSIDE, ifid=2) == 1
    assert nest(agent, HOME, KEY, INSIDE_OTHER) == 129


def test_care_of_address_that_is_another_mobile_routers_home_address_counts_as_behind_it():
    agent = make_agent()
    assert nest(agent, OTHER_HOME, OTHER_KEY, HOME) == 1
    assert nest(agent, HOME, KEY, OTHER_HOME) == 129
