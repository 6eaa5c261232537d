"""A mobile router behind a mobile router, both of one home agent (RFC 3963 §9, RFC 4888 §2)."""

from __future__ import annotations

import os
import subprocess
from ipaddress import IPv6Network

import pytest
from agent_lab import HOME_AGENT, AgentLab, wait_until

from mrouter import control
from mrouter.lab import namespaces, plan
from mrouter.lab.daemons import build_command, count_usable

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
PREFIX = IPv6Network("2001:db8:a2::/64")
INNER_HOME = plan.HOME_PREFIX[0x200]
ROUTER, HOST = PREFIX[1], PREFIX[0x10]
CARE_OF_ADDRESS = plan.LFN_ADDRESS
CN = str(plan.CN_ADDRESS)


class NestedLab(AgentLab):
    """The lab, in which LFN is a mobile router, too, with a host in a network of its own."""

    def __enter__(self):
        super().__enter__()
        self.host = self.topology.namespace("host")
        namespaces.create_namespaces((self.host,))
        self.ip("lfn", f"link add lan1 type veth peer name eth0 netns {self.host}")
        self.ip("lfn", "link set lan1 mtu 1380 up")
        self.ip("lfn", f"addr add {ROUTER}/64 dev lan1 nodad")
        self.ip("lfn", f"addr add {INNER_HOME}/128 dev lo nodad")
        self.at_host("ip", "link", "set", "eth0", "mtu", "1380", "up")
        self.at_host("ip", "addr", "add", f"{HOST}/64", "dev", "eth0", "nodad")
        self.at_host("ip", "route", "add", "default", "via", str(ROUTER))
        self.ip("net", f"route add {PREFIX} via {plan.HA_ADDRESS}")
        self.ip("ha", f"route add unreachable {PREFIX} metric 100000")
        self._write_files()
        return self

    def __exit__(self, *reason):
        try:
            super().__exit__(*reason)
        finally:
            namespaces.delete_namespaces((self.host,))

    def _write_files(self):
        policy = self.directory / "inner-policy.toml"
        policy.write_text('[default]\nlinks = ["lan"]\n')
        self.inner_file = self.directory / "inner.toml"
        self.inner_socket = self.directory / "inner.sock"
        self.inner_file.write_text(
            f"""\
role = "mobile-router"
[mobile-router]
home-address = "{INNER_HOME}"
home-agent = "{plan.HA_ADDRESS}"
prefixes = ["{PREFIX}"]
ingress = ["lan1"]
policy = "{policy}"
lifetime = 60
[[link]]
name = "lan"
interface = "lan0"
ifpri = 0
[security]
spi = 256
algorithm = "hmac-sha256"
key-file = "mr.key"
[metrics]
listen = "off"
[control]
socket = "{self.inner_socket}"
"""
        )
        served = f"""
[[mobile-router]]
name = "passenger"
home-address = "{INNER_HOME}"
prefixes = ["{PREFIX}"]
security = [{{ spi = 256, algorithm = "hmac-sha256", key-file = "ha.key" }}]

[metrics]"""
        self.edit(self.config[HOME_AGENT], "\n[metrics]", served)

    def start_inner(self):
        self.topology.run_in("lfn", build_command(self.inner_file), label="inner")
        wait_until(lambda: self.inner_usable() == 1, what="the inner mobile router's binding")

    def inner_usable(self):
        try:
            return count_usable(control.request(self.inner_socket, "status"))
        except control.ControlError:
            return 0

    def at_host(self, *command):
        return namespaces.run_tool(namespaces.enter(self.host, command))

    def run_at(self, node, *command):
        """Return what ``command`` says, whether it fails or not."""
        namespace = self.host if node == "host" else self.topology.namespace(node)
        command = namespaces.enter(namespace, command)
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def bindings_of(self, name):
        rows = self.home_agent()["bindings"]
        return {row["care_of_address"] for row in rows if row["mobile_router"] == name}


@pytest.fixture(scope="module")
def lab():
    with NestedLab() as lab:
        lab.start()
        lab.start_inner()
        yield lab


def ping(address, *options):
    options = map(str, options)
    return ("ping", "-6", "-n", "-c", "2", "-i", "0.2", "-W", "2", *options, str(address))


