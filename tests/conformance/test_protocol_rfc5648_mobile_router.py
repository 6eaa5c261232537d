"""RFC 5648, the mobile router's side: one sequence number, addresses in options, overwriting."""

from dataclasses import replace

import pytest
from home_agent_world import RFC5648
from protocol_world import (
    AGENT,
    HOME,
    HOME_AGENT,
    KEY,
    LTE,
    SAT,
    WIFI,
    World,
    at,
    connect,
    make_acknowledgement,
    make_agent,
    make_router,
    only,
    packets,
    register,
    run_until,
    send,
)

from mrouter.config.load import load_config
from mrouter.protocol.bindings import BindingState
from mrouter.protocol.events import EgressChanged, StopRequested
from mrouter.protocol.keys import PacketSigner
from mrouter.protocol.mobile_router import MobileRouter
from mrouter.protocol.update_list import Binding, restore_binding
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import BindingAcknowledgement, BindingUpdate, Packet, find_option
from mrouter.wire.options import (
    AlternateCareOfAddress,
    CareOfAddressInformation,
    MnHaAuthentication,
    ReplayProtection,
)
from mrouter.wire.packet import parse_packet, serialize_packet

STRICT = {"refuse_mixed": True, "require_addresses": True}


def as_bytes(packet):
    """Return ``packet`` as its receiver parses it in dialect rfc5648."""
    return parse_packet(serialize_packet(packet, RFC5648, PacketSigner(KEY)), RFC5648)


def list_updates(effects):
    return [as_bytes(packet) for packet in packets(effects, BindingUpdate)]


def connect_strictly(router, *addresses, seconds=0.0):
    return list_updates(router.handle(EgressChanged(addresses), at(seconds)))


def answer(update, status=0, lifetime=120, **changes):
    """Return a home agent's answer to ``update``, as bytes have carried it."""
    message = update.message
    options = [
        replace(option, care_of_address=None)
        for option in message.options
        if isinstance(option, CareOfAddressInformation)
    ]
    options += [option for option in message.options if isinstance(option, ReplayProtection)]
    options.append(MnHaAuthentication(KEY.spi))
    if status == 0 and find_option(message, CareOfAddressInformation):
        status = 1  # written as 0 beside a Binding Identifier
    fields = {"sequence": message.sequence, "mobile_router": True, **changes}
    answered = BindingAcknowledgement(
        status, lifetime=lifetime if status < 128 else 0, options=tuple(options), **fields
    )
    return as_bytes(Packet(HOME_AGENT, update.source, answered, routing_home_address=HOME))


def make_strict_router(seed=1, **changes):
    return make_router(seed, follow_rfc5648=True, **changes)


def named(update):
    return find_option(update.message, CareOfAddressInformation)


# --- 4.1: one sequence number ---------------------------------------------------------------


def test_4_1_all_bindings_share_one_sequence_number():
    router = make_router()
    first, second, third = (u.message.sequence for u in register(router, LTE, WIFI, SAT))
    assert (second, third) == ((first + 1) % 65536, (first + 2) % 65536)
    changed = only(connect(router, replace(LTE, ifpri=5), WIFI, SAT, seconds=9))
    assert changed.message.sequence == (third + 1) % 65536


def test_4_1_answer_that_is_ahead_moves_the_number_of_all_bindings():
    router = make_router()
    first, second = connect(router, LTE, WIFI)
    ahead = (second.message.sequence + 500) % 65536
    refusal = make_acknowledgement(first, 135, lifetime=0, sequence=ahead)
    repeated = only(packets(send(router, refusal, at(0))))
    assert repeated.message.sequence == (ahead + 1) % 65536
    send(router, make_acknowledgement(second), at(0))
    changed = only(connect(router, LTE, replace(WIFI, ifpri=9), seconds=0.5))
    assert changed.message.sequence == (ahead + 2) % 65536


def test_number_is_not_moved_back_by_an_answer_that_others_have_overtaken():
    router = make_router()
    first, second = connect(router, LTE, WIFI)
    refusal = make_acknowledgement(first, 135, lifetime=0, sequence=first.message.sequence)
    repeated = only(packets(send(router, refusal, at(0))))
    assert repeated.message.sequence == (second.message.sequence + 1) % 65536


