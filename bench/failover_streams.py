"""The streams between LFN and CN under which links fail, and what one failure cost each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.gaps import (
    Loss,
    Packet,
    count_duplicates,
    count_lost,
    find_longest_gap,
    find_losses,
)
from bench.programs import start_program, stop_program
from bench.stream import Recording
from mrouter.lab import plan
from mrouter.lab.namespaces import LabError
from mrouter.lab.topology import Topology

FLOW_PORT, DOWNLINK_PORT, BICAST_PORT = 7000, 7001, 7002
_START_TIME = 1.0
"""Seconds until both ends' interpreters send."""
_LATE = 0.5
"""Seconds before a recording's end since which a stream must have had an arrival."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One direction of one flow: where it is received, and by which UDP port (None: TCP)."""

    name: str
    node: plan.NodeName
    port: int | None


UPLINK = Stream("UDP up", "cn", FLOW_PORT)
DOWNLINK = Stream("UDP down", "lfn", FLOW_PORT)
LONE_DOWNLINK = Stream("UDP down, no uplink", "lfn", DOWNLINK_PORT)
BICAST_UPLINK = Stream("bicast up", "cn", BICAST_PORT)
BICAST_DOWNLINK = Stream("bicast down", "lfn", BICAST_PORT)
TCP_UPLINK = Stream("TCP up", "cn", None)
TCP_DOWNLINK = Stream("TCP down", "lfn", None)
FAILOVER_STREAMS = (UPLINK, DOWNLINK, LONE_DOWNLINK)
BICAST_STREAMS = (BICAST_UPLINK, BICAST_DOWNLINK)
TCP_STREAMS = (TCP_UPLINK, TCP_DOWNLINK)


@dataclass(frozen=True, slots=True)
class Incident:
    """When a cause came, when it went, and when all was as before; the real-time clock."""

    begun_at: float
    undone_at: float
    over_at: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What one incident cost one stream.

    ``lost`` and ``lost_on_return`` are packets, which are milliseconds of the stream; ``gap`` is
    the longest time without an arrival until all was over, in milliseconds.
    """

    lost: int
    lost_on_return: int
    duplicates: int
    gap: float


class Arrivals:
    """What one stream's receiver kept."""

    def __init__(self, packets: Sequence[Packet], times: Sequence[float]) -> None:
        self._packets = packets
        self._times = times
        self._losses: list[Loss] = find_losses(packets)

    def weigh(self, incident: Incident) -> Cost:
        """Give what ``incident`` cost."""
        begun_at, undone_at, over_at = incident.begun_at, incident.undone_at, incident.over_at
        return Cost(
            count_lost(self._losses, begun_at, undone_at),
            count_lost(self._losses, undone_at, over_at),
            count_duplicates(self._packets, begun_at, over_at),
            find_longest_gap(self._times, begun_at, over_at) * 1000,
        )


@contextmanager
def record_streams(topology: Topology, *, bicast: bool) -> Iterator[dict[Stream, Arrivals]]:
    """Run the streams; what is given is filled at the end.

    Without ``bicast`` only those of one flow and TCP run.
    """
    both_ways = [str(port) for port in (FLOW_PORT, *((BICAST_PORT,) if bicast else ()))]
    down = [str(DOWNLINK_PORT)] if bicast else []
    lfn, cn = str(plan.LFN_ADDRESS), str(plan.CN_ADDRESS)
    common = ["--both-ways", *both_ways, "--tcp", str(FLOW_PORT)]
    arguments: dict[plan.NodeName, list[str]] = {
        "cn": ["--local", cn, "--peer", lfn, "--only-send", *down, *common, "--listen"],
        "lfn": ["--local", lfn, "--peer", cn, "--only-receive", *down, *common],
    }
    programs = {
        node: start_program(topology, node, "stream", lines, f"stream-{node}")
        for node, lines in arguments.items()
    }
    topology.execute("net", ["sleep", str(_START_TIME)])
    arrivals: dict[Stream, Arrivals] = {}
    yield arrivals
    recordings: dict[str, Recording] = {
        node: stop_program(topology, program, f"stream-{node}")
        for node, program in programs.items()
    }
    streams = (UPLINK, DOWNLINK, *TCP_STREAMS)
    for stream in (*streams, LONE_DOWNLINK, *BICAST_STREAMS) if bicast else streams:
        arrivals[stream] = _read_arrivals(stream, recordings[stream.node])


def _read_arrivals(stream: Stream, recording: Recording) -> Arrivals:
    if stream.port is None:
        packets, times = [], recording["reads"]
    else:
        packets = [Packet(*each) for each in recording["packets"][str(stream.port)]]
        times = [packet.arrived_at for packet in packets]
    ended_at = max(
        (each[-1][2] for each in recording["packets"].values() if each), default=float("inf")
    )
    # TCP may still wait for its next repetition
    if not times or (stream.port is not None and times[-1] < ended_at - _LATE):
        raise LabError(f"the stream {stream.name} has ceased")
    return Arrivals(packets, times)
