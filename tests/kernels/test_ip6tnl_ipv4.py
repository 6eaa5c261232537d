"""Debian's kernel: IPv4 on board over the collect-metadata ``ip6tnl`` device; see ``boot.py``."""

from __future__ import annotations

import json
import struct
from ipaddress import IPv4Address

import pytest
from tunnel_lab import HA, IPV4, MR, TIMEOUT, TunnelLab, header, wait_until

from mrouter.dataplane.marks import BICAST_FLOW_LABEL
from mrouter.lab import plan

pytestmark = pytest.mark.kernels
BOARD = "192.0.2.0/24"
ROUTER4, LFN4, HOME4, CN4 = "192.0.2.1", "192.0.2.10", "198.51.100.2", "203.0.113.10"
CALL_PORT = 5004
ADDRESSES = {
    "lfn": [f"addr add {LFN4}/24 dev lan0", f"route add default via {ROUTER4}"],
    "mr": [f"addr add {ROUTER4}/24 dev lan0"],
    "net": ["addr add 198.51.100.1/24 dev ha", "addr add 203.0.113.1/24 dev cn"],
    "ha": [f"addr add {HOME4}/24 dev wan0", "route add default via 198.51.100.1"],
    "cn": [f"addr add {CN4}/24 dev eth0", "route add default via 203.0.113.1"],
}
EXTRA = {"mr": "lan0", "lfn": "lan0"}


def prepare(lab, files):
    for node, lines in ADDRESSES.items():
        for line in lines:
            lab.execute(node, f"ip {line}")
    lab.execute("net", "sysctl -qw net.ipv4.ip_forward=1")
    for node, interface in EXTRA.items():
        lab.execute(node, f"ip link set {interface} mtu 1500")
    for node in (MR, HA):  # as distributions have it
        lab.execute(node, "sysctl -qw net.ipv4.conf.default.rp_filter=2")
    edits = {
        files.mobile_router: [("[mobile-router]\n", f'ipv4-prefixes = ["{BOARD}"]\n')],
        files.home_agent: [
            ("[home-agent]\n", 'ipv4-exit = "nat"\n'),
            ("[[mobile-router]]\n", f'ipv4-prefixes = ["{BOARD}"]\n'),
        ],
    }
    for path, added in edits.items():
        text = path.read_text()
        for place, line in added:
            text = text.replace(place, place + line)
        path.write_text(text)


@pytest.fixture(scope="module")
def lab():
    with TunnelLab("ip6tnl", prepare) as lab:
        yield lab


def ping(lab, node, address, options=""):
    command = f"ping -4 -n -c 3 -i 0.3 -W 5 {options} {address}"
    return lab.execute(node, command, check=False)


def inner_of(packets):
    return [packet for packet in packets if packet.next_header == IPV4]


def read_device(lab, node):
    (shown,) = json.loads(lab.execute(node, "ip -d -j link show mrouter0").stdout)
    return shown["ifindex"], shown["linkinfo"]["info_data"]["proto"]


def test_both_ends_reach_the_world_and_each_other(lab):
    for node, address in (("lfn", CN4), ("lfn", HOME4), ("ha", LFN4), ("ha", ROUTER4)):
        assert ping(lab, node, address).returncode == 0, (node, address)
    assert lab.ping("lfn", plan.CN_ADDRESS).returncode == 0


def test_ipv4_is_in_ipv6_with_its_class(lab):
    with lab.watch() as watch:
        assert ping(lab, "lfn", CN4, "-Q 0xb8").returncode == 0

    up = inner_of(watch.uplink())
    assert len(up) == 3
    assert {packet.traffic_class for packet in up} == {0xB8}
    assert {packet.destination for packet in up} == {plan.HA_ADDRESS}
    assert {packet.source for packet in up} <= {k.care_of_address for k in plan.EGRESS_LINKS}
    assert len(inner_of(watch.downlink())) == 3


def test_a_call_goes_by_two_links_and_arrives_once(lab):
    send = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        f"s.sendto(b'hello', ('{CN4}', {CALL_PORT}))"
    )
    before = lab.counter(HA, "duplicates_dropped")
    with lab.watch() as watch:
        lab.topology.execute("lfn", ["python3", "-c", send], timeout=TIMEOUT)

    up = inner_of(watch.uplink())
    assert len({packet.interface for packet in up}) == len(up) == 2
    assert {packet.flow_label for packet in up} == {BICAST_FLOW_LABEL}
    wait_until(lambda: lab.counter(HA, "duplicates_dropped") == before + 1, "a duplicate")


@pytest.mark.parametrize("source", ["192.0.3.10", CN4])
def test_a_forged_inner_source_is_dropped(lab, source):
    before = lab.counter(HA, "inner_rejected")

    care_of = plan.EGRESS_LINKS[0].care_of_address
    lab.send("net", header(care_of, plan.HA_ADDRESS, IPV4, ipv4(source, CN4)))

    wait_until(lambda: lab.counter(HA, "inner_rejected") == before + 1, "its rejection")


def test_ipv4_that_no_rule_has_checked_is_dropped(lab):
    """For an address that the device takes tunnels at as well."""
    before = lab.counter(HA, "outer_rejected")
    lab.execute("ha", "ip addr add 2001:db8:f0::3/64 dev wan0 nodad")

    lab.send("net", header("2001:db8:9::9", "2001:db8:f0::3", IPV4, ipv4(LFN4, CN4)))

    wait_until(lambda: lab.counter(HA, "outer_rejected") == before + 1, "its rejection")


def ipv4(source, destination):
    ends = IPv4Address(source).packed + IPv4Address(destination).packed
    start = struct.pack("!BBHHHBBH", 0x45, 0, 28, 1, 0, 64, 17, 0)
    checksum = 0xFFFF - int.from_bytes(start + ends) % 0xFFFF
    udp = struct.pack("!HHHH", 40000, 9, 8, 0)
    return start[:10] + struct.pack("!H", checksum) + ends + udp


def test_what_is_too_big_is_answered_with_what_fits(lab):
    shown = ping(lab, "lfn", CN4, "-M do -s 1440")
    assert "mtu = 1460" in shown.stdout + shown.stderr
    lab.execute("lfn", "ip route flush cache")
    assert ping(lab, "lfn", CN4, "-M do -s 1432").returncode == 0


def test_a_restart_adopts_the_device_and_one_without_ipv4_replaces_it(lab):
    index, protocol = read_device(lab, "mr")
    assert protocol == "any"
    lab.stop(MR)
    lab.start(MR)
    lab.await_bindings(3)
    assert read_device(lab, "mr") == (index, "any")
    assert ping(lab, "lfn", CN4).returncode == 0

    lab.stop(MR)
    config = lab.config(MR)
    config.write_text(config.read_text().replace(f'ipv4-prefixes = ["{BOARD}"]\n', ""))
    lab.start(MR)
    lab.await_bindings(3)

    other, protocol = read_device(lab, "mr")
    assert (other != index, protocol) == (True, "ip6ip6")
    assert lab.ping("lfn", plan.CN_ADDRESS).returncode == 0
