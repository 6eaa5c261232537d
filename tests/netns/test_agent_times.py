"""Policies with times, obeyed by running agents when the minute comes."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from agent_lab import MOBILE_ROUTER, AgentLab, run_cli, wait_until
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
ENDING, BEGINNING, OTHER = 7001, 7002, 7003
POLICY = """\
[[policy]]
name = "ends"
match = {{ protocol = "udp", destination-port = {ending}, time = "{before}-{then}" }}
links = ["wifi"]

[[policy]]
name = "begins"
match = {{ protocol = "udp", destination-port = {beginning}, time = "{then}-{after}" }}
links = ["sat"]

[default]
links = ["lte", "wifi", "sat"]
"""
#: So long the agents may take to start, and the first flows to be found.
NEEDED = 15.0


def find_boundary():
    """Return the next full minute that is not too near."""
    begin = datetime.now(UTC) + timedelta(minutes=1, seconds=NEEDED)
    return begin.replace(second=0, microsecond=0)


@pytest.fixture(scope="module")
def boundary():
    return find_boundary()


@pytest.fixture(scope="module")
def lab(boundary):
    hour = timedelta(hours=1)
    moments = {"before": boundary - hour, "then": boundary, "after": boundary + hour}
    with AgentLab() as lab:
        lab.files.policy.write_text(
            POLICY.format(
                ending=ENDING,
                beginning=BEGINNING,
                **{name: moment.strftime("%H:%M") for name, moment in moments.items()},
            )
        )
        yield lab.start()


@pytest.fixture(scope="module")
def send(lab):
    sender = lab.sender("lfn")

    def send():
        for port in (ENDING, BEGINNING, OTHER):
            header = IPv6(src=str(plan.LFN_ADDRESS), dst=str(plan.CN_ADDRESS))
            sender(bytes(header / UDP(sport=port, dport=port)))

    return send


def read_flows(lab):
    rows = lab.ask(MOBILE_ROUTER, "flows")
    return {row["destination_port"]: row["policy"] for row in rows}


def read_downlink(lab):
    return {row["name"]: row["downlink"] for row in lab.mobile_router()["policies"]}


def test_running_flows_obey_a_policy_from_its_first_minute_to_its_last(lab, send, boundary):
    before = {ENDING: "ends", BEGINNING: "default", OTHER: "default"}
    send()
    wait_until(lambda: read_flows(lab) == before)
    assert read_downlink(lab) == {
        "ends": "accepted", "begins": "not-active", "default": "accepted",
    }  # fmt: skip
    while datetime.now(UTC) < boundary - timedelta(seconds=1):
        assert read_flows(lab) == before
        time.sleep(1.0)
        send()

    after = {ENDING: "default", BEGINNING: "begins", OTHER: "default"}
    wait_until(lambda: send() or read_flows(lab) == after)
    assert datetime.now(UTC) >= boundary
    active = {row["name"]: row["active"] for row in lab.mobile_router()["policies"]}
    assert active == {"ends": [], "begins": ["sat"], "default": ["lte"]}
    wanted = {"ends": "not-active", "begins": "accepted", "default": "accepted"}
    wait_until(lambda: read_downlink(lab) == wanted)


def test_the_running_agents_policies_are_explained_as_it_is_now(lab, boundary):
    time.sleep(max(0.0, boundary.timestamp() - time.time()))
    options = ("--protocol", "udp", "--destination-port", BEGINNING)
    socket = ("--socket", lab.socket[MOBILE_ROUTER])
    assert "policy begins: links sat" in run_cli("policy", "explain", *options, *socket).stdout
