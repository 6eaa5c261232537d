"""Hold-down, flows that stay, rate limits and waiting, as a running mobile router does them."""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest
from agent_lab import ETH_P_IPV6, MOBILE_ROUTER, AgentLab, wait_until
from balance_flows import find_links, make_flows

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
POLICY = """\
[[policy]]
name = "held"
match = { protocol = "udp", source-port = "20000-20009" }
links = ["wifi", "lte"]
hold-down = 600
[[policy]]
name = "staying"
match = { protocol = "udp", source-port = "20010-20019" }
links = ["wifi", "lte"]
running-flows = "stay"
[[policy]]
name = "moving"
match = { protocol = "udp", source-port = "20020-20029" }
links = ["wifi", "lte"]
[[policy]]
name = "limited"
match = { protocol = "udp", source-port = 20030 }
links = ["lte"]
rate-limit = "80 kbit/s"
[[policy]]
name = "patient"
match = { protocol = "icmpv6" }
links = ["sat"]
wait = true
[default]
links = ["lte", "wifi", "sat"]
"""
HELD, STAYING, MOVING, FRESH = 20000, 20010, 20020, 20011


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        lab.files.policy.write_text(POLICY)
        yield lab.start()


@pytest.fixture(scope="module")
def ways(lab):
    """Return a function that sends a packet of each UDP flow and says by which link it went."""
    sender = lab.sender("lfn")
    kind = socket.SOCK_DGRAM, socket.htons(ETH_P_IPV6)
    receiver = lab.open_in("net", socket.AF_PACKET, *kind)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def find(*ports):
        return find_links(sender, receiver, make_flows(plan.LFN_ADDRESS, 9, ports))

    return find


def policy(lab, name):
    return next(each for each in lab.mobile_router()["policies"] if each["name"] == name)


def cut(lab, link):
    lab.topology.cut(link)
    wait_until(lambda: not lab.links()[link]["up"], what=f"{link} down")


def restore(lab, link, bindings=3):
    lab.topology.restore(link)
    lab.await_bindings(bindings)


def test_each_policy_has_its_own_answer_to_a_link_that_comes_back(lab, ways):
    assert set(ways(HELD, STAYING, MOVING).values()) == {"wifi"}
    cut(lab, "wifi")
    assert set(ways(HELD, STAYING, MOVING).values()) == {"lte"}
    restore(lab, "wifi")

    wait_until(lambda: policy(lab, "moving")["active"] == ["wifi"])
    assert ways(HELD, STAYING, MOVING, FRESH) == {
        HELD: "lte",
        STAYING: "lte",  # runs
        MOVING: "wifi",
        FRESH: "wifi",  # begins
    }
    held = policy(lab, "held")
    assert held["active"] == ["lte"]
    assert re.fullmatch(r"held down, (5\d\d|600) s to go", held["held"]["wifi"])
    assert policy(lab, "staying")["active"] == ["wifi"]
    told = {flow["source_port"]: flow["links"] for flow in lab.ask(MOBILE_ROUTER, "flows")}
    assert (told[STAYING], told[FRESH]) == (["lte"], ["wifi"])


def test_the_home_agent_is_told_of_the_order_of_now(lab, ways):
    """What begins at the far end goes by the link that is not held down."""
    lab.await_flow_bindings()
    wait_until(lambda: policy(lab, "held")["downlink"] == "accepted")
    ifids = {
        link: binding["ifid"]
        for binding in lab.mobile_router()["bindings"]
        for link in [binding["link"]]
    }
    flows = {
        tuple(flow["ifids"]) for flow in lab.home_agent()["flow_bindings"] if "20000" in str(flow)
    }
    assert flows == {(ifids["lte"],)}


def test_a_held_link_is_used_when_there_is_no_other(lab, ways):
    cut(lab, "lte")
    assert ways(HELD, STAYING) == {HELD: "wifi", STAYING: "wifi"}
    restore(lab, "lte")
    # it is the better one of the two, and the other is the one that comes back now
    assert ways(HELD, STAYING) == {HELD: "wifi", STAYING: "wifi"}


def test_a_rate_is_limited_for_all_flows_of_a_policy_together(lab):
    before = lab.mobile_router()["dataplane"]["counters"]["rate_limited"]["packets"]
    sender = lab.sender("lfn")
    (packet,) = make_flows(plan.LFN_ADDRESS, 9, [20030])
    size = len(packet)
    for _ in range(2000):
        sender(packet)
    counters = lab.mobile_router()["dataplane"]["counters"]
    dropped = counters["rate_limited"]["packets"] - before
    # 80 kbit/s are 10,000 octets a second, and 16,384 may go at once
    assert 2000 - dropped >= 16_384 // size
    assert dropped >= 2000 - (16_384 + 10_000 * 10) // size


def ping(lab, count, wait):
    command = ["ping", "-6", "-n", "-c", str(count), "-i", "0.1", "-W", str(wait)]
    return lab.topology.run_in("lfn", [*command, str(plan.CN_ADDRESS)], label=f"ping-{count}")


def test_packets_wait_for_the_first_link_that_comes_back(lab):
    cut(lab, "sat")
    program = ping(lab, 5, 8)
    wait_until(lambda: lab.mobile_router()["waiting"]["packets"] == 5, what="five packets")
    restore(lab, "sat")
    assert program.wait(timeout=20) == 0
    answered = lab.topology.output_path("ping-5").read_text()
    assert "5 received" in answered
    assert lab.mobile_router()["waiting"] == {"packets": 0, "dropped": 0}


def test_packets_that_have_waited_too_long_are_dropped(lab):
    cut(lab, "sat")
    program = ping(lab, 3, 8)
    wait_until(lambda: lab.mobile_router()["waiting"]["packets"] == 3, what="three packets")
    program.wait(timeout=20)
    restore(lab, "sat")
    wait_until(lambda: lab.mobile_router()["waiting"] == {"packets": 0, "dropped": 3})
    assert "0 received" in lab.topology.output_path("ping-3").read_text()


@pytest.mark.parametrize("harm", [("set", "down"), ("delete",)], ids=" ".join)
def test_packets_wait_though_somebody_has_meddled_with_the_device(lab, harm):
    action, *rest = harm
    lost = lab.log(MOBILE_ROUTER).count("waiting-lost")
    lab.topology.execute("mr", ["ip", "link", action, "mrouter-wait", *rest])
    wait_until(lambda: lab.log(MOBILE_ROUTER).count("waiting-lost") == lost + 1)
    before = lab.mobile_router()["waiting"]["dropped"]
    cut(lab, "sat")
    program = ping(lab, 4, 8)
    wait_until(lambda: lab.mobile_router()["waiting"]["packets"] == 4, what="four packets")
    restore(lab, "sat")
    assert program.wait(timeout=20) == 0
    assert lab.mobile_router()["waiting"] == {"packets": 0, "dropped": before}
    assert "internal-error" not in lab.log(MOBILE_ROUTER)


def test_nothing_waits_when_no_policy_asks_for_it_any_more(lab):
    lab.files.policy.write_text('[default]\nlinks = ["lte", "wifi", "sat"]\n')
    lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
    wait_until(lambda: len(lab.mobile_router()["policies"]) == 1)
    interfaces = lab.topology.execute("mr", ["ip", "-br", "link"]).stdout
    assert "mrouter-wait" not in interfaces
    table = lab.topology.execute("mr", ["ip", "-6", "route", "show", "table", "7763"], check=False)
    assert table.stdout == ""
