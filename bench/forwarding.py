"""Packets per second from LFN to CN and back, with and without mrouter."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from bench import networks
from bench.programs import run_program
from bench.report import Section, format_spread, format_table
from mrouter.dataplane.linux import enable_lwtunnel_hooks
from mrouter.lab import namespaces, plan
from mrouter.lab.namespaces import LabError
from mrouter.lab.topology import Topology

PLAIN, STATIC, ONE, MANY = "plain", "static", "mrouter, 1 policy", "mrouter, 1000 policies"
MANY_POLICIES = 1000
AIM = 0.95
_SENDER_ALONE = "sender alone"
_DROPPED_PORT = networks.PORT + 1
_DELIVERED = 0.99
"""The least share that must arrive for a measurement to count."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """A kind of UDP traffic: payload octets, and which way."""

    octets: int
    downlink: bool = False

    def __str__(self) -> str:
        return f"{self.octets} octets {'CN to LFN' if self.downlink else 'LFN to CN'}"


UP = Traffic(64)
TRAFFIC = (UP, Traffic(1400), Traffic(64, downlink=True))


def measure_forwarding(*, quick: bool) -> Section:
    """Build all networks at once, then measure them in turns, round by round."""
    rounds, duration = (3, 0.25) if quick else (9, 0.4)
    tcp_rounds, tcp_duration = (1, 1) if quick else (3, 2)
    # one switch for the whole kernel, and none turns it off: on for every case
    enable_lwtunnel_hooks()
    with ExitStack() as stack:
        cases: dict[str, Topology] = {
            PLAIN: stack.enter_context(networks.build_plain()),
            STATIC: stack.enter_context(networks.build_static()),
            ONE: stack.enter_context(networks.build_mrouter(networks.format_policies(1))),
            MANY: stack.enter_context(
                networks.build_mrouter(networks.format_policies(MANY_POLICIES))
            ),
        }
        for topology in cases.values():
            add_sinks(topology)
        costs: dict[Traffic, dict[str, list[float]]] = {}
        for traffic in TRAFFIC:
            costs[traffic] = _measure_udp(cases, traffic, rounds, duration)
        for topology in cases.values():
            _remove_sinks(topology)
        rates = _measure_tcp(cases, tcp_rounds, tcp_duration)
    return _describe(costs, rates, rounds, duration)


def _measure_udp(
    cases: Mapping[str, Topology], traffic: Traffic, rounds: int, duration: float
) -> dict[str, list[float]]:
    """Give each case's microseconds of CPU per packet, a value a round."""
    costs = defaultdict(list)
    for topology in cases.values():  # neighbours are found and flows classified before
        send(topology, traffic, networks.PORT, 0.05)
    for _ in range(rounds):
        for name, topology in cases.items():
            costs[name].append(send(topology, traffic, networks.PORT, duration))
        costs[_SENDER_ALONE].append(send(cases[PLAIN], traffic, _DROPPED_PORT, duration))
    return costs


def send(
    topology: Topology,
    traffic: Traffic,
    port: int,
    duration: float,
    *,
    flows: int = 16,
    batch: int = 64,
) -> float:
    """Send, see that it arrived, and give the microseconds of CPU per packet.

    At least one batch of each flow is sent, whatever the ``duration``.
    Raise LabError if more than a hundredth was lost on the way.
    """
    source, target, address = _find_ends(traffic)
    before = _count_arrived(topology, target)
    result = run_program(
        topology,
        source,
        "blast",
        [
            *("--peer", str(address), "--port", str(port)),
            *("--octets", str(traffic.octets), "--duration", str(duration)),
            *("--flows", str(flows), "--batch", str(batch)),
        ],
        timeout=duration + 20.0,
    )
    arrived = _count_arrived(topology, target) - before
    if port != _DROPPED_PORT and arrived < _DELIVERED * result["packets"]:
        raise LabError(f"{arrived} of {result['packets']} packets arrived ({traffic})")
    return float(result["cpu_seconds"] / result["packets"] * 1e6)


def _find_ends(traffic: Traffic) -> tuple[plan.NodeName, plan.NodeName, object]:
    if traffic.downlink:
        return "cn", "lfn", plan.LFN_ADDRESS
    return "lfn", "cn", plan.CN_ADDRESS


def add_sinks(topology: Topology) -> None:
    """Count and drop the traffic where it arrives, at the same small cost in every case.

    What is for the dropped port ends one cable from its sender, which leaves the sender's cost.
    """
    sinks: dict[plan.NodeName, int] = {
        "lfn": networks.PORT,
        "cn": networks.PORT,
        "mr": _DROPPED_PORT,
        "net": _DROPPED_PORT,
    }
    for node, port in sinks.items():
        namespaces.run_tool(
            _nft(topology, node),
            [
                "add table ip6 bench",
                "add counter ip6 bench arrived",
                "add chain ip6 bench sink { type filter hook prerouting priority -400; }",
                f"add rule ip6 bench sink udp dport {port} counter name arrived drop",
            ],
        )


def _remove_sinks(topology: Topology) -> None:
    nodes: tuple[plan.NodeName, ...] = ("lfn", "mr", "net", "cn")
    for node in nodes:
        namespaces.run_tool(_nft(topology, node), ["delete table ip6 bench"])


def _nft(topology: Topology, node: plan.NodeName) -> list[str]:
    return namespaces.enter(topology.namespace(node), ["nft", "-f", "-"])


