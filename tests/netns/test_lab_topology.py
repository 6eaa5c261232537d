from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mrouter.lab import plan
from mrouter.lab.namespaces import LabError, list_pids
from mrouter.lab.topology import Topology

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
CN = str(plan.CN_ADDRESS)
PATHS = [
    ("lfn", plan.MR_INGRESS_ADDRESS),
    *(("mr", link.gateway) for link in plan.EGRESS_LINKS),
    ("mr", plan.CN_ADDRESS),
    ("mr", plan.HA_ADDRESS),
    ("ha", plan.CN_ADDRESS),
]

LAB_PROGRAM = """
import sys, time
from pathlib import Path
from mrouter.lab.topology import Topology
with Topology(sys.argv[1]) as lab:
    lab.run_in("mr", ["sleep", "1000"], label="sleeper")
    print(lab.run_directory, flush=True)
    time.sleep(1000)
"""


@pytest.fixture(scope="module")
def shared_lab():
    with Topology() as lab:
        yield lab


@pytest.fixture
def lab():
    with Topology() as lab:
        yield lab


def list_namespaces(lab_id):
    return list(Path("/run/netns").glob(f"mrl-{lab_id}-*"))


def reaches(lab, node, address, count=1):
    ping = ["ping", "-6", "-n", "-c", str(count), "-i", "0.05", "-W", "1", str(address)]
    return lab.execute(node, ping, check=False).returncode == 0


def show(lab, node, *arguments):
    return lab.execute(node, ["ip", "-6", "-o", *arguments]).stdout


@pytest.mark.parametrize(("node", "address"), PATHS)
def test_neighbours_and_routers_are_reached_at_once(shared_lab, node, address):
    assert reaches(shared_lab, node, address)


def test_without_a_binding_the_mobile_network_is_unreachable(shared_lab):
    assert not reaches(shared_lab, "cn", plan.LFN_ADDRESS)


def test_plain_forwarding_reaches_the_mobile_network_on_request(lab):
    lab.route_without_tunnel("sat")

    assert reaches(lab, "cn", plan.LFN_ADDRESS)


def test_the_mobile_router_has_a_default_route_for_each_link(shared_lab):
    routes = show(shared_lab, "mr", "route", "show", "default")

    for link in plan.EGRESS_LINKS:
        assert f"via {link.gateway} dev {link.interface} metric {link.metric}" in routes


def test_the_home_address_is_the_mobile_routers_own(shared_lab):
    assert f"{plan.HOME_ADDRESS}/128" in show(shared_lab, "mr", "addr", "show", "dev", "lo")


@pytest.mark.parametrize(("node", "interface"), [("lfn", "lan0"), ("mr", "lan0"), ("cn", "eth0")])
def test_what_hosts_send_leaves_room_for_the_tunnels_header(shared_lab, node, interface):
    assert "mtu 1460" in show(shared_lab, node, "link", "show", "dev", interface)


def test_links_are_shaped_at_both_ends(shared_lab):
    assert "rate 50Mbit" in shared_lab.execute("mr", ["tc", "qdisc", "show", "dev", "lte0"]).stdout
    assert "rate 10Mbit" in shared_lab.execute("net", ["tc", "qdisc", "show", "dev", "sat"]).stdout


def test_an_unshaped_lab_has_no_rates():
    with Topology(shaped=False) as lab:
        assert "tbf" not in lab.execute("mr", ["tc", "qdisc", "show"]).stdout


def test_the_network_is_built_in_a_moment():
    started = time.monotonic()
    with Topology():
        assert time.monotonic() - started < 1.5


def test_a_cut_takes_the_carrier_and_restore_brings_all_back(lab):
    wifi = plan.find_link("wifi")
    before = show(lab, "net", "route"), show(lab, "net", "addr", "show", "scope", "global")

    lab.cut("wifi")
    assert "NO-CARRIER" in show(lab, "mr", "link", "show", "dev", "wifi0")
    assert not reaches(lab, "mr", wifi.gateway)
    assert f"{wifi.care_of_address}/64" in show(lab, "mr", "addr", "show", "dev", "wifi0")

    lab.restore("wifi")
    # The neighbour that was sought in vain during the cut is sought again within a second.
    assert reaches(lab, "mr", wifi.gateway, count=20)
    after = show(lab, "net", "route"), show(lab, "net", "addr", "show", "scope", "global")
    assert sorted(after[0].splitlines()) == sorted(before[0].splitlines())
    assert sorted(after[1].splitlines()) == sorted(before[1].splitlines())


