"""Debian's kernel: the lab over one collect-metadata ``ip6tnl`` device; see ``boot.py``."""

from __future__ import annotations

import time
from ipaddress import IPv6Address

import pytest
from tunnel_lab import (
    DESTINATION_OPTIONS,
    HA,
    IPV6,
    MR,
    PAYLOAD,
    TunnelLab,
    header,
    is_there,
    tunnel,
    udp,
    wait_until,
)

from mrouter.dataplane.marks import BICAST_FLOW_LABEL
from mrouter.lab import plan
from mrouter.lab.bulk import BulkOrder
from mrouter.lab.traffic import bulk_command, bulk_server_command, read_events

pytestmark = pytest.mark.kernels

LFN, CN, HOME_ADDRESS = plan.LFN_ADDRESS, plan.CN_ADDRESS, plan.HOME_ADDRESS
HOME_AGENT = plan.HA_ADDRESS
CARE_OF = {link.name: link.care_of_address for link in plan.EGRESS_LINKS}
STRANGER = IPv6Address("2001:db8:1::99")
#: On MR's lte0 too, but deprecated: no care-of address.
BESIDE = IPv6Address("2001:db8:1::77")
#: A second address of HA's.
OTHER_HOME_AGENT = IPv6Address("2001:db8:f0::3")
BULK_SECONDS = 25.0


@pytest.fixture(scope="module")
def lab():
    with TunnelLab("ip6tnl") as lab:
        yield lab


def test_each_care_of_address_is_registered_and_the_device_stands(lab):
    assert lab.care_of_addresses() == set(CARE_OF.values())
    for node in (MR, HA):
        assert lab.status(node)["dataplane"]["encapsulation"] == "ip6tnl"
        assert is_there(lab, node)


@pytest.mark.parametrize(
    ("node", "address"),
    [
        ("lfn", CN),
        ("cn", LFN),
        ("cn", HOME_ADDRESS),
        ("cn", plan.MR_INGRESS_ADDRESS),
        ("lfn", HOME_AGENT),
        ("mr", f"-I {HOME_ADDRESS} {CN}"),
    ],
)
def test_pings_are_answered(lab, node, address):
    answer = lab.ping(node, address)

    assert " 3 received" in answer.stdout, answer.stdout
    assert "DUP!" not in answer.stdout


def test_packets_are_tunnelled_between_home_agent_and_care_of_address_with_no_header_more(lab):
    with lab.watch() as seen:
        lab.ping("lfn", CN)

    assert {(p.interface, p.source, p.destination) for p in seen.packets} == {
        ("sat", CARE_OF["sat"], HOME_AGENT),
        ("ha", HOME_AGENT, CARE_OF["sat"]),
    }
    assert {p.next_header for p in seen.packets} == {IPV6}
    assert [p.inner[8:40] for p in seen.uplink()] == [LFN.packed + CN.packed] * 3
    assert [p.inner[8:40] for p in seen.downlink()] == [CN.packed + LFN.packed] * 3


def test_the_outer_header_has_the_inner_ones_traffic_class(lab):
    with lab.watch() as seen:
        lab.ping("lfn", CN, "-Q 0xb8")

    assert [p.traffic_class for p in seen.uplink()] == [0xB8] * 3
    assert [p.traffic_class for p in seen.downlink()] == [0xB8] * 3


@pytest.mark.parametrize("equal_payloads", [False, True])
def test_a_bicast_call_arrives_once_both_ways(lab, equal_payloads):
    dropped = {node: lab.counter(node, "duplicates_dropped") for node in (MR, HA)}

    with lab.watch() as seen:
        call = lab.call(3.0, equal_payloads=equal_payloads)

    sent = 300 if equal_payloads else 150
    for near, far in (("lfn", "cn"), ("cn", "lfn")):
        assert call[near]["sent"] == sent
        assert (call[far]["received"], call[far]["duplicated"]) == (sent, 0)
    for node in (MR, HA):
        assert lab.counter(node, "duplicates_dropped") > dropped[node]
    for name in ("lte", "wifi"):
        uplink = seen.uplink(name)
        assert len(uplink) == sent
        assert {(p.source, p.destination) for p in uplink} == {(CARE_OF[name], HOME_AGENT)}
        assert {p.flow_label for p in uplink} == {BICAST_FLOW_LABEL}
    copies = [p for p in seen.downlink() if p.flow_label == BICAST_FLOW_LABEL]
    assert {p.destination for p in copies} == {CARE_OF["lte"], CARE_OF["wifi"]}
    assert seen.uplink("sat") == []


def test_a_transfer_goes_on_by_another_link_when_its_own_is_cut(lab):
    def received():
        events = read_events(lab.topology.output_path("bulk-cn"))
        return events[-1].get("bytes", 0) if events else 0

    server = lab.topology.run_in("cn", bulk_server_command((str(CN), 5201)), label="bulk-cn")
    order = BulkOrder(duration=BULK_SECONDS, rate=2.0)
    command = bulk_command((str(CN), 5201), order, start_at=time.monotonic())
    client = lab.topology.run_in("lfn", command, label="bulk-lfn")
    wait_until(lambda: received() > 0, "the transfer's begin")
    by_lte = lab.counter(MR, "uplink-lte", "bytes")

    lab.topology.cut("wifi")
    try:
        before = received()
        wait_until(lambda: received() > before + 100_000, "the transfer's progress")
        running = client.poll() is None
        octets = lab.counter(MR, "uplink-lte", "bytes") - by_lte
        summaries = [lab.await_summary(client, "bulk-lfn"), lab.await_summary(server, "bulk-cn")]
    finally:
        lab.topology.restore("wifi")
        lab.await_bindings(3)

    assert running
    assert octets > 100_000
    assert summaries[1]["finished"]
    assert summaries[0]["bytes"] == summaries[1]["bytes"]


