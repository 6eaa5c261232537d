"""The lab's home agent and mobile router: the same ``mrouter run`` as on a vehicle."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mrouter import control
from mrouter.control import ControlError
from mrouter.lab.configs import ConfigFiles
from mrouter.lab.namespaces import LabError
from mrouter.lab.plan import EGRESS_LINKS, NodeName
from mrouter.lab.topology import Topology

MOBILE_ROUTER = "mobile-router"
HOME_AGENT = "home-agent"
_NODES: dict[str, NodeName] = {HOME_AGENT: "ha", MOBILE_ROUTER: "mr"}
_START_TIMEOUT = 15.0
_POLL_INTERVAL = 0.1
_TAIL_LINES = 15


def build_command(config: Path) -> list[str]:
    """Give the command line of a daemon that runs with the file ``config``."""
    return [sys.executable, "-m", "mrouter", "run", str(config)]


def count_usable(status: dict[str, Any]) -> int:
    """Count the bindings that carry traffic."""
    return sum(1 for binding in status["bindings"] if binding["usable"])


class Daemons:
    """Starts both daemons of a lab, watches that they live, and asks them for their status.

    ``command`` builds a daemon's command line from its configuration file.
    """

    def __init__(
        self,
        topology: Topology,
        files: ConfigFiles,
        command: Callable[[Path], Sequence[str]] = build_command,
    ) -> None:
        self._topology = topology
        self._files = files
        self._command = command
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def pids(self) -> dict[str, int]:
        """Give each started daemon's process number by its role."""
        return {role: process.pid for role, process in self._processes.items()}

    def start(self) -> None:
        """Start the home agent, then the mobile router, and wait for a binding on each link.

        Raise LabError if one ends or time runs out; ``read_logs`` tells what they said last.
        """
        self._start(HOME_AGENT, self._files.home_agent)
        self._wait("the home agent does not answer", self.ask_home_agent)
        self._start(MOBILE_ROUTER, self._files.mobile_router)
        self.wait_for_bindings(len(EGRESS_LINKS), _START_TIMEOUT)

    def kill(self, role: str) -> None:
        """End an agent without a warning, as a crash does."""
        process = self._processes.pop(role)
        process.kill()
        process.wait()

    def start_again(self, role: str) -> None:
        """Start an agent that was killed, and wait for its first answer."""
        if role == HOME_AGENT:
            self._start(role, self._files.home_agent)
            self._wait("the home agent does not answer", self.ask_home_agent)
        else:
            self._start(role, self._files.mobile_router)
            self._wait("the mobile router does not answer", self.ask_mobile_router)

    def wait_for_bindings(self, count: int, timeout: float) -> None:
        """Wait until ``count`` bindings are usable; raise LabError after ``timeout`` seconds."""
        self._wait(
            f"the mobile router has not registered {count} care-of addresses",
            lambda: count_usable(self.ask_mobile_router()) >= count,
            timeout,
        )

    def ask_mobile_router(self, command: str = "status") -> Any:
        """Ask the mobile router; raise ControlError if it does not answer."""
        return control.request(self._files.mobile_router_socket, command)

    def ask_home_agent(self, command: str = "status") -> Any:
        """Ask the home agent; raise ControlError if it does not answer."""
        return control.request(self._files.home_agent_socket, command)

    def check_alive(self) -> None:
        """Raise LabError if a daemon has ended."""
        for role, process in self._processes.items():
            if (code := process.poll()) is not None:
                raise LabError(f"the {role} ended with code {code}")

    def read_logs(self) -> str:
        """Give the last lines that each daemon wrote."""
        return "\n".join(
            f"--- last lines of the {role} ---\n{_read_tail(self._topology, role)}"
            for role in self._processes
        )

    def _start(self, role: str, config: Path) -> None:
        self._processes[role] = self._topology.run_in(
            _NODES[role], self._command(config), label=role
        )

    def _wait(
        self, complaint: str, reached: Callable[[], Any], timeout: float = _START_TIMEOUT
    ) -> None:
        deadline = time.monotonic() + timeout
        while True:
            self.check_alive()
            try:
                if reached():
                    return
                reason = "not yet"
            except ControlError as error:
                reason = str(error)
            if time.monotonic() > deadline:
                raise LabError(f"{complaint} after {timeout:.0f} s: {reason}")
            time.sleep(_POLL_INTERVAL)


def _read_tail(topology: Topology, label: str) -> str:
    lines: list[str] = []
    for path in (topology.output_path(label), topology.log_path(label)):
        if path.exists():
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:]) or "(nothing)"
