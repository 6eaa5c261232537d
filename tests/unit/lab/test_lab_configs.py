from __future__ import annotations

import stat
import tomllib

import pytest

from mrouter.config.load import load_config
from mrouter.lab.configs import write_configs
from mrouter.lab.plan import EGRESS_LINKS, NODES, draw_topology
from mrouter.policy.load import load_policies


@pytest.fixture
def files(tmp_path):
    return write_configs(tmp_path)


def test_the_daemons_accept_every_file(files):
    router = load_config(files.mobile_router)
    agent = load_config(files.home_agent)
    node = load_config(files.correspondent_node)
    table = load_policies(files.policy, [link.name for link in router.links], router.ingress)

    assert router.control_socket == files.mobile_router_socket
    assert agent.control_socket == files.home_agent_socket
    assert node.control_socket == files.correspondent_node_socket
    assert router.policy == files.policy
    assert [policy.name for policy in table.policies] == ["call", "bulk", "pings", "default"]


def test_both_ends_hold_the_same_key_for_the_same_spi(files, tmp_path):
    ours = tomllib.loads(files.mobile_router.read_text())["security"]
    theirs = tomllib.loads(files.home_agent.read_text())["mobile-router"][0]["security"][0]

    assert ours["spi"] == theirs["spi"]
    keys = [bytes.fromhex((tmp_path / side["key-file"]).read_text()) for side in (ours, theirs)]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 32


def test_key_files_are_readable_by_their_owner_only(files, tmp_path):
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.key")}

    assert modes == {0o600}


def test_each_lab_draws_a_key_of_its_own(tmp_path):
    keys = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_configs(tmp_path / name)
        keys.append((tmp_path / name / "mr.key").read_text())

    assert keys[0] != keys[1]


def test_the_home_agent_knows_the_mobile_router_by_what_that_claims(files):
    router = tomllib.loads(files.mobile_router.read_text())["mobile-router"]
    known = tomllib.loads(files.home_agent.read_text())["mobile-router"][0]

    assert known["home-address"] == router["home-address"]
    assert known["prefixes"] == router["prefixes"]


def test_every_link_of_the_plan_is_configured(files):
    links = tomllib.loads(files.mobile_router.read_text())["link"]

    assert [(k["name"], k["interface"], k["ifpri"]) for k in links] == [
        (k.name, k.interface, k.ifpri) for k in EGRESS_LINKS
    ]


def test_call_and_bulk_are_steered_to_different_first_links(files):
    call, bulk, _ = tomllib.loads(files.policy.read_text())["policy"]

    assert call["bicast"][0] != bulk["links"][0]


def test_the_drawing_shows_every_node_and_fits_a_terminal():
    picture = draw_topology()

    assert all(node.upper() in picture.upper() for node in NODES)
    assert max(len(line) for line in picture.splitlines()) <= 80
