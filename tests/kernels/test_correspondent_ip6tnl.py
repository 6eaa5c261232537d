"""Debian's kernel: tunnels between care-of address and correspondent node; see ``boot.py``."""

from __future__ import annotations

import pytest
from optimization_lab import CARE_OF, CN, HOME, IPV6, NODE, OptimizationLab, Way
from tunnel_lab import MR, PAYLOAD, is_there, tunnel, udp, wait_until

from mrouter.lab import plan

pytestmark = pytest.mark.kernels

ICMPV6, TCP = 58, 6
STRANGER = plan.CN_GATEWAY


@pytest.fixture(scope="module")
def lab():
    with OptimizationLab("ip6tnl", "tunnel") as lab:
        yield lab


def direct(link, protocol):
    """Return the ways of a flow both ways in a tunnel by ``link``."""
    address = CARE_OF[link]
    return {
        Way(link, address, NODE, (IPV6, protocol)),
        Way("cn", NODE, address, (IPV6, protocol)),
    }


def test_the_device_stands_and_the_kernel_transforms_nothing(lab):
    for node in (MR, CN):
        assert lab.status(node)["dataplane"]["encapsulation"] == "ip6tnl"
        assert lab.status(node)["route_optimization"] == "tunnel"
        assert is_there(lab, node)
        assert lab.transformations(node) == []


@pytest.mark.parametrize(("node", "ping"), [(MR, (NODE, "-I", HOME)), (CN, (HOME,))])
def test_pings_go_straight_both_ways(lab, node, ping):
    with lab.look() as look:
        assert lab.count_answers(node, *ping) == 5

    assert look.ways() == direct("lte", ICMPV6)


@pytest.mark.parametrize("size", [1300, 1412, 1452, 4000])
def test_packets_of_any_size_arrive(lab, size):
    assert lab.count_answers(MR, NODE, "-I", HOME, "-s", size) == 5
    assert lab.count_answers(CN, HOME, "-s", size) == 5


@pytest.mark.parametrize(("near", "far"), [(MR, CN), (CN, MR)])
def test_a_transfer_by_tcp_arrives_whole(lab, near, far):
    with lab.look() as look:
        assert lab.transfer(near, far, 500_000) == 500_000

    assert look.ways() == direct("lte", TCP)


def test_the_mobile_networks_packets_go_through_the_home_agent(lab):
    with lab.watch() as seen:
        assert lab.count_answers("lfn", NODE, count=3) == 3

    assert {plan.HA_ADDRESS in (p.source, p.destination) for p in seen.packets} == {True}


def test_a_cut_link_moves_both_directions_to_the_next_care_of_address(lab):
    lab.topology.cut("lte")
    try:
        wait_until(
            lambda: [r["link"] for r in lab.status(MR)["routes"] if r["in_use"]] == ["wifi"],
            "another care-of address",
        )
        wait_until(lambda: lab.count_answers(CN, HOME, count=1), "an answer")
        with lab.look() as look:
            assert lab.count_answers(CN, HOME) == 5
    finally:
        lab.topology.restore("lte")
        lab.await_bindings(3)
        lab.await_routes()

    assert look.ways() == direct("wifi", ICMPV6)


def receives(listener):
    listener.settimeout(1.0)
    try:
        return listener.recv(100) == PAYLOAD
    except TimeoutError:
        return False


LTE, SAT, WIFI = CARE_OF["lte"], CARE_OF["sat"], CARE_OF["wifi"]


@pytest.mark.parametrize(
    ("node", "address", "good", "bad", "counter"),
    [
        (CN, NODE, (WIFI, NODE, HOME), (STRANGER, NODE, HOME), "outer_rejected"),
        (CN, NODE, (WIFI, NODE, HOME), (WIFI, NODE, plan.LFN_ADDRESS), "inner_rejected"),
        (MR, HOME, (NODE, SAT, NODE), (STRANGER, SAT, NODE), "outer_rejected"),
        (MR, HOME, (NODE, SAT, NODE), (NODE, SAT, STRANGER), "inner_rejected"),
    ],
)
def test_a_tunnelled_packet_is_taken_from_a_bound_pair_of_addresses_alone(
    lab, node, address, good, bad, counter
):
    with lab.listen(node, address) as listener:
        lab.send("net", tunnel(*good[:2], udp(good[2], address)))
        assert receives(listener)
        before = lab.counter(node, counter)
        lab.send("net", tunnel(*bad[:2], udp(bad[2], address)))
        assert not receives(listener)
        assert lab.counter(node, counter) == before + 1


def test_a_correspondent_node_that_ends_leaves_nothing_behind(lab):
    lab.stop(CN)

    assert not is_there(lab, CN)
    assert "proto 77" not in lab.execute(CN, "ip -6 rule").stdout
    assert lab.execute(CN, "nft list tables").stdout == ""
