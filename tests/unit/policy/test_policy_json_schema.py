from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema
import pytest

from mrouter.policy.json_schema import make_policy_schema

READY = Path(__file__).parents[3] / "policies"
DEFAULT = '[default]\nlinks = "lte"\n'


@pytest.fixture(scope="module")
def validator():
    schema = make_policy_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("path", sorted(READY.glob("*.toml")), ids=lambda path: path.stem)
def test_a_ready_file_is_valid(validator, path):
    assert list(validator.iter_errors(tomllib.loads(path.read_text()))) == []


def policy_with(match):
    return f'[[policy]]\nname = "p"\ndrop = true\nmatch = {{ {match} }}\n{DEFAULT}'


@pytest.mark.parametrize(
    "match",
    [
        "",
        'protocol = "udp"',
        'protocol = "UDP"',
        "protocol = 47",
        'protocol = ["tcp", 17]',
        'protocol = "udp", destination-port = 5060',
        'protocol = "udp", destination-port = "5000-5010"',
        'protocol = "udp", not-source-port = [1, "2 - 3"]',
        'destination = "2001:db8::/32"',
        'destination = ["2001:db8::1", "@streaming"]',
        'dscp = "af11"',
        "not-dscp = [0, 63]",
        'ingress = "lan0"',
        'icmpv6-type = "echo-request"',
        'source-mac = "02:00:00:00:00:0A"',
        'time = ["6:00-09:30", "22:00-24:00"], weekday = "Mon - fri"',
        'packet-size = ["0-200", 300, "1000-"]',
        'flow-bytes = ["0-500 kB", "10MB-"]',
        'destination-domain = ["Example.com", "*.example.net"]',
        'not-time = "22:00-06:00", not-weekday = ["sun"]',
    ],
)
def test_every_form_of_a_condition_is_valid(validator, match):
    assert list(validator.iter_errors(tomllib.loads(policy_with(match)))) == []


@pytest.mark.parametrize(
    "match",
    [
        'protocol = "upd"',
        "protocol = 256",
        'protocol = "17"',
        "protocol = []",
        'protocol = ["udp", "udp"]',
        'protocol = "udp", destination-port = 65536',
        'protocol = "udp", destination-port = "sip"',
        'protocol = "udp", destination-port = true',
        'destination = "example.org"',
        "dscp = 64",
        'destnation = "2001:db8::/32"',
        'destination_port = "80"',
        'source-mac = "02:00"',
        'time = "6-9"',
        'destination-domain = "www.*.com"',
        'flow-bytes = "10MB"',
        'packet-size = "small"',
        'weekday = "monday"',
    ],
)
def test_a_wrong_condition_is_not_valid(validator, match):
    assert not validator.is_valid(tomllib.loads(policy_with(match)))


@pytest.mark.parametrize(
    "default",
    [
        'links = ["lte", "wifi"]',
        'bicast = ["lte", "wifi"]\ncopies = 2',
        "balance = { lte = 3, wifi = 1 }\nsticky = 'source'",
        'tiers = [{ balance = { lte = 3, wifi = 1 } }, { links = ["sat"] }]',
        "drop = true",
        'links = "lte"\ndscp-remark = "ef"',
    ],
)
def test_every_form_of_an_action_is_valid(validator, default):
    assert list(validator.iter_errors(tomllib.loads(f"[default]\n{default}"))) == []


@pytest.mark.parametrize(
    "default",
    [
        "",
        'links = ["lte"]\ndrop = true',
        'links = ["a link"]',
        "balance = { lte = 0, wifi = 1 }",
        "balance = { lte = 3, wifi = 1 }\nsticky = 'host'",
        'tiers = [{ balance = { lte = 3, wifi = 1 }, links = ["sat"] }]',
        'links = ["lte"]\ncopies = "two"',
    ],
)
def test_a_wrong_action_is_not_valid(validator, default):
    assert not validator.is_valid(tomllib.loads(f"[default]\n{default}"))


def test_a_file_needs_a_default(validator):
    assert not validator.is_valid({"policy": []})


def list_keys():
    schema = make_policy_schema()
    for name, table in {"PolicyFile": schema, **schema["$defs"]}.items():
        for key, field in table["properties"].items():
            yield pytest.param({**field, "$defs": schema["$defs"]}, id=f"{name}-{key}")


@pytest.mark.parametrize("field", list(list_keys()))
def test_every_key_tells_an_editor_what_it_means(field):
    assert field["description"]


@pytest.mark.parametrize("field", list(list_keys()))
def test_an_example_for_editors_is_a_value_that_the_key_takes(field):
    for value in field.get("examples", ()):
        jsonschema.Draft202012Validator(field).validate(value)


def test_examples_for_editors_are_values():
    assert make_policy_schema()["$defs"]["ActionTable"]["properties"]["balance"]["examples"] == [
        {"wifi": 3, "lte": 1}
    ]
