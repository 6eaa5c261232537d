"""Policies that choose links by what is measured of them, with running agents."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from agent_lab import MOBILE_ROUTER, AgentLab, wait_until

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
POLICY = """\
[[policy]]
name = "call"
match = { protocol = "udp" }
links = ["lte", "wifi", "sat"]
choose = "lowest-latency"
[[policy]]
name = "files"
match = { protocol = "tcp" }
links = ["lte", "wifi", "sat"]
choose = "lowest-loss"
[default]
links = ["lte", "wifi", "sat"]
"""
CARE_OF = {link.name: link.care_of_address for link in plan.EGRESS_LINKS}
DEVICE = "slow0"
#: A TUN device whose packets come back 80 ms later.
DELAY = f"""
import fcntl, os, struct, threading, time
fd = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(fd, 0x400454CA, struct.pack("=16sH22x", b"{DEVICE}", 0x1001))
os.system("ip link set {DEVICE} up; ip -6 route add default dev {DEVICE} table 77")
print("ready", flush=True)
while True:
    threading.Timer(0.08, os.write, (fd, os.read(fd, 65535))).start()
"""


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        lab.files.policy.write_text(POLICY)
        yield lab.start()


def active(lab, name):
    return next(p["active"] for p in lab.mobile_router()["policies"] if p["name"] == name)


def quality(lab, link):
    return lab.links()[link]["quality"]


def test_policies_that_go_by_measures_have_their_links_probed(lab):
    wait_until(lambda: all(quality(lab, link)["rtt_ms"] for link in CARE_OF), what="round trips")
    assert {quality(lab, link)["state"] for link in CARE_OF} == {"up"}


def test_the_link_that_loses_least_is_used(lab):
    # never two one after the other, which might pass for a dead link
    rule = f"ip6 saddr {CARE_OF['lte']} ip6 nexthdr 41 numgen inc mod 8 == 0 drop"
    lab.topology.execute("net", ["nft", "add table ip6 lossy"])
    hook = "{ type filter hook forward priority 0; }"
    lab.topology.execute("net", ["nft", f"add chain ip6 lossy forward {hook}"])
    wait_until(lambda: active(lab, "files") == ["lte"], 30, "links that are as good as each other")
    lab.topology.execute("net", ["nft", f"add rule ip6 lossy forward {rule}"])
    try:
        wait_until(lambda: active(lab, "files") == ["wifi"], 30, "a better link")
        assert quality(lab, "lte")["loss"] > quality(lab, "wifi")["loss"]
        assert quality(lab, "lte")["state"] != "down"
        levels = lab.mobile_router()["measures"]["lowest-loss"]
        assert levels["wifi"] < levels["lte"]
    finally:
        lab.topology.execute("net", ["nft", "delete table ip6 lossy"])


def test_the_link_of_the_lowest_latency_is_used(lab):
    program = lab.topology.run_in("net", [sys.executable, "-c", DELAY], label="delay")
    wait_until(lambda: "ready" in lab.topology.output_path("delay").read_text(), what="the delay")
    rule = f"iif lte from {CARE_OF['lte']} to {plan.HA_ADDRESS} lookup 77 pref 10"
    wait_until(lambda: active(lab, "call") == ["lte"], 30, "links that are as quick as each other")
    lab.ip("net", f"rule add {rule}")
    try:
        wait_until(lambda: active(lab, "call") == ["wifi"], 30, "a quicker link")
        assert quality(lab, "lte")["rtt_ms"] > quality(lab, "wifi")["rtt_ms"] + 5
    finally:
        lab.ip("net", f"rule del {rule}")
        program.kill()
        program.wait()


def test_links_are_probed_no_more_when_no_policy_needs_it(lab):
    lab.files.policy.write_text('[default]\nlinks = ["lte", "wifi", "sat"]\n')
    lab.process(MOBILE_ROUTER).send_signal(signal.SIGHUP)
    wait_until(lambda: len(lab.mobile_router()["policies"]) == 1)
    wait_until(lambda: quality(lab, "lte") is None, what="the end of the probes")
