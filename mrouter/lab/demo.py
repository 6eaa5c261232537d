"""The demo: a vehicle's traffic over three links, one of which is cut under it."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from mrouter.control import ControlError
from mrouter.errors import MrouterError
from mrouter.lab import plan, traffic, verdict, view
from mrouter.lab.bulk import BulkOrder
from mrouter.lab.configs import BULK_PORT, CALL_PORT, write_configs
from mrouter.lab.daemons import Daemons
from mrouter.lab.namespaces import LabError
from mrouter.lab.plan import EGRESS_LINKS, LinkName
from mrouter.lab.topology import Topology
from mrouter.lab.verdict import DemoResult, Evidence, Snapshot

STEADY = 8.0
CUT = 8.0
RESTORED = 8.0
TOTAL = STEADY + CUT + RESTORED
"""Seconds of each phase, and of all."""

BULK_RATE = 24.0
"""Mbit/s: less than either link that the bulk transfer takes, so that a queue hides nothing."""
_PING_INTERVAL = 0.2
_LEAD = 1.5
"""Seconds for the traffic's programs to start."""
_TAIL = 0.5
"""Seconds that the traffic goes on after the last look at the mobile router."""
_EXIT_TIMEOUT = 8.0
_LOOK_INTERVAL = 0.5
_LINE_INTERVAL = 2.0
_SILENT_TIMEOUT = 3.0
"""Seconds that the mobile router may leave a question for its status unanswered."""


def run_demo(console: Console, headless: bool = False) -> DemoResult:
    """Run the demo in under 60 seconds, print what happens to ``console`` and how it went.

    On a terminal, unless ``headless``, links, bindings and flows are shown live. Needs root.
    KeyboardInterrupt and SystemExit pass through after everything has been removed.
    """
    console.print(plan.draw_topology(), highlight=False, markup=False, soft_wrap=True)
    try:
        with Topology() as topology:
            console.print(f"Built the network: namespaces mrl-{topology.lab_id}-*.")
            daemons = Daemons(topology, write_configs(topology.run_directory))
            try:
                result = _run_scenario(console, topology, daemons, headless)
            except (MrouterError, OSError) as error:
                result = DemoResult((str(error),), logs=daemons.read_logs())
            else:
                if result.problems:
                    result = DemoResult(result.problems, result.evidence, daemons.read_logs())
    except LabError as error:
        result = DemoResult((str(error),))
    _print_result(console, result)
    return result


def _run_scenario(
    console: Console, topology: Topology, daemons: Daemons, headless: bool
) -> DemoResult:
    daemons.start()
    console.print(f"Home agent and mobile router run; {len(EGRESS_LINKS)} bindings are registered.")
    start = _take_snapshot(daemons, "start")
    drops_before = _count_backlog_drops()
    start_at = time.monotonic() + _LEAD
    programs = _start_traffic(topology, start_at)
    console.print("Traffic starts: a call both ways, a bulk transfer, pings.")
    show = _Show(console, topology, daemons, start_at)
    if console.is_terminal and not headless:
        with Live(console=console, auto_refresh=False) as live:
            show.live = live
            snapshots = _play(topology, daemons, show, start_at)
    else:
        snapshots = _play(topology, daemons, show, start_at)
    _await_end(programs)
    drops = _count_backlog_drops() - drops_before
    evidence = replace(_collect(topology, start, snapshots), backlog_drops=drops)
    names = [link.name for link in EGRESS_LINKS]
    return DemoResult(verdict.judge(evidence, names), evidence)


@dataclass(frozen=True, slots=True)
class _Snapshots:
    cut_link: LinkName
    cut_at: float
    restored_at: float
    steady: Snapshot
    cut: Snapshot
    restored: Snapshot


