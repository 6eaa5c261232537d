"""What is from or for the mobile network never leaves in the clear, nor goes round in circles."""

from __future__ import annotations

import os
import socket
import time

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, AgentLab, wait_until

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
CN, HOME, LFN = str(plan.CN_ADDRESS), str(plan.HOME_ADDRESS), str(plan.LFN_ADDRESS)
#: In the mobile network prefix, but on no interface of the mobile router.
UNASSIGNED = "2001:db8:a1:5::1"
INSIDE = (plan.HOME_ADDRESS.packed, plan.MOBILE_NETWORK_PREFIX.network_address.packed[:6])


def ping(address, *options):
    return ["ping", "-6", "-n", "-c", "3", "-i", "0.1", "-W", "1", *options, address]


def is_ours(address):
    return address == INSIDE[0] or address.startswith(INSIDE[1])


class Watch:
    """Collects what comes in to ``node`` with a source or destination of the mobile network."""

    def __init__(self, lab, node, interfaces):
        self._socket = lab.open_in(node, socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x86DD))
        self._socket.setblocking(False)
        self._interfaces = interfaces

    def clear(self):
        """Return the (source, destination) of each that was not in a tunnel."""
        time.sleep(0.3)
        found = []
        while True:
            try:
                data, address = self._socket.recvfrom(65535)
            except BlockingIOError:
                return found
            source, destination = data[8:24], data[24:40]
            inside = is_ours(source) or is_ours(destination)
            if address[0] in self._interfaces and address[2] != 4 and inside and data[6] != 41:
                found.append((source, destination))


@pytest.fixture
def lab():
    with AgentLab() as lab:
        for role in (HOME_AGENT, MOBILE_ROUTER):
            old = f'prefixes = ["{plan.MOBILE_NETWORK_PREFIX}"]'
            lab.edit(lab.config[role], old, 'prefixes = ["2001:db8:a1::/56"]')
        lab.ip("net", f"route add 2001:db8:a1::/56 via {plan.HA_ADDRESS}")
        lab.ip("ha", "route add unreachable 2001:db8:a1::/56 metric 100000")
        yield lab


LINKS = tuple(link.name for link in plan.EGRESS_LINKS)


def count_leaks(lab):
    counters = lab.mobile_router()["dataplane"]["counters"]
    return counters["leaks_prevented"]["packets"]


def test_without_a_binding_nothing_of_the_mobile_network_leaves_in_the_clear(lab):
    lab.launch(MOBILE_ROUTER)
    wait_until(lambda: lab.answers(MOBILE_ROUTER))
    watch = Watch(lab, "net", LINKS)

    for node, options in (("lfn", ()), ("mr", ("-I", HOME)), ("lfn", ("-I", LFN))):
        for target in (CN, UNASSIGNED, str(plan.HA_ADDRESS)):
            assert lab.topology.execute(node, ping(target, *options), check=False).returncode
    assert watch.clear() == []


def test_without_a_binding_nothing_comes_in_in_the_clear(lab):
    lab.launch(MOBILE_ROUTER)
    wait_until(lambda: lab.answers(MOBILE_ROUTER))
    lte = plan.find_link("lte").care_of_address
    for network in (f"{HOME}/128", "2001:db8:a1::/64"):
        lab.ip("net", f"route replace {network} via {lte}")
    watch = Watch(lab, "lfn", ("lan0",))

    for target in (HOME, LFN, UNASSIGNED):
        assert lab.topology.execute("cn", ping(target), check=False).returncode
    assert watch.clear() == []
    counters = lab.mobile_router()["dataplane"]["counters"]
    assert counters["unencapsulated_rejected"]["packets"] >= 6


def test_after_the_last_link_is_lost_nothing_leaves_in_the_clear(lab):
    lab.start()
    lab.topology.execute("lfn", ping(CN))
    lab.end(HOME_AGENT)
    for link in ("lte", "wifi"):
        lab.topology.cut(link)
    lab.topology.silence("sat")
    lab.topology.cut("sat")
    wait_until(lambda: not any(row["usable"] for row in lab.mobile_router()["bindings"]))
    for link in LINKS:
        lab.topology.restore(link)
    watch = Watch(lab, "net", LINKS)

    assert lab.topology.execute("lfn", ping(CN), check=False).returncode
    assert lab.topology.execute("mr", ping(CN, "-I", HOME), check=False).returncode
    assert watch.clear() == []


def test_registered_prefix_that_is_on_no_interface_does_not_go_round(lab):
    lab.start()
    watch = Watch(lab, "net", LINKS)

    assert lab.topology.execute("cn", ping(UNASSIGNED), check=False).returncode
    assert lab.topology.execute("lfn", ping(UNASSIGNED), check=False).returncode
    assert watch.clear() == []
    tunnelled = sum(row["downlink"]["packets"] for row in lab.home_agent()["slots"])
    assert tunnelled <= 3
    assert count_leaks(lab) >= 6