def test_inner_mobile_router_registers_through_the_outer_ones_tunnel(lab):
    assert lab.bindings_of("passenger") == {str(CARE_OF_ADDRESS)}
    assert lab.bindings_of("vehicle") == {str(link.care_of_address) for link in plan.EGRESS_LINKS}


def test_inner_host_reaches_the_internet(lab):
    lab.at_host(*ping(CN))


def test_the_internet_reaches_the_inner_host(lab):
    lab.topology.execute("cn", ping(HOST))


def test_the_internet_reaches_the_inner_home_address(lab):
    lab.topology.execute("cn", ping(INNER_HOME))


def test_home_agent_itself_reaches_the_inner_host(lab):
    lab.topology.execute("ha", ping(HOST))


def test_full_packets_pass_both_tunnels(lab):
    lab.at_host(*ping(CN, "-M", "do", "-s", str(1380 - 48)))
    lab.topology.execute("cn", ping(HOST, "-M", "do", "-s", str(1380 - 48)))


def test_outer_hosts_still_reach_the_internet(lab):
    lab.topology.execute("lfn", ping(CN, "-I", str(CARE_OF_ADDRESS)))


def test_all_is_in_tunnels_twice_between_outer_mobile_router_and_home_agent(lab):
    def read(data):
        inner, innermost = data[40:], data[80:]
        if data[6] == 41 and inner[6] == 41 and innermost[24:40] == plan.CN_ADDRESS.packed:
            return inner[8:24], innermost[8:24]
        return None

    sniffer = lab.sniffer("ha", "wan0")
    lab.at_host(*ping(CN))
    assert sniffer.find(read) == (CARE_OF_ADDRESS.packed, HOST.packed)


def test_outer_link_that_is_cut_does_not_end_the_inner_binding(lab):
    lab.topology.cut("lte")
    try:
        wait_until(lambda: len(lab.bindings_of("vehicle")) == 2)
        lab.at_host(*ping(CN))
        lab.topology.execute("cn", ping(HOST))
        assert lab.inner_usable() == 1
    finally:
        lab.topology.restore("lte")
        wait_until(lambda: len(lab.bindings_of("vehicle")) == 3)


def test_inner_binding_comes_back_with_its_care_of_address(lab):
    lab.ip("lfn", f"addr del {CARE_OF_ADDRESS}/64 dev lan0")
    wait_until(lambda: lab.inner_usable() == 0)
    lab.ip("lfn", f"addr add {CARE_OF_ADDRESS}/64 dev lan0 nodad")
    lab.ip("lfn", f"route replace default via {plan.MR_INGRESS_ADDRESS}")

    wait_until(lambda: lab.inner_usable() == 1, what="the binding")
    lab.at_host(*ping(CN))


def set_mtus(lab, mtu, places):
    for node, interface in places:
        lab.ip(node, f"link set {interface} mtu {mtu}")


@pytest.mark.parametrize(("mtu", "fits"), [(1500, 1420), (1280, 1280)])
def test_a_board_of_1500_octets_works_behind_two_tunnels(lab, mtu, fits):
    links = [link.name for link in plan.EGRESS_LINKS]
    set_mtus(lab, 1500, [("lfn", "lan0"), ("mr", "lan0"), ("lfn", "lan1"), ("cn", "eth0")])
    lab.at_host("ip", "link", "set", "eth0", "mtu", "1500")
    set_mtus(
        lab, mtu, [*(("mr", f"{name}0") for name in links), *(("net", name) for name in links)]
    )
    wait_until(lambda: {link["path_mtu"] for link in lab.links().values()} == {mtu})

    for node, far in (("host", CN), ("cn", HOST)):
        lab.run_at(node, "ip", "-6", "route", "flush", "cache")
        # each tunnel's entry learns from the next one's error, and then the host
        for size in (1500, 1460, 1420, 1420):
            lab.run_at(node, *ping(far, "-M", "do", "-s", size - 48))
        assert f"mtu {fits} " in lab.run_at(node, "ip", "-6", "route", "get", str(far))
        # the answers' way learns by the first
        for options in (("-M", "do", "-s", fits - 48), ("-s", 4000)):
            command = ping(far, *options)
            wait_until(lambda n=node, c=command: " 2 received" in lab.run_at(n, *c))