def _play(topology: Topology, daemons: Daemons, show: _Show, start_at: float) -> _Snapshots:
    """Let the traffic run, cut the link that carries the bulk transfer, and bring it back."""
    show.announce("all links are up")
    show.run_until(start_at + STEADY)
    steady = _take_snapshot(daemons, "all links up")
    cut_link = _find_bulk_link(steady)
    topology.cut(cut_link)
    cut_at = time.monotonic()
    show.announce(f"{cut_link}, which carries the bulk transfer, is cut")
    show.run_until(start_at + STEADY + CUT)
    cut = _take_snapshot(daemons, f"{cut_link} cut")
    restored_at = time.monotonic()
    topology.restore(cut_link)
    show.announce(f"{cut_link} is back")
    show.run_until(start_at + TOTAL)
    restored = _take_snapshot(daemons, f"{cut_link} back")
    return _Snapshots(cut_link, cut_at, restored_at, steady, cut, restored)


def _find_bulk_link(snapshot: Snapshot) -> LinkName:
    taken = snapshot.flow_links(verdict.BULK)
    for link in EGRESS_LINKS:
        if link.name in taken:
            return link.name
    raise LabError("the mobile router shows no link for the bulk transfer; is it running?")


def _take_snapshot(daemons: Daemons, phase: str) -> Snapshot:
    return Snapshot(phase, daemons.ask_mobile_router(), daemons.ask_mobile_router("flows"))


def _start_traffic(topology: Topology, start_at: float) -> dict[str, subprocess.Popen[bytes]]:
    on_board, far = str(plan.LFN_ADDRESS), str(plan.CN_ADDRESS)
    duration = TOTAL + _TAIL
    call, bulk = CALL_PORT, (far, BULK_PORT)
    commands: dict[str, tuple[plan.NodeName, list[str]]] = {
        "call-lfn": (
            "lfn",
            traffic.call_command(
                (on_board, call), (far, call), start_at=start_at, duration=duration
            ),
        ),
        "call-cn": (
            "cn",
            traffic.call_command(
                (far, call), (on_board, call), start_at=start_at, duration=duration
            ),
        ),
        "bulk-cn": ("cn", traffic.bulk_server_command(bulk)),
        "bulk-lfn": (
            "lfn",
            traffic.bulk_command(bulk, BulkOrder(duration, BULK_RATE), start_at=start_at),
        ),
        "pings": (
            "lfn",
            traffic.ping_command(
                far, interval=_PING_INTERVAL, start_at=start_at, duration=duration
            ),
        ),
    }
    return {
        label: topology.run_in(node, argv, label=label) for label, (node, argv) in commands.items()
    }


