"""From process start to the first Binding Update, memory, and what the imports cost."""

from __future__ import annotations

import os
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.programs import start_program
from bench.report import Section, format_spread, format_table
from mrouter.lab.configs import write_configs
from mrouter.lab.daemons import HOME_AGENT, MOBILE_ROUTER, Daemons, build_command
from mrouter.lab.namespaces import LabError
from mrouter.lab.topology import Topology

AIM_MS = 500.0
AIM_MB = 45.0
_TIMEOUT = 20.0
_IMPORT_LINE = re.compile(r"import time:\s*(\d+) \|\s*(\d+) \| +(\S+)")
_LISTED_PACKAGES = 12
_SETTLE = 1.0
"""Seconds after the registration before the memory is read."""


@dataclass(frozen=True, slots=True)
class Start:
    """One start: elapsed time and the agent's CPU time until the first update, and its log."""

    milliseconds: float
    cpu_milliseconds: float
    log: str


def measure_start(*, quick: bool) -> Section:
    """Start a mobile router in a fresh network again and again, then look at memory, imports."""
    runs = 3 if quick else 10
    starts = [_start_once() for _ in range(runs)]
    memory = _measure_memory()
    imports = _measure_imports(max(3, runs // 2))
    return _describe(starts, memory, imports)


def _start_once(*options: str) -> Start:
    """Start a mobile router, with Python's ``options``, and wait for its first Binding Update.

    It is watched where it arrives, one cable away. There is no home agent to answer.
    """
    with Topology(shaped=False) as topology:
        files = write_configs(topology.run_directory)
        start_program(topology, "net", "watch", [], "watch")
        output = topology.output_path("watch")
        _wait_for(lambda: _count_lines(output) >= 1, "the watcher does not start")
        python, *arguments = build_command(files.mobile_router)
        started_at = time.monotonic()
        agent = topology.run_in("mr", [python, *options, *arguments], label=MOBILE_ROUTER)
        _wait_for(lambda: _count_lines(output) >= 2, "no Binding Update came")
        arrived_at = float(output.read_text(encoding="utf-8").split()[-1])
        return Start(
            milliseconds=(arrived_at - started_at) * 1000,
            cpu_milliseconds=_read_cpu_milliseconds(agent.pid),
            log=topology.log_path(MOBILE_ROUTER).read_text(encoding="utf-8"),
        )


def _read_cpu_milliseconds(process: int) -> float:
    """Give what the process has used so far, with the children that it has waited for."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK") * 1000


def _count_lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


def _wait_for(reached: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while not reached():
        if time.monotonic() > deadline:
            raise LabError(complaint)
        time.sleep(0.01)


def _measure_memory() -> dict[str, dict[str, float]]:
    """Give each role's resident memory in MB when it has registered, and has been asked."""
    with Topology(shaped=False) as topology:
        daemons = Daemons(topology, write_configs(topology.run_directory))
        daemons.start()
        time.sleep(_SETTLE)
        return {role: _read_memory(daemons.pids[role]) for role in (MOBILE_ROUTER, HOME_AGENT)}


def _read_memory(process: int) -> dict[str, float]:
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return {
        name: int(fields[name].split()[0]) * 1024 / 1e6
        for name in ("VmRSS", "RssAnon", "RssFile", "VmHWM")
    }


def _measure_imports(runs: int) -> dict[str, float]:
    """Give the ms that each top-level package's modules take until the first Binding Update."""
    measured: dict[str, list[float]] = defaultdict(list)
    for _ in range(runs):
        log = _start_once("-X", "importtime").log
        for package, milliseconds in sum_imports(log.splitlines()).items():
            measured[package].append(milliseconds)
    return {package: statistics.median(values) for package, values in measured.items()}


def sum_imports(lines: Iterable[str]) -> dict[str, float]:
    """Sum up the lines of ``python -X importtime``: each top-level package's own ms."""
    sums: dict[str, float] = defaultdict(float)
    for line in lines:
        found = _IMPORT_LINE.fullmatch(line)
        if found:
            sums[found[3].partition(".")[0]] += int(found[1]) / 1000
    return sums


def _describe(
    starts: list[Start], memory: dict[str, dict[str, float]], imports: dict[str, float]
) -> Section:
    worst = max(figures["VmRSS"] for figures in memory.values())
    costly = sorted(imports.items(), key=lambda item: -item[1])
    elapsed = [start.milliseconds for start in starts]
    used = [start.cpu_milliseconds for start in starts]
    rest = sum(milliseconds for _, milliseconds in costly[_LISTED_PACKAGES:])
    return Section(
        "Start",
        (
            _METHOD.format(runs=len(starts)),
            format_table(
                ("until the first Binding Update", "ms"),
                [
                    ("elapsed", format_spread(elapsed, 0)),
                    ("CPU time, children with it", format_spread(used, 0)),
                ],
            ),
            "Resident memory of the agents with three bindings registered, MB (10^6 octets);"
            " RssFile is shared with every other process that maps the same files:",
            format_table(
                ("agent", "VmRSS", "RssAnon", "RssFile", "VmHWM (peak)"),
                [
                    (role, *(f"{value:.1f}" for value in figures.values()))
                    for role, figures in memory.items()
                ],
            ),
            "Imports until then by package (`-X importtime`, which itself costs time; each"
            " package's own modules, medians):",
            format_table(
                ("package", "ms"),
                [
                    *((name, f"{value:.1f}") for name, value in costly[:_LISTED_PACKAGES]),
                    (f"{max(0, len(costly) - _LISTED_PACKAGES)} others", f"{rest:.1f}"),
                    ("all", f"{sum(imports.values()):.1f}"),
                ],
            ),
        ),
        (
            (
                f"under {AIM_MS:.0f} ms from process start to the first Binding Update",
                f"{statistics.median(elapsed):.0f} ms",
                statistics.median(elapsed) < AIM_MS,
            ),
            (f"under {AIM_MB:.0f} MB resident", f"{worst:.1f} MB", worst < AIM_MB),
        ),
    )


_METHOD = """\
`python -m mrouter run mr.toml` in a network made afresh each time, {runs} times: from just before
the process is started (`ip netns exec` included) to the arrival of its first Binding Update at
the other end of the cable. By then it has read its files, looked at the links and built its
kernel state."""
