"""IPv4 on board with real agents: a vehicle's device talks with the world by the home agent."""

from __future__ import annotations

import json
import os
import select
import socket

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, AgentLab, run_cli, wait_until
from ipv4_world import BOARD, CN4, ETH_P_IP, HOME4, LFN4, ROUTER4, add_ipv4

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]

PATIENT_PORT = 6001
POLICY = f"""
[[policy]]
name = "pings"
match = {{ protocol = "icmp", destination = "{CN4}" }}
links = ["wifi", "sat"]

[[policy]]
name = "echo"
match = {{ protocol = "tcp", destination-port = 7, source = "{BOARD}" }}
links = ["sat", "lte"]

[[policy]]
name = "patient"
match = {{ protocol = "udp", destination-port = {PATIENT_PORT} }}
links = ["sat"]
wait = true

[default]
links = ["lte", "wifi", "sat"]
"""


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        add_ipv4(lab.topology)
        asked = f'[mobile-router]\nipv4-prefixes = ["{BOARD}"]\n'
        lab.edit(lab.files.mobile_router, "[mobile-router]\n", asked)
        lab.edit(lab.files.home_agent, "[home-agent]\n", '[home-agent]\nipv4-exit = "nat"\n')
        served = f'[[mobile-router]]\nipv4-prefixes = ["{BOARD}"]\n'
        lab.edit(lab.files.home_agent, "[[mobile-router]]\n", served)
        lab.files.policy.write_text(POLICY)
        yield lab


def ping(lab, address=CN4, node="lfn"):
    command = ["ping", "-4", "-n", "-c", "1", "-W", "1", str(address)]
    return lab.topology.execute(node, command, check=False).returncode == 0


def count_uplink(lab, link):
    return lab.links()[link]["uplink"]["packets"]


def test_before_anything_is_registered_nothing_leaves_in_the_clear(lab):
    lab.launch(MOBILE_ROUTER)
    wait_until(lambda: lab.answers(MOBILE_ROUTER))
    leaks = lab.open_in("net", socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))

    assert not ping(lab)

    while select.select([leaks], [], [], 0.1)[0]:
        assert LFN4.packed not in leaks.recv(65535)
    assert lab.mobile_router()["dataplane"]["counters"]["no_link_dropped"]["packets"] > 0


def test_once_registered_the_world_is_reached_and_sees_the_home_agents_address(lab):
    lab.launch(HOME_AGENT)
    wait_until(lambda: lab.answers(HOME_AGENT))
    lab.await_bindings(3)
    arrivals = lab.open_in("cn", socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))

    wait_until(lambda: ping(lab), what="an answer")

    seen = arrivals.recv(65535)
    assert seen[12:16] == HOME4.packed


def test_two_policies_take_two_links(lab):
    before = {link: count_uplink(lab, link) for link in ("lte", "wifi", "sat")}
    assert ping(lab)
    assert _talk(lab) == b"hello"
    after = {link: count_uplink(lab, link) for link in ("lte", "wifi", "sat")}

    # signalling is not counted, and all else is silent
    assert after["wifi"] == before["wifi"] + 1
    assert after["sat"] > before["sat"]
    assert after["lte"] == before["lte"]


def _talk(lab):
    """Send and get back some octets by TCP."""
    listener = lab.open_in("cn", socket.AF_INET, socket.SOCK_STREAM)
    client = lab.open_in("lfn", socket.AF_INET, socket.SOCK_STREAM)
    with listener, client:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(CN4), 7))
        listener.listen()
        client.settimeout(5.0)
        client.connect((str(CN4), 7))
        server, _address = listener.accept()
        with server:
            client.sendall(b"hello")
            server.sendall(server.recv(100))
            return client.recv(100)


def test_flows_and_policies_are_told(lab):
    assert ping(lab)

    shown = run_cli("flows", "--socket", lab.socket[MOBILE_ROUTER], "--json")
    explained = run_cli(
        "policy", "explain", "--socket", lab.socket[MOBILE_ROUTER], "--json",
        "--protocol", "icmp", "--source", LFN4, "--destination", CN4,
    )  # fmt: skip

    flows = {(f["source"], f["destination"], f["policy"]) for f in json.loads(shown.stdout)}
    assert (str(LFN4), str(CN4), "pings") in flows
    answer = json.loads(explained.stdout)
    assert answer["policy"] == "pings"
    assert [each["link"] for each in answer["links"] if each["used"]] == ["wifi"]


def test_a_link_that_is_cut_leaves_its_flows_to_the_next(lab):
    before = count_uplink(lab, "sat")
    lab.topology.cut("wifi")
    try:
        wait_until(lambda: ping(lab), what="an answer over another link")
        assert count_uplink(lab, "sat") > before
    finally:
        lab.topology.restore("wifi")
        lab.await_bindings(3)


def test_what_waits_for_a_link_arrives_when_it_is_there(lab):
    listener = lab.open_in("cn", socket.AF_INET, socket.SOCK_DGRAM)
    sender = lab.open_in("lfn", socket.AF_INET, socket.SOCK_DGRAM)
    with listener, sender:
        listener.bind((str(CN4), PATIENT_PORT))
        listener.settimeout(5.0)
        lab.topology.cut("sat")
        wait_until(lambda: not lab.links()["sat"]["up"])

        sender.sendto(b"patience", (str(CN4), PATIENT_PORT))

        wait_until(lambda: lab.mobile_router()["waiting"]["packets"] == 1)
        lab.topology.restore("sat")
        assert listener.recv(100) == b"patience"
        lab.await_bindings(3)


def test_both_routers_answer_for_themselves(lab):
    assert ping(lab, HOME4)
    assert ping(lab, LFN4, node="ha")
    assert ping(lab, ROUTER4, node="ha")


@pytest.mark.parametrize("role", [HOME_AGENT, MOBILE_ROUTER])
def test_forwarding_outlives_the_agents(lab, role):
    lab.end(role)
    assert ping(lab)
    lab.launch(role)
    wait_until(lambda: lab.answers(role))
    lab.await_bindings(3)
    assert ping(lab)
