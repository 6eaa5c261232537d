"""Our mobile router at a stranger's home agent that knows RFC 3963 and no more."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from agent_lab import MOBILE_ROUTER, AgentLab, wait_until

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
PRIMARY, *_ = (str(link.care_of_address) for link in plan.EGRESS_LINKS)
PREFIX, HOME = str(plan.MOBILE_NETWORK_PREFIX), str(plan.HOME_ADDRESS)
BINDING_IDENTIFIER = 35


class Stranger:
    """The stranger, running in the home agent's place."""

    def __init__(self, lab, kind):
        self._lab = lab
        program = Path(__file__).with_name("plain_home_agent.py")
        command = [sys.executable, str(program), str(plan.HA_ADDRESS), "wan0", kind]
        lab.topology.run_in("ha", command, label="stranger")
        wait_until(lambda: "ready" in self._lines(), what="the stranger")

    def _lines(self):
        return self._lab.topology.output_path("stranger").read_text().splitlines()

    def updates(self):
        return [json.loads(line) for line in self._lines() if line.startswith("{")]


@pytest.fixture
def lab():
    with AgentLab() as lab:
        path = lab.config[MOBILE_ROUTER]
        text = path.read_text()
        start, end = text.index("[security]"), text.index("[metrics]")
        security = "[security]\nunauthenticated-because-ipsec-protects = true\n\n"
        path.write_text('dialect = "rfc5648"\n' + text[:start] + security + text[end:])
        yield lab


def bindings(lab):
    return lab.mobile_router()["bindings"]


def test_mobile_router_registers_its_primary_care_of_address_alone(lab):
    stranger = Stranger(lab, "nemo")
    lab.launch(MOBILE_ROUTER)
    wait_until(lambda: lab.answers(MOBILE_ROUTER))
    wait_until(
        lambda: (
            [(row["care_of_address"], row["usable"]) for row in bindings(lab)] == [(PRIMARY, True)]
        ),
        what="one plain binding",
    )

    last = stranger.updates()[-1]
    assert (last["care_of_address"], last["home_address"]) == (PRIMARY, HOME)
    assert last["flags"] == [True, True, True]
    assert (last["prefixes"], last["lifetime"]) == ([PREFIX], 60)
    assert BINDING_IDENTIFIER not in last["options"]


def test_plain_registration_moves_to_the_next_link(lab):
    stranger = Stranger(lab, "nemo")
    lab.launch(MOBILE_ROUTER)
    wait_until(lambda: lab.answers(MOBILE_ROUTER))
    wait_until(lambda: [row["usable"] for row in bindings(lab)] == [True])
    lab.topology.cut("lte")

    wifi = str(plan.find_link("wifi").care_of_address)
    wait_until(
        lambda: [(row["care_of_address"], row["usable"]) for row in bindings(lab)] == [(wifi, True)]
    )
    assert stranger.updates()[-1]["care_of_address"] == wifi


def test_home_agent_without_nemo_is_deregistered_and_told_of(lab):
    stranger = Stranger(lab, "plain")
    lab.launch(MOBILE_ROUTER)
    wait_until(lambda: lab.answers(MOBILE_ROUTER))

    wait_until(lambda: "nemo-not-supported" in lab.log(MOBILE_ROUTER), what="the word")
    wait_until(lambda: stranger.updates()[-1]["lifetime"] == 0, what="the de-registration")
    assert [row["state"] for row in bindings(lab)] == ["refused"]
