"""The vehicle in the depot: its primary interface on the home link (RFC 6275 §11.5.5)."""

from __future__ import annotations

import os
import signal
import time

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, wait_until
from home_lab import HOME_AGENT_AT_HOME, HomeLab

from mrouter.lab import plan
from mrouter.lab.configs import SPI
from mrouter.protocol.keys import to_ntp_timestamp
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import BindingAcknowledgement, BindingUpdate, Packet
from mrouter.wire.options import CareOfAddressInformation, MnHaAuthentication, ReplayProtection

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
HOME, CN, LFN = str(plan.HOME_ADDRESS), str(plan.CN_ADDRESS), str(plan.LFN_ADDRESS)
TUNNEL = "ip6 nexthdr 41"


class DepotLab(HomeLab):
    """The mobile router has an interface ``depot0`` on the home link, down at first."""

    def __init__(self, ifpri):
        super().__init__()
        self._ifpri = ifpri

    def __enter__(self):
        super().__enter__()
        router = self.topology.namespace("mr")
        self.ip("ha", f"link add depot type veth peer name depot0 netns {router}")
        self.ip("ha", "link set depot master home0 up")
        text = self.config[MOBILE_ROUTER].read_text()
        for link in plan.EGRESS_LINKS:
            text = text.replace(f"ifpri = {link.ifpri}\n", f"ifpri = {link.ifpri + 10}\n")
        depot = f'[[link]]\nname = "depot"\ninterface = "depot0"\nifpri = {self._ifpri}\n\n'
        self.config[MOBILE_ROUTER].write_text(text.replace("[security]", f"{depot}[security]"))
        return self

    def arrive(self):
        self.ip("mr", "link set depot0 up")
        self.ip("mr", f"addr add {HOME}/64 dev depot0 nodad")
        self.ip("mr", f"route add default via {HOME_AGENT_AT_HOME} dev depot0 metric 5")

    def leave(self):
        self.ip("mr", f"addr del {HOME}/64 dev depot0")
        self.ip("mr", "link set depot0 down")

    def count_tunnelled(self):
        """Count what goes through tunnels from now on; return how to read it."""
        rules = (
            "add table ip6 watch\nadd chain ip6 watch c { type filter hook forward priority 0; }\n"
            f"add rule ip6 watch c {TUNNEL} counter\n"
        )
        self.topology.execute("net", ["nft", "-f", "-"], input_text=rules)

        def read():
            text = self.topology.execute("net", ["nft", "list", "table", "ip6", "watch"]).stdout
            return int(text.split("packets ")[1].split()[0])

        return read

    def ping(self, node, destination):
        command = ["ping", "-6", "-n", "-c", "3", "-i", "0.1", "-W", "1", destination]
        return self.topology.execute(node, command, check=False).returncode == 0

    def link_layer_address_of_depot(self):
        return self.topology.execute("mr", ["cat", "/sys/class/net/depot0/address"]).stdout.strip()

    def mac_of(self, node):
        return self.find_neighbour(node, HOME)


@pytest.fixture
def lab():
    with DepotLab(ifpri=0) as lab:
        yield lab.start()


def test_at_home_the_bindings_end_and_everything_goes_without_a_tunnel(lab):
    assert lab.ping("lfn", CN)
    lab.arrive()
    wait_until(lambda: lab.home_agent()["bindings"] == [], what="the bindings' end")
    wait_until(lambda: lab.mobile_router()["bindings"] == [])
    assert lab.links()["depot"]["at_home"]
    assert lab.find_proxies() == []

    read = lab.count_tunnelled()
    assert lab.ping("lfn", CN)
    assert lab.ping("cn", LFN)
    assert lab.ping("cn", HOME)
    assert lab.ping("mr", CN)
    assert read() == 0


def test_neighbours_learn_at_once_that_the_vehicle_is_there(lab):
    lab.at_home("neighbour", "ping", "-6", "-n", "-c", "1", "-W", "2", HOME)
    assert lab.mac_of("neighbour") == lab.link_layer_address()
    lab.arrive()
    wait_until(
        lambda: lab.mac_of("neighbour") == lab.link_layer_address_of_depot(),
        what="the unsolicited advertisement",
    )
    lab.at_home("neighbour", "ping", "-6", "-n", "-c", "1", "-W", "2", HOME)


def test_leaving_home_registers_again_and_tunnels(lab):
    lab.arrive()
    wait_until(lambda: lab.home_agent()["bindings"] == [])
    lab.leave()
    lab.await_bindings(3)
    assert lab.ping("lfn", CN)
    assert lab.ping("cn", LFN)
    assert lab.find_proxies() == [HOME]
    assert not lab.links()["depot"]["up"]


def test_a_flow_that_is_to_be_dropped_is_dropped_at_home_too(lab):
    lab.files.policy.write_text(
        '[[policy]]\nname = "no-pings"\nmatch = { protocol = "icmpv6" }\ndrop = true\n'
        '[default]\nlinks = ["lte", "wifi", "sat"]\n'
    )
    lab.end(MOBILE_ROUTER)
    lab.start(MOBILE_ROUTER)
    lab.arrive()
    wait_until(lambda: lab.home_agent()["bindings"] == [])
    assert not lab.ping("lfn", CN)


def test_a_secondary_interface_at_home_leaves_the_others_bound():
    with DepotLab(ifpri=99) as lab:
        lab.start()
        lab.arrive()
        wait_until(lambda: lab.links()["depot"]["up"])
        lab.await_bindings(3)
        assert lab.ping("lfn", CN)
        assert HOME not in {b["care_of_address"] for b in lab.home_agent()["bindings"]}


def test_a_home_agent_that_starts_while_the_vehicle_is_at_home_reaches_it_there(lab):
    lab.arrive()
    wait_until(lambda: lab.home_agent()["bindings"] == [])
    lab.end(HOME_AGENT)
    lab.start(HOME_AGENT)
    assert lab.ping("cn", LFN)
    assert lab.ping("cn", HOME)


def test_a_refusal_reaches_the_vehicle_at_home_past_its_tunnels():
    with DepotLab(ifpri=99) as lab:
        lab.start()
        # by hand from here on
        lab.end(MOBILE_ROUTER, signal.SIGKILL)
        lab.topology.execute("mr", ["nft", "delete", "table", "ip6", "mrouter"])
        lab.arrive()
        home_agent, ifid = plan.HA_ADDRESS, next(iter(lab.bindings().values()))["ifid"]
        late = BindingUpdate(
            sequence=1,
            lifetime=0,
            acknowledge=True,
            home_registration=True,
            mobile_router=True,
            multiple=True,
            options=(
                CareOfAddressInformation(ifid, 0),
                ReplayProtection(to_ntp_timestamp(time.time() - 3600)),
                MnHaAuthentication(SPI),
            ),
        )
        sniffer = lab.sniffer("mr", "depot0")
        sender = lab.sender("mr", interface="depot0")
        sender.message(Packet(plan.HOME_ADDRESS, home_agent, late), lab.key())
        answer = sniffer.find_message(BindingAcknowledgement)
        assert (answer.source, answer.destination) == (home_agent, plan.HOME_ADDRESS)
        assert answer.message.status == BindingStatus.ID_MISMATCH
        assert len(lab.bindings()) == 3
