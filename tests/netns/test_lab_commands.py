"""The lab's own handling of daemons, with small stand-ins that only answer as daemons do.

What the real daemons do in the lab is the end-to-end test's matter.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from mrouter.lab import commands, demo
from mrouter.lab.configs import write_configs
from mrouter.lab.daemons import Daemons
from mrouter.lab.namespaces import LabError
from mrouter.lab.topology import Topology

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]

STAND_IN = """
import json, socket, sys, tomllib
config = tomllib.load(open(sys.argv[1], "rb"))
names = [link["name"] for link in config.get("link", [])]
count = {"packets": 0, "bytes": 0}
status = {
    "role": config["role"],
    "links": [{"name": n, "up": True, "uplink": count, "downlink": count} for n in names],
    "bindings": [
        {"link": n, "care_of_address": "2001:db8::1", "ifid": 7, "ifpri": 0,
         "state": "registered", "usable": True, "lifetime_left": 60.0}
        for n in names
    ],
}
listener = socket.socket(socket.AF_UNIX)
listener.bind(config["control"]["socket"])
listener.listen()
while True:
    connection, _ = listener.accept()
    with connection:
        command = json.loads(connection.makefile().readline())["command"]
        result = status if command == "status" else []
        connection.sendall((json.dumps({"ok": True, "result": result}) + "\\n").encode())
"""
DEMO_PROGRAM = """
import sys
from functools import partial
from rich.console import Console
from mrouter.lab import demo
from mrouter.lab.daemons import Daemons
demo.Daemons = partial(Daemons, command=lambda config: [sys.executable, sys.argv[1], str(config)])
demo.run_demo(Console(soft_wrap=True))
"""


@pytest.fixture
def stand_in(tmp_path):
    path = tmp_path / "stand_in.py"
    path.write_text(STAND_IN)
    return path


@pytest.fixture
def command(stand_in):
    return lambda config: [sys.executable, str(stand_in), str(config)]


@pytest.fixture
def name(monkeypatch, tmp_path, command):
    monkeypatch.setattr(commands, "STATE_ROOT", tmp_path / "state")
    monkeypatch.setattr(commands, "Daemons", partial(Daemons, command=command))
    name = f"test{os.getpid()}"
    yield name
    if list_namespaces(name):
        commands.lab_down(name)


def list_namespaces(lab_id):
    return list(Path("/run/netns").glob(f"mrl-{lab_id}-*"))


def test_a_lab_stands_until_it_is_taken_down(name):
    state = commands.lab_up(name)

    assert len(state.namespaces) == 5
    assert [(daemon.role, daemon.running) for daemon in state.daemons] == [
        ("home-agent", True),
        ("mobile-router", True),
    ]
    assert [daemon.status["role"] for daemon in state.daemons] == ["home-agent", "mobile-router"]

    commands.lab_down(name)
    assert list_namespaces(name) == []
    assert not state.directory.exists()
    for daemon in state.daemons:
        with pytest.raises(ProcessLookupError):
            reap_and_probe(daemon.pid)


def reap_and_probe(pid):
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        os.kill(pid, 0)
    else:
        raise ProcessLookupError


def test_a_command_runs_in_the_node_that_is_named(name, capfd):
    commands.lab_up(name)

    code = commands.lab_exec("lfn", ["sh", "-c", "ip -o -6 addr show dev lan0; exit 3"], name)

    assert code == 3
    assert "2001:db8:a1::10/64" in capfd.readouterr().out


def test_an_unknown_node_is_refused_with_those_that_there_are(name):
    commands.lab_up(name)

    with pytest.raises(LabError, match="no node 'car': use one of lfn, mr, net, ha, cn"):
        commands.lab_exec("car", ["true"], name)


def test_a_daemon_that_died_shows_in_the_status(name):
    state = commands.lab_up(name)
    os.kill(state.daemons[1].pid, signal.SIGKILL)
    time.sleep(0.1)

    router = commands.lab_status(name).daemons[1]

    assert (router.running, router.status) == (False, None)


def test_a_lab_is_not_brought_up_twice(name):
    commands.lab_up(name)

    with pytest.raises(LabError, match="is up already"):
        commands.lab_up(name)

    assert len(list_namespaces(name)) == 5


@pytest.mark.parametrize(
    "use",
    [
        commands.lab_status,
        commands.lab_down,
        lambda name: commands.lab_exec("mr", ["true"], name),
    ],
)
def test_a_lab_that_is_not_up_cannot_be_used(name, use):
    with pytest.raises(LabError, match="is not up"):
        use(name)


def test_a_lab_whose_daemon_fails_leaves_nothing_and_says_why(name, monkeypatch):
    failing = partial(Daemons, command=lambda _: ["sh", "-c", "echo no seg6 here >&2; exit 4"])
    monkeypatch.setattr(commands, "Daemons", failing)

    with pytest.raises(LabError, match="home-agent ended with code 4") as caught:
        commands.lab_up(name)

    assert "no seg6 here" in str(caught.value)
    assert list_namespaces(name) == []
    assert not (commands.STATE_ROOT / name).exists()


def test_half_a_lab_can_be_taken_down(name):
    state = commands.lab_up(name)
    (state.directory / "state.json").unlink()
    subprocess.run(["ip", "netns", "del", state.namespaces[-1]], check=True)

    commands.lab_down(name)

    assert list_namespaces(name) == []


def test_daemons_wait_until_every_link_is_registered(command):
    with Topology() as lab:
        daemons = Daemons(lab, write_configs(lab.run_directory), command)
        daemons.start()

        assert len(daemons.ask_mobile_router()["bindings"]) == 3
        assert daemons.ask_home_agent()["role"] == "home-agent"
        with pytest.raises(LabError, match="has not registered 4 care-of addresses"):
            daemons.wait_for_bindings(4, timeout=0.3)


def test_a_demo_whose_daemon_fails_says_why_and_leaves_nothing(monkeypatch):
    failing = partial(Daemons, command=lambda _: ["sh", "-c", "echo no seg6 here >&2; exit 4"])
    monkeypatch.setattr(demo, "Daemons", failing)
    console = Console(file=io.StringIO(), width=100)

    result = demo.run_demo(console, headless=True)

    assert result.exit_code == 1
    assert result.problems == ("the home-agent ended with code 4",)
    output = console.file.getvalue()
    assert "no seg6 here" in output
    assert list_namespaces(find_lab_id(output)) == []


@pytest.mark.parametrize("moment", ["Built the network", "Traffic starts", "all links are up"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_nothing(stand_in, tmp_path, moment, number):
    output = tmp_path / "output"
    with output.open("w") as file:
        program = subprocess.Popen(
            [sys.executable, "-u", "-c", DEMO_PROGRAM, str(stand_in)], stdout=file, stderr=file
        )
    while moment not in output.read_text():
        assert program.poll() is None, output.read_text()
        time.sleep(0.01)

    program.send_signal(number)
    program.wait(timeout=15)

    assert program.returncode != 0
    assert list_namespaces(find_lab_id(output.read_text())) == []
    assert find_processes(str(stand_in)) == []


def find_lab_id(output):
    return re.search(r"namespaces mrl-(\w+)-\*", output).group(1)


def find_processes(argument):
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argument.encode() in words:
            found.append(entry.name)
    return found
