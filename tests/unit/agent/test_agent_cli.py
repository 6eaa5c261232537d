"""The command line as a user meets it: one line for each mistake, and an exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mrouter import __version__
from mrouter.agent.privileges import require_capabilities
from mrouter.check import check_file
from mrouter.errors import DataplaneError, FileError
from mrouter.lab.configs import write_configs


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mrouter", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def files(tmp_path):
    return write_configs(tmp_path)


def test_the_version_is_shown():
    shown = run("--version")
    assert (shown.returncode, shown.stdout) == (0, f"{__version__}\n")


def test_status_without_an_agent_is_a_helpful_line(tmp_path):
    asked = run("status", "--socket", tmp_path / "mrouter.sock")

    assert asked.returncode == 1
    assert asked.stdout == ""
    path = tmp_path / "mrouter.sock"
    assert asked.stderr == f"mrouter: no agent at {path}: is mrouter running?\n"


def test_good_files_pass_the_check(files):
    assert check_file(files.mobile_router) == (
        f"{files.mobile_router}: mobile router 2001:db8:f1::100, 3 links, 4 policies, no problems"
    )
    assert check_file(files.home_agent).endswith("home agent 2001:db8:f0::2, 1 served, no problems")
    assert check_file(files.correspondent_node).endswith(
        "correspondent node 2001:db8:c::10, no problems"
    )
    assert check_file(files.policy) == f"{files.policy}: 4 policies, no problems"


def test_a_good_file_ends_with_code_0(files):
    checked = run("check", files.mobile_router)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "no problems" in checked.stdout


def test_a_bad_file_ends_with_code_2_and_a_line_for_each_mistake(files):
    text = files.mobile_router.read_text().replace("ifpri = 1", "ifpri = 300")
    files.mobile_router.write_text(text.replace('name = "sat"', 'nam = "sat"'))

    checked = run("check", files.mobile_router)

    assert (checked.returncode, checked.stdout) == (2, "")
    lines = checked.stderr.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith(f"{files.mobile_router}:") for line in lines)
    number = text.splitlines().index("ifpri = 300") + 1
    assert any(f":{number}: " in line and "ifpri" in line for line in lines)


def test_a_bad_policy_is_found_by_way_of_the_configuration_that_names_it(files):
    files.policy.write_text(files.policy.read_text().replace('"wifi"', '"wlan"'))

    with pytest.raises(FileError) as caught:
        check_file(files.mobile_router)
    assert {problem.file for problem in caught.value.problems} == {str(files.policy)}


def test_run_with_a_bad_file_ends_with_code_2(files):
    files.home_agent.write_text('role = "home-agnet"\n')
    started = run("run", files.home_agent)

    assert started.returncode == 2
    (line,) = started.stderr.splitlines()
    assert line.startswith(f"{files.home_agent}:1: role: ")


def test_run_with_a_file_that_is_missing_ends_with_code_2(tmp_path):
    started = run("run", tmp_path / "none.toml")
    assert started.returncode == 2
    assert "Traceback" not in started.stderr


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        (1 << 12, "CAP_NET_RAW missing"),
        (1 << 13, "CAP_NET_ADMIN missing"),
        (0, "CAP_NET_ADMIN and CAP_NET_RAW missing"),
    ],
)
def test_missing_capabilities_are_named(tmp_path, monkeypatch, effective, missing):
    status = tmp_path / "status"
    status.write_text(f"Name:\tpython\nCapEff:\t{effective:016x}\n")
    monkeypatch.setattr("mrouter.agent.privileges._STATUS", status)

    with pytest.raises(DataplaneError, match=missing):
        require_capabilities()


def test_both_capabilities_suffice(tmp_path, monkeypatch):
    status = tmp_path / "status"
    status.write_text(f"CapEff:\t{3 << 12:016x}\n")
    monkeypatch.setattr("mrouter.agent.privileges._STATUS", status)

    require_capabilities()
