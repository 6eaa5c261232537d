"""The lab with its agents, whole again after each failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv6Address
from typing import Any, Protocol

from bench.failover_streams import BICAST_PORT
from mrouter.control import ControlError
from mrouter.lab import plan
from mrouter.lab.configs import ConfigFiles, write_configs
from mrouter.lab.daemons import Daemons, count_usable
from mrouter.lab.namespaces import LabError, run_tool
from mrouter.lab.topology import Topology

FAILING, SPARE = plan.EGRESS_LINKS[:2]
"""The link that fails, by which all flows go, and the one that takes over."""
_FIRST_OTHER_PORT = 10000
_TIMEOUT = 20.0
_POLL_INTERVAL = 0.03
_OTHER_ADDRESS = FAILING.care_of_address + 0x100


class Router(Protocol):
    """A router whose links can fail."""

    topology: Topology

    def wait_until_whole(self) -> None:
        """Wait until all goes by the first link again, both ways."""


class AgentRouter:
    """A running lab with its agents."""

    def __init__(self, topology: Topology, files: ConfigFiles) -> None:
        self.topology = topology
        self.daemons = Daemons(topology, files)

    def wait_until_whole(self) -> None:
        """Wait until each link has its binding and its probes' answers, and flows their links."""
        wait_for(self._is_whole, "links that are all in use again")

    def forget_falls(self) -> None:
        """Give the failing link another address for a moment, so that it is not held down."""
        for new, old in (
            (_OTHER_ADDRESS, FAILING.care_of_address),
            (FAILING.care_of_address, _OTHER_ADDRESS),
        ):
            run_ip(
                self.topology,
                "mr",
                f"addr add {new}/{FAILING.prefix.prefixlen} dev {FAILING.interface} nodad",
                f"addr del {old}/{FAILING.prefix.prefixlen} dev {FAILING.interface}",
            )
            wait_for(partial(self._has_address, new), f"address {new}")

    def restart(self, role: str, dead_time: float) -> None:
        """Kill an agent, and start it again after ``dead_time``."""
        self.daemons.kill(role)
        time.sleep(dead_time)
        self.daemons.start_again(role)
        wait_for(lambda: self._has_links(self.ask()), "the links of an agent that was killed")

    def find_active(self) -> list[str]:
        """Give the links of what has no policy of its own."""
        return list(self.ask()["policies"][-1]["active"])

    def ask(self) -> Any:
        """Give the mobile router's status."""
        return self.daemons.ask_mobile_router()

    def _has_address(self, address: IPv6Address) -> bool:
        return any(link["addresses"] == [str(address)] for link in self.ask()["links"])

    def _is_whole(self) -> bool:
        status = self.ask()
        return (
            self._has_links(status)
            and all(policy["downlink"] != "pending" for policy in status["policies"])
            and all(
                link["quality"] is None or link["quality"]["rtt_ms"] is not None
                for link in status["links"]
            )
        )

    def _has_links(self, status: Any) -> bool:
        links = len(plan.EGRESS_LINKS)
        return (
            count_usable(status) == links
            and len(self.daemons.ask_home_agent()["bindings"]) == links
            and status["policies"][-1]["active"] == [FAILING.name]
        )


@contextmanager
def build_agents(policies: str, *, probe: str | None) -> Iterator[AgentRouter]:
    """Start the agents with the policy file of that text, and each link probed by a profile."""
    with Topology(shaped=False) as topology:
        files = write_configs(topology.run_directory)
        files.policy.write_text(policies, encoding="utf-8")
        if probe is not None:
            text = files.mobile_router.read_text(encoding="utf-8")
            text = text.replace("\nifpri =", f'\nprobe = "{probe}"\nifpri =')
            files.mobile_router.write_text(text, encoding="utf-8")
        router = AgentRouter(topology, files)
        router.daemons.start()
        router.wait_until_whole()
        yield router


def format_policies(count: int, *, choose: str | None = None) -> str:
    """Write ``count`` policies, one of bicast and the others of other ports, then a default.

    The default is the watched flows' own; ``choose`` says how it chooses its link.
    """
    first, second, third = (f'"{link.name}"' for link in plan.EGRESS_LINKS)
    others = [
        f'[[policy]]\nname = "policy-{number}"\nlinks = [{second}, {first}]\n'
        f'match = {{ protocol = "udp", destination-port = {_FIRST_OTHER_PORT + number} }}\n'
        for number in range(count - 1)
    ]
    bicast = (
        f'[[policy]]\nname = "bicast"\nbicast = [{first}, {second}]\n'
        f'match = {{ protocol = "udp", destination-port = {BICAST_PORT} }}\n'
    )
    choice = "" if choose is None else f'choose = "{choose}"\n'
    return "\n".join(
        [bicast, *others, f"[default]\nlinks = [{first}, {second}, {third}]\n{choice}"]
    )


def wait_for(reached: Callable[[], bool], what: str, timeout: float = _TIMEOUT) -> None:
    """Wait until ``reached``; raise LabError if that takes too long."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if reached():
                return
        except ControlError:
            pass  # it is just starting
        if time.monotonic() > deadline:
            raise LabError(f"{what} did not come in {timeout:.0f} s")
        time.sleep(_POLL_INTERVAL)


def run_ip(topology: Topology, node: plan.NodeName, *lines: str) -> None:
    """Have ``ip -6`` obey ``lines`` in ``node``."""
    run_tool(["ip", "-n", topology.namespace(node), "-6", "-batch", "-"], lines)
