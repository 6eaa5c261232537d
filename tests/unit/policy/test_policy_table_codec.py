from __future__ import annotations

import json
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from mrouter.policy.load import load_policies
from mrouter.policy.model import Drop, Match, Policy, PolicyTable, PortRange, WeekSpan
from mrouter.policy.prefix_sets import make_prefix_set
from mrouter.policy.table_codec import decode_table, encode_table

READY = Path(__file__).parents[3] / "policies"


def send(table):
    return decode_table(json.loads(json.dumps(encode_table(table))))


@pytest.mark.parametrize("path", sorted(READY.glob("*.toml")), ids=lambda path: path.stem)
def test_a_ready_file_arrives_as_it_was(path):
    table = load_policies(path)
    assert send(table) == table


def test_a_match_arrives_with_its_sets_and_what_it_keeps_out():
    company = make_prefix_set("company", [IPv6Network("2001:db8:1::/48"), IPv6Network("::/0")])
    match = Match(
        (17,),
        destination_ports=(PortRange(1, 2),),
        destination_prefixes=(IPv6Network("2001:db8::/32"),),
        source_sets=(company,),
        times=(WeekSpan(0, 59, "UTC"),),
        none_of=Match(dscp=(46,)),
    )
    table = PolicyTable((Policy("p", match, Drop(), 46),))
    arrived = send(table)
    assert arrived == table
    assert arrived.policies[0].match.source_sets[0].packed == company.packed


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {"kind": "Drop"},
        {"kind": "Nothing"},
        {"kind": "PolicyTable"},
        {"kind": "PolicyTable", "policies": [], "more": 1},
    ],
)
def test_the_table_of_another_version_is_refused(content):
    with pytest.raises(ValueError, match="not a table of policies"):
        decode_table(content)
