"""RFC 6275 §10.3.1, §10.4.1 on a real home link: duplicate address detection, advertisements."""

from ipaddress import IPv6Address

import pytest
from protocol_world import (
    HOME,
    LTE,
    OTHER_HOME,
    OTHER_KEY,
    World,
    at,
    counts,
    is_changed,
    make_agent,
    make_update,
    only,
    packets,
    send,
    without_keys,
)

from mrouter.protocol.events import (
    AdvertiseNeighbour,
    CheckDuplicate,
    DuplicateChecked,
    EgressChanged,
    SendPacket,
)
from mrouter.wire.messages import BindingAcknowledgement

LINK_LOCAL = IPv6Address("fe80::100")
FREE, TAKEN = DuplicateChecked(HOME, duplicate=False), DuplicateChecked(HOME, duplicate=True)


@pytest.fixture
def agent():
    return make_agent(home_link="eth1")


def statuses(effects):
    return [packet.message.status for packet in packets(effects, BindingAcknowledgement)]


def advertised(effects):
    return [effect.addresses for effect in effects if isinstance(effect, AdvertiseNeighbour)]


def bind(agent, **how):
    send(agent, make_update(at(0), ifid=1, **how), at(0))
    return agent.handle(FREE, at(1))


def test_10_3_1_first_binding_waits_for_duplicate_address_detection(agent):
    effects = send(agent, make_update(at(0), ifid=1), at(0))
    assert effects == [CheckDuplicate(HOME, (HOME,))]
    assert agent.entries == ()


def test_10_3_1_it_is_accepted_when_nobody_has_the_address(agent):
    effects = bind(agent)
    assert statuses(effects) == [1]
    assert is_changed(effects)
    assert only(agent.entries).expires_at == at(121).monotonic


@pytest.mark.parametrize("mobile_router", [True, False])
def test_rfc_3963_6_2_advertisement_for_a_mobile_router_says_that_it_is_a_router(
    agent, mobile_router
):
    effects = bind(agent, mobile_router=mobile_router)
    assert AdvertiseNeighbour((HOME,), router=mobile_router) in effects


def test_10_3_1_status_134_when_somebody_has_it(agent):
    send(agent, make_update(at(0), ifid=1), at(0))
    effects = agent.handle(TAKEN, at(0.2))
    assert statuses(effects) == [134]
    assert counts(effects) == [("binding-refused", "duplicate-address-detection-failed")]
    assert agent.entries == ()


def test_10_3_1_each_refused_registration_is_checked_anew(agent):
    send(agent, make_update(at(0), ifid=1), at(0))
    agent.handle(TAKEN, at(0.2))
    effects = send(agent, make_update(at(60), ifid=1, sequence=2), at(60))
    assert effects == [CheckDuplicate(HOME, (HOME,))]


def test_11_8_repetition_meanwhile_is_answered_once_and_starts_no_second_check(agent):
    send(agent, make_update(at(0), ifid=1, sequence=1), at(0))
    assert send(agent, make_update(at(0.9), ifid=1, sequence=2), at(0.9)) == []
    answers = packets(agent.handle(FREE, at(1)), BindingAcknowledgement)
    assert only(answers).message.sequence == 2


def test_older_repetition_does_not_take_the_place_of_a_newer_one():
    agent = make_agent(home_link="eth1", **without_keys())
    send(agent, make_update(at(0), ifid=1, sequence=2, key=None), at(0))
    effects = send(agent, make_update(at(0), ifid=1, sequence=1, key=None), at(0))
    assert counts(effects) == [("signalling-dropped", "older-than-held")]
    assert only(packets(agent.handle(FREE, at(1)))).message.sequence == 2


def test_every_care_of_address_that_came_meanwhile_is_registered_after_one_check(agent):
    send(agent, make_update(at(0), ifid=1), at(0))
    assert send(agent, make_update(at(0.1), ifid=2, ifpri=1), at(0.1)) == []
    effects = agent.handle(FREE, at(1))
    assert statuses(effects) == [1, 1]
    assert advertised(effects) == [(HOME,)]


def test_second_care_of_address_of_a_bound_home_address_is_not_checked(agent):
    bind(agent)
    effects = send(agent, make_update(at(2), ifid=2, ifpri=1, source=LTE.address + 1), at(2))
    assert statuses(effects) == [1]
    assert advertised(effects) == []


def test_refresh_is_not_checked(agent):
    bind(agent)
    assert statuses(send(agent, make_update(at(50), ifid=1, sequence=2), at(50))) == [1]


