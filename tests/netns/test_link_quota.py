"""A link with a small quota in a real network: counted, told of, and remembered."""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime

import pytest
from agent_lab import MOBILE_ROUTER, AgentLab, read_samples, run_cli, wait_until

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
SAT = plan.find_link("sat")
LIMIT = 300_000
WARN = LIMIT // 2
PAYLOAD, PINGS = 1000, 100
#: Echo and answer, each with its ICMPv6 and IPv6 headers, in a tunnel.
PASSED = PINGS * 2 * (PAYLOAD + 8 + 40 + 40)
CAREFUL = """\
[[policy]]
name = "careful"
match = { protocol = "tcp" }
links = ["sat", "lte"]
under-quota = true
[[policy]]
name = "cheap"
match = { protocol = "udp", destination-port = 9 }
links = ["sat", "lte"]
choose = "cheapest"
"""
#: A quota is looked at every 10 s.
LOOK = 20.0


@pytest.fixture
def lab():
    with AgentLab() as lab:
        far_from_today = (datetime.now(UTC).day + 14) % 28 + 1
        lab.edit(
            lab.files.mobile_router,
            f'interface = "{SAT.interface}"\n',
            f"""interface = "{SAT.interface}"
cost = 30
quota = {{ limit = "{LIMIT // 1000} kB", period = "monthly", reset-day = {far_from_today},\
 warn = 50, stop = 100 }}
""",
        )
        lab.edit(
            lab.files.mobile_router,
            'role = "mobile-router"\n',
            'role = "mobile-router"\nstate-directory = "kept/state"\n',
        )
        lab.files.policy.write_text(CAREFUL + lab.files.policy.read_text())
        yield lab.start()


def find_active(lab):
    rows = lab.mobile_router()["policies"]
    return {row["name"]: row["active"] for row in rows if row["name"] in ("careful", "cheap")}


def send_pings(lab):
    """Send echo requests, which go by sat, from the vehicle to the correspondent node."""
    command = ["ping", "-6", "-q", "-n", "-i", "0.01", "-s", PAYLOAD, "-c", PINGS, "-W", "2"]
    lab.topology.execute("lfn", [*map(str, command), str(plan.CN_ADDRESS)])


def await_state(lab, state):
    wait_until(lambda: lab.links()["sat"]["quota"]["state"] == state, LOOK, state)
    return lab.links()["sat"]["quota"]


def read_file(lab):
    """Return what the quota's file says that sat has used, and what its interface had counted."""
    content = json.loads((lab.directory / "kept/state/quotas.json").read_text())
    (used,) = (row[2] for row in content["usage"]["sat"])
    return used, content["seen"]["sat"][3]


def count_interface(lab):
    shown = lab.topology.execute("mr", ["ip", "-s", "-j", "link", "show", "dev", SAT.interface])
    stats = json.loads(shown.stdout)[0]["stats64"]
    return stats["rx"]["bytes"] + stats["tx"]["bytes"]


def test_a_link_crosses_its_quota_and_a_killed_agent_goes_on_counting(lab):
    links = lab.links()
    assert links["sat"]["cost"] == 30
    assert links["sat"]["quota"]["state"] == "under"
    assert (links["lte"]["cost"], links["lte"]["quota"]) == (0, None)
    assert find_active(lab) == {"careful": ["sat"], "cheap": ["lte"]}
    assert (lab.directory / "kept/state").stat().st_mode & 0o777 == 0o700

    send_pings(lab)
    quota = await_state(lab, "warned")
    assert PASSED <= quota["used"] < LIMIT
    assert "WARNING quota-warned link=sat" in lab.log(MOBILE_ROUTER)
    assert "quota-exceeded" not in lab.log(MOBILE_ROUTER)

    send_pings(lab)
    quota = await_state(lab, "over")
    assert quota["used"] >= 2 * PASSED
    wait_until(lambda: find_active(lab)["careful"] == ["lte"])
    assert "WARNING quota-exceeded link=sat" in lab.log(MOBILE_ROUTER)
    samples = read_samples(lab.scrape("mr"))
    assert samples['mrouter_link_quota_used_bytes{link="sat"}'] >= 2 * PASSED
    assert samples['mrouter_link_quota_limit_bytes{link="sat"}'] == LIMIT
    assert samples['mrouter_link_quota_state{link="sat"}'] == 2
    assert samples['mrouter_link_cost{link="sat"}'] == 30
    shown = run_cli("status", "--socket", lab.files.mobile_router_socket).stdout
    assert "300.0 kB monthly" in shown.replace("\n", "")

    lab.end(MOBILE_ROUTER, signal.SIGKILL)
    used, counted = read_file(lab)
    assert used >= 2 * PASSED
    send_pings(lab)  # the kernel goes on forwarding
    lab.start(MOBILE_ROUTER)
    quota = lab.links()["sat"]["quota"]
    assert quota["state"] == "over"
    assert quota["used"] >= 3 * PASSED
    assert "WARNING quota-exceeded link=sat" in lab.log(MOBILE_ROUTER)

    lab.end(MOBILE_ROUTER)
    used_at_last, counted_at_last = read_file(lab)
    assert used_at_last - used == counted_at_last - counted
    assert counted + PASSED <= counted_at_last <= count_interface(lab)


def test_a_file_that_is_broken_keeps_no_vehicle_off_the_road(lab):
    lab.end(MOBILE_ROUTER)
    path = lab.directory / "kept/state/quotas.json"
    path.write_text("{")
    lab.start(MOBILE_ROUTER)
    assert "ERROR quotas-ignored" in lab.log(MOBILE_ROUTER)
    assert path.with_name("quotas.json.broken").read_text() == "{"
    wait_until(lambda: path.exists() and path.read_text() != "{", what="a new file")
