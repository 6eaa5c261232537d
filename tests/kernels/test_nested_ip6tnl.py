"""Debian's kernel: a mobile router behind a mobile router by ``ip6tnl``; see ``boot.py``."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from tunnel_lab import HA, IPV6, MR, TunnelLab, wait_until

from mrouter.lab import namespaces, plan
from mrouter.lab.configs import write_configs
from mrouter.lab.daemons import count_usable

pytestmark = pytest.mark.kernels

#: The node that is a mobile router behind MR; its care-of address lies in MR's prefix.
INNER = "lfn"
PREFIX = IPv6Network("2001:db8:a2::/64")
INNER_HOME = plan.HOME_PREFIX[0x200]
ROUTER, HOST = PREFIX[1], PREFIX[0x10]
#: 1500 less three outer headers' room.
MTU = 1380


class NestedLab(TunnelLab):
    """The lab, in which LFN is a mobile router with a host in a network of its own."""

    def __enter__(self):
        self.topology.__enter__()
        self.host = self.topology.namespace("host")
        namespaces.create_namespaces((self.host,))
        self._build_network()
        files = write_configs(self.topology.run_directory)
        self._configs = {MR: files.mobile_router, HA: files.home_agent}
        self._sockets = {MR: files.mobile_router_socket, HA: files.home_agent_socket}
        self._write_files()
        for node in (HA, MR):
            self.set_encapsulation(node, self._encapsulation)
            self.start(node)
        wait_until(lambda: count_usable(self.status(MR)) == 3, "three bindings")
        self.set_encapsulation(INNER, self._encapsulation)
        self.start(INNER)
        wait_until(lambda: count_usable(self.status(INNER)) == 1, "the inner binding")
        return self

    def __exit__(self, *reason):
        try:
            super().__exit__(*reason)
        finally:
            namespaces.delete_namespaces((self.host,))

    def _build_network(self):
        for node, command in (
            (INNER, f"ip link add lan1 type veth peer name eth0 netns {self.host}"),
            (INNER, f"ip link set lan1 mtu {MTU} up"),
            (INNER, f"ip addr add {ROUTER}/64 dev lan1 nodad"),
            (INNER, f"ip addr add {INNER_HOME}/128 dev lo nodad"),
            ("net", f"ip -6 route add {PREFIX} via {plan.HA_ADDRESS}"),
            (HA, f"ip -6 route add unreachable {PREFIX} metric 100000"),
        ):
            self.execute(node, command)
        for command in (
            f"ip link set eth0 mtu {MTU} up",
            f"ip addr add {HOST}/64 dev eth0 nodad",
            f"ip route add default via {ROUTER}",
        ):
            self.at_host(command)

    def at_host(self, command):
        return namespaces.run_tool(namespaces.enter(self.host, command.split()))

    def _write_files(self):
        directory = self.topology.run_directory
        policy, file = directory / "inner-policy.toml", directory / "inner.toml"
        self._configs[INNER], self._sockets[INNER] = file, directory / "inner.sock"
        policy.write_text('[default]\nlinks = ["lan"]\n')
        file.write_text(
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
socket = "{self._sockets[INNER]}"
"""
        )
        served = f"""
[[mobile-router]]
name = "passenger"
home-address = "{INNER_HOME}"
prefixes = ["{PREFIX}"]
security = [{{ spi = 256, algorithm = "hmac-sha256", key-file = "ha.key" }}]

[metrics]"""
        text = self._configs[HA].read_text()
        assert "\n[metrics]" in text
        self._configs[HA].write_text(text.replace("\n[metrics]", served))


@pytest.fixture(scope="module")
def lab():
    with NestedLab("ip6tnl") as lab:
        yield lab


def ping(address, *options):
    return " ".join(("ping -6 -n -c 3 -i 0.3 -W 5", *map(str, options), str(address)))


def test_the_inner_mobile_router_is_registered_with_its_care_of_address_in_the_outer_prefix(lab):
    rows = {row["mobile_router"]: row for row in lab.status(HA)["bindings"]}
    assert rows["passenger"]["care_of_address"] == str(plan.LFN_ADDRESS)


@pytest.mark.parametrize("size", [56, MTU - 48])
def test_the_inner_host_reaches_the_internet(lab, size):
    assert " 3 received" in lab.at_host(ping(plan.CN_ADDRESS, "-M", "do", "-s", size))


@pytest.mark.parametrize("size", [56, MTU - 48])
def test_the_internet_reaches_the_inner_host(lab, size):
    answer = lab.ping("cn", HOST, f"-M do -s {size}")
    assert " 3 received" in answer.stdout, answer.stdout


def test_the_internet_reaches_the_inner_home_address(lab):
    answer = lab.ping("cn", INNER_HOME)
    assert " 3 received" in answer.stdout, answer.stdout


def test_outer_hosts_still_reach_the_internet(lab):
    answer = lab.ping(INNER, plan.CN_ADDRESS, f"-I {plan.LFN_ADDRESS}")
    assert " 3 received" in answer.stdout, answer.stdout


def test_all_is_in_tunnels_twice_between_outer_mobile_router_and_home_agent(lab):
    with lab.watch() as seen:
        lab.at_host(ping(plan.CN_ADDRESS))

    ends = {
        (IPv6Address(packet.inner[8:24]), IPv6Address(packet.inner[24:40]))
        for packet in (*seen.uplink(), *seen.downlink())
        if packet.inner[6] == IPV6
    }
    assert ends == {
        (plan.LFN_ADDRESS, plan.HA_ADDRESS),
        (plan.HA_ADDRESS, plan.LFN_ADDRESS),
    }