# --- 5.1, 5.2: the care-of address ----------------------------------------------------------


@pytest.mark.parametrize("security", [KEY, None])
def test_5_2_care_of_address_is_in_the_option_and_nowhere_else(security):
    update = only(connect_strictly(make_strict_router(security=security), LTE))
    assert named(update).care_of_address == LTE.address
    assert find_option(update.message, AlternateCareOfAddress) is None


def test_5_2_option_names_the_care_of_address_of_a_link_that_is_lost():
    router = make_strict_router()
    register_strictly(router, LTE, WIFI)
    (ending,) = connect_strictly(router, WIFI, seconds=5)
    assert (ending.source, ending.message.lifetime) == (WIFI.address, 0)
    assert named(ending).care_of_address == LTE.address
    assert find_option(ending.message, AlternateCareOfAddress) is None


def register_strictly(router, *addresses):
    """Connect ``router`` and accept all that it sends; return its Binding Updates."""
    updates = sent = connect_strictly(router, *addresses)
    while sent:
        effects = [effect for each in sent for effect in send(router, answer(each), at(0))]
        sent = list_updates(effects)
        updates = [*updates, *sent]
    assert all(entry.usable for entry in router.entries)
    return updates


# --- 5.9: the first registration overwrites what stands --------------------------------------


def test_5_9_first_binding_update_overwrites_and_the_others_add():
    updates = register_strictly(make_strict_router(), LTE, WIFI, SAT)
    assert [(u.source, u.message.overwrite) for u in updates] == [
        (LTE.address, True),
        (WIFI.address, False),
        (SAT.address, False),
    ]


def test_no_refresh_overwrites():
    router = make_strict_router()
    register_strictly(router, LTE, WIFI)
    updates = [u for _s, effects in run_until(router, 97) for u in list_updates(effects)]
    assert updates
    assert not any(update.message.overwrite for update in updates)


def test_deregistration_does_not_overwrite():
    router = make_strict_router()
    only(connect_strictly(router, LTE))
    ending = only(list_updates(router.handle(StopRequested(deregister=True), at(0.1))))
    assert (ending.message.lifetime, ending.message.overwrite) == (0, False)


def test_next_link_overwrites_when_the_first_is_silent():
    router = make_strict_router()
    first = only(connect_strictly(router, LTE, WIFI))
    assert first.source == LTE.address
    ((second, effects),) = run_until(router, 1.6)
    update = only(list_updates(effects))
    assert second == pytest.approx(1.5)
    assert (update.source, update.message.overwrite) == (WIFI.address, True)

    # LTE's may still have come first and been replaced, or be lost: it is registered again.
    (again,) = list_updates(send(router, answer(update), at(1.7)))
    assert (again.source, again.message.overwrite) == (LTE.address, False)


def test_binding_that_a_later_overwriting_may_have_ended_is_registered_again():
    router = make_strict_router()
    first = only(connect_strictly(router, LTE, WIFI))
    ((_second, effects),) = run_until(router, 1.6)
    other = only(list_updates(effects))
    assert list_updates(send(router, answer(first), at(1.7))) == []
    (again,) = list_updates(send(router, answer(other), at(1.8)))
    assert (again.source, again.message.overwrite) == (LTE.address, False)
    assert {entry.usable for entry in router.entries} == {True}


def test_mobile_router_that_knows_its_bindings_overwrites_none():
    router = make_strict_router()
    register_strictly(router, LTE, WIFI)
    kept = [
        restore_binding(Binding, entry, at(10).monotonic, ifid_renewal=None)
        for entry in router.entries
    ]
    restarted = MobileRouter(router._home._settings, router._home._random, kept)
    updates = connect_strictly(restarted, LTE, WIFI, seconds=10)
    assert [update.message.overwrite for update in updates] == [False, False]


def test_draft_has_no_overwriting():
    assert [u.message.overwrite for u in register(make_router(), LTE, WIFI)] == [False, False]


class StrictWorld(World):
    """Both machines as dialect rfc5648 configures them."""

    def __init__(self, seed=1, agent=None):
        super().__init__(make_strict_router(seed), agent or make_agent(**STRICT))

    def _book(self, effects, receiver):
        self.on_path += [(receiver, as_bytes(packet)) for packet in packets(effects)]


