"""A home agent on a real home link: duplicates, proxy neighbour discovery (RFC 6275 §10)."""

from __future__ import annotations

import os

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, wait_until
from home_lab import HomeLab

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
HOME = str(plan.HOME_ADDRESS)


@pytest.fixture
def lab():
    with HomeLab() as lab:
        yield lab


def test_neighbours_reach_the_home_address_through_the_home_agent_while_it_is_away(lab):
    lab.start()

    lab.at_home("neighbour", "ping", "-6", "-n", "-c", "2", "-W", "2", HOME)
    assert lab.find_neighbour("neighbour", HOME) == lab.link_layer_address()
    assert lab.find_proxies() == [HOME]


def test_unicast_probe_of_a_neighbour_is_answered_for_the_mobile_router(lab):
    lab.start()
    lab.at_home("neighbour", "sysctl", "-q", "net.ipv6.neigh.eth0.base_reachable_time_ms=500")
    lab.at_home("neighbour", "sysctl", "-q", "net.ipv6.neigh.eth0.delay_first_probe_time=1")
    lab.at_home("neighbour", "ip", "link", "set", "eth0", "multicast", "off")
    entry = ("nud", "stale", "lladdr", lab.link_layer_address(), "dev", "eth0")
    lab.at_home("neighbour", "ip", "neigh", "replace", HOME, *entry)

    lab.at_home("neighbour", "ping", "-6", "-n", "-c", "1", "-W", "2", HOME)
    wait_until(
        lambda: "REACHABLE" in lab.at_home("neighbour", "ip", "neigh", "show", HOME),
        what="the answer to the probe",
    )


def test_binding_that_begins_takes_over_what_neighbours_know(lab):
    stale = ("nud", "stale", "lladdr", "02:00:00:00:00:99", "dev", "eth0")
    lab.at_home("neighbour", "ip", "neigh", "add", HOME, *stale)
    lab.start()

    wait_until(
        lambda: lab.find_neighbour("neighbour", HOME) == lab.link_layer_address(),
        what="the unsolicited advertisement",
    )


def test_home_address_of_another_node_is_refused_with_134(lab):
    lab.at_home("other", "ip", "addr", "add", f"{HOME}/64", "dev", "eth0", "nodad")
    lab.start(HOME_AGENT)
    lab.start(MOBILE_ROUTER, bindings=0)

    wait_until(
        lambda: [row["status"] for row in lab.mobile_router()["bindings"]] == [134] * 3,
        what="three refusals",
    )
    assert lab.home_agent()["bindings"] == []
    assert lab.find_proxies() == []


def test_proxy_ends_with_the_last_binding_and_others_proxies_stay(lab):
    foreign = str(plan.HOME_PREFIX[0x77])
    lab.ip("ha", f"neigh add proxy {foreign} dev home0")
    lab.edit(lab.config[MOBILE_ROUTER], "lifetime = 60", "lifetime = 60\nderegister-on-stop = true")
    lab.start()
    assert sorted(lab.find_proxies()) == sorted([foreign, HOME])

    lab.end(MOBILE_ROUTER)
    wait_until(lambda: lab.find_proxies() == [foreign], what="the proxy's end")


def test_restarted_home_agent_goes_on_answering_for_its_bindings(lab):
    lab.start()
    lab.end(HOME_AGENT)
    lab.start(HOME_AGENT)

    assert lab.find_proxies() == [HOME]
    lab.at_home("neighbour", "ping", "-6", "-n", "-c", "1", "-W", "2", HOME)


def test_mobile_router_that_is_at_home_is_reached_there(lab):
    lab.at_home("other", "ip", "addr", "add", f"{HOME}/64", "dev", "eth0", "nodad")
    lab.start(HOME_AGENT)

    for node in ("cn", "ha"):
        lab.topology.execute(node, ["ping", "-6", "-n", "-c", "2", "-i", "0.2", "-W", "2", HOME])