def _count_arrived(topology: Topology, node: plan.NodeName) -> int:
    done = topology.execute(node, ["nft", "-j", "list", "counter", "ip6", "bench", "arrived"])
    for item in json.loads(done.stdout)["nftables"]:
        if "counter" in item:
            return int(item["counter"]["packets"])
    raise LabError(f"no counter in {node}")


def _measure_tcp(
    cases: Mapping[str, Topology], rounds: int, duration: int
) -> dict[str, list[float]]:
    """Give each case's Mbit/s of one TCP connection from LFN to CN, a value a round."""
    rates = defaultdict(list)
    for _ in range(rounds):
        for name, topology in cases.items():
            rates[name].append(_run_iperf(topology, duration))
    return rates


def _run_iperf(topology: Topology, duration: int) -> float:
    ports = ("--port", str(networks.PORT))
    server = topology.run_in(
        "cn", ["iperf3", "--server", "--one-off", "--forceflush", *ports], label="iperf3"
    )
    output = topology.output_path("iperf3")
    for _ in range(100):
        if "listening" in output.read_text(encoding="utf-8"):
            break
        topology.execute("cn", ["sleep", "0.02"])
    client = ["iperf3", "--client", str(plan.CN_ADDRESS), *ports, "--time", str(duration)]
    done = topology.execute("lfn", [*client, "--json"], timeout=duration + 15.0)
    server.wait(timeout=10.0)
    return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e6)


def _describe(
    costs: Mapping[Traffic, Mapping[str, list[float]]],
    rates: Mapping[str, list[float]],
    rounds: int,
    duration: float,
) -> Section:
    cases = (PLAIN, STATIC, ONE, MANY)
    ratio_rows, cost_rows, verdicts = [], [], []
    for traffic, measured in costs.items():
        ratios = {name: _pair(measured[STATIC], measured[name]) for name in (PLAIN, ONE, MANY)}
        without = {
            name: statistics.median(
                (static - alone) / (cost - alone)
                for static, cost, alone in zip(
                    measured[STATIC], measured[name], measured[_SENDER_ALONE], strict=True
                )
            )
            for name in (ONE, MANY)
        }
        ratio_rows.append(
            (
                str(traffic),
                *(format_spread(ratios[name], 3) for name in (PLAIN, ONE, MANY)),
                *(f"{without[name]:.3f}" for name in (ONE, MANY)),
            )
        )
        cost_rows.append(
            (
                str(traffic),
                *(f"{1e6 / statistics.median(measured[name]):,.0f}" for name in cases),
                *(f"{statistics.median(measured[name]):.2f}" for name in (*cases, _SENDER_ALONE)),
            )
        )
        verdicts += [
            (
                f"at least {AIM} of the static encapsulation: {name}, {traffic}",
                f"{statistics.median(ratios[name]):.3f}",
                statistics.median(ratios[name]) >= AIM,
            )
            for name in (ONE, MANY)
        ]
    tcp_rows = [
        (
            name,
            format_spread(_pair(rates[name], rates[STATIC]), 3),
            format_spread(rates[name], 0),
        )
        for name in cases
    ]
    return Section(
        "Forwarding",
        (
            _METHOD.format(rounds=rounds, duration=duration, many=MANY_POLICIES),
            "Packets per second as a share of the static encapsulation's, median (least-most) over"
            " the rounds; in the last two columns the sender's own cost is taken off first:",
            format_table(("traffic", PLAIN, ONE, MANY, f"{ONE}, net", f"{MANY}, net"), ratio_rows),
            "Packets per second of one CPU, and microseconds per packet (medians):",
            format_table(
                (
                    "traffic",
                    *(f"{name}, pps" for name in cases),
                    *(f"{name}, us" for name in (*cases, _SENDER_ALONE)),
                ),
                cost_rows,
            ),
            "One TCP connection from LFN to CN (`iperf3`; the kernel forwards up to 64 KB at once,"
            " so the cost per packet counts little), share of the static encapsulation's rate:",
            format_table(("case", "share", "Mbit/s"), tcp_rows),
        ),
        tuple(verdicts),
    )


def _pair(upper: list[float], lower: list[float]) -> list[float]:
    """Divide round by round: both were measured within a second of each other."""
    return [above / below for above, below in zip(upper, lower, strict=True)]


_METHOD = """\
LFN - MR - Internet - HA - Internet - CN in network namespaces, all packets along the same nodes:
*plain* by ordinary routes without a tunnel, *static* with hand-made `encap seg6 mode encap.red`
routes and `seg6local End.DX6` both ways (no daemon, no nftables, no connection tracking),
*mrouter* with its real agents registered over three links, with 1 or {many} policies of protocol
and destination port, the measured flows' policy being the last. `nf_hooks_lwtunnel`, a one-way
switch of the whole kernel, is on in all cases.

16 UDP flows are sent by `sendmmsg` from one CPU. The kernel forwards a packet over all hops
on the CPU that sent it, so that CPU is the bottleneck in every case, nothing queues and nothing
is lost (checked: at least 99 % must arrive). Therefore a packet's cost is the sender's CPU time
divided by its packets; what else runs on the machine hardly disturbs it. It contains five nodes'
work, of which mrouter does two nodes' (MR and HA), and the sender's own, which is measured by
itself with packets that are dropped at the first hop. {rounds} rounds of {duration} s a case, in
turns."""
