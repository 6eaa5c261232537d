"""Debian's kernel: the Home Address option and the type 2 routing header; see ``boot.py``."""

from __future__ import annotations

import struct

import pytest
from optimization_lab import (
    CARE_OF,
    CN,
    FRAGMENT,
    HOME,
    HOME_ADDRESS_OPTION,
    IPV6,
    MOBILITY,
    NODE,
    OPTIONS,
    ROUTING,
    OptimizationLab,
    Way,
)
from tunnel_lab import MR, PAYLOAD, UDP, header, tunnel, udp, wait_until

from mrouter.lab import plan
from mrouter.wire.format import WireFormat
from mrouter.wire.messages import HomeTestInit, Packet
from mrouter.wire.packet import serialize_packet

pytestmark = pytest.mark.kernels

ICMPV6, TCP = 58, 6
STRANGER = plan.CN_GATEWAY
#: Some IPsec of somebody else's, between the same two addresses.
FOREIGN = (
    f"ip xfrm state add src {HOME} dst {NODE} proto esp spi 0x77 reqid 1 mode transport"
    f" auth hmac(sha1) 0x{'11' * 20} enc cbc(aes) 0x{'22' * 16}",
    f"ip xfrm policy add src {HOME} dst 2001:db8:dead::1 dir out"
    " tmpl proto esp reqid 1 mode transport",
)


@pytest.fixture(scope="module")
def lab():
    with OptimizationLab("ip6tnl", "mip6") as lab:
        yield lab


@pytest.fixture
def whole_lab(lab):
    """The lab, and afterwards all three bindings in use again."""
    yield lab
    lab.await_bindings(3)
    lab.await_routes()


def by_headers(link, protocol):
    """Return the ways of a flow both ways by ``link``: an option there, a routing header back."""
    address = CARE_OF[link]
    return {
        Way(link, address, NODE, (OPTIONS, protocol), HOME),
        Way("cn", NODE, address, (ROUTING, protocol), HOME),
    }


def test_both_ends_say_what_they_use(lab):
    assert lab.status(MR)["route_optimization"] == "mip6"
    assert lab.status(CN)["route_optimization"] == "mip6"


@pytest.mark.parametrize(("node", "ping"), [(MR, (NODE, "-I", HOME)), (CN, (HOME,))])
def test_pings_carry_the_home_address_in_a_header_and_are_in_no_tunnel(lab, node, ping):
    with lab.look() as look:
        assert lab.count_answers(node, *ping) == 5

    assert look.ways() == by_headers("lte", ICMPV6)


@pytest.mark.parametrize("size", [1300, 1428, 1452, 4000])
def test_packets_of_any_size_arrive(lab, size):
    with lab.look() as look:
        assert lab.count_answers(MR, NODE, "-I", HOME, "-s", size) == 5
        assert lab.count_answers(CN, HOME, "-s", size) == 5

    assert look.largest() <= 1500
    assert all(way.headers[0] in (OPTIONS, ROUTING) for way in look.ways())
    # 24 octets more than without the header
    assert any(FRAGMENT in way.headers for way in look.ways()) == (size > 1428)


@pytest.mark.parametrize(("near", "far"), [(MR, CN), (CN, MR)])
def test_a_transfer_by_tcp_arrives_whole(lab, near, far):
    with lab.look() as look:
        assert lab.transfer(near, far, 500_000) == 500_000

    assert look.ways() == by_headers("lte", TCP)


def test_the_mobile_networks_packets_go_through_the_home_agent(lab):
    with lab.watch() as seen:
        assert lab.count_answers("lfn", NODE, count=3) == 3

    assert {packet.next_header for packet in seen.packets} == {IPV6}


def test_signalling_of_the_home_address_goes_through_the_home_agent_without_headers(lab):
    request = serialize_packet(Packet(HOME, NODE, HomeTestInit(bytes(8))), WireFormat())
    with lab.look() as look:
        lab.send(MR, request)

    assert look.signalling() == {
        Way("lte", CARE_OF["lte"], plan.HA_ADDRESS, (IPV6, MOBILITY)),
        Way("ha", HOME, NODE, (MOBILITY,)),
        Way("cn", NODE, HOME, (MOBILITY,)),
        Way("ha", plan.HA_ADDRESS, CARE_OF["lte"], (IPV6, MOBILITY)),
    }


