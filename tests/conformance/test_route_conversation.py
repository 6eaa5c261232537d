"""Mobile router, home agent and correspondent node over paths that lose, reorder and repeat."""

from dataclasses import replace
from ipaddress import IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_world import HOME, HOME_AGENT, LTE, SAT, WIFI, at, make_router
from route_world import CORRESPONDENT, OTHER_CORRESPONDENT, PLAIN, RouteWorld, make_node
from test_protocol_conversation import LINKS

from mrouter.protocol.events import (
    BindingsUsed,
    CareOfAddressFailed,
    CorrespondentsChanged,
    EgressChanged,
    HomeAddressOptionSeen,
    PacketReceived,
    StopRequested,
    TimerFired,
)
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    Packet,
)
from mrouter.wire.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    CareOfAddressInformation,
    NonceIndices,
)

PLACES = [*LINKS, replace(LTE, address=HOME), replace(WIFI, address=HOME)]
link_sets = st.lists(st.sampled_from(PLACES), unique_by=lambda link: link.address, max_size=4).map(
    tuple
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("links"), link_sets),
        st.tuples(st.sampled_from(["deliver", "lose", "repeat"]), st.integers(0, 50)),
        st.tuples(st.just("settle"), st.sampled_from([0.05, 2.0])),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 0.7, 3.0, 50.0, 220.0])),
        st.tuples(st.just("restart"), st.integers(100, 200)),
        st.tuples(st.just("optimize"), st.booleans()),
    ),
    max_size=30,
)


def make_world(seed, **changes):
    return RouteWorld(make_router(seed, correspondents=(CORRESPONDENT,), **changes))


def play(world, script):
    """Let the paths do what ``script`` says."""
    for what, value in script:
        if what == "links":
            world.connect(*value)
        elif what == "wait":
            world.pass_time(value)
        elif what == "settle":
            world.settle(value)
        elif what == "restart":
            world.node = make_node(seed=value)
        elif what == "optimize":
            world.optimize(*([CORRESPONDENT] if value else []))
        elif world.on_path:
            index = value % len(world.on_path)
            world.seconds += 0.01
            if what == "lose":
                del world.on_path[index]
            elif what == "deliver":
                world.deliver(index)
            else:
                world.hand_over(*world.on_path[index])


def expect(links):
    """Return the (care-of address, IFPRI) that should be registered, by the draft §7.3, §7.8."""
    ordered = sorted(links, key=lambda link: link.ifpri)
    if not ordered or ordered[0].address == HOME:
        return set()
    away = [link for link in ordered if link.address != HOME]
    return {(link.address, max(link.ifpri, 1) if number else 0) for number, link in enumerate(away)}


@settings(max_examples=150, deadline=None)
@given(steps, link_sets, st.integers(0, 1000))
def test_correspondent_node_comes_to_hold_exactly_the_addresses_that_are_up(script, links, seed):
    world = make_world(seed)
    play(world, script)
    world.optimize(CORRESPONDENT)
    world.connect(*links)
    world.settle(900)
    assert {view[1:] for view in world.node_view()} == expect(links)
    assert world.router_view() == world.node_view()
    assert len(world.node_view()) == len(expect(links))


@settings(max_examples=50, deadline=None)
@given(steps, st.integers(0, 1000))
def test_with_renewed_ifids_every_address_stays_registered(script, seed):
    world = make_world(seed, ifid_renewal=150.0)
    play(world, script)
    world.optimize(CORRESPONDENT)
    world.connect(LTE, WIFI, SAT)
    world.settle(900)
    assert {view[1] for view in world.router_view()} == {LTE.address, WIFI.address, SAT.address}
    assert world.router_view() <= world.node_view()


@settings(max_examples=50, deadline=None)
@given(steps, st.integers(0, 1000))
def test_plain_node_comes_to_hold_the_primary_address_alone(script, seed):
    world = make_world(seed)
    world.fmt = PLAIN
    play(world, script)
    world.optimize(CORRESPONDENT)
    world.connect()
    world.settle(1)
    world.connect(LTE, WIFI)
    world.settle(900)
    assert world.node_view() == world.router_view() == {(None, LTE.address, 0)}


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 1000), st.data())
def test_whatever_is_replayed_changes_nothing(script, seed, data):
    world = make_world(seed)
    play(world, [step for step in script if step[0] != "restart"])
    world.optimize(CORRESPONDENT)
    world.connect(LTE, WIFI, SAT)
    world.settle(900)
    held, listed = world.node.entries, world.router.routes
    recorded = [p for p in world.sent if CORRESPONDENT in (p.source, p.destination)]
    for packet in data.draw(st.lists(st.sampled_from(recorded), max_size=30)):
        machine = world.node if packet.destination == CORRESPONDENT else world.router
        machine.handle(PacketReceived(packet, via_home_agent=True), at(world.seconds))
    assert world.node.entries is held
    assert world.router.routes == listed


