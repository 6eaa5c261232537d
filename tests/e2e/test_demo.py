"""The demo's scenario, headless, judged by what arrived; and that nothing of it stays."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from mrouter.lab import demo, plan, verdict
from mrouter.lab.namespaces import list_pids

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]


def list_namespaces(text):
    """List the namespaces that stand of the demo that printed ``text``."""
    lab_id = re.search(r"mrl-([^-]+)-\*", text).group(1)
    return sorted(path.name for path in Path("/run/netns").glob(f"mrl-{lab_id}-*"))


def list_children():
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.split()]


@pytest.fixture(scope="module")
def output():
    return io.StringIO()


@pytest.fixture(scope="module")
def result(output):
    return demo.run_demo(Console(file=output, width=120), headless=True)


@pytest.fixture(scope="module")
def evidence(result, output):
    assert result.evidence is not None, output.getvalue()
    return result.evidence


def test_the_demo_finds_no_problem_and_says_so(result, output):
    assert result.problems == ()
    assert result.exit_code == 0
    assert "The demo went as it should." in output.getvalue()


def test_the_demo_shows_its_topology_and_a_summary(result, output):
    assert plan.draw_topology() in output.getvalue()
    for words in ("failover gap", "lost", "duplicated", "Tunnel octets by link"):
        assert words in output.getvalue()


def test_the_call_lost_nothing_and_doubled_nothing_in_either_direction(evidence):
    assert len(evidence.calls) == 2
    for call in evidence.calls:
        assert call.sent > 50 * (demo.TOTAL - 1)
        assert (call.lost, call.duplicated) == (0, 0)


def test_the_call_took_two_links_and_bulk_one_of_its_own_choice(evidence):
    call = evidence.steady.flow_links(verdict.CALL)
    bulk = evidence.steady.flow_links(verdict.BULK)
    assert len(set(call)) == 2
    assert bulk == (evidence.cut_link,)
    assert set(call) != set(bulk)


def test_links_carried_what_the_policies_say(evidence):
    def carried(link):
        return verdict.count_octets(evidence.start, evidence.steady, link, "uplink")

    bulk = evidence.bulk.steady_octets
    assert carried(evidence.cut_link) > bulk > 1_000_000
    others = [link.name for link in plan.EGRESS_LINKS if link.name != evidence.cut_link]
    assert all(0 < carried(link) < bulk / 4 for link in others)


def test_bulk_went_on_over_the_next_link_and_returned(evidence):
    assert evidence.cut_link not in evidence.cut.flow_links(verdict.BULK)
    assert len(evidence.cut.flow_links(verdict.BULK)) == 1
    assert evidence.bulk.cut_octets > 1_000_000
    assert evidence.bulk.finished
    assert evidence.restored.flow_links(verdict.BULK) == (evidence.cut_link,)


def test_the_cut_link_was_deregistered_and_registered_again_with_a_new_ifid(evidence):
    def ifids(snapshot):
        return {row["link"]: row["ifid"] for row in snapshot.status["bindings"] if row["usable"]}

    assert set(ifids(evidence.cut)) == set(ifids(evidence.steady)) - {evidence.cut_link}
    assert set(ifids(evidence.restored)) == set(ifids(evidence.steady))
    changed = {
        link
        for link, ifid in ifids(evidence.restored).items()
        if ifid != ifids(evidence.steady)[link]
    }
    assert changed == {evidence.cut_link}


def test_the_demo_leaves_no_namespace_and_no_process(result, output):
    assert list_namespaces(output.getvalue()) == []
    assert [command for command in list_children() if b"mrouter" in command] == []


def test_a_demo_that_is_interrupted_in_the_middle_leaves_nothing(tmp_path):
    path = tmp_path / "output"
    with path.open("w") as file:
        program = subprocess.Popen(
            [sys.executable, "-u", "-m", "mrouter", "demo", "--headless"], stdout=file, stderr=file
        )
    while "Traffic starts" not in path.read_text():
        assert program.poll() is None, path.read_text()
        time.sleep(0.02)
    time.sleep(2.5)
    names = list_namespaces(path.read_text())
    pids = list_pids(names)
    assert len(names) == 5
    assert len(pids) >= 7  # two agents, both ends of call and bulk, pings

    program.send_signal(signal.SIGINT)
    code = program.wait(timeout=15)

    assert code != 0
    assert list_namespaces(path.read_text()) == []
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert "The demo went" not in path.read_text()
