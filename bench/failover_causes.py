"""What makes a link fail, how it is undone, and what the streams lost meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bench.failover_labs import FAILING, AgentRouter, Router, run_ip, wait_for
from bench.failover_streams import Cost, Incident, Stream, record_streams
from mrouter.lab.daemons import HOME_AGENT, MOBILE_ROUTER
from mrouter.lab.namespaces import LabError

QUIET = 0.1
"""Seconds without an event before each cause, and after it is undone."""
DEAD_TIME = 0.3
"""Seconds that an agent is dead."""
LOSS_PERIOD = 8
"""A link of bad quality loses one packet in so many: never two in a row, as a dead one would."""
_QUALITY_TIMEOUT = 30.0
_FILTER_TABLE = "bench_failover"

AnyRouter = TypeVar("AnyRouter", bound=Router, contravariant=True)


@dataclass(frozen=True, slots=True)
class Cause(Generic[AnyRouter]):
    """Something that makes a link fail; it is watched for ``window`` seconds, then undone.

    Without ``undo`` it has undone itself by then. ``resets``: undoing it does more than would
    happen by itself, so what that costs is not counted.
    """

    name: str
    window: float
    begin: Callable[[AnyRouter], None]
    undo: Callable[[AnyRouter], None] | None
    resets: bool = False


Costs = dict[Stream, list[Cost]]
"""What each run cost each stream."""


def measure_cause(
    router: AnyRouter,
    cause: Cause[AnyRouter],
    runs: int,
    stopping: threading.Event,
    *,
    bicast: bool,
) -> Costs:
    """Let ``cause`` come and go ``runs`` times under the streams.

    Raise LabError if it is to be given up.
    """
    router.wait_until_whole()
    with record_streams(router.topology, bicast=bicast) as arrivals:
        incidents = [_run_once(router, cause, stopping) for _ in range(runs)]
    return {
        stream: [each.weigh(incident) for incident in incidents]
        for stream, each in arrivals.items()
    }


def _run_once(router: AnyRouter, cause: Cause[AnyRouter], stopping: threading.Event) -> Incident:
    time.sleep(QUIET)
    begun_at = time.time()
    cause.begin(router)
    if stopping.wait(max(0.0, begun_at + cause.window - time.time())):
        raise LabError("given up")
    undone_at = time.time()
    if cause.undo is not None:
        cause.undo(router)
        router.wait_until_whole()
    time.sleep(QUIET)
    return Incident(begun_at, undone_at, undone_at if cause.resets else time.time())


# --- causes in the network, for every router --------------------------------------------


def cut(router: Router) -> None:
    """Take the link's carrier away."""
    router.topology.cut(FAILING.name)


def restore(router: Router) -> None:
    """Bring the carrier back."""
    router.topology.restore(FAILING.name)


def silence_uplink(router: Router) -> None:
    """Let the Internet swallow what comes by the link."""
    _filter(router, f"iifname {FAILING.name} drop")


def silence_downlink(router: Router) -> None:
    """Let the Internet swallow what is for the link."""
    _filter(router, f"oifname {FAILING.name} drop")


def end_silence(router: Router) -> None:
    """Let all through again."""
    _run_nft(router, f"delete table ip6 {_FILTER_TABLE}")


def _filter(router: Router, rule: str) -> None:
    _run_nft(
        router,
        f"add table ip6 {_FILTER_TABLE}",
        f"add chain ip6 {_FILTER_TABLE} forward {{ type filter hook forward priority 0; }}",
        f"add rule ip6 {_FILTER_TABLE} forward {rule}",
    )


def _run_nft(router: Router, *lines: str) -> None:
    router.topology.execute("net", ["nft", "-f", "-"], input_text="\n".join(lines))


# --- causes that only a router with agents knows ----------------------------------------


def _remove_address(router: AgentRouter) -> None:
    run_ip(router.topology, "mr", f"addr del {_ADDRESS}")


def _add_address(router: AgentRouter) -> None:
    run_ip(router.topology, "mr", f"addr add {_ADDRESS} nodad")


def _remove_route(router: AgentRouter) -> None:
    run_ip(router.topology, "mr", f"route del {_DEFAULT_ROUTE}")


def _add_route(router: AgentRouter) -> None:
    run_ip(router.topology, "mr", f"route add {_DEFAULT_ROUTE}")


def _end_silence(router: AgentRouter) -> None:
    end_silence(router)
    router.forget_falls()


def _lose_some(router: AgentRouter) -> None:
    """Lose packets of the uplink until the flows have moved."""
    _filter(
        router,
        f"iifname {FAILING.name} ip6 nexthdr 41 numgen inc mod {LOSS_PERIOD} == 0 drop",
    )
    wait_for(
        lambda: router.find_active() != [FAILING.name], "a link that loses less", _QUALITY_TIMEOUT
    )


def _drain(router: AgentRouter) -> None:
    router.daemons.ask_mobile_router(f"drain {FAILING.name}")


def _undrain(router: AgentRouter) -> None:
    router.daemons.ask_mobile_router(f"undrain {FAILING.name}")


def _restart_mobile_router(router: AgentRouter) -> None:
    router.restart(MOBILE_ROUTER, DEAD_TIME)


def _restart_home_agent(router: AgentRouter) -> None:
    router.restart(HOME_AGENT, DEAD_TIME)


_ADDRESS = f"{FAILING.care_of_address}/{FAILING.prefix.prefixlen} dev {FAILING.interface}"
_DEFAULT_ROUTE = f"default via {FAILING.gateway} dev {FAILING.interface} metric {FAILING.metric}"

CARRIER = "carrier loss"
ADDRESS = "address loss"
ROUTE = "route loss"
SILENT_UPLINK, SILENT_DOWNLINK = "silent loss, uplink", "silent loss, downlink"
QUALITY = "quality loss"
DRAIN = "planned drain"
MOBILE_ROUTER_KILLED, HOME_AGENT_KILLED = "MR agent killed", "HA agent killed"

_SILENT_WINDOW = 1.0
_AGENT_CAUSES: tuple[Cause[AgentRouter], ...] = (
    Cause(CARRIER, 0.2, cut, restore),
    Cause(ADDRESS, 0.2, _remove_address, _add_address),
    Cause(ROUTE, 0.2, _remove_route, _add_route),
    Cause(SILENT_UPLINK, _SILENT_WINDOW, silence_uplink, _end_silence, resets=True),
    Cause(SILENT_DOWNLINK, _SILENT_WINDOW, silence_downlink, _end_silence, resets=True),
    Cause(QUALITY, 0.2, _lose_some, _end_silence, resets=True),
    Cause(DRAIN, 0.2, _drain, _undrain),
    Cause(MOBILE_ROUTER_KILLED, 0.1, _restart_mobile_router, None),
    Cause(HOME_AGENT_KILLED, 0.1, _restart_home_agent, None),
)
AGENT_CAUSES = {cause.name: cause for cause in _AGENT_CAUSES}
