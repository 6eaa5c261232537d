"""LFN - MR = {lte, wifi, sat} = Internet - HA - CN, in five network namespaces."""

from __future__ import annotations

import atexit
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from mrouter.lab import namespaces, plan
from mrouter.lab.interrupts import InterruptGuard
from mrouter.lab.namespaces import LabError
from mrouter.lab.plan import EGRESS_LINKS, NODES, LinkName, NodeName

_ROUTERS: tuple[NodeName, ...] = ("mr", "net", "ha")
_SILENCE_TABLE = "mrouter_lab_silence"
_GRACE = 3.0
"""Seconds for the daemons to de-register and go before they are killed."""
_CARRIER_TIMEOUT = 2.0


class Topology:
    """The lab's network; as a context manager it leaves nothing behind, whatever happens.

    ``lab_id`` names the namespaces ``mrl-<lab_id>-<node>``, by default at random.
    ``shaped=False`` leaves out the links' rates, for benchmarks. Configurations, sockets and
    logs go to ``run_directory``, by default a temporary one. Inside ``with``, SIGTERM and
    SIGHUP raise SystemExit, SIGINT raises KeyboardInterrupt, and both wait while the network
    is being built or removed.
    """

    def __init__(
        self,
        lab_id: str | None = None,
        *,
        shaped: bool = True,
        run_directory: Path | None = None,
    ) -> None:
        self.lab_id = namespaces.check_name(lab_id or secrets.token_hex(3))
        self.shaped = shaped
        self._given_directory = run_directory
        self._made_directory: Path | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._guard = InterruptGuard()
        self._kept = False

    def __enter__(self) -> Topology:
        self._guard.install()
        atexit.register(self.destroy)
        try:
            self.create()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        try:
            if not self._kept:
                self.destroy()
        finally:
            atexit.unregister(self.destroy)
            self._guard.restore()

    def keep(self) -> None:
        """Let the network and what runs in it outlive ``with``; ``destroy`` still removes it."""
        self._kept = True

    @property
    def run_directory(self) -> Path:
        """Give the directory of configurations, sockets and logs, made when first asked for."""
        if self._given_directory is not None:
            return self._given_directory
        if self._made_directory is None:
            self._made_directory = Path(tempfile.mkdtemp(prefix="mrouter-lab-"))
        return self._made_directory

    @property
    def namespaces(self) -> tuple[str, ...]:
        """List the names of the lab's namespaces."""
        return tuple(self.namespace(node) for node in NODES)

    def namespace(self, node: NodeName) -> str:
        """Name the namespace that plays ``node``."""
        return f"mrl-{self.lab_id}-{node}"

    def create(self) -> None:
        """Build the network; on failure remove what was built and raise LabError."""
        with self._guard.deferred():
            namespaces.create_namespaces(self.namespaces)
            try:
                self._build()
            except BaseException:
                self.destroy()
                raise

    def destroy(self) -> None:
        """End the lab's processes, delete its namespaces and its temporary directory.

        Harmless when there is nothing (left) to remove. Raise LabError if a process survives.
        """
        with self._guard.deferred():
            try:
                self._end_processes()
            finally:
                namespaces.delete_namespaces(self.namespaces)
                if self._made_directory is not None:
                    shutil.rmtree(self._made_directory, ignore_errors=True)
                    self._made_directory = None

    def run_in(self, node: NodeName, argv: Sequence[str], *, label: str) -> subprocess.Popen[bytes]:
        """Start ``argv`` in ``node``: output to ``<label>.out``, errors to ``<label>.log``.

        Both files are in the run directory. The process has a session of its own; ``destroy``
        ends it.
        """
        with (
            self._guard.deferred(),
            self.output_path(label).open("wb") as output,
            self.log_path(label).open("wb") as log,
        ):
            process = subprocess.Popen(
                namespaces.enter(self.namespace(node), argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                start_new_session=True,
                cwd=self.run_directory,
            )
            self._processes.append(process)
        return process

    def execute(
        self,
        node: NodeName,
        argv: Sequence[str],
        *,
        timeout: float | None = 30.0,
        check: bool = True,
        input_text: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``argv`` in ``node`` to its end and give what it printed.

        Raise subprocess.CalledProcessError if ``check`` and it failed, TimeoutExpired after
        ``timeout`` seconds.
        """
        return subprocess.run(
            namespaces.enter(self.namespace(node), argv),
            capture_output=True,
            text=True,
            input=input_text,
            timeout=timeout,
            check=check,
        )

    def output_path(self, label: str) -> Path:
        """Give the file that the process ``label`` prints to."""
        return self.run_directory / f"{label}.out"

    def log_path(self, label: str) -> Path:
        """Give the file of the process ``label``'s errors."""
        return self.run_directory / f"{label}.log"

    def cut(self, link: LinkName) -> None:
        """Take the Internet's end of ``link`` down: the mobile router loses its carrier."""
        self._ip("net", [f"link set {link} down"])

    def silence(self, link: LinkName) -> None:
        """Make ``link`` swallow every packet both ways, while its carrier stays."""
        namespaces.run_tool(
            namespaces.enter(self.namespace("net"), ["nft", "-f", "-"]),
            [
                f"add table ip6 {_SILENCE_TABLE}_{link}",
                f"add chain ip6 {_SILENCE_TABLE}_{link} in"
                " { type filter hook prerouting priority raw; }",
                f"add chain ip6 {_SILENCE_TABLE}_{link} out"
                " { type filter hook postrouting priority raw; }",
                f"add rule ip6 {_SILENCE_TABLE}_{link} in iifname {link} drop",
                f"add rule ip6 {_SILENCE_TABLE}_{link} out oifname {link} drop",
            ],
        )

    def restore(self, link: LinkName) -> None:
        """Undo ``cut`` and ``silence``, and wait until both ends carry packets again."""
        name = f"{_SILENCE_TABLE}_{link}"
        namespaces.run_tool(
            namespaces.enter(self.namespace("net"), ["nft", "-f", "-"]),
            [f"add table ip6 {name}", f"delete table ip6 {name}"],
        )
        self._ip("net", [f"link set {link} up"])
        self._wait_until_up("net", link)
        self._wait_until_up("mr", plan.find_link(link).interface)

    def route_without_tunnel(self, link: LinkName) -> None:
        """Let the Internet reach the mobile network by ``link`` itself, without a home agent.

        For benchmarks and for tests of the lab alone: no mobility, plain forwarding. A cut of
        ``link`` takes the route away for good.
        """
        care_of_address = plan.find_link(link).care_of_address
        self._ip("net", [f"route replace {plan.MOBILE_NETWORK_PREFIX} via {care_of_address}"])

    def _build(self) -> None:
        namespaces.run_in_each(
            ["sh", "-s"], {self.namespace(node): _list_settings(node) for node in NODES}
        )
        namespaces.run_tool(["ip", "-batch", "-"], self._list_cables())
        namespaces.run_in_each(
            ["ip", "-6", "-batch", "-"],
            {self.namespace(node): lines for node, lines in _list_addresses().items()},
        )
        if self.shaped:
            namespaces.run_in_each(
                ["tc", "-batch", "-"],
                {
                    self.namespace("mr"): [_shape(k.interface, k.rate) for k in EGRESS_LINKS],
                    self.namespace("net"): [_shape(k.name, k.rate) for k in EGRESS_LINKS],
                },
            )

    def _list_cables(self) -> list[str]:
        """List the lines that make the veth pairs.

        An egress pair's two interface numbers differ because ``mr`` has lan0 first: the kernel
        reports a lost carrier at once only if they do, else up to a second later (linkwatch).
        """
        cables: list[tuple[NodeName, str, NodeName, str]] = [
            ("lfn", "lan0", "mr", "lan0"),
            *(("mr", link.interface, "net", link.name) for link in EGRESS_LINKS),
            ("ha", "wan0", "net", "ha"),
            ("cn", "eth0", "net", "cn"),
        ]
        return [
            f"link add {here} netns {self.namespace(node)} type veth"
            f" peer name {there} netns {self.namespace(other)}"
            for node, here, other, there in cables
        ]

    def _end_processes(self) -> None:
        # A process that was started a moment ago may not have entered its namespace yet, so
        # those that we know are asked to go by themselves, before the namespaces are searched.
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        namespaces.end_processes(self.namespaces, _GRACE)
        for process in self._processes:
            try:
                process.wait(timeout=_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _ip(self, node: NodeName, lines: Sequence[str]) -> None:
        namespaces.run_tool(["ip", "-n", self.namespace(node), "-6", "-batch", "-"], lines)

    def _wait_until_up(self, node: NodeName, interface: str) -> None:
        """Wait for the operational state: the carrier alone comes before the queue that sends."""
        deadline = time.monotonic() + _CARRIER_TIMEOUT
        show = ["ip", "-n", self.namespace(node), "-o", "link", "show", "dev", interface]
        while " state UP " not in namespaces.run_tool(show):
            if time.monotonic() > deadline:
                raise LabError(f"{interface} of {node} does not come up again")
            time.sleep(0.01)


def _list_settings(node: NodeName) -> list[str]:
    """List the shell lines that prepare ``node`` before it has an interface.

    Interfaces take over ``default`` when they are made. Addresses must be usable at once, hold
    over a cut, and never come from router advertisements.
    """
    settings = {
        "accept_dad": 0,
        "accept_ra": 0,
        "router_solicitations": 0,
        "keep_addr_on_down": 1,
    }
    if node in _ROUTERS:
        settings["forwarding"] = 1
    return [
        "set -e",
        *(
            f"echo {value} > /proc/sys/net/ipv6/conf/{scope}/{name}"
            for name, value in settings.items()
            for scope in ("all", "default")
        ),
    ]


def _list_addresses() -> dict[NodeName, list[str]]:
    """List each node's lines for ``ip -batch``: addresses, routes and MTUs."""
    mr = [
        *_start("lan0", f"{plan.MR_INGRESS_ADDRESS}/64", plan.INNER_MTU),
        f"addr add {plan.HOME_ADDRESS}/128 dev lo nodad",
    ]
    net = [
        *_start("ha", f"{plan.HA_GATEWAY}/64"),
        *_start("cn", f"{plan.CN_GATEWAY}/64"),
        f"route add {plan.HOME_PREFIX} via {plan.HA_ADDRESS}",
        f"route add {plan.MOBILE_NETWORK_PREFIX} via {plan.HA_ADDRESS}",
    ]
    for link in EGRESS_LINKS:
        mr += _start(link.interface, f"{link.care_of_address}/64")
        mr.append(f"route add default via {link.gateway} dev {link.interface} metric {link.metric}")
        net += _start(link.name, f"{link.gateway}/64")
    ha = [
        *_start("wan0", f"{plan.HA_ADDRESS}/64"),
        f"route add default via {plan.HA_GATEWAY}",
        # Without a binding these would go round between HA and Internet until their hop limit.
        f"route add unreachable {plan.HOME_PREFIX} metric 100000",
        f"route add unreachable {plan.MOBILE_NETWORK_PREFIX} metric 100000",
    ]
    lfn = [
        *_start("lan0", f"{plan.LFN_ADDRESS}/64", plan.INNER_MTU),
        f"route add default via {plan.MR_INGRESS_ADDRESS}",
    ]
    cn = [
        *_start("eth0", f"{plan.CN_ADDRESS}/64", plan.INNER_MTU),
        f"route add default via {plan.CN_GATEWAY}",
    ]
    lines: dict[NodeName, list[str]] = {"lfn": lfn, "mr": mr, "net": net, "ha": ha, "cn": cn}
    return {node: ["link set lo up", *commands] for node, commands in lines.items()}


def _start(interface: str, address: str, mtu: int | None = None) -> list[str]:
    size = "" if mtu is None else f" mtu {mtu}"
    return [f"link set {interface}{size} up", f"addr add {address} dev {interface} nodad"]


def _shape(interface: str, rate: int) -> str:
    return f"qdisc add dev {interface} root tbf rate {rate}mbit burst 64kb latency 50ms"
