"""Run a benchmark's program inside one of the lab's nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrouter.lab.namespaces import LabError
from mrouter.lab.plan import NodeName
from mrouter.lab.topology import Topology

_ROOT = Path(__file__).resolve().parent.parent
_EXIT_TIMEOUT = 20.0


def build_command(module: str, arguments: Sequence[str]) -> list[str]:
    """Give the command line of ``bench.<module>``, which works in any directory."""
    python = [sys.executable, "-m", f"bench.{module}"]
    return ["env", f"PYTHONPATH={_ROOT}", *python, *arguments]


def run_program(
    topology: Topology, node: NodeName, module: str, arguments: Sequence[str], timeout: float
) -> Any:
    """Run ``bench.<module>`` in ``node`` to its end; give the JSON that it printed.

    Raise LabError with what it said if it fails.
    """
    done = topology.execute(node, build_command(module, arguments), timeout=timeout, check=False)
    if done.returncode != 0:
        raise LabError(f"bench.{module} in {node}: {done.stderr.strip() or done.returncode}")
    return json.loads(done.stdout)


def start_program(
    topology: Topology, node: NodeName, module: str, arguments: Sequence[str], label: str
) -> subprocess.Popen[bytes]:
    """Start ``bench.<module>`` in ``node``; ``stop_program`` gets what it prints."""
    return topology.run_in(node, build_command(module, arguments), label=label)


def stop_program(topology: Topology, program: subprocess.Popen[bytes], label: str) -> Any:
    """End ``program`` and give the JSON that it printed; raise LabError if there is none."""
    program.terminate()
    program.wait(timeout=_EXIT_TIMEOUT)
    text = topology.output_path(label).read_text(encoding="utf-8")
    if not text:
        errors = topology.log_path(label).read_text(encoding="utf-8", errors="replace")
        raise LabError(f"bench {label} printed nothing: {errors.strip()}")
    return json.loads(text)