def test_a_cut_link_moves_both_directions_to_the_next_care_of_address(whole_lab):
    lab = whole_lab
    lab.topology.cut("lte")
    try:
        wait_until(
            lambda: (
                [r["in_use"] for r in lab.status(CN)["bindings"]].count(True) == 1
                and [r["link"] for r in lab.status(MR)["routes"] if r["in_use"]] == ["wifi"]
            ),
            "another care-of address",
        )
        wait_until(lambda: lab.count_answers(CN, HOME, count=1), "an answer")
        with lab.look() as look:
            assert lab.count_answers(CN, HOME) == 5
            assert lab.count_answers(MR, NODE, "-I", HOME) == 5
            assert lab.transfer(MR, CN, 100_000) == 100_000
    finally:
        lab.topology.restore("lte")

    assert look.ways() == by_headers("wifi", ICMPV6) | by_headers("wifi", TCP)


def option(source, destination, home, packet):
    """Put ``packet``'s home address into a Home Address option."""
    head = bytes((packet[6], 2, 1, 2, 0, 0, HOME_ADDRESS_OPTION, 16)) + home.packed
    return header(source, destination, OPTIONS, head + packet[40:])


def routing(source, destination, home, packet):
    """Put ``packet``'s home address into a type 2 routing header."""
    head = struct.pack("!BBBBI", packet[6], 2, 2, 1, 0) + home.packed
    return header(source, destination, ROUTING, head + packet[40:])


def receives(listener):
    listener.settimeout(1.0)
    try:
        return listener.recv(100) == PAYLOAD
    except TimeoutError:
        return False


@pytest.mark.parametrize("link", list(CARE_OF))
def test_packets_are_taken_from_and_at_every_care_of_address_that_is_bound(lab, link):
    with lab.listen(CN, NODE) as listener:
        lab.send("net", option(CARE_OF[link], NODE, HOME, udp(HOME, NODE)))
        assert receives(listener)
    with lab.listen(MR, HOME) as listener:
        lab.send("net", routing(NODE, CARE_OF[link], HOME, udp(NODE, HOME)))
        assert receives(listener)


def test_packets_in_a_tunnel_are_taken_too(lab):
    with lab.listen(CN, NODE) as listener:
        lab.send("net", tunnel(CARE_OF["wifi"], NODE, udp(HOME, NODE)))
        assert receives(listener)
    with lab.listen(MR, HOME) as listener:
        lab.send("net", tunnel(NODE, CARE_OF["wifi"], udp(NODE, HOME)))
        assert receives(listener)


def test_an_option_that_no_binding_vouches_for_is_dropped_and_told(lab):
    other_home = plan.HOME_PREFIX[0x200]
    with lab.listen(CN, NODE) as listener:
        for source, home in ((STRANGER, HOME), (CARE_OF["lte"], other_home)):
            before = lab.counter(CN, "outer_rejected")
            lab.send("net", option(source, NODE, home, udp(home, NODE)))
            assert not receives(listener)
            assert lab.counter(CN, "outer_rejected") == before + 1
    sent = lab.status(CN)["signalling"]
    assert any((row["direction"], row["type"]) == ("sent", "BindingError") for row in sent)
    # who has sent it may not have a binding, but the mobile router's stand
    lab.await_routes()


def test_an_option_where_nobody_looks_for_it_finds_no_state(lab):
    packet = udp(HOME, NODE)
    head = bytes((UDP, 3, 1, 10, *bytes(10), HOME_ADDRESS_OPTION, 16)) + HOME.packed
    with lab.listen(CN, NODE) as listener:
        lab.send("net", header(CARE_OF["lte"], NODE, OPTIONS, head + packet[40:]))
        assert not receives(listener)


def test_a_routing_header_of_a_stranger_or_for_another_address_is_dropped(lab):
    with lab.listen(MR, HOME) as listener:
        for source, home, counter in (
            (STRANGER, HOME, "outer_rejected"),
            (NODE, plan.MR_INGRESS_ADDRESS, "inner_rejected"),
        ):
            before = lab.counter(MR, counter)
            lab.send("net", routing(source, CARE_OF["lte"], home, udp(source, home)))
            assert not receives(listener)
            assert lab.counter(MR, counter) == before + 1


