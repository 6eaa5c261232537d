"""A mistake of ours in the middle of the work: it is told, and the agent goes on."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, NODES, AgentLab, count_event, wait_until

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
#: An agent whose machine fails at the events of one kind, as often as it is told.
FAILING = """
import sys
from pathlib import Path
from mrouter.agent.run import run_agent
from mrouter.protocol.{module} import {machine}

left = {times}
sound = {machine}.handle

def handle(self, event, now):
    global left
    if type(event).__name__ == {event!r} and left:
        left -= 1
        raise LookupError("a mistake")
    return sound(self, event, now)

{machine}.handle = handle
run_agent(Path(sys.argv[1]))
"""


REFUSING = """
import sys
from pathlib import Path
from mrouter.agent.run import run_agent
from mrouter.dataplane.linux import LinuxDataplane
from mrouter.errors import DataplaneError

sound = LinuxDataplane.apply

def apply(self, state, *, verify=False):
    if any("too-much" in each.name for each in state.table.sets):
        raise DataplaneError("change the nftables table", "no space left")
    sound(self, state, verify=verify)

LinuxDataplane.apply = apply
run_agent(Path(sys.argv[1]))
"""
TOO_MUCH = """
[set.too-much]
prefixes = ["2001:db8:9::/48"]
[[policy]]
name = "much"
match = { destination = "@too-much" }
links = ["sat"]
wait = true
[default]
links = ["sat"]
"""


def test_policies_that_the_kernel_does_not_take_are_refused_and_the_old_ones_stay():
    with AgentLab() as lab:
        lab.start(HOME_AGENT)
        command = [sys.executable, "-c", REFUSING, str(lab.config[MOBILE_ROUTER])]
        lab.adopt(MOBILE_ROUTER, lab.topology.run_in("mr", command, label="refusing"), "refusing")
        wait_until(lambda: lab.answers(MOBILE_ROUTER), what="the first answer")
        lab.await_bindings(3)
        lab.await_flow_bindings()
        before = list_rules(lab)

        lab.files.policy.write_text(TOO_MUCH)
        lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
        wait_until(lambda: "reload-refused" in lab.log(MOBILE_ROUTER))
        assert "no space left" in lab.log(MOBILE_ROUTER)
        assert "much" not in {each["name"] for each in lab.mobile_router()["policies"]}
        assert list_rules(lab) == before
        interfaces = lab.topology.execute("mr", ["ip", "-br", "link"]).stdout
        assert "mrouter-wait" not in interfaces

        lab.files.policy.write_text('[default]\nlinks = ["sat"]\n')
        lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
        wait_until(lambda: len(lab.mobile_router()["policies"]) == 1)


def list_rules(lab):
    """Return our table without what the kernel counts or adds by itself."""
    command = ["nft", "--stateless", "list", "table", "ip6", "mrouter"]
    return lab.topology.execute("mr", command).stdout


@pytest.mark.parametrize(
    ("role", "module", "machine", "event"),
    [
        (HOME_AGENT, "home_agent", "HomeAgent", "PacketReceived"),
        (MOBILE_ROUTER, "mobile_router", "MobileRouter", "PacketReceived"),
        (MOBILE_ROUTER, "mobile_router", "MobileRouter", "TimerFired"),
    ],
)
def test_an_agent_goes_on_after_a_mistake_of_its_own(role, module, machine, event):
    with AgentLab() as lab:
        script = FAILING.format(module=module, machine=machine, event=event, times=3)
        for each in (HOME_AGENT, MOBILE_ROUTER):
            if each != role:
                lab.launch(each)
                continue
            command = [sys.executable, "-c", script, str(lab.config[role])]
            lab.adopt(role, lab.topology.run_in(NODES[role], command, label="failing"), "failing")
        for each in (HOME_AGENT, MOBILE_ROUTER):
            wait_until(lambda each=each: lab.answers(each), what=f"the {each}'s first answer")

        lab.await_bindings(3)
        # each of three registrations is refreshed by a timer of its own
        if event == "TimerFired":
            wait_until(lambda: count_event(lab.ask(role), "internal-error", "LookupError") == 3, 60)
            lab.await_bindings(3)
        assert count_event(lab.ask(role), "internal-error", "LookupError") == 3
        assert "internal-error error=\"LookupError('a mistake')\"" in lab.log(role)
