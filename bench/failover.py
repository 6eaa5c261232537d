"""What streams lose when links fail, are drained, or agents die; beside hand-made tunnels."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import failover_causes as causes
from bench import static_router
from bench.failover_causes import AGENT_CAUSES, AnyRouter, Cause, Costs, measure_cause
from bench.failover_labs import FAILING, SPARE, build_agents, format_policies
from bench.failover_streams import BICAST_STREAMS, FAILOVER_STREAMS, TCP_STREAMS, Cost, Stream
from bench.report import Section, format_table
from bench.static_router import STATIC_CAUSES, build_static_router
from mrouter.dataplane.linux import enable_lwtunnel_hooks

MANY_POLICIES = 1000
_RUNS, _QUICK_RUNS = 20, 5
_NORMAL, _AGGRESSIVE = "normal", "aggressive"
_NOTHING = "-"
_SILENT = (causes.SILENT_UPLINK, causes.SILENT_DOWNLINK)
_KILLED = (causes.MOBILE_ROUTER_KILLED, causes.HOME_AGENT_KILLED)


@dataclass(frozen=True, slots=True)
class Case:
    """A router, and the causes that it meets; without ``policies`` it is the hand-made one."""

    cause_names: tuple[str, ...]
    policies: int | None = 1
    probe: str = _NORMAL
    choose: str | None = None

    def __str__(self) -> str:
        if self.policies is None:
            return "static"
        return f"{self.policies} {'policy' if self.policies == 1 else 'policies'}, {self.probe}"


PHASES = (
    (
        Case((causes.CARRIER, causes.ADDRESS, causes.ROUTE, causes.DRAIN)),
        Case((causes.CARRIER, causes.ROUTE, causes.DRAIN), policies=None),
        Case((causes.SILENT_UPLINK,), policies=None),
    ),
    (
        Case(_KILLED),
        Case(_SILENT),
        Case(_SILENT, probe=_AGGRESSIVE),
        Case((causes.QUALITY,), choose="lowest-loss"),
    ),
    (Case((causes.CARRIER, causes.DRAIN, causes.MOBILE_ROUTER_KILLED), policies=MANY_POLICIES),),
)
"""The cases of a phase are measured side by side, as most of the time they wait."""


@dataclass(frozen=True, slots=True)
class Row:
    """One cause, as one router met it."""

    case: Case
    cause: str
    costs: Costs

    def find_worst(self, streams: Sequence[Stream]) -> int:
        """Give the most packets that a run cost one of ``streams``, on return included."""
        return max(cost.lost + cost.lost_on_return for cost in self._list_costs(streams))

    def count_duplicates(self) -> int:
        """Count the copies that were delivered beside a packet, over all runs."""
        return sum(cost.duplicates for cost in self._list_costs(BICAST_STREAMS))

    def _list_costs(self, streams: Sequence[Stream]) -> list[Cost]:
        return [cost for stream in streams for cost in self.costs[stream]]


@dataclass(frozen=True, slots=True)
class Aim:
    """At most ``limit`` milliseconds of any UDP stream that fails over are lost."""

    name: str
    limit: int
    cause_names: tuple[str, ...]
    probe: str | None = None

    def includes(self, row: Row) -> bool:
        """Say whether ``row`` is to reach this."""
        return (
            row.case.policies is not None
            and row.cause in self.cause_names
            and self.probe in (None, row.case.probe)
        )


AIMS = (
    Aim("carrier loss", 20, (causes.CARRIER,)),
    Aim("silent loss, probes normal", 500, _SILENT, _NORMAL),
    Aim("silent loss, probes aggressive", 150, _SILENT, _AGGRESSIVE),
    Aim("planned drain", 0, (causes.DRAIN,)),
    Aim("agent killed and started again", 0, _KILLED),
)


def measure_failover(*, quick: bool) -> Section:
    """Let all causes come and go under the streams, phase by phase."""
    runs = _QUICK_RUNS if quick else _RUNS
    # one switch for the whole kernel, and none turns it off: on for every case
    enable_lwtunnel_hooks()
    rows = [row for phase in PHASES for row in _measure_phase(phase, runs)]
    return _describe(sorted(rows, key=_rank), runs)


def _rank(row: Row) -> tuple[bool, int, bool]:
    """Order what has agents by its policies, and by probes; what is hand-made comes last."""
    case = row.case
    return case.policies is None, case.policies or 0, case.probe != _NORMAL


def _measure_phase(cases: Sequence[Case], runs: int) -> list[Row]:
    stopping = threading.Event()
    with ExitStack() as stack:
        # the networks are built by this thread, as it is the one that signals interrupt
        jobs = [stack.enter_context(_prepare(case, runs, stopping)) for case in cases]
        pool = stack.enter_context(ThreadPoolExecutor(len(cases)))
        stack.callback(stopping.set)
        return [row for rows in pool.map(lambda job: job(), jobs) for row in rows]


@contextmanager
def _prepare(case: Case, runs: int, stopping: threading.Event) -> Iterator[Callable[[], list[Row]]]:
    """Build what ``case`` is measured with, and give what measures it."""

    def measure(
        router: AnyRouter, known: Mapping[str, Cause[AnyRouter]], *, bicast: bool
    ) -> list[Row]:
        return [
            Row(case, name, measure_cause(router, known[name], runs, stopping, bicast=bicast))
            for name in case.cause_names
        ]

    if case.policies is None:
        with build_static_router() as static:
            yield lambda: measure(static, STATIC_CAUSES, bicast=False)
    else:
        policies = format_policies(case.policies, choose=case.choose)
        with build_agents(policies, probe=case.probe) as router:
            yield lambda: measure(router, AGENT_CAUSES, bicast=True)


def _describe(rows: Sequence[Row], runs: int) -> Section:
    agents = [row for row in rows if row.case.policies is not None]
    return Section(
        "Failover",
        (
            _METHOD.format(
                runs=runs,
                failing=FAILING.name,
                spare=SPARE.name,
                many=MANY_POLICIES,
                dead=causes.DEAD_TIME,
                period=causes.LOSS_PERIOD,
            ),
            _STATIC_METHOD.format(
                interval=static_router.PING_INTERVAL,
                timeout=static_router.PING_TIMEOUT,
                missed=static_router.MISSED_FOR_DOWN,
                answered=static_router.ANSWERED_FOR_UP,
            ),
            "Milliseconds, median / worst; of UDP's streams those that were lost, on return those"
            " of all three, of TCP's the longest stall:",
            format_table(
                (
                    *("router", "cause"),
                    *(stream.name for stream in FAILOVER_STREAMS),
                    "on return",
                    *(stream.name for stream in TCP_STREAMS),
                ),
                map(_format_row, rows),
            ),
            "The same runs' bicast streams: packets lost, median / worst of a run; copies delivered"
            " beside a packet, all runs together:",
            format_table(
                ("router", "cause", *(stream.name for stream in BICAST_STREAMS), "duplicates"),
                map(_format_bicast, agents),
            ),
        ),
        (*_judge_failover(agents, runs), *_judge_bicast(agents)),
    )


def _format_row(row: Row) -> tuple[str, ...]:
    streams = [stream for stream in FAILOVER_STREAMS if stream in row.costs]
    on_return = [
        max(cost.lost_on_return for cost in costs)
        for costs in zip(*(row.costs[stream] for stream in streams), strict=True)
    ]
    return (
        str(row.case),
        row.cause,
        *(
            _format_worst([cost.lost for cost in row.costs[stream]])
            if stream in row.costs
            else _NOTHING
            for stream in FAILOVER_STREAMS
        ),
        _format_worst(on_return) if _has_return(row) else _NOTHING,
        *(_format_worst([cost.gap for cost in row.costs[stream]]) for stream in TCP_STREAMS),
    )


def _has_return(row: Row) -> bool:
    return row.case.policies is None or not AGENT_CAUSES[row.cause].resets


def _format_bicast(row: Row) -> tuple[str, ...]:
    return (
        str(row.case),
        row.cause,
        *(
            _format_worst([cost.lost + cost.lost_on_return for cost in row.costs[stream]])
            for stream in BICAST_STREAMS
        ),
        str(row.count_duplicates()),
    )


def _format_worst(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.0f} / {max(values):,.0f}"


def _judge_failover(rows: Sequence[Row], runs: int) -> Iterator[tuple[str, str, bool]]:
    for aim in AIMS:
        for row in filter(aim.includes, rows):
            worst = row.find_worst(FAILOVER_STREAMS)
            yield (
                f"at most {aim.limit} ms of a stream lost, worst of {runs}: {row.cause}"
                f" ({row.case})",
                f"{worst} ms",
                worst <= aim.limit,
            )


def _judge_bicast(rows: Sequence[Row]) -> Iterator[tuple[str, str, bool]]:
    lost = max(row.find_worst(BICAST_STREAMS) for row in rows)
    yield "bicast loses nothing, worst run of any cause", f"{lost} packets", lost == 0
    duplicates = sum(row.count_duplicates() for row in rows)
    yield "bicast delivers no copy, all runs of all causes", f"{duplicates} copies", duplicates == 0


_METHOD = """\
Streams between LFN and CN, all at once: a UDP flow of 1000 numbered packets a second each way; one
that only CN sends; one with bicast each way; and a TCP connection, written to with 8 Mbit/s each
way. {failing} is the link that fails, {spare} takes over; each link is probed by the profile that
stands with the router. {runs} times each cause comes and, when what it does is done, goes. A packet
that never came is a millisecond lost, whatever made it so; it counts when it was sent, before or
after the cause went (*on return*). TCP's stall is the longest time between two reads (10 ms or so
without any cause, on two CPUs that have all the nodes to do).