def receives(listener):
    """Tell whether a packet made by hand has come."""
    listener.settimeout(1.0)
    try:
        return listener.recv(100) == PAYLOAD
    except TimeoutError:
        return False


@pytest.fixture
def beside(lab):
    """MR and HA have addresses that are no ends of tunnels of ours."""
    prefixes = [("mr", f"{BESIDE}/64 dev lte0"), ("ha", f"{OTHER_HOME_AGENT}/64 dev wan0")]
    for node, address in prefixes:
        lab.execute(node, f"ip addr add {address} nodad preferred_lft 0")
    yield
    for node, address in prefixes:
        lab.execute(node, f"ip addr del {address}")


def test_the_home_agent_takes_only_a_care_of_addresss_own_prefixes(lab, beside):
    good = udp(LFN, CN)
    with_options = header(
        CARE_OF["lte"], HOME_AGENT, DESTINATION_OPTIONS, bytes([IPV6, 0, 1, 4, 0, 0, 0, 0]) + good
    )
    with lab.listen("cn", CN) as listener:
        lab.send("net", tunnel(CARE_OF["lte"], HOME_AGENT, good))
        assert receives(listener)
        for packet, counter in (
            (tunnel(STRANGER, HOME_AGENT, good), "outer_rejected"),
            (tunnel(CARE_OF["lte"], HOME_AGENT, udp(STRANGER, CN)), "inner_rejected"),
            (with_options, "outer_rejected"),
            (tunnel(CARE_OF["lte"], OTHER_HOME_AGENT, good), "outer_rejected"),
        ):
            before = lab.counter(HA, counter)
            lab.send("net", packet)
            assert not receives(listener)
            assert lab.counter(HA, counter) == before + 1


def test_the_mobile_router_takes_tunnelled_packets_from_its_home_agent_alone(lab, beside):
    good = udp(CN, LFN)
    with lab.listen("lfn", LFN) as listener:
        lab.send("net", tunnel(HOME_AGENT, CARE_OF["lte"], good))
        assert receives(listener)
        for packet, counter in (
            (tunnel(STRANGER, CARE_OF["lte"], good), "outer_rejected"),
            (tunnel(HOME_AGENT, CARE_OF["lte"], udp(CN, STRANGER)), "inner_rejected"),
            (tunnel(HOME_AGENT, BESIDE, good), "outer_rejected"),
        ):
            before = lab.counter(MR, counter)
            lab.send("net", packet)
            assert not receives(listener)
            assert lab.counter(MR, counter) == before + 1


def test_two_care_of_addresses_on_one_interface_each_are_the_source_of_their_tunnel(lab):
    def seen_addresses():
        """Return by which addresses LFN's packets go and come by the link "lte"."""
        with lab.watch() as seen, lab.listen("cn", CN) as far, lab.listen("lfn", LFN) as near:
            near.connect((str(CN), 9))
            near.send(PAYLOAD)
            far.settimeout(10.0)
            data, address = far.recvfrom(100)
            far.sendto(data, address)
            assert receives(near)
        (there,), (back,) = seen.uplink(), seen.downlink()
        assert (there.interface, there.source) == ("lte", back.destination)
        return there.source

    second = IPv6Address("2001:db8:1::3")
    lab.execute("mr", f"ip addr add {second}/64 dev lte0 nodad")
    lab.await_bindings(4)
    first_source = seen_addresses()
    lab.execute("mr", f"ip addr del {first_source}/64 dev lte0")
    wait_until(lambda: first_source not in lab.care_of_addresses(), "the de-registration")
    second_source = seen_addresses()

    assert {first_source, second_source} == {CARE_OF["lte"], second}
    lab.execute("mr", f"ip addr add {first_source}/64 dev lte0 nodad")
    lab.await_bindings(4)
    lab.execute("mr", f"ip addr del {second}/64 dev lte0")
    wait_until(lambda: lab.care_of_addresses() == set(CARE_OF.values()), "the old bindings")


def test_the_largest_packet_that_fits_goes_through_whole_and_a_larger_one_is_told_the_size(lab):
    fits = lab.ping("lfn", CN, f"-M do -s {plan.INNER_MTU - 48}")
    for node in ("lfn", "mr"):
        lab.execute(node, "ip link set lan0 mtu 1500")
    too_large = lab.ping("lfn", CN, "-M do -s 1452")
    for node in ("lfn", "mr"):
        lab.execute(node, f"ip link set lan0 mtu {plan.INNER_MTU}")

    assert " 3 received" in fits.stdout, fits.stdout
    assert " 0 received" in too_large.stdout
    assert f"Packet too big: mtu={plan.INNER_MTU}" in too_large.stdout


@pytest.mark.parametrize("node", [MR, HA])
def test_a_tunnel_device_that_somebody_deletes_comes_back(lab, node):
    lab.execute(node, "ip link del mrouter0")

    wait_until(lambda: is_there(lab, node), "the device")
    wait_until(lambda: " 3 received" in lab.ping("lfn", CN).stdout, "three answers")


def test_auto_chooses_the_device_and_seg6_at_the_far_end_understands_it():
    with TunnelLab("auto") as lab:
        assert lab.status(MR)["dataplane"]["encapsulation"] == "ip6tnl"
        assert lab.status(HA)["dataplane"]["encapsulation"] == "ip6tnl"

        lab.stop(MR)
        lab.set_encapsulation(MR, "seg6")
        lab.start(MR)
        lab.await_bindings(3)

        assert not is_there(lab, MR)
        assert " 3 received" in lab.ping("lfn", CN).stdout
        assert " 3 received" in lab.ping("cn", HOME_ADDRESS).stdout
