"""A correspondent node that runs no agent: its kernel does not know the Mobility Header."""

from __future__ import annotations

import os
import time

import pytest
from agent_lab import MOBILE_ROUTER, AgentLab, wait_until
from scapy.layers.inet6 import ICMPv6ParamProblem, IPv6, MIP6MH_HoTI
from test_agent_correspondent import CARE_OF, CN, HA, HOME, STRANGER, Wire, messages, ping, ways

from mrouter.wire.messages import CareOfTestInit, HomeTestInit

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        ingress = 'ingress = ["lan0"]\n'
        lab.edit(lab.files.mobile_router, ingress, f'{ingress}correspondents = ["{CN}"]\n')
        yield lab.start()


def events(lab):
    rows = lab.mobile_router()["events"]
    return {(row["event"], row["reason"]): row["count"] for row in rows}


def test_a_kernels_parameter_problem_ends_the_attempts(lab):
    wait_until(
        lambda: {route["state"] for route in lab.mobile_router()["routes"]} == {"refused"},
        what="the end of the attempts",
    )
    assert "route-optimization-not-supported" in lab.log(MOBILE_ROUTER)
    with Wire(lab) as wire:
        time.sleep(4)  # an Init is repeated after 1 and 2 seconds
        assert messages(wire.read(), HomeTestInit | CareOfTestInit) == []


def test_its_packets_go_through_the_home_agent(lab):
    with Wire(lab) as wire:
        assert ping(lab, "mr", CN, "-I", str(HOME)) == 5
        seen = ways(wire.read(), HOME, CN)
    assert {outer for _interface, outer in seen} <= {
        None,
        *((c, HA) for c in CARE_OF.values()),
        *((HA, c) for c in CARE_OF.values()),
    }
    assert ("cn", None) in seen


def test_only_what_is_about_our_own_packets_and_from_their_receiver_is_heard(lab):
    ignored = ("signalling-dropped", "parameter-problem-ignored")
    before = events(lab).get(ignored, 0)
    lab.sender("cn")(problem(CN, about=(STRANGER, CN)))
    lab.sender("net")(problem(STRANGER, about=(HOME, CN)))
    lab.sender("cn")(problem(CN, about=(HOME, CN), code=0))
    lab.sender("cn")(problem(CN, about=(HOME, CN)))
    wait_until(lambda: events(lab).get(ignored, 0) > before, what="the one that counts")
    time.sleep(0.3)
    assert events(lab)[ignored] == before + 1


def problem(sender, about, code=1):
    source, destination = map(str, about)
    packet = IPv6(src=str(sender), dst=str(HOME)) / ICMPv6ParamProblem(code=code, ptr=6)
    return bytes(packet / IPv6(src=source, dst=destination) / MIP6MH_HoTI())
