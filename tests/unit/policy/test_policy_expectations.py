from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mrouter.errors import FileError, PolicyError
from mrouter.policy.expectations import Expectations, read_packet
from mrouter.policy.load import load_policies

READY = Path(__file__).parents[3] / "policies"
POLICIES = """
[[policy]]
name = "call"
match = { protocol = "udp", destination-port = 5004 }
bicast = ["lte", "wifi"]
[default]
links = ["sat", "lte"]
"""
CALL = """
policies = "p.toml"
[[expect]]
name = "a call"
protocol = "udp"
destination-port = 5004
"""


@pytest.fixture
def judge(tmp_path):
    def judge(text, links=None):
        (tmp_path / "p.toml").write_text(POLICIES)
        (tmp_path / "expect.toml").write_text(text.lstrip())
        expectations = Expectations(tmp_path / "expect.toml")
        problems = expectations.judge(load_policies(expectations.policies), links)
        return [str(problem).removeprefix(f"{tmp_path}/") for problem in problems]

    return judge


@pytest.fixture
def refuse(judge):
    def refuse(text, links=None):
        with pytest.raises(PolicyError) as caught:
            judge(text, links)
        return [(problem.line, problem.key, problem.message) for problem in caught.value.problems]

    return refuse


def test_what_is_as_expected_has_no_problem(judge):
    assert not judge(f'{CALL}policy = "call"\nlinks = ["lte", "wifi"]\n')


def test_another_policy_is_told_with_line_and_key(judge):
    assert judge(f'{CALL}policy = "default"\n') == [
        'expect.toml:6: expect[0].policy: a call: expected "default", got "call"'
    ]


def test_other_links_are_told_with_the_policy_that_chose_them(judge):
    assert judge(f'{CALL}links = "lte"\n') == [
        'expect.toml:6: expect[0].links: a call: expected lte, got lte, wifi by policy "call"'
    ]


@pytest.mark.parametrize(
    ("up", "links"), [('["wifi"]', '["wifi"]'), ('["lte", "wifi", "sat"]', '["lte", "wifi"]')]
)
def test_links_that_are_not_up_are_not_taken(judge, up, links):
    assert not judge(f"{CALL}up = {up}\nlinks = {links}\n")


def test_a_packet_is_dropped_where_none_of_its_links_is_up(judge):
    assert not judge(f'{CALL}up = "sat"\ndrop = true\n')
    assert judge(f'{CALL}policy = "call"\ndrop = true\n') == [
        "expect.toml:7: expect[0].drop: a call: expected drop, got lte, wifi"
    ]


def test_fields_that_are_left_out_are_those_of_a_packet_without_them(judge):
    plain = CALL.replace("destination-port = 5004\n", "")
    assert not judge(f'{plain}policy = "default"\n')


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", (2, "expect[0]", "does not say what is expected")),
        ('policy = "cal"', (6, "expect[0].policy", 'unknown policy "cal"')),
        ('links = ["wlan"]', (6, "expect[0].links[0]", 'unknown link "wlan"')),
        ('up = "wlan"\ndrop = true', (6, "expect[0].up", 'unknown link "wlan"')),
        ("links = []", (6, "expect[0].links", "the list is empty")),
        ("drop = false", (6, "expect[0].drop", "drop can only be true")),
        ('links = "lte"\ndrop = true', (7, "expect[0].drop", "what is dropped goes by no link")),
        ('policy = "call"\nport = 1', (7, "expect[0].port", "unknown key")),
        (
            'policy = "call"\ndscp = "eff"',
            (7, "expect[0].dscp", 'unknown DSCP "eff"'),
        ),
        (
            'policy = "call"\nsource-port = 65536',
            (7, "expect[0].source-port", "must be from 0 to 65535, it is 65536"),
        ),
    ],
)
def test_a_mistake_is_told_with_line_and_key(refuse, line, problem):
    assert refuse(f"{CALL}{line}\n") == [problem]


def test_two_expectations_of_one_name_are_refused(refuse):
    again = CALL.replace('policies = "p.toml"\n', "")
    both = f'{CALL}policy = "call"\n{again}policy = "call"\n'
    assert [(line, key) for line, key, _ in refuse(both)] == [(9, "expect[1].name")]


def test_a_configured_link_may_be_named_though_no_policy_does(judge, refuse):
    text = f'{CALL}up = ["lte", "dsl"]\nlinks = "lte"\n'
    assert not judge(text, ["lte", "wifi", "sat", "dsl"])
    assert refuse(text)


def test_a_file_without_expectations_is_refused(refuse):
    assert [key for _, key, _ in refuse('policies = "p.toml"\n')] == ["expect"]


# --- the command line's packet ----------------------------------------------------------


def test_numbers_and_names_are_read_from_text():
    flow = read_packet({"protocol": "17", "dscp": "ef", "destination-port": 5, "source": None})
    assert (flow.protocol, flow.dscp, flow.destination_port) == (17, 46, 5)


def test_every_wrong_option_is_named():
    with pytest.raises(FileError) as caught:
        read_packet({"protocol": "upd", "destination": "here"})
    assert [str(problem) for problem in caught.value.problems] == [
        'command line: --protocol: unknown protocol "upd" (did you mean udp?)',
        'command line: --destination: "here" is not an IPv6 address',
    ]


# --- the ready policies -----------------------------------------------------------------


def names_of(directory):
    return {path.stem for path in directory.glob("*.toml")}


def test_every_ready_file_has_expectations():
    assert names_of(READY) == names_of(READY / "tests")


@pytest.mark.parametrize("name", sorted(names_of(READY / "tests")))
def test_a_ready_file_does_what_is_expected(name):
    expectations = Expectations(READY / "tests" / f"{name}.toml")
    assert expectations.policies.samefile(READY / f"{name}.toml")
    assert expectations.judge(load_policies(expectations.policies)) == []


@pytest.mark.parametrize("name", sorted(names_of(READY)))
def test_each_policy_of_a_ready_file_is_expected_somewhere(name):
    policies = load_policies(READY / f"{name}.toml").policies
    file = tomllib.loads((READY / "tests" / f"{name}.toml").read_text())
    assert {p.name for p in policies} == {e["policy"] for e in file["expect"] if "policy" in e}


ASKING = """
[[policy]]
name = "night"
match = { time = "22:00-06:00" }
links = ["lte"]
[[policy]]
name = "heavy"
match = { flow-bytes = "10MB-", packet-size = "1000-" }
links = ["lte"]
[[policy]]
name = "video"
match = { destination-domain = "*.example.com" }
links = ["lte"]
[default]
links = ["lte"]
"""


@pytest.mark.parametrize(
    ("packet", "policy"),
    [
        ('time = "mon 23:00"', "night"),
        ("", "default"),
        ('flow-bytes = "10MB"\npacket-size = 1000', "heavy"),
        ('destination-domain = "WWW.example.com"', "video"),
    ],
)
def test_a_packet_may_have_a_time_sizes_and_a_name(tmp_path, packet, policy):
    (tmp_path / "p.toml").write_text(ASKING)
    text = f'[[expect]]\nname = "x"\nprotocol = "udp"\npolicy = "{policy}"\n{packet}\n'
    (tmp_path / "expect.toml").write_text(f'policies = "p.toml"\n{text}')
    expectations = Expectations(tmp_path / "expect.toml")
    assert expectations.judge(load_policies(expectations.policies)) == []
