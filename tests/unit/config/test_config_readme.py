"""The files that the README shows are taken as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mrouter.check import check_file
from mrouter.policy.load import load_policies
from mrouter.policy.match_schema import MatchTable
from mrouter.policy.schema import ActionTable

README = Path(__file__).parents[3] / "README.md"
BLOCKS = re.findall(
    r"^```toml\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
CONFIGURATIONS = {
    re.search(r'^role = "(.+)"', block)[1]: block for block in BLOCKS if block.startswith("role")
}
(FIRST,) = (block for block in BLOCKS if block.startswith("[[policy]]"))


@pytest.fixture
def directory(tmp_path):
    for name in ("ha.key", "bus-17.key"):
        key = tmp_path / name
        key.write_text("5a" * 32)
        key.chmod(0o600)
    (tmp_path / "policy.toml").write_text('[default]\nlinks = ["lte", "wifi"]\n')
    return tmp_path


def test_a_configuration_of_every_role_is_shown():
    assert sorted(CONFIGURATIONS) == ["correspondent-node", "home-agent", "mobile-router"]


@pytest.mark.parametrize("role", CONFIGURATIONS)
def test_the_configuration_is_taken(directory, role):
    file = directory / "role.toml"
    file.write_text(CONFIGURATIONS[role])

    assert check_file(file).endswith("no problems")


def test_the_policy_file_is_taken(tmp_path):
    file = tmp_path / "policy.toml"
    file.write_text(FIRST)

    taken = load_policies(file, ["lte", "wifi", "sat"])
    assert [policy.name for policy in taken.policies] == ["call", "bulk", "no-telnet", "default"]


@pytest.mark.parametrize("model", [MatchTable, ActionTable])
def test_every_key_of_a_policy_is_named(model):
    keys = {field.alias for field in model.model_fields.values()}
    named = set(re.findall(r"`([a-z0-9-]+)`", README.read_text(encoding="utf-8")))
    assert {key for key in keys if not key.startswith("not-")} <= named
