"""Binding Updates handled per second, by the protocol core and by the real home agent."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from typing import Any

from bench.fleet import (
    CARE_OF_PREFIX,
    TIMESTAMP_WINDOW,
    WIRE,
    make_fleet,
    write_home_agent_config,
)
from bench.flood import WINDOW
from bench.programs import run_program
from bench.report import Section, format_spread, format_table
from mrouter import control
from mrouter.control import ControlError
from mrouter.lab import namespaces, plan
from mrouter.lab.daemons import build_command
from mrouter.lab.namespaces import LabError
from mrouter.lab.topology import Topology
from mrouter.protocol.events import Instant, PacketReceived, SendPacket
from mrouter.protocol.home_agent import HomeAgent
from mrouter.protocol.keys import PacketSigner
from mrouter.protocol.settings import HomeAgentSettings
from mrouter.wire.constants import BindingStatus
from mrouter.wire.packet import parse_packet, serialize_packet

AIM = 5000
_ACCEPTED = BindingStatus.ACCEPTED_NP_COA
_START_TIMEOUT = 20.0


def measure_signalling(*, quick: bool) -> Section:
    """Measure the core in this process, then the agent in a namespace."""
    core_rounds, size, agent_updates, agent_rounds = (
        (3, 100, 2000, 1) if quick else (7, 100, 10000, 3)
    )
    core: dict[str, list[float]] = defaultdict(list)
    for _ in range(core_rounds):
        for stage, rate in _measure_core(size, 2000 // size).items():
            core[stage].append(rate)
    agent: dict[tuple[int, str], list[tuple[float, float]]] = defaultdict(list)
    for _ in range(agent_rounds):
        for routers in (100, 1000):
            measured = _measure_agent(routers, max(1, agent_updates // routers))
            for what, rates in measured.items():
                agent[routers, what].append(rates)
    return _describe(core, agent)


def _measure_core(size: int, rounds: int) -> dict[str, float]:
    """Give the rate of refreshes after each further stage of handling them."""
    fleet = make_fleet(size)
    unix, monotonic = time.time(), time.monotonic()
    settings = HomeAgentSettings(
        plan.HA_ADDRESS,
        (plan.HOME_PREFIX,),
        fleet.served(),
        timestamp_window=TIMESTAMP_WINDOW,
    )
    role = HomeAgent(settings, Instant(monotonic - 10, unix - 10))
    now = Instant(monotonic, unix)
    for data in fleet.make_updates(1, 1, unix):
        role.handle(PacketReceived(parse_packet(data, WIRE)), now)
    if len(role.entries) != size:
        raise LabError(f"{len(role.entries)} of {size} routers registered")
    updates = list(fleet.make_updates(2, rounds, unix))
    signer = PacketSigner(fleet.security)

    begun_at = time.process_time()
    packets = [parse_packet(data, WIRE) for data in updates]
    parsed_at = time.process_time()
    answers = [role.handle(PacketReceived(packet), now) for packet in packets]
    handled_at = time.process_time()
    for effects in answers:
        (effect,) = effects
        if not isinstance(effect, SendPacket):
            raise LabError(f"a refresh led to {effect}")
        serialize_packet(effect.packet, WIRE, signer)
    serialized_at = time.process_time()
    count = len(updates)
    return {
        "parse": count / (parsed_at - begun_at),
        "handle and verify": count / (handled_at - parsed_at),
        "serialize and sign": count / (serialized_at - handled_at),
        "all": count / (serialized_at - begun_at),
    }


def _measure_agent(size: int, refreshes: int) -> dict[str, tuple[float, float]]:
    """Give each kind of update's answers per second, and per CPU second of the agent."""
    fleet = make_fleet(size)
    with Topology(shaped=False) as topology:
        directory = topology.run_directory
        config = write_home_agent_config(directory, fleet)
        # answers to care-of addresses that nobody has end where they were counted
        namespaces.run_tool(
            ["ip", "-n", topology.namespace("net"), "-6", "-batch", "-"],
            [f"route add blackhole {CARE_OF_PREFIX}"],
        )
        agent = topology.run_in("ha", build_command(config), label="home-agent")
        _wait_for_agent(topology)
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(agent.pid, {cpus[-1]})
        results = run_program(
            topology,
            "net",
            "flood",
            [
                *("--interface", "ha", "--agent", str(agent.pid)),
                *("--key-file", str(directory / "fleet.key"), "--size", str(size)),
                *("--refreshes", str(refreshes), "--moves", "1"),
            ],
            timeout=60.0,
        )
        log = topology.log_path("home-agent").read_text(encoding="utf-8")
    return {name: _read_rates(name, result, log) for name, result in results.items()}


def _read_rates(name: str, result: dict[str, Any], log: str) -> tuple[float, float]:
    statuses = result["statuses"]
    answers = sum(statuses.values())
    if statuses != {str(int(_ACCEPTED)): answers}:
        raise LabError(f"{name} were answered with {statuses}; the agent's log: {log[-1000:]}")
    return answers / result["seconds"], answers / max(result["agent_seconds"], 0.01)


def _wait_for_agent(topology: Topology) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while True:
        try:
            control.request(topology.run_directory / "fleet.sock", "status")
        except ControlError as error:
            if time.monotonic() > deadline:
                raise LabError(f"the home agent does not answer: {error}") from error
            time.sleep(0.05)
        else:
            return


def _describe(
    core: dict[str, list[float]], agent: dict[tuple[int, str], list[tuple[float, float]]]
) -> Section:
    core_rows = [(stage, format_spread(rates, 0)) for stage, rates in core.items()]
    agent_rows = []
    verdicts = []
    for (routers, what), rates in agent.items():
        by_time = [rate for rate, _ in rates]
        by_cpu = [rate for _, rate in rates]
        agent_rows.append((what, str(routers), format_spread(by_time, 0), format_spread(by_cpu, 0)))
        verdicts.append(
            (
                f"{AIM} a second with authentication and kernel state: {what}, {routers} routers",
                f"{sorted(by_time)[len(by_time) // 2]:,.0f}",
                sorted(by_time)[len(by_time) // 2] >= AIM,
            )
        )
    return Section(
        "Signalling",
        (
            _METHOD.format(window=WINDOW),
            "The protocol core alone (refreshes, HMAC-SHA-256, no I/O):",
            format_table(("stage", "a CPU second"), core_rows),
            "The home agent's process, answers counted where they arrive:",
            format_table(("updates", "routers", "a second", "a CPU second"), agent_rows),
        ),
        tuple(verdicts),
    )


_METHOD = """\
Binding Updates of mobile routers with one care-of address and one explicit prefix each, signed
and serialized before the clock runs. *Refreshes* change no kernel state; *registrations* are the
first ones, and *moves* bring a new care-of address, so that both change it before they are
answered. {window} updates are under way at any time: as an answer arrives, the next update goes
out. Sender and home agent have a CPU each, where there are two; the rate a CPU second is by the
agent's own user and system time (in steps of 10 ms). Every answer must be an acceptance."""