def test_5_9_mobile_router_without_memory_takes_the_place_of_its_old_bindings():
    old = StrictWorld()
    old.tell_router(EgressChanged((LTE, WIFI, SAT)))
    old.settle(3)
    assert len(old.agent.entries) == 3

    new = StrictWorld(seed=2, agent=old.agent)
    new.seconds = old.seconds
    new.tell_router(EgressChanged((LTE, WIFI)))
    new.settle(3)
    assert new.agent_view() == new.router_view()
    assert len(new.agent.entries) == 2


@pytest.mark.parametrize("lost", range(6))
def test_both_ends_agree_whatever_packet_is_lost_at_the_start(lost):
    world = StrictWorld()
    world.tell_router(EgressChanged((LTE, WIFI, SAT)))
    for number in range(8):
        if not world.on_path:
            world.pass_time(1.6)
        if number == lost:
            world.on_path.pop(0)
        elif world.on_path:
            world.deliver()
    world.settle(10)
    assert world.agent_view() == world.router_view()
    assert len(world.agent.entries) == 3


# --- 5.7: statuses --------------------------------------------------------------------------


def test_5_7_165_is_answered_by_overwriting_at_once():
    router = make_strict_router()
    register_strictly(router, LTE)
    (update,) = connect_strictly(router, LTE, WIFI, seconds=5)
    assert not update.message.overwrite
    exists = BindingStatus.MCOA_NON_MCOA_BINDING_EXISTS
    (again,) = list_updates(send(router, answer(update, exists), at(5)))
    assert (again.source, again.message.overwrite) == (WIFI.address, True)


def test_5_7_166_ends_the_registration_of_several():
    router = make_strict_router()
    update = only(connect_strictly(router, LTE, WIFI))
    refusal = answer(update, BindingStatus.MCOA_PROHIBITED)
    plain = only(list_updates(send(router, refusal, at(0.1))))
    assert named(plain) is None
    assert not plain.message.overwrite
    send(router, answer(plain), at(0.2))
    entry = only(router.entries)
    assert (entry.state, entry.plain) == (BindingState.REGISTERED, True)


def test_5_7_167_for_a_deregistration_needs_nothing_more():
    router = make_strict_router()
    register_strictly(router, LTE, WIFI)
    (ending,) = connect_strictly(router, WIFI, seconds=5)
    unknown = BindingStatus.MCOA_UNKNOWN_COA
    assert list_updates(send(router, answer(ending, unknown), at(5))) == []
    assert only(router.entries).link == "wifi"


# --- the configuration ----------------------------------------------------------------------

ROUTER_FILE = """
role = "mobile-router"
dialect = "{dialect}"
[mobile-router]
home-address = "2001:db8:f0::100"
home-agent = "2001:db8:f0::2"
prefixes = ["2001:db8:a::/64"]
ingress = ["lan0"]
policy = "vehicle.toml"
[[link]]
name = "lte"
interface = "wan0"
ifpri = 1
[security]
unauthenticated-because-ipsec-protects = true
"""
AGENT_FILE = """
role = "home-agent"
dialect = "{dialect}"
[home-agent]
address = "2001:db8:f0::2"
home-prefixes = ["2001:db8:f0::/64"]
[[mobile-router]]
name = "bus"
home-address = "2001:db8:f0::100"
prefixes = ["2001:db8:a::/64"]
security = {{ unauthenticated-because-ipsec-protects = true }}
"""


def load(tmp_path, text, dialect):
    path = tmp_path / "mrouter.toml"
    path.write_text(text.format(dialect=dialect))
    return load_config(path).settings


@pytest.mark.parametrize(("dialect", "strict"), [("draft-01", False), ("rfc5648", True)])
def test_dialect_decides_what_the_machines_ask_for(tmp_path, dialect, strict):
    assert load(tmp_path, ROUTER_FILE, dialect).follow_rfc5648 is strict
    agent = load(tmp_path, AGENT_FILE, dialect)
    assert (agent.refuse_mixed, agent.require_addresses) == (strict, strict)
    assert not AGENT.require_addresses
