"""Milliseconds without delivery when the carrier of the active link goes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.gaps import find_longest_gap
from bench.programs import start_program, stop_program
from bench.report import Section, format_spread, format_table
from mrouter.lab import plan
from mrouter.lab.configs import write_configs
from mrouter.lab.daemons import Daemons
from mrouter.lab.plan import EGRESS_LINKS
from mrouter.lab.topology import Topology

AIM_MS = 50.0
_LINK = EGRESS_LINKS[0]
_WINDOW = 0.4
"""Seconds watched before the cut, after it and after the return."""
_CALL_PORT, _DOWN_PORT = 7000, 7001
_TIMEOUT = 15.0

STREAMS = ("uplink", "downlink of the same flow", "downlink of a flow without uplink")
_RECEIVERS = ("call-cn", "call-lfn", "down-lfn")


@dataclass(frozen=True, slots=True)
class Cut:
    """When a link was cut and when it had its binding again, seconds of the real-time clock."""

    cut_at: float
    restored_at: float
    back_at: float


def measure_failover(*, quick: bool) -> Section:
    """Cut and restore the active link again and again under three streams."""
    runs = 5 if quick else 20
    with Topology(shaped=False) as topology:
        daemons = Daemons(topology, write_configs(topology.run_directory))
        daemons.start()
        with _run_streams(topology) as arrivals:
            cuts = [_cut_once(topology, daemons) for _ in range(runs)]
    return _describe(cuts, arrivals)


def _cut_once(topology: Topology, daemons: Daemons) -> Cut:
    time.sleep(_WINDOW)
    cut_at = time.time()
    topology.cut(_LINK.name)
    time.sleep(_WINDOW)
    restored_at = time.time()
    topology.restore(_LINK.name)
    daemons.wait_for_bindings(len(EGRESS_LINKS), _TIMEOUT)
    back_at = time.time()
    time.sleep(_WINDOW)
    return Cut(cut_at, restored_at, back_at)


@contextmanager
def _run_streams(topology: Topology) -> Iterator[dict[str, list[float]]]:
    """Run the streams; what is given is filled with each receiver's arrivals at the end."""
    lfn, cn = str(plan.LFN_ADDRESS), str(plan.CN_ADDRESS)
    ends: dict[str, tuple[plan.NodeName, str, str, int]] = {
        "call-cn": ("cn", cn, lfn, _CALL_PORT),
        "call-lfn": ("lfn", lfn, cn, _CALL_PORT),
        "down-lfn": ("lfn", lfn, cn, _DOWN_PORT),
        "down-cn": ("cn", cn, lfn, _DOWN_PORT),
    }
    programs = {
        label: start_program(
            topology,
            node,
            "stream",
            [
                *("--local", local, "--peer", peer, "--port", str(port)),
                *(["--receive-only"] if label == "down-lfn" else []),
            ],
            label,
        )
        for label, (node, local, peer, port) in ends.items()
    }
    time.sleep(1.0)  # Python starts
    arrivals: dict[str, list[float]] = {}
    yield arrivals
    for label, program in programs.items():
        arrivals[label] = stop_program(topology, program, label)


def _describe(cuts: list[Cut], arrivals: dict[str, list[float]]) -> Section:
    rows, verdicts = [], []
    for stream, receiver in zip(STREAMS, _RECEIVERS, strict=True):
        times = arrivals[receiver]
        quiet, failover, back = (
            [find_longest_gap(times, begin, end) * 1000 for begin, end in windows]
            for windows in (
                [(cut.cut_at - _WINDOW, cut.cut_at) for cut in cuts],
                [(cut.cut_at, cut.cut_at + _WINDOW) for cut in cuts],
                [(cut.restored_at, cut.back_at + _WINDOW) for cut in cuts],
            )
        )
        rows.append((stream, *(format_spread(gaps) for gaps in (failover, quiet, back))))
        verdicts.append(
            (
                f"under {AIM_MS:.0f} ms, worst of {len(cuts)}: {stream}",
                f"{max(failover):.1f} ms (median {statistics.median(failover):.1f})",
                max(failover) < AIM_MS,
            )
        )
    return Section(
        "Failover",
        (
            _METHOD.format(runs=len(cuts), window=_WINDOW, link=_LINK.name),
            format_table(("stream", "link cut", "before the cut", "link back"), rows),
        ),
        tuple(verdicts),
    )


_METHOD = """\
UDP streams of 1000 packets a second between LFN and CN through the real agents. {runs} times the
Internet's end of {link}, the active link, is set down, so that the mobile router loses its
carrier; it comes back when {window} s are over. Figures are the longest time between two arrivals
in milliseconds, by the receiving kernel's timestamps, median (least-most) over the runs: in the
{window} s after the cut; for comparison in the {window} s before it, when nothing happened (1 ms
would be perfect); and from the link's return until {window} s after its binding's."""
