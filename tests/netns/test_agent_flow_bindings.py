"""The policy file is obeyed by the home agent, too: flows that begin at the far end."""

from __future__ import annotations

import os
import signal

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, AgentLab, read_samples, wait_until
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
LTE, WIFI, SAT = (link.care_of_address for link in plan.EGRESS_LINKS)
NAMES = {link.care_of_address: link.name for link in plan.EGRESS_LINKS}
CALL, BULK, OTHER = 5004, 5201, 7777
#: Nobody is there: an answer would teach the home agent the way back.
ABSENT = plan.LFN_ADDRESS + 0x55


class Downlink:
    """Sends to the mobile network from the far end, and sees by which links that comes down."""

    def __init__(self, lab):
        self._lab = lab
        self._sender = lab.sender("cn")
        self._sniffers = {name: lab.sniffer("mr", f"{name}0") for name in NAMES.values()}
        self._number = 0

    def links_of(self, protocol, port):
        """Send one packet of ``protocol`` from ``port``; return the links that it came by."""
        self._number += 1
        payload = b"packet %d." % self._number
        ports = {"sport": port, "dport": 40000 + self._number}
        transport = UDP(**ports) if protocol == 17 else TCP(**ports, flags="S")
        header = IPv6(src=str(plan.CN_ADDRESS), dst=str(ABSENT))
        self._sender(bytes(header / transport / Raw(payload)))

        def find(data):
            return True if payload in data else None

        found = set()
        for name, sniffer in self._sniffers.items():
            try:
                sniffer.find(find, timeout=0.3)
            except AssertionError:
                continue
            found.add(name)
        return found


def policies(lab):
    return {policy["name"]: policy["downlink"] for policy in lab.mobile_router()["policies"]}


def await_accepted(lab):
    wait_until(lambda: set(policies(lab).values()) == {"accepted"}, what="accepted policies")


@pytest.fixture(scope="module", params=["draft-01", "rfc5648"])
def shared_lab(request):
    with AgentLab() as lab:
        for role in (HOME_AGENT, MOBILE_ROUTER):
            text = lab.config[role].read_text()
            lab.config[role].write_text(f'dialect = "{request.param}"\n{text}')
        yield lab.start()


@pytest.fixture
def lab(shared_lab):
    shared_lab.await_bindings(3)
    await_accepted(shared_lab)
    shared_lab.topology.execute("ha", ["conntrack", "-F"])
    return shared_lab


@pytest.fixture
def downlink(lab):
    return Downlink(lab)


def test_flows_from_the_far_end_go_by_their_policys_links(downlink):
    assert downlink.links_of(17, CALL) == {"lte", "wifi"}
    assert downlink.links_of(6, BULK) == {"wifi"}
    assert downlink.links_of(17, OTHER) == {"lte"}


def test_they_follow_when_a_link_is_cut_and_when_it_comes_back(lab, downlink):
    lab.topology.cut("wifi")
    wait_until(lambda: downlink.links_of(6, BULK) == {"lte"}, timeout=3.0)
    assert downlink.links_of(17, CALL) == {"lte"}

    lab.topology.restore("wifi")
    lab.await_bindings(3)
    wait_until(lambda: downlink.links_of(6, BULK) == {"wifi"}, timeout=5.0)
    wait_until(lambda: downlink.links_of(17, CALL) == {"lte", "wifi"}, timeout=5.0)


def test_they_follow_a_reload_of_the_policy_file(lab, downlink):
    text = lab.files.policy.read_text()
    try:
        lab.files.policy.write_text('[default]\nlinks = ["sat", "lte"]\n')
        lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
        wait_until(lambda: policies(lab) == {"default": "accepted"})
        assert downlink.links_of(6, BULK) == {"sat"}
        assert [flow["selector"] for flow in lab.home_agent()["flow_bindings"]] == [{}]
    finally:
        lab.files.policy.write_text(text)
        lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
    wait_until(lambda: len(policies(lab)) > 1)
    await_accepted(lab)
    assert downlink.links_of(6, BULK) == {"wifi"}


def test_a_home_agent_that_is_killed_goes_on_as_it_was_told(lab, downlink):
    before = lab.home_agent()["flow_bindings"]
    lab.end(HOME_AGENT, signal.SIGKILL)
    assert downlink.links_of(6, BULK) == {"wifi"}
    lab.start(HOME_AGENT)
    assert lab.home_agent()["flow_bindings"] == before
    assert downlink.links_of(6, BULK) == {"wifi"}


def test_status_and_metrics_say_what_the_home_agent_was_asked_for(lab):
    assert policies(lab) == dict.fromkeys(["call", "bulk", "pings", "default"], "accepted")
    (router,) = lab.home_agent()["mobile_routers"]
    assert router["flow_bindings"] == 4
    assert read_samples(lab.scrape("mr"))['mrouter_policy_accepted{policy="bulk"}'] == 1
    assert read_samples(lab.scrape("ha"))['mrouter_flow_bindings{mobile_router="vehicle"}'] == 4