def test_nothing_leaves_without_its_header_when_somebody_flushes_the_policies(whole_lab):
    lab = whole_lab
    before = lab.counter(MR, "leaks_prevented")
    lab.execute(MR, "ip xfrm policy flush ptype sub")
    with lab.look() as look:
        assert lab.count_answers(MR, NODE, "-I", HOME, count=3) == 0
    assert look.ways() == set()
    assert lab.counter(MR, "leaks_prevented") == before + 3

    # a change of links has the agent look at the kernel again
    lab.topology.cut("sat")
    lab.topology.restore("sat")
    wait_until(lambda: lab.count_answers(MR, NODE, "-I", HOME, count=1), "an answer")


@pytest.fixture
def foreign_lab(whole_lab):
    """The lab, and while the test runs some IPsec that is not ours at the mobile router."""
    for command in FOREIGN:
        whole_lab.execute(MR, command)
    yield whole_lab
    whole_lab.execute(MR, f"ip xfrm state delete src {HOME} dst {NODE} proto esp spi 0x77")
    whole_lab.execute(MR, f"ip xfrm policy delete src {HOME} dst 2001:db8:dead::1 dir out")


def test_a_killed_agents_successor_takes_over_and_leaves_alone_what_is_not_ours(foreign_lab):
    lab = foreign_lab
    before = sorted(lab.transformations(MR))
    foreign = [block for block in before if "reqid 1 " in block]
    lab.kill(MR)
    # what stands goes on without an agent
    assert lab.count_answers(CN, HOME) == 5

    lab.start(MR)
    lab.await_bindings(3)
    lab.await_routes()

    assert len(foreign) == len(FOREIGN)
    assert sorted(lab.transformations(MR)) == before
    assert len(before) > len(foreign)
    with lab.look() as look:
        assert lab.count_answers(CN, HOME) == 5
    assert look.ways() == by_headers("lte", ICMPV6)


def test_an_unreachable_care_of_address_makes_room_for_the_next(lab):
    def in_use():
        rows = lab.status(CN)["bindings"]
        return [row["care_of_address"] for row in rows if row["in_use"]]

    rule = f"from {NODE} to {CARE_OF['lte']} unreachable"
    lab.execute("net", f"ip -6 rule add {rule}")
    lab.count_answers(CN, HOME, count=2)
    wait_until(lambda: in_use() == [str(CARE_OF["wifi"])], "another care-of address")
    lab.execute("net", f"ip -6 rule del {rule}")

    with lab.look() as look:
        assert lab.count_answers(CN, HOME) == 5
    from_node = {way for way in look.ways() if way.source == NODE}
    assert from_node == {Way("cn", NODE, CARE_OF["wifi"], (ROUTING, ICMPV6), HOME)}


def test_a_correspondent_node_that_ends_takes_its_states_with_it_and_gets_them_again(whole_lab):
    lab = whole_lab
    lab.stop(CN)
    assert lab.transformations(CN) == []

    lab.start(CN)
    lab.await_routes()
    with lab.look() as look:
        assert lab.count_answers(CN, HOME) == 5
    assert look.ways() == by_headers("lte", ICMPV6)


def test_after_de_registration_the_home_agent_is_the_way_and_no_state_is_left(lab):
    file = lab.config(MR)
    text = file.read_text()
    file.write_text(text.replace("lifetime = 60\n", "lifetime = 60\nderegister-on-stop = true\n"))
    lab.stop(MR)
    lab.start(MR)
    lab.await_routes()
    lab.stop(MR)
    wait_until(lambda: lab.status(CN)["bindings"] == [], "the de-registrations")
    assert lab.transformations(CN) == []

    file.write_text(text.replace(f'correspondents = ["{NODE}"]\n', ""))
    lab.start(MR)
    lab.await_bindings(3)

    assert lab.transformations(MR) == []
    with lab.look() as look:
        assert lab.count_answers(CN, HOME) == 5
    assert Way("cn", NODE, HOME, (ICMPV6,)) in look.ways()
    tunnelled = [way for way in look.ways() if IPV6 in way.headers]
    assert tunnelled
    assert all(plan.HA_ADDRESS in (way.source, way.destination) for way in tunnelled)
