"""A mobile router that is told its home prefix alone finds its home agent (RFC 6275 §11.4.1)."""

from __future__ import annotations

import os

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, AgentLab, wait_until

from mrouter.lab import plan
from mrouter.wire.home_discovery import find_anycast_address

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
ANYCAST = find_anycast_address(plan.HOME_PREFIX)
NOBODY = plan.HOME_PREFIX[0xDEAD]
CN = str(plan.CN_ADDRESS)


@pytest.fixture
def lab():
    with AgentLab() as lab:
        lab.edit(
            lab.config[MOBILE_ROUTER],
            f'home-agent = "{plan.HA_ADDRESS}"',
            f'home-agent = "auto"\nhome-prefix = "{plan.HOME_PREFIX}"',
        )
        yield lab


def sent(lab, kind):
    rows = lab.mobile_router()["signalling"]
    return sum(r["count"] for r in rows if (r["direction"], r["type"]) == ("sent", kind))


def test_it_finds_the_home_agent_and_registers(lab):
    lab.start()

    assert lab.mobile_router()["home_agent"] == str(plan.HA_ADDRESS)
    lab.topology.execute("lfn", ["ping", "-6", "-n", "-c", "2", "-i", "0.2", "-W", "2", CN])


def test_it_learns_its_home_prefix(lab):
    lab.edit(lab.config[HOME_AGENT], "home-prefixes", "prefix-lifetime = 3600\nhome-prefixes")
    lab.start()

    (row,) = wait_until(lambda: lab.mobile_router()["home_prefixes"], what="the advertisement")
    assert (row["prefix"], row["valid_lifetime"]) == (str(plan.HOME_PREFIX), 3600)


def test_home_agent_that_starts_later_is_found(lab):
    lab.launch(MOBILE_ROUTER)
    wait_until(lambda: lab.answers(MOBILE_ROUTER) and sent(lab, "HomeAgentRequest") >= 3)
    assert lab.mobile_router()["home_agent"] == str(ANYCAST)
    lab.start(HOME_AGENT)

    lab.await_bindings(3)


def test_preferred_home_agent_that_does_not_answer_is_left_for_the_next(lab):
    lab.edit(
        lab.config[HOME_AGENT],
        "home-prefixes",
        f'peers = [{{ address = "{NOBODY}", preference = 9 }}]\nhome-prefixes',
    )
    lab.start(HOME_AGENT)
    lab.launch(MOBILE_ROUTER)
    wait_until(
        lambda: (status := lab.answers(MOBILE_ROUTER)) and status["home_agent"] == str(NOBODY)
    )

    lab.await_bindings(3)
    assert lab.mobile_router()["home_agent"] == str(plan.HA_ADDRESS)


def test_restarted_mobile_router_remembers_its_home_agent(lab):
    lab.start()
    lab.end(MOBILE_ROUTER)
    lab.start(MOBILE_ROUTER)

    assert lab.mobile_router()["home_agent"] == str(plan.HA_ADDRESS)
    assert sent(lab, "HomeAgentRequest") == 0


def test_home_agents_interface_may_go_down_and_up(lab):
    lab.start(HOME_AGENT)
    lab.ip("ha", "link set wan0 down")
    lab.ip("ha", "link set wan0 up")
    lab.ip("ha", f"route replace default via {plan.HA_GATEWAY}")

    lab.start(MOBILE_ROUTER)