def test_a_silenced_link_keeps_its_carrier_and_swallows_everything(lab):
    lte = plan.find_link("lte")

    lab.silence("lte")
    assert "LOWER_UP" in show(lab, "mr", "link", "show", "dev", "lte0")
    assert not reaches(lab, "mr", lte.gateway)
    assert reaches(lab, "mr", plan.find_link("wifi").gateway)

    lab.restore("lte")
    assert reaches(lab, "mr", lte.gateway, count=20)


def test_restoring_a_link_that_is_up_changes_nothing(lab):
    lab.restore("sat")

    assert reaches(lab, "mr", plan.find_link("sat").gateway)


def test_output_and_errors_of_a_program_are_kept_apart(lab):
    program = lab.run_in("lfn", ["sh", "-c", "echo said; echo failed >&2"], label="talker")
    program.wait(timeout=5)

    assert lab.output_path("talker").read_text() == "said\n"
    assert lab.log_path("talker").read_text() == "failed\n"


def test_nothing_is_left_not_even_processes_that_others_started_in_it():
    with Topology() as lab:
        lab.run_in("cn", ["sleep", "1000"], label="ours")
        stranger = subprocess.Popen(["ip", "netns", "exec", lab.namespace("ha"), "sleep", "1000"])
        while len(list_pids(lab.namespaces)) < 2:
            time.sleep(0.01)
        directory = lab.run_directory
        assert directory.is_dir()

    assert stranger.wait(timeout=5) == -signal.SIGTERM
    assert list_namespaces(lab.lab_id) == []
    assert not directory.exists()


def test_a_process_that_ignores_the_request_to_end_is_killed():
    with Topology() as lab:
        stubborn = lab.run_in(
            "mr",
            ["sh", "-c", "trap '' TERM; echo set; while :; do sleep 1; done"],
            label="stubborn",
        )
        while not lab.output_path("stubborn").read_text():
            time.sleep(0.01)

    assert stubborn.returncode == -signal.SIGKILL
    assert list_namespaces(lab.lab_id) == []


def test_processes_outside_the_lab_are_left_alone():
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        with Topology():
            pass
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_an_exception_inside_leaves_nothing():
    lab = Topology()

    def fail_inside():
        with lab:
            lab.run_in("mr", ["sleep", "1000"], label="sleeper")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()

    assert list_namespaces(lab.lab_id) == []


def test_a_lab_does_not_take_over_another_of_its_name(lab):
    with pytest.raises(LabError, match="exists already"):
        Topology(lab.lab_id).create()

    assert reaches(lab, "mr", CN)


def test_destroying_twice_is_harmless():
    lab = Topology()
    lab.create()
    lab.destroy()
    lab.destroy()

    assert list_namespaces(lab.lab_id) == []


def test_a_network_that_cannot_be_built_leaves_nothing(monkeypatch):
    lab = Topology()
    monkeypatch.setattr(lab, "_list_cables", lambda: ["link add nonsense"])

    with pytest.raises(LabError, match="ip -batch"):
        lab.create()

    assert list_namespaces(lab.lab_id) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_stands_leaves_nothing(number):
    lab_id = f"sig{int(number)}-{os.getpid()}"
    program = subprocess.Popen(
        [sys.executable, "-c", LAB_PROGRAM, lab_id], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    directory = Path(program.stdout.readline().decode().strip())
    assert len(list_namespaces(lab_id)) == 5

    program.send_signal(number)
    program.communicate(timeout=10)

    assert program.returncode != 0
    assert list_namespaces(lab_id) == []
    assert not directory.exists()


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.02, 0.04])
def test_a_signal_while_it_is_built_leaves_nothing(delay):
    lab_id = f"early-{os.getpid()}"
    program = subprocess.Popen(
        [sys.executable, "-c", LAB_PROGRAM, lab_id], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not list_namespaces(lab_id) and program.poll() is None:
        time.sleep(0.001)
    time.sleep(delay)

    program.send_signal(signal.SIGINT)
    program.communicate(timeout=10)

    assert program.returncode != 0
    assert list_namespaces(lab_id) == []
