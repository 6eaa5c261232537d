"""A mobile router and a home agent over a path that loses, reorders and repeats."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_world import (
    FORMAT,
    HOME,
    HOME_AGENT,
    LTE,
    SAT,
    WIFI,
    World,
    at,
    make_agent,
    make_router,
    through_wire,
    without_keys,
)

from mrouter.protocol.events import (
    EgressChanged,
    ForwardingFailed,
    PacketReceived,
    StopRequested,
    TimerFired,
)
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTestInit,
    HomeTest,
    Packet,
)
from mrouter.wire.options import (
    AlternateCareOfAddress,
    BindingRefreshAdvice,
    CareOfAddressInformation,
    MnHaAuthentication,
    MobileNetworkPrefix,
    ReplayProtection,
    UnknownOption,
)
from mrouter.wire.packet import parse_packet, serialize_packet

LINKS = [
    LTE,
    WIFI,
    SAT,
    replace(LTE, address=IPv6Address("2001:db8:1::20")),
    replace(WIFI, address=IPv6Address("2001:db8:7::10")),
]
link_sets = st.lists(st.sampled_from(LINKS), unique=True, max_size=4).map(tuple)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("links"), link_sets),
        st.tuples(st.sampled_from(["deliver", "lose", "repeat"]), st.integers(0, 50)),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 0.7, 3.0, 20.0, 130.0])),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=40,
)


def play(world, script):
    """Let the path do what ``script`` says; return the addresses that are up in the end."""
    links = ()
    for what, value in script:
        if what == "links":
            links = value
            world.tell_router(EgressChanged(links))
        elif what == "wait":
            world.pass_time(value)
        elif what == "restart":
            world.agent = make_agent(started=world.seconds)
        elif world.on_path:
            index = value % len(world.on_path)
            if what == "lose":
                del world.on_path[index]
            elif what == "deliver":
                world.seconds += 0.01
                world.deliver(index)
            else:
                world.seconds += 0.01
                world.hand_over(*world.on_path[index])
    return links


@settings(max_examples=150, deadline=None)
@given(steps, st.sampled_from([0.0, -3.0, 5.0, 300.0]), st.integers(0, 1000))
def test_home_agent_comes_to_hold_exactly_the_addresses_that_are_up(script, skew, seed):
    world = World(make_router(seed), skew=skew)
    links = play(world, script)
    world.settle(300)
    expected = {(link.address, link.ifpri) for link in links}
    assert {view[1:] for view in world.agent_view()} == expected
    assert world.router_view() == world.agent_view()
    assert len(world.agent_view()) == len(expected)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 1000))
def test_with_renewed_ifids_every_address_stays_registered(script, seed):
    world = World(make_router(seed, ifid_renewal=70.0))
    links = play(world, script)
    world.settle(300)
    assert {view[1] for view in world.router_view()} == {link.address for link in links}
    assert world.router_view() <= world.agent_view()


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 1000))
def test_after_stopping_with_deregistration_nothing_is_left(script, seed):
    world = World(make_router(seed))
    play(world, [*script, ("links", (LTE, WIFI))])
    world.settle(300)
    world.tell_router(StopRequested(deregister=True))
    world.settle(1)
    assert world.agent.entries == ()


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 1000), st.data())
def test_whatever_is_replayed_changes_nothing(script, seed, data):
    world = World(make_router(seed))
    recorded = []
    hand_over = world.hand_over

    def record(receiver, packet):
        recorded.append((receiver, packet))
        hand_over(receiver, packet)

    world.hand_over = record
    play(world, [*script, ("links", (LTE, WIFI, SAT))])
    world.settle(300)
    held, listed = world.agent.entries, world.router.entries
    answered = [
        (receiver, packet)
        for receiver, packet in recorded
        if not isinstance(packet.message, BindingRefreshRequest)
    ]
    for receiver, packet in data.draw(st.lists(st.sampled_from(answered), max_size=20)):
        machine = world.agent if receiver == "agent" else world.router
        machine.handle(PacketReceived(packet), at(world.seconds))
    assert world.agent.entries is held
    assert world.router.entries == listed


def forge(packet, **changes):
    """Return ``packet`` with another content under its old authenticator, checksum made right."""
    forged = replace(packet, message=replace(packet.message, **changes))
    return parse_packet(serialize_packet(forged, FORMAT), FORMAT)


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": 40000},
        {"lifetime": 0},
        {"multiple": False},
        {"mobile_router": False},
    ],
)
def test_forged_update_changes_nothing(changes):
    world = World()
    world.tell_router(EgressChanged((LTE,)))
    update = world.on_path[0][1]
    world.settle(2)
    held = world.agent.entries
    world.hand_over("agent", forge(update, **changes))
    assert world.agent.entries is held


@pytest.mark.parametrize("changes", [{"status": 128}, {"lifetime": 4}, {"mobile_router": False}])
def test_forged_acknowledgement_changes_nothing(changes):
    world = World()
    world.tell_router(EgressChanged((LTE,)))
    world.deliver()
    listed = world.router.entries
    world.hand_over("router", forge(world.on_path[0][1], **changes))
    assert world.router.entries == listed


def test_restarted_home_agent_is_registered_with_again_by_the_next_refresh():
    world = World()
    world.tell_router(EgressChanged((LTE, WIFI)))
    world.settle(10)
    world.agent = make_agent(started=world.seconds)
    world.settle(100)
    assert world.router_view() == world.agent_view()
    assert len(world.agent_view()) == 2


def test_vehicle_with_a_wrong_clock_gets_registered_at_once():
    world = World(skew=86400.0)
    world.tell_router(EgressChanged((LTE,)))
    world.settle(0.5)
    assert len(world.router_view()) == 1


def test_binding_whose_forwarding_failed_is_taken_back_at_both_ends():
    world = World()
    world.tell_router(EgressChanged((LTE, WIFI)))
    world.settle(1)
    ifid = world.agent.entries[0].ifid
    world.tell_agent(ForwardingFailed(HOME, ifid))
    world.settle(1)
    assert ifid not in {view[0] for view in world.router_view()}
    assert world.router_view() == world.agent_view()


# --- any event in any order -------------------------------------------------------------------

addresses = st.sampled_from(
    [LTE.address, WIFI.address, HOME, HOME_AGENT, IPv6Address("ff02::1"), IPv6Address("::")]
)
ifids = st.integers(0, 255)
option = st.one_of(
    st.builds(CareOfAddressInformation, ifids, ifids),
    st.builds(AlternateCareOfAddress, addresses),
    st.builds(ReplayProtection, st.integers(0, 2**64 - 1)),
    st.builds(MnHaAuthentication, st.sampled_from([256, 257, 3]), st.binary(max_size=20)),
    st.builds(BindingRefreshAdvice, st.integers(0, 2**16)),
    st.builds(
        MobileNetworkPrefix,
        st.sampled_from([IPv6Network("2001:db8:bbbb::/64"), IPv6Network("::/0")]),
    ),
    st.builds(UnknownOption, st.just(200), st.binary(max_size=4)),
)
options = st.lists(option, max_size=4).map(tuple)
sixteen_bits = st.integers(0, 2**16 - 1)
lifetimes = st.sampled_from([0, 4, 120, 262140])
message = st.one_of(
    st.builds(
        BindingUpdate,
        sixteen_bits,
        lifetimes,
        home_registration=st.booleans(),
        mobile_router=st.booleans(),
        multiple=st.booleans(),
        options=options,
    ),
    st.builds(
        BindingAcknowledgement, st.integers(0, 255), sixteen_bits, lifetimes, options=options
    ),
    st.builds(BindingRefreshRequest, options),
    st.builds(BindingError, st.integers(0, 255), addresses, options),
    st.builds(CareOfTestInit, st.just(bytes(8)), options),
    st.builds(HomeTest, sixteen_bits, st.just(bytes(8)), st.just(bytes(8))),
)
maybe_address = st.one_of(st.none(), addresses)
packet = st.builds(Packet, addresses, addresses, message, maybe_address, maybe_address)
event = st.one_of(
    st.builds(PacketReceived, packet),
    st.builds(EgressChanged, link_sets),
    st.builds(ForwardingFailed, addresses, st.one_of(st.none(), ifids)),
    st.just(TimerFired()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(event, st.floats(0, 50)), max_size=25), st.booleans())
def test_no_event_upsets_either_machine(events, secured):
    router = make_router() if secured else make_router(security=None)
    agent = make_agent() if secured else make_agent(**without_keys())
    seconds = 0.0
    for what, pause in events:
        seconds += pause
        for machine in (router, agent):
            machine.handle(what, at(seconds))
            deadline = machine.next_deadline()
            assert deadline is None or deadline > at(seconds).monotonic
        assert {entry.home_address for entry in agent.entries} <= {HOME}
        assert not (secured and agent.entries)  # nobody signed anything
        slots = [entry.slot for entry in router.entries]
        assert len(set(slots)) == len(slots)


def test_every_packet_of_a_conversation_survives_the_wire():
    world = World()
    world.tell_router(EgressChanged((LTE, WIFI)))
    seen = []
    for _ in range(2):
        seen += [sent for _, sent in world.on_path]
        for _ in range(len(world.on_path)):
            world.deliver()
    assert [type(sent.message) for sent in seen] == [BindingUpdate] * 2 + [
        BindingAcknowledgement
    ] * 2
    assert all(through_wire(sent) == sent for sent in seen)
