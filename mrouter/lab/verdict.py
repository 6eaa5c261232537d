"""What the demo measured, and whether that is what a mobile router owes its vehicle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

CALL = "call"
BULK = "bulk"

_BULK_SHARE = 0.25
"""The least of the steady rate that the bulk transfer must keep while its link is cut."""
_PINGS_LOST = 2
_FAILOVER_WINDOW = 4.0
"""Seconds after the cut in which a gap in arrivals is the failover's."""


@dataclass(frozen=True, slots=True)
class FlowResult:
    """One direction of one flow, as sender and receiver counted it.

    ``failover_gap`` is in ms; ``None`` if no gap after the cut reached the receiver's threshold.
    """

    name: str
    sent: int
    received: int
    lost: int
    duplicated: int
    failover_gap: float | None
    gap_threshold: float


@dataclass(frozen=True, slots=True)
class BulkResult:
    """The bulk transfer: segments and octets, and how much arrived in each phase."""

    segments: int
    retransmitted: int
    received_octets: int
    steady_octets: int
    cut_octets: int
    finished: bool
    failover_gap: float | None
    gap_threshold: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the mobile router said of itself at the end of a phase."""

    phase: str
    status: dict[str, Any]
    flows: list[dict[str, Any]]

    def octets(self, link: str, direction: str) -> int:
        """Give the tunnel's octets so far over ``link``, ``direction`` uplink or downlink."""
        for entry in self.status["links"]:
            if entry["name"] == link:
                return int(entry[direction]["bytes"])
        return 0

    def flow_links(self, policy: str) -> tuple[str, ...]:
        """Give the links that the first flow of ``policy`` takes, none if there is no flow."""
        for flow in self.flows:
            if flow["policy"] == policy:
                return tuple(flow["links"])
        return ()

    def usable_links(self) -> set[str]:
        """Give the links whose binding carries traffic."""
        return {entry["link"] for entry in self.status["bindings"] if entry["usable"]}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything measured; the snapshots are of the start and of each phase's end.

    ``backlog_drops`` are packets that this machine, not the lab's network, dropped meanwhile.
    """

    cut_link: str
    calls: tuple[FlowResult, ...]
    pings: FlowResult
    bulk: BulkResult
    start: Snapshot
    steady: Snapshot
    cut: Snapshot
    restored: Snapshot
    backlog_drops: int = 0


@dataclass(frozen=True, slots=True)
class DemoResult:
    """How the demo went: no problems means that everything held."""

    problems: tuple[str, ...]
    evidence: Evidence | None = None
    logs: str = ""

    @property
    def exit_code(self) -> int:
        """Give 0 if everything held, else 1."""
        return 1 if self.problems else 0


def combine_flow(
    name: str,
    sender: dict[str, Any],
    receiver: dict[str, Any],
    cut_at: float,
) -> FlowResult:
    """Join the sender's and the receiver's summary events of one direction."""
    return FlowResult(
        name=name,
        sent=sender["sent"],
        received=receiver["received"],
        lost=sender["sent"] - receiver["received"],
        duplicated=receiver["duplicated"],
        failover_gap=find_failover_gap(receiver, cut_at),
        gap_threshold=receiver["gap_threshold_ms"],
    )


def find_failover_gap(receiver: dict[str, Any], cut_at: float) -> float | None:
    """Find the longest gap in ms that ended within seconds of the cut, None if none did."""
    lengths = [
        float(length)
        for ended_at, length in receiver["gaps"]
        if cut_at <= ended_at <= cut_at + _FAILOVER_WINDOW
    ]
    return max(lengths, default=None)


def count_octets(before: Snapshot, after: Snapshot, link: str, direction: str) -> int:
    """Count the octets between two snapshots; a counter that began anew counts from 0."""
    first, last = before.octets(link, direction), after.octets(link, direction)
    return last - first if last >= first else last


def judge(evidence: Evidence, links: Iterable[str]) -> tuple[str, ...]:
    """List what went wrong, nothing if all went as a mobile router promises."""
    problems = (
        *_judge_calls(evidence),
        *_judge_steering(evidence),
        *_judge_failover(evidence),
        *_judge_return(evidence, set(links)),
    )
    if problems and evidence.backlog_drops:
        reason = (
            f"meanwhile this machine dropped {evidence.backlog_drops} packets, as other load"
            " filled its receive queue (/proc/net/softnet_stat): try again when it is idle"
        )
        return (*problems, reason)
    return problems


def _judge_calls(evidence: Evidence) -> Iterable[str]:
    for call in evidence.calls:
        if call.received == 0:
            yield f"{call.name}: nothing arrived of {call.sent} packets"
        elif call.lost:
            yield f"{call.name}: {call.lost} of {call.sent} packets lost, though it is bicast"
        if call.duplicated:
            yield f"{call.name}: {call.duplicated} packets arrived twice"
    pings = evidence.pings
    if pings.lost > _PINGS_LOST:
        yield f"{pings.name}: {pings.lost} of {pings.sent} lost, and their link was never cut"
    if pings.duplicated:
        yield f"{pings.name}: {pings.duplicated} replies arrived twice"


def _judge_steering(evidence: Evidence) -> Iterable[str]:
    steady = evidence.steady
    call, bulk = steady.flow_links(CALL), steady.flow_links(BULK)
    if len(set(call)) != 2:
        yield f"the call is not sent over two links but over {_name(call)}"
    if len(bulk) != 1:
        yield f"the bulk transfer takes {_name(bulk)} instead of one link"
    if bulk and not set(call) - set(bulk):
        yield f"bulk and call take the same link: {_name(bulk)}"
    carried = count_octets(evidence.start, steady, evidence.cut_link, "uplink")
    if carried < evidence.bulk.steady_octets:
        yield (
            f"{evidence.cut_link} carried {carried} octets, fewer than the bulk transfer's"
            f" {evidence.bulk.steady_octets}"
        )


def _judge_failover(evidence: Evidence) -> Iterable[str]:
    bulk = evidence.bulk
    if evidence.cut_link in evidence.cut.usable_links():
        yield f"{evidence.cut_link} was cut, and its binding still counts as usable"
    if evidence.cut_link in evidence.cut.flow_links(BULK):
        yield f"{evidence.cut_link} was cut, and the bulk transfer is still sent over it"
    if bulk.cut_octets < _BULK_SHARE * bulk.steady_octets or not bulk.cut_octets:
        yield (
            f"the bulk transfer did not go on over the next link: {bulk.cut_octets} octets while"
            f" {evidence.cut_link} was cut, {bulk.steady_octets} before"
        )
    if not bulk.finished:
        yield "the bulk transfer did not come to its end"


def _judge_return(evidence: Evidence, links: set[str]) -> Iterable[str]:
    restored = evidence.restored
    if missing := links - restored.usable_links():
        yield f"no usable binding at the end over {_name(sorted(missing))}"
    if evidence.cut_link not in restored.flow_links(BULK):
        yield (
            f"{evidence.cut_link} came back, and the bulk transfer is sent over"
            f" {_name(restored.flow_links(BULK))}"
        )


def _name(links: Iterable[str]) -> str:
    return " and ".join(links) or "no link"
