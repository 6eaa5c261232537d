"""``mrouter lab``: a lab that stands until it is taken down, to play with by hand."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, get_args

from rich.console import Group, RenderableType
from rich.text import Text

from mrouter.control import ControlError, request
from mrouter.lab import namespaces
from mrouter.lab.configs import write_configs
from mrouter.lab.daemons import HOME_AGENT, MOBILE_ROUTER, Daemons
from mrouter.lab.namespaces import NETNS_DIRECTORY, LabError
from mrouter.lab.plan import NODES, NodeName, draw_topology
from mrouter.lab.topology import Topology
from mrouter.lab.view import render_links

STATE_ROOT = Path("/run/mrouter-lab")
DEFAULT_NAME = "lab"
_STATE_FILE = "state.json"
_SOCKETS = {MOBILE_ROUTER: "mr.sock", HOME_AGENT: "ha.sock"}


@dataclass(frozen=True, slots=True)
class DaemonState:
    """A daemon of a lab; ``status`` is what it says of itself, None if it does not answer."""

    role: str
    pid: int
    running: bool
    status: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class LabState:
    """A lab that was brought up: where its files are, what stands and what runs."""

    name: str
    directory: Path
    namespaces: tuple[str, ...]
    daemons: tuple[DaemonState, ...]

    def __rich__(self) -> RenderableType:
        """Show the lab as ``mrouter lab status`` does."""
        parts: list[RenderableType] = [
            Text(draw_topology(), no_wrap=True),
            Text(f"lab {self.name}: {' '.join(self.namespaces)}", overflow="fold"),
            Text(f"configurations, sockets and logs: {self.directory}", overflow="fold"),
        ]
        for daemon in self.daemons:
            state = "runs" if daemon.running else "has ended"
            answer = "" if daemon.status else ", and does not answer"
            parts.append(Text(f"{daemon.role}: process {daemon.pid} {state}{answer}"))
            if daemon.status and daemon.role == MOBILE_ROUTER:
                parts.append(render_links(daemon.status))
        return Group(*parts)


def lab_up(name: str = DEFAULT_NAME) -> LabState:
    """Build the lab ``name`` and start its daemons; they outlive this process.

    Raise LabError if it is up already or something fails; then nothing is left behind.
    """
    directory = _find_directory(name)
    try:
        directory.mkdir(parents=True, mode=0o700)
    except FileExistsError as error:
        raise LabError(
            f"lab {name!r} is up already: see it with `mrouter lab status`,"
            " or remove it with `mrouter lab down`"
        ) from error
    try:
        with Topology(name, run_directory=directory) as topology:
            daemons = Daemons(topology, write_configs(directory))
            try:
                daemons.start()
            except LabError as error:
                raise LabError(f"{error}\n{daemons.read_logs()}") from error
            state = json.dumps({"pids": daemons.pids})
            (directory / _STATE_FILE).write_text(state, encoding="utf-8")
            topology.keep()
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return lab_status(name)


def lab_exec(node: str, argv: Sequence[str], name: str = DEFAULT_NAME) -> int:
    """Run ``argv`` in ``node`` of the lab with this terminal; give its exit code.

    Raise LabError if there is no such node or the lab is not up.
    """
    topology = _find_lab(name)
    command = namespaces.enter(topology.namespace(_check_node(node)), argv)
    # Ctrl-C is for the command in the lab, which decides whether it ends by it.
    previous = signal.signal(signal.SIGINT, _pass_over)
    try:
        return subprocess.run(command, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, previous)


def lab_status(name: str = DEFAULT_NAME) -> LabState:
    """Tell what of the lab ``name`` stands and runs; raise LabError if it is not up."""
    topology = _find_lab(name)
    directory = topology.run_directory
    state_file = directory / _STATE_FILE
    pids = json.loads(state_file.read_text(encoding="utf-8"))["pids"] if state_file.exists() else {}
    running = set(namespaces.list_pids(topology.namespaces))
    return LabState(
        name=name,
        directory=directory,
        namespaces=tuple(ns for ns in topology.namespaces if (NETNS_DIRECTORY / ns).exists()),
        daemons=tuple(
            DaemonState(role, pid, pid in running, _ask_quietly(directory / _SOCKETS[role]))
            for role, pid in pids.items()
        ),
    )


def lab_down(name: str = DEFAULT_NAME) -> None:
    """End what runs in the lab ``name`` and remove it; harmless if only parts of it stand.

    Raise LabError if nothing of it stands, or if a process does not end.
    """
    topology = _find_lab(name)
    topology.destroy()
    shutil.rmtree(topology.run_directory, ignore_errors=True)


def _find_directory(name: str) -> Path:
    return STATE_ROOT / namespaces.check_name(name)


def _find_lab(name: str) -> Topology:
    topology = Topology(name, run_directory=_find_directory(name))
    standing = any((NETNS_DIRECTORY / namespace).exists() for namespace in topology.namespaces)
    if not standing and not topology.run_directory.exists():
        raise LabError(f"lab {name!r} is not up: bring it up with `mrouter lab up`")
    return topology


def _check_node(node: str) -> NodeName:
    for known in NODES:
        if node == known:
            return known
    raise LabError(f"the lab has no node {node!r}: use one of {', '.join(get_args(NodeName))}")


def _ask_quietly(socket_path: Path) -> dict[str, Any] | None:
    try:
        status: dict[str, Any] = request(socket_path, "status")
    except ControlError:
        return None
    return status


def _pass_over(_number: int, _frame: FrameType | None) -> None:
    """Leave the signal to the child, which got it from the terminal as well."""