*Carrier loss*: the Internet's end of {failing} is set down. *Address loss*: the care-of address is
removed. *Route loss*: its default route is. *Silent loss*: the Internet swallows all of one
direction while the carrier stays (so does a router that dies without a word, in both; the probes
find either alike). *Quality loss*: one packet in {period} of the uplink is lost, and the policy has
`choose = "lowest-loss"`, until its flows have moved: {period} times the lost packets are the time
that this took. *Planned drain*: what `mrouter link drain` asks of the agent. *Killed*: the agent
gets SIGKILL, is dead for {dead} s, is started again, and registers. After a silent or a bad link
its address is changed and changed back, so that the agent does not hold it down in the next run:
nothing on its return is counted.

Not each combination is measured: with {many} policies (bicast first, then others by port) only
causes whose cost could grow with their number, aggressive probes only where probes decide. Latency
is not made worse: not every kernel has `netem`. Up to four labs run beside each other, where most
of the time is waiting."""

_STATIC_METHOD = """\
*static* is a router as it is built by hand: a `seg6` tunnel by each of two links, two routes of
different metrics at both ends, and at both ends a script for each tunnel that pings the other end
through it: a ping {interval} s after the last, {timeout} s for its answer, the route removed after
{missed} missed, set again after {answered} answered. Such scripts take whole seconds; mwan3's own
settings are slower. The mobile router's kernel ignores routes without a carrier
(`ignore_routes_with_linkdown`). Its tunnels are bound to no address, so that there is no address
loss; route loss takes the first tunnel's route, planned drain is both ends' route removed by hand;
silence is found alike in either direction, as a ping needs both. TCP has none but its own
repetitions, ever more seldom."""
