from __future__ import annotations

import subprocess

import pytest
from run import TARGETS, fuzz, main

pytest.importorskip("atheris", reason="there is no atheris for this machine")

#: How many inputs each target gets, and the coverage that its seeds alone nearly reach.
BOUNDS = {
    "mobility-header": (5000, 280),
    "home-discovery": (5000, 100),
    "tunnelled": (5000, 10),
    "neighbour-discovery": (5000, 8),
    "dns-answers": (5000, 50),
    "reception": (5000, 270),
    "capture": (2000, 380),
    "capture-file": (500, 6),
    "home-agent": (250, 700),
    "mobile-router": (100, 900),
    "correspondent-node": (200, 400),
    "policy-file": (500, 600),
}


def test_every_target_has_a_short_run():
    assert set(BOUNDS) == set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_makes_a_target_fail(target, tmp_path):
    runs, coverage = BOUNDS[target]
    outcome = fuzz(target, tmp_path, runs=runs, seed=1)
    assert not outcome.failed, outcome.describe()
    assert outcome.executions >= runs
    assert outcome.coverage >= coverage


def test_a_fault_is_found_reported_and_repeated(tmp_path, capsys):
    status = main(["--runs", "500000", "--seed", "1", "--cache", str(tmp_path), "broken"])
    told = capsys.readouterr().out
    assert status == 1
    assert "input: 6d7221" in told
    assert "IndexError" in told
    command = told.partition("again: ")[2].splitlines()[0].split()
    repeated = subprocess.run(command, check=False, capture_output=True)
    assert b"IndexError" in repeated.stdout + repeated.stderr
    assert repeated.returncode != 0


def test_a_target_that_does_not_start_has_failed(tmp_path):
    outcome = fuzz("missing", tmp_path, runs=1)
    assert outcome.failed
    assert outcome.executions == 0
    assert "ModuleNotFoundError" in outcome.describe()
