"""`mrouter policy` and `mrouter flows` against a running mobile router: what they say, happens."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from agent_lab import MOBILE_ROUTER, AgentLab, run_cli, wait_until

from mrouter.lab import plan
from mrouter.lab.traffic import ping_command

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
CN = str(plan.CN_ADDRESS)


@pytest.fixture(scope="module")
def lab():
    """The lab with a ping on its way, in a kernel that counts what its flows carry."""
    with AgentLab() as lab:
        accounting = ["sysctl", "-q", "-w", "net.netfilter.nf_conntrack_acct=1"]
        lab.topology.execute("mr", accounting)
        lab.start()
        command = ping_command(CN, start_at=time.monotonic(), duration=120.0, interval=0.05)
        program = lab.topology.run_in("lfn", command, label="pings")
        wait_until(lambda: find_ping(lab))
        yield lab
        program.terminate()
        program.wait()


def ask(lab, *command):
    ran = run_cli(*command, "--socket", lab.socket[MOBILE_ROUTER], "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    return json.loads(ran.stdout)


def find_ping(lab, flows=None):
    flows = ask(lab, "flows") if flows is None else flows
    return next((flow for flow in flows if flow["protocol"] == "icmpv6"), None)


def explain_ping(lab):
    return ask(lab, "policy", "explain", "--protocol", "icmpv6", "--destination", CN)


def test_a_flow_is_listed_with_policy_link_and_growing_bytes(lab):
    before = find_ping(lab)
    assert (before["policy"], before["links"], before["destination"]) == ("pings", ["sat"], CN)
    wait_until(lambda: find_ping(lab)["bytes"] > before["bytes"])


def test_links_are_explained_as_they_are(lab):
    explained = explain_ping(lab)
    assert explained["policy"] == "pings"
    assert [each["link"] for each in explained["links"] if each["used"]] == ["sat"]

    lab.topology.cut("sat")
    lab.await_bindings(2)
    try:
        assert explain_ping(lab)["links"] == [
            {"link": "sat", "used": False, "reason": "down: no carrier"},
            {"link": "lte", "used": True, "reason": "up"},
            {"link": "wifi", "used": False, "reason": "up, but lte comes before it"},
        ]
        assert find_ping(lab)["links"] == ["lte"]
    finally:
        lab.topology.restore("sat")
        lab.await_bindings(3)


def test_the_flows_that_a_reload_moves_are_those_that_were_said_to(lab):
    policy = lab.files.policy
    assert ask(lab, "policy", "diff", policy)["flows"] == []

    echo = '[[policy]]\nname = "echo"\nmatch = { icmpv6-type = "echo-request" }\nlinks = "wifi"\n\n'
    policy.write_text(echo + policy.read_text())
    difference = ask(lab, "policy", "diff", policy)
    assert difference["added"] == ["echo"]
    said = find_ping(lab, difference["flows"])
    assert (said["new_policies"], said["new_links"]) == (["echo"], ["wifi"])

    lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
    moved = wait_until(lambda: (flow := find_ping(lab)) and flow["policy"] == "echo" and flow)
    assert moved["links"] == said["new_links"]
    assert ask(lab, "policy", "diff", policy)["flows"] == []