@settings(max_examples=40, deadline=None)
@given(link_sets, link_sets, st.integers(0, 1000), st.data())
def test_no_stale_update_wins_while_its_nonces_are_known(before, after, seed, data):
    world = make_world(seed)
    world.connect(*before)
    world.settle(5)
    world.connect(*after)
    world.settle(5)
    held = world.node.entries
    stale = [p for p in world.sent if isinstance(p.message, BindingUpdate)]
    stale = [p for p in stale if p.destination == CORRESPONDENT]
    if stale:
        for packet in data.draw(st.lists(st.sampled_from(stale), max_size=10)):
            world.node.handle(PacketReceived(packet), at(world.seconds))
    assert world.node.entries is held


@settings(max_examples=30, deadline=None)
@given(steps, st.integers(0, 1000))
def test_no_binding_outlives_its_lifetime(script, seed):
    world = make_world(seed)
    play(world, script)
    world.on_path = []
    world.silent = {link.address for link in PLACES}
    world.router.handle(StopRequested(deregister=False), at(world.seconds))
    world.pass_time(421)
    assert world.node.entries == ()


@settings(max_examples=30, deadline=None)
@given(steps, st.integers(0, 1000))
def test_same_seed_makes_the_same_conversation(script, seed):
    first, second = make_world(seed), make_world(seed)
    play(first, script)
    play(second, script)
    assert first.sent == second.sent
    assert first.node.entries == second.node.entries


# --- any event in any order -------------------------------------------------------------------

addresses = st.sampled_from(
    [
        LTE.address,
        WIFI.address,
        HOME,
        HOME_AGENT,
        CORRESPONDENT,
        OTHER_CORRESPONDENT,
        IPv6Address("ff02::1"),
        IPv6Address("fe80::1"),
        IPv6Address("::"),
    ]
)
octet = st.integers(0, 255)
sixteen_bits = st.integers(0, 2**16 - 1)
token = st.sampled_from([bytes(8), b"a cookie"])
option = st.one_of(
    st.builds(CareOfAddressInformation, octet, octet),
    st.builds(AlternateCareOfAddress, addresses),
    st.builds(BindingRefreshAdvice, sixteen_bits),
    st.builds(NonceIndices, sixteen_bits, sixteen_bits),
    st.builds(BindingAuthorizationData, st.binary(min_size=12, max_size=12)),
)
options = st.lists(option, max_size=4).map(tuple)
lifetimes = st.sampled_from([0, 4, 420, 262140])
message = st.one_of(
    st.builds(
        BindingUpdate,
        sixteen_bits,
        lifetimes,
        home_registration=st.booleans(),
        multiple=st.booleans(),
        options=options,
    ),
    st.builds(BindingAcknowledgement, octet, sixteen_bits, lifetimes, options=options),
    st.builds(BindingRefreshRequest, options),
    st.builds(BindingError, octet, addresses, options),
    st.builds(HomeTestInit, token, options),
    st.builds(CareOfTestInit, token, options),
    st.builds(HomeTest, sixteen_bits, token, token, options),
    st.builds(CareOfTest, sixteen_bits, token, token, options),
)
maybe_address = st.one_of(st.none(), addresses)
packet = st.builds(Packet, addresses, addresses, message, maybe_address, maybe_address)
event = st.one_of(
    st.builds(PacketReceived, packet, st.booleans()),
    st.builds(EgressChanged, link_sets),
    st.builds(CorrespondentsChanged, st.lists(addresses, max_size=3).map(tuple)),
    st.builds(CareOfAddressFailed, addresses),
    st.builds(HomeAddressOptionSeen, addresses, addresses),
    st.builds(BindingsUsed, st.frozensets(st.tuples(addresses, st.none() | octet), max_size=2)),
    st.just(TimerFired()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(event, st.floats(0, 50)), max_size=25))
def test_no_event_upsets_either_machine(events):
    world = make_world(1)
    world.connect(LTE, WIFI)
    world.settle(2)
    router, node, seconds = world.router, world.node, world.seconds
    held = {entry.ifid for entry in node.entries}
    for what, pause in events:
        seconds += pause
        for machine in (router, node):
            machine.handle(what, at(seconds))
            deadline = machine.next_deadline()
            assert deadline is None or deadline > at(seconds).monotonic
        assert {entry.ifid for entry in node.entries} <= held  # nobody has authorized anything
        for correspondent in {route.correspondent for route in router.routes}:
            listed = [r.binding for r in router.routes if r.correspondent == correspondent]
            assert len({binding.slot for binding in listed}) == len(listed)
