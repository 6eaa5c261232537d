"""RFC 3963: the mobile router's sections 5.1 to 5.3, the home agent's 6.1 to 6.6."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from protocol_world import (
    AGENT,
    HOME,
    LTE,
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
    notes,
    only,
    packets,
    register,
    send,
)

from mrouter.protocol.bindings import BindingState
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import find_option
from mrouter.wire.options import MobileNetworkPrefix

PART = IPv6Network("2001:db8:bbbb:7::/64")
NOBODYS = IPv6Network("2001:db8:dddd::/56")


# --- 5.1, 5.2: sending Binding Updates --------------------------------------------------------


def test_5_1_mobile_router_sets_the_r_flag():
    assert only(connect(make_router(), LTE)).message.mobile_router


def test_5_1_mobile_node_without_a_prefix_does_not():
    assert not only(connect(make_router(prefixes=()), LTE)).message.mobile_router


def test_5_1_implicit_mode_names_no_prefix():
    assert find_option(only(connect(make_router(), LTE)).message, MobileNetworkPrefix) is None


def test_5_1_explicit_mode_names_every_prefix():
    update = only(connect(make_router(explicit=True, prefixes=(PREFIX, OTHER_PREFIX)), LTE))
    named = [o.prefix for o in update.message.options if isinstance(o, MobileNetworkPrefix)]
    assert named == [PREFIX, OTHER_PREFIX]


# --- 5.3: receiving Binding Acknowledgements --------------------------------------------------


def test_5_3_home_agent_that_does_not_set_r_is_left():
    router = make_router()
    update = only(connect(router, LTE))
    effects = send(router, make_acknowledgement(update, mobile_router=False), at(0))
    assert only(packets(effects)).message.lifetime == 0
    assert "nemo-not-supported" in notes(effects)
    entry = only(router.entries)
    assert (entry.state, entry.usable) == (BindingState.REFUSED, False)


def test_5_3_mobile_node_does_not_need_r():
    router = make_router(prefixes=())
    register(router, LTE)
    assert only(router.entries).usable


@pytest.mark.parametrize("status", [140, 141, 142, 143])
def test_5_3_refusal_stops_the_registration_of_that_address(status):
    router = make_router()
    first, second = connect(router, LTE, WIFI)
    send(router, make_acknowledgement(first, status, lifetime=0), at(0))
    send(router, make_acknowledgement(second), at(0))
    states = {entry.link: (entry.state, entry.status) for entry in router.entries}
    assert states == {
        "lte": (BindingState.REFUSED, status),
        "wifi": (BindingState.REGISTERED, 1),
    }


# --- 6.1, 6.2: prefix table and Binding Cache -------------------------------------------------


def test_6_2_implicit_mode_takes_the_prefixes_of_the_table():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1), at(0))
    assert only(agent.entries).prefixes == (PREFIX,)


def test_6_2_explicit_mode_takes_the_prefixes_of_the_options():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1, prefixes=(PART,)), at(0))
    assert only(agent.entries).prefixes == (PART,)


def test_6_2_without_r_there_is_no_prefix():
    agent = make_agent()
    send(agent, make_update(at(0), ifid=1, mobile_router=False), at(0))
    entry = only(agent.entries)
    assert (entry.prefixes, entry.mobile_router) == ((), False)


def refuse(agent, **how):
    """Return the status of a refused update; nothing else may have happened."""
    send(agent, make_update(at(0), ifid=1), at(0))
    before = agent.entries
    status = answer_of(agent, make_update(at(1), ifid=1, sequence=2, **how), at(1)).status
    assert agent.entries is before
    return status


def test_6_2_prefix_of_another_mobile_router_is_not_authorized():
    status = refuse(make_agent(), prefixes=(PART, OTHER_PREFIX))
    assert status == BindingStatus.NOT_AUTHORIZED_FOR_PREFIX


def test_6_2_prefix_of_nobody_is_invalid():
    assert refuse(make_agent(), prefixes=(NOBODYS,)) == BindingStatus.INVALID_PREFIX


def test_6_2_mobile_node_may_not_be_a_mobile_router():
    served = (replace(AGENT.served[0], prefixes=()),)
    answer = answer_of(make_agent(served=served), make_update(at(0), ifid=1), at(0))
    assert answer.status == BindingStatus.MOBILE_ROUTER_OPERATION_NOT_PERMITTED


def test_6_2_home_agent_without_nemo_registers_a_mobile_node():
    agent = make_agent(nemo=False)
    answer = answer_of(agent, make_update(at(0), ifid=1), at(0))
    assert (answer.status, answer.mobile_router) == (1, False)
    assert only(agent.entries).prefixes == ()


# --- 6.3: sending Binding Acknowledgements ----------------------------------------------------


@pytest.mark.parametrize("flag", [True, False])
def test_6_3_r_flag_is_echoed(flag):
    update = make_update(at(0), ifid=1, mobile_router=flag)
    assert answer_of(make_agent(), update, at(0)).mobile_router is flag


# --- 6.4, 6.5: the tunnel's far end -----------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("2001:db8:bbbb:7::1", BindingStatus.ADMINISTRATIVELY_PROHIBITED),
        ("2001:db8:aaaa::1", BindingStatus.ADMINISTRATIVELY_PROHIBITED),
        ("fe80::1", BindingStatus.REASON_UNSPECIFIED),
        ("::1", BindingStatus.REASON_UNSPECIFIED),
        ("::ffff:192.0.2.1", BindingStatus.REASON_UNSPECIFIED),
    ],
)
def test_6_4_care_of_address_that_no_tunnel_can_lead_to_is_refused(address, status):
    # The codec already refuses to carry some of these in an option: so as the source.
    assert refuse(make_agent(), source=IPv6Address(address)) == status


def test_6_6_refused_address_does_not_end_the_binding_of_another_home_address():
    agent = make_agent()
    assert refuse(agent, prefixes=(OTHER_PREFIX,)) == 142
    assert {entry.home_address for entry in agent.entries} == {HOME}