def test_deregistration_takes_back_what_waits(agent):
    send(agent, make_update(at(0), ifid=1), at(0))
    ended = send(agent, make_update(at(0.5), ifid=1, sequence=2, lifetime=0), at(0.5))
    assert statuses(ended) == [133]
    assert agent.handle(FREE, at(1)) == []
    assert agent.entries == ()


def test_home_address_whose_last_binding_has_ended_is_checked_anew(agent):
    bind(agent)
    agent.handle(FREE, at(121))
    effects = send(agent, make_update(at(130), ifid=1, sequence=5), at(130))
    assert effects == [CheckDuplicate(HOME, (HOME,))]


def test_checks_of_two_home_addresses_do_not_mix(agent):
    send(agent, make_update(at(0), ifid=1), at(0))
    send(agent, make_update(at(0), ifid=1, home=OTHER_HOME, key=OTHER_KEY), at(0))
    assert statuses(agent.handle(TAKEN, at(0.5))) == [134]
    assert statuses(agent.handle(DuplicateChecked(OTHER_HOME, duplicate=False), at(1))) == [1]
    assert only(agent.entries).home_address == OTHER_HOME


def test_bad_update_is_refused_before_anybody_is_asked(agent):
    effects = send(agent, make_update(at(0), ifid=1, lifetime=0), at(0))
    assert statuses(effects) == [133]
    effects = send(agent, make_update(at(1), ifid=1, sequence=2, prefixes=()), at(1))
    assert effects == [CheckDuplicate(HOME, (HOME,))]


def test_10_3_1_l_flag_has_the_link_local_address_checked_too(agent):
    effects = send(agent, make_update(at(0), ifid=1, link_local_compatible=True), at(0))
    assert effects == [CheckDuplicate(HOME, (HOME, LINK_LOCAL))]


def test_10_4_1_binding_that_begins_is_advertised(agent):
    assert advertised(bind(agent)) == [(HOME,)]
    assert advertised(bind(make_agent(home_link="eth1"), link_local_compatible=True)) == [
        (HOME, LINK_LOCAL)
    ]


def test_l_flag_that_comes_later_has_only_the_link_local_address_checked(agent):
    bind(agent)
    update = make_update(at(2), ifid=1, sequence=2, link_local_compatible=True)
    assert send(agent, update, at(2)) == [CheckDuplicate(HOME, (LINK_LOCAL,))]


def test_10_4_1_nothing_is_advertised_when_it_ends(agent):
    """The home agent has no other link-layer address to tell: the mobile router announces itself
    on its return (RFC 6275 §11.5.5)."""
    bind(agent)
    effects = send(agent, make_update(at(2), ifid=1, sequence=2, lifetime=0), at(2))
    assert advertised(effects) == []


def test_virtual_home_link_is_not_asked():
    effects = send(make_agent(), make_update(at(0), ifid=1), at(0))
    assert statuses(effects) == [1]
    assert advertised(effects) == []


def test_mobile_router_waits_for_a_slow_check_and_registers():
    world = World(agent=make_agent(home_link="eth1"))
    world.tell_router(EgressChanged((LTE,)))
    world.settle(2)
    assert world.agent.entries == ()
    world.tell_agent(FREE)
    world.settle(1)
    assert world.agent_view() == world.router_view() != set()


# --- 10.3.2: answers to whoever is at home --------------------------------------------------------


def answer_at_home(agent, **how):
    update = make_update(at(2), **{"source": HOME, "home": None, "lifetime": 0, **how})
    (effect,) = (e for e in send(agent, update, at(2)) if isinstance(e, SendPacket))
    return effect


def test_10_3_2_refusal_of_a_mobile_router_at_home_goes_out_on_the_home_link(agent):
    bind(agent)
    effect = answer_at_home(agent, ifid=1, sequence=1)
    assert effect.packet.message.status == 135
    assert (effect.packet.destination, effect.packet.routing_home_address) == (HOME, None)
    assert effect.link == "eth1"
    assert len(agent.entries) == 1


def test_10_3_2_acceptance_goes_by_the_ordinary_routes(agent):
    bind(agent)
    effect = answer_at_home(agent, ifid=1, sequence=2)
    assert (effect.packet.message.status, effect.link) == (1, None)


def test_10_3_2_refusal_of_a_mobile_router_away_does_not_go_out_on_the_home_link(agent):
    bind(agent)
    effect = answer_at_home(agent, ifid=1, sequence=1, source=LTE.address, home=HOME)
    assert (effect.packet.message.status, effect.link) == (135, None)
