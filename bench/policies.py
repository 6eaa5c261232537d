"""What many policies cost: a packet, a check of the file, and the kernel's taking them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from ipaddress import IPv6Network
from pathlib import Path

from bench import networks
from bench.forwarding import UP, add_sinks, send
from bench.programs import run_program
from bench.report import Section, format_spread, format_table
from mrouter.dataplane.linux import enable_lwtunnel_hooks
from mrouter.lab.namespaces import LabError
from mrouter.lab.topology import Topology

COUNTS = (1_000, 10_000)
SETS, SET_SIZE = 10, 10_000
RATE_AIM = 0.95
CHECK_AIM, APPLY_AIM = 2.0, 1.0
_ONE = "1 policy"
_ESTABLISHED, _FIRST = "established flows", "first packets"
_NEW_FLOWS = 3_000


def measure_policies(*, quick: bool) -> Section:
    """Build a network for each file, send in turns, then check and apply the largest one."""
    rounds, duration = (3, 0.2) if quick else (7, 0.25)
    enable_lwtunnel_hooks()
    files = {_ONE: networks.format_policies(1)}
    for count in COUNTS:
        files[f"{count:,} by port"] = networks.format_policies(count)
        files[f"{count:,} mixed"] = networks.format_mixed_policies(count)
    with ExitStack() as stack:
        cases = {
            name: stack.enter_context(networks.build_mrouter(text)) for name, text in files.items()
        }
        for topology in cases.values():
            add_sinks(topology)
        costs = _measure_costs(cases, rounds, duration)
    return _describe(costs, *_measure_largest(2 if quick else 3))


def _measure_costs(
    cases: Mapping[str, Topology], rounds: int, duration: float
) -> dict[str, dict[str, list[float]]]:
    """Give the microseconds of CPU per packet by kind of packet and case, a value a round."""
    costs: dict[str, dict[str, list[float]]] = {
        kind: defaultdict(list) for kind in (_ESTABLISHED, _FIRST)
    }
    for topology in cases.values():  # neighbours are found and flows classified before
        send(topology, UP, networks.PORT, 0.05)
    for _ in range(rounds):
        for name, topology in cases.items():
            costs[_ESTABLISHED][name].append(send(topology, UP, networks.PORT, duration))
        for name, topology in cases.items():
            topology.execute("mr", ["conntrack", "-F"], check=False)
            topology.execute("ha", ["conntrack", "-F"], check=False)
            once = send(topology, UP, networks.PORT, 0.0, flows=_NEW_FLOWS, batch=1)
            costs[_FIRST][name].append(once)
    return costs


def _measure_largest(rounds: int) -> tuple[list[float], dict[str, list[tuple[float, float]]]]:
    """Give the CPU seconds of checking, and of building and applying, the largest file."""
    checks = []
    applied = defaultdict(list)
    for _ in range(rounds):
        with Topology(shaped=False) as topology:
            file = topology.run_directory / "largest.toml"
            _write_largest(file)
            checks.append(_check(file))
            done = run_program(topology, "mr", "apply_policies", [str(file)], timeout=60.0)
            for name, seconds in done.items():
                applied[name].append(seconds)
    return checks, applied


def _write_largest(file: Path) -> None:
    """Write the largest mixed file, and beside it the files of its sets."""
    sets = []
    for number in range(SETS):
        name = f"prefixes-{number}"
        base = int(IPv6Network("2001:d00::/24").network_address) + (number << 100)
        lines = (str(IPv6Network((base + (2 * at << 80), 48))) for at in range(SET_SIZE))
        file.with_name(f"{name}.txt").write_text("\n".join(lines), encoding="utf-8")
        sets.append(
            f'[set.{name}]\nfile = "{name}.txt"\n[[policy]]\nname = "{name}"\n'
            f'match = {{ destination = "@{name}", dscp = "af11" }}\nlinks = ["lte"]\n'
        )
    mixed = networks.format_mixed_policies(COUNTS[-1] - SETS)
    file.write_text("\n".join([*sets, mixed]), encoding="utf-8")


def _check(file: Path) -> float:
    """Give the CPU seconds of ``mrouter policy check``; raise LabError if it finds anything."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "mrouter", "policy", "check", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    after = os.times()
    if done.returncode != 0 or "no problems" not in done.stdout:
        raise LabError(f"policy check: {done.stdout}{done.stderr}")
    return (
        after.children_user - before.children_user + after.children_system - before.children_system
    )


def _describe(
    costs: Mapping[str, Mapping[str, list[float]]],
    checks: list[float],
    applied: Mapping[str, list[tuple[float, float]]],
) -> Section:
    rows, verdicts = [], []
    for kind, measured in costs.items():
        for name, values in measured.items():
            pairs = zip(measured[_ONE], values, strict=True)
            ratios = [one / many for one, many in pairs]
            rows.append((kind, name, format_spread(ratios, 3), format_spread(values, 2)))
            share = statistics.median(ratios)
            if name != _ONE:
                aim = f"at least {RATE_AIM} of one policy's packet rate: {name}, {kind}"
                verdicts.append((aim, f"{share:.3f}", share >= RATE_AIM))
    what = f"{COUNTS[-1]:,} policies and {SETS * SET_SIZE:,} prefixes"
    first = [put for _, put in applied["first"]]
    for verb, seconds, aim in (("checked", checks, CHECK_AIM), ("applied", first, APPLY_AIM)):
        used = statistics.median(seconds)
        verdicts.append((f"{what} {verb} in {aim:g} s of CPU", f"{used:.2f} s", used < aim))
    stages = [("`mrouter policy check`", "-", format_spread(checks, 2))]
    for name, label in (
        ("first", "first apply"),
        ("last", "reload, the last policy changed"),
        ("middle", "reload, the middle policy changed"),
    ):
        built, put = zip(*applied[name], strict=True)
        stages.append((label, format_spread(built, 2), format_spread(put, 2)))
    return Section(
        "Policies",
        (
            _METHOD.format(flows=_NEW_FLOWS),
            format_table(("packets", "policies", "share of one policy's rate", "us"), rows),
            f"CPU seconds for {what}, which ten of the policies name by sets:",
            format_table(("what", "building the ruleset", "the rest"), stages),
        ),
        tuple(verdicts),
    )


_METHOD = """\
As above with the real agents, packets of 64 octets from LFN to CN. *By port* are policies of
protocol and destination port; *mixed* ones ask a quarter each for a port, a destination prefix,
both with a range of ports, and a source address with a DSCP. The packets fall under the last policy
of all. Of *first packets* each begins one of {flows} flows, and connection tracking has forgotten
all before. A cost is the sender's CPU time divided by its packets, sender and all hops included."""
