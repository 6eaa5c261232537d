"""IPv4 networks on board, registered by real agents; what is forwarded is another file's."""

from __future__ import annotations

import os
import signal

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, AgentLab, run_cli, wait_until

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
LAN, FOREIGN = "192.0.2.0/24", "203.0.113.0/24"


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        asked = f'ipv4-prefixes = ["{LAN}", "{FOREIGN}"]\n'
        lab.edit(lab.files.mobile_router, "[mobile-router]\n", f"[mobile-router]\n{asked}")
        served = f'[[mobile-router]]\nipv4-prefixes = ["{LAN}"]\n'
        lab.edit(lab.files.home_agent, "[[mobile-router]]\n", served)
        yield lab.start()


def networks(status):
    return [tuple(binding["ipv4_prefixes"]) for binding in status["bindings"]]


def test_every_binding_has_what_the_home_agent_grants(lab):
    assert networks(lab.home_agent()) == [(LAN,)] * 3
    assert networks(lab.mobile_router()) == [(LAN,)] * 3
    assert lab.mobile_router()["ipv4_prefixes"] == [
        {"prefix": LAN, "state": "accepted"},
        {"prefix": FOREIGN, "state": "prefix-allocation-unauthorized"},
    ]


def test_status_shows_them_at_both_ends(lab):
    for role in (HOME_AGENT, MOBILE_ROUTER):
        shown = run_cli("status", "--socket", lab.socket[role])
        assert shown.returncode == 0, shown.stderr
        assert LAN in shown.stdout


def test_a_refusal_is_counted_at_both_ends(lab):
    for status in (lab.home_agent(), lab.mobile_router()):
        (reason,) = {r["reason"] for r in status["events"] if r["event"] == "ipv4-prefix-refused"}
        assert reason == "prefix-allocation-unauthorized"


@pytest.mark.parametrize("role", [HOME_AGENT, MOBILE_ROUTER])
def test_a_killed_agent_begins_with_the_networks_that_it_had(lab, role):
    lab.end(role, signal.SIGKILL)
    lab.launch(role)
    status = wait_until(lambda: lab.answers(role))
    assert networks(status) == [(LAN,)] * 3


def test_a_home_agent_that_may_not_any_more_goes_on_with_ipv6(lab):
    lab.end(HOME_AGENT)
    lab.edit(lab.files.home_agent, f'ipv4-prefixes = ["{LAN}"]\n', "")
    lab.launch(HOME_AGENT)
    status = wait_until(lambda: lab.answers(HOME_AGENT))
    assert networks(status) == [()] * 3
    assert lab.stream(0.5).result() == [(0, 0), (0, 0)]