def _await_end(programs: dict[str, subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + _EXIT_TIMEOUT
    for label, program in programs.items():
        try:
            program.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise LabError(f"the traffic program {label} does not end") from error


def _collect(topology: Topology, start: Snapshot, snapshots: _Snapshots) -> Evidence:
    """Join what senders, receivers and the mobile router counted."""
    cut_at = snapshots.cut_at
    call_lfn = _read_summary(topology, "call-lfn")
    call_cn = _read_summary(topology, "call-cn")
    pings = _read_summary(topology, "pings")
    sender = _read_summary(topology, "bulk-lfn")
    receiver = _read_summary(topology, "bulk-cn")
    progress = traffic.read_events(topology.output_path("bulk-cn"))
    at_cut = _count_bulk(progress, cut_at)
    at_return = _count_bulk(progress, snapshots.restored_at)
    return Evidence(
        cut_link=snapshots.cut_link,
        calls=(
            verdict.combine_flow("call LFN to CN", call_lfn, call_cn, cut_at),
            verdict.combine_flow("call CN to LFN", call_cn, call_lfn, cut_at),
        ),
        pings=verdict.combine_flow("pings", pings, pings, cut_at),
        bulk=verdict.BulkResult(
            segments=sender["segments"],
            retransmitted=sender["retransmitted"],
            received_octets=receiver["bytes"],
            steady_octets=at_cut,
            cut_octets=at_return - at_cut,
            finished=receiver["finished"],
            failover_gap=verdict.find_failover_gap(receiver, cut_at),
            gap_threshold=receiver["gap_threshold_ms"],
        ),
        start=start,
        steady=snapshots.steady,
        cut=snapshots.cut,
        restored=snapshots.restored,
    )


def _count_backlog_drops() -> int:
    """Count the packets that any processor dropped as its receive queue, which all share, was full.

    The second field of each line of softnet_stat, in hexadecimal.
    """
    lines = Path("/proc/net/softnet_stat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1], 16) for line in lines)


def _read_summary(topology: Topology, label: str) -> dict[str, Any]:
    events = traffic.read_events(topology.output_path(label))
    if not events or events[-1]["event"] != "summary":
        errors = topology.log_path(label).read_text(encoding="utf-8", errors="replace")
        raise LabError(f"the traffic program {label} ended without a summary: {errors.strip()}")
    return events[-1]


def _count_bulk(events: list[dict[str, Any]], until: float) -> int:
    """Count the octets that had arrived by ``until``, by the last report before."""
    counts = [event["bytes"] for event in events if "bytes" in event and event["at"] <= until]
    return int(counts[-1]) if counts else 0


@dataclass(slots=True)
class _Show:
    """Asks the mobile router again and again and shows what it says."""

    console: Console
    topology: Topology
    daemons: Daemons
    start_at: float
    live: Live | None = None
    stage: str = ""
    _octets: dict[str, tuple[int, int]] = field(default_factory=dict)
    _looked_at: float = 0.0
    _answered_at: float = field(default_factory=time.monotonic)
    _line_at: float = 0.0

    def announce(self, stage: str) -> None:
        """Begin the next stage."""
        self.stage = stage
        if self.live is None:
            elapsed = max(0.0, time.monotonic() - self.start_at)
            self.console.print(f"{elapsed:5.1f} s  {stage}.", highlight=False)

    def run_until(self, deadline: float) -> None:
        """Show what happens until ``deadline``; raise LabError if a daemon ends or hangs."""
        while (now := time.monotonic()) < deadline:
            self.daemons.check_alive()
            try:
                snapshot = _take_snapshot(self.daemons, self.stage)
            except ControlError as error:
                if now - self._answered_at > _SILENT_TIMEOUT:
                    raise LabError(f"the mobile router does not answer: {error}") from error
            else:
                self._answered_at = now
                self._draw(snapshot, now)
            time.sleep(max(0.0, min(_LOOK_INTERVAL, deadline - time.monotonic())))

    def _draw(self, snapshot: Snapshot, now: float) -> None:
        rates = self._measure(snapshot, now)
        elapsed = max(0.0, now - self.start_at)
        status, flows = snapshot.status, snapshot.flows
        if self.live is not None:
            counts = self._read_counts()
            picture = view.render_live(self.stage, elapsed, TOTAL, status, flows, rates, counts)
            self.live.update(picture, refresh=True)
        elif now >= self._line_at:
            self._line_at = now + _LINE_INTERVAL
            line = view.describe_moment(elapsed, status, flows, rates)
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _measure(self, snapshot: Snapshot, now: float) -> dict[str, tuple[float, float]]:
        """Give each link's Mbit/s since the last look."""
        interval, self._looked_at = now - self._looked_at, now
        rates = {}
        for link in snapshot.status["links"]:
            name = link["name"]
            octets = (snapshot.octets(name, "uplink"), snapshot.octets(name, "downlink"))
            before = self._octets.get(name, octets)
            self._octets[name] = octets
            up, down = (
                max(0, new - old) * 8 / interval / 1e6
                for new, old in zip(octets, before, strict=True)
            )
            rates[name] = (up, down)
        return rates

    def _read_counts(self) -> dict[str, str]:
        counts = {}
        for label in ("call-cn", "call-lfn", "pings", "bulk-cn"):
            events = traffic.read_events(self.topology.output_path(label))
            if not events or events[-1]["event"] == "ready":
                continue
            last = events[-1]
            if "bytes" in last:
                counts[label] = f"{last['bytes'] / 1e6:.1f} MB received"
            else:
                counts[label] = f"{last['received']} received, {last['duplicated']} twice"
        return counts


def _print_result(console: Console, result: DemoResult) -> None:
    if result.evidence is not None:
        console.print(view.render_summary(result.evidence))
    for problem in result.problems:
        console.print(f"Problem: {problem}", style="red", markup=False, highlight=False)
    if result.logs:
        console.print(result.logs, markup=False, highlight=False)
    if result.problems:
        console.print("The demo failed.", style="bold red")
    else:
        console.print("The demo went as it should.", style="bold green")
