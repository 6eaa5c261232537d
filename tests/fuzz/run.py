"""Fuzz by coverage: ``python tests/fuzz/run.py [--seconds N] [--runs N] [--seed N] [TARGET ...]``.

Each target runs in a process of its own. What reaches new code is kept in ``.cache/fuzz``, where
the next run goes on. The exit status is 1 if an input was found that a target fails on.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_CACHE = _HERE.parent.parent / ".cache" / "fuzz"
TARGETS = (
    "mobility-header",
    "home-discovery",
    "tunnelled",
    "neighbour-discovery",
    "dns-answers",
    "reception",
    "capture",
    "capture-file",
    "home-agent",
    "mobile-router",
    "correspondent-node",
    "policy-file",
)
#: Seconds for one input: more than that is a finding.
_INPUT_LIMIT = 60
#: Seconds that a process may take beyond its time before it is killed.
_PATIENCE = 120
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERAGE = re.compile(r"\bcov: (\d+)")
_FOUND = re.compile(r"Test unit written to (.*(?:crash|timeout|oom|leak)-\w+)")
_EXCEPTION = re.compile(r"=== Uncaught Python exception: ===\n(.*?)\n\n", re.DOTALL)
_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Outcome:
    """What fuzzing one target came to; ``found`` is the file with an input that it fails on."""

    target: str
    failed: bool
    executions: int
    coverage: int
    found: Path | None
    output: str

    @property
    def command(self):
        """What runs the target with the input that was found, and with no other."""
        return [sys.executable, str(_HERE / "one_target.py"), self.target, str(self.found)]

    def describe(self):
        """Return what to tell of it."""
        done = f"{self.target}: {self.executions} executions, coverage {self.coverage}"
        if not self.failed:
            return f"{done}, no crash"
        exception = _EXCEPTION.search(self.output)
        lines = [f"{done}, FAILED"]
        if self.found is not None:
            lines += [f"input: {self.found.read_bytes().hex()}", f"again: {' '.join(self.command)}"]
        why = exception[1].splitlines() if exception else self.output.splitlines()[-_TAIL_LINES:]
        return "\n    ".join(lines + why)


def fuzz(target, cache, *, seconds=None, runs=None, seed=None):
    """Fuzz ``target`` within these bounds, with corpus and findings in the directory ``cache``."""
    corpus, crashes = cache / target, cache / "crashes"
    corpus.mkdir(parents=True, exist_ok=True)
    crashes.mkdir(exist_ok=True)
    options = {"max_total_time": seconds, "runs": runs, "seed": seed, "timeout": _INPUT_LIMIT}
    command = [
        sys.executable,
        str(_HERE / "one_target.py"),
        target,
        str(corpus),
        f"-artifact_prefix={crashes}/{target}-",
        "-print_final_stats=1",
        *(f"-{name}={value}" for name, value in options.items() if value is not None),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        raw, _ = process.communicate(timeout=(seconds or 0) + _PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raw, _ = process.communicate()
    output = raw.decode(errors="replace")
    executions, found = _EXECUTIONS.search(output), _FOUND.search(output)
    coverage = _COVERAGE.findall(output)
    return Outcome(
        target=target,
        failed=process.returncode != 0,
        executions=int(executions[1]) if executions else 0,
        coverage=int(coverage[-1]) if coverage else 0,
        found=Path(found[1]) if found else None,
        output=output,
    )


def main(arguments):
    """Fuzz and tell; return the exit status."""
    parser = argparse.ArgumentParser(description="Fuzz decoders and roles by coverage.")
    parser.add_argument("--seconds", type=int, help="for each target; 60 without --runs")
    parser.add_argument("--runs", type=int, help="inputs for each target")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--cache", type=Path, default=_CACHE)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    chosen = parser.parse_args(arguments)
    seconds = chosen.seconds
    if seconds is None and chosen.runs is None:
        seconds = 60
    failed = False
    for target in chosen.targets or TARGETS:
        outcome = fuzz(target, chosen.cache, seconds=seconds, runs=chosen.runs, seed=chosen.seed)
        print(outcome.describe(), flush=True)
        failed |= outcome.failed
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
