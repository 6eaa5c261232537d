"""A policy file that shares flows by weight, obeyed by running agents."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter

import pytest
from agent_lab import ETH_P_IPV6, MOBILE_ROUTER, AgentLab, wait_until
from balance_flows import find_links, make_flows

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
POLICY = """\
[default]
tiers = [
  { balance = { lte = 3, wifi = 1 } },
  { links = ["sat"] },
]
"""
PORTS = range(20000, 20400)


class Flows:
    def __init__(self, lab):
        self._sender = lab.sender("lfn")
        kind = socket.SOCK_DGRAM, socket.htons(ETH_P_IPV6)
        self._receiver = lab.open_in("net", socket.AF_PACKET, *kind)
        self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def find_links(self):
        links = find_links(self._sender, self._receiver, make_flows(plan.LFN_ADDRESS, 9, PORTS))
        assert links.keys() == set(PORTS)
        return links


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        lab.files.policy.write_text(POLICY)
        yield lab.start()


@pytest.fixture(scope="module")
def flows(lab):
    return Flows(lab)


def policy(lab):
    (only,) = lab.mobile_router()["policies"]
    return only


def uplink_packets(lab):
    rows = lab.mobile_router()["policy_traffic"]
    return {row["link"]: row["packets"] for row in rows if row["direction"] == "uplink"}


def test_flows_are_shared_counted_and_told(lab, flows):
    before = Counter(uplink_packets(lab))

    links = Counter(flows.find_links().values())

    assert links.keys() == {"lte", "wifi"}
    assert links["lte"] / len(PORTS) == pytest.approx(3 / 4, abs=0.1)
    assert Counter(uplink_packets(lab)) - before == links
    told = policy(lab)
    assert told["links"] == ["lte", "wifi", "sat"]
    assert told["active"] == ["lte", "wifi"]
    wait_until(lambda: policy(lab)["downlink"] == "accepted")


def test_a_link_that_is_cut_moves_its_own_flows_and_gets_them_back(lab, flows):
    before = flows.find_links()

    lab.topology.cut("lte")
    wait_until(lambda: policy(lab)["active"] == ["wifi"])
    assert set(flows.find_links().values()) == {"wifi"}
    lab.topology.cut("wifi")
    wait_until(lambda: policy(lab)["active"] == ["sat"])
    assert set(flows.find_links().values()) == {"sat"}

    for link in ("lte", "wifi"):
        lab.topology.restore(link)
    lab.await_bindings(3)
    wait_until(lambda: policy(lab)["active"] == ["lte", "wifi"])
    assert flows.find_links() == before


def test_an_agent_that_was_killed_leaves_every_flow_on_its_link(lab, flows):
    before = flows.find_links()

    lab.end(MOBILE_ROUTER, signal.SIGKILL)
    assert flows.find_links() == before
    lab.start(MOBILE_ROUTER)

    assert flows.find_links() == before


def test_a_reload_to_other_weights_is_obeyed_at_once(lab, flows):
    lab.files.policy.write_text('[default]\nbalance = { wifi = 1, sat = 1 }\nsticky = "source"\n')
    try:
        lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
        wait_until(lambda: policy(lab)["active"] == ["wifi", "sat"])
        (link,) = set(flows.find_links().values())
    finally:
        lab.files.policy.write_text(POLICY)
        lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
        wait_until(lambda: policy(lab)["active"] == ["lte", "wifi"])

    assert link in ("wifi", "sat")
