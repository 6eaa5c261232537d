"""On which terms a policy uses its links: read, refused, shown."""

from __future__ import annotations

import json

import jsonschema
import pytest

from mrouter.errors import PolicyError
from mrouter.policy.conditions import describe_action
from mrouter.policy.difference import compare_tables
from mrouter.policy.json_schema import make_policy_schema
from mrouter.policy.load import load_policies
from mrouter.policy.model import Balance, Bicast, Choice, Steer, Tier
from mrouter.policy.resolve import rank, resolve
from mrouter.policy.table_codec import decode_table, encode_table
from mrouter.toml_source import read_toml

POLICIES = """\
[[policy]]
name = "call"
bicast = ["lte", "wifi", "sat"]
copies = 2
choose = "lowest-loss"
[[policy]]
name = "web"
links = ["lte", "wifi"]
choose = "cheapest"
hold-down = 30
running-flows = "stay"
under-quota = true
rate-limit = "2.5 Mbit/s"
[[policy]]
name = "bulk"
tiers = [{ links = ["wifi", "lte"], choose = "lowest-latency" }, { links = ["sat"] }]
wait = true
[[policy]]
name = "unwanted"
drop = true
[default]
links = ["lte", "wifi", "sat"]
hold-down = 2.5
"""


def write(directory, content=POLICIES):
    path = directory / "p.toml"
    path.write_text(content)
    return path


def load(directory, content=POLICIES):
    return load_policies(write(directory, content), ["lte", "wifi", "sat"], ["lan0"])


def test_terms_are_read(tmp_path):
    call, web, bulk, unwanted, default = load(tmp_path).policies
    assert call.action == Bicast(("lte", "wifi", "sat"), 2, Choice.LOWEST_LOSS)
    assert web.action == Steer(("lte", "wifi"), Choice.CHEAPEST)
    assert (web.hold_down, web.stay, web.under_quota, web.wait) == (30, True, True, False)
    assert web.rate_limit == 312_500
    assert bulk.action == Balance(
        (Tier(("wifi", "lte"), choice=Choice.LOWEST_LATENCY), Tier(("sat",)))
    )
    assert bulk.wait
    assert (unwanted.hold_down, unwanted.stay, unwanted.rate_limit) == (0, False, None)
    assert default.hold_down == 2.5


@pytest.mark.parametrize(
    ("text", "octets"),
    [("8 kbit/s", 1000), ("64kbit/s", 8000), ("2 Mbit/s", 250_000), ("1.5 Gbit/s", 187_500_000)],
)
def test_rates_are_in_bits_of_a_second(tmp_path, text, octets):
    content = f'[default]\nlinks = ["lte"]\nrate-limit = "{text}"\n'
    assert load(tmp_path, content).policies[0].rate_limit == octets


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"lowest-loss"', '"lowest-los"', "p.toml:5: policy[0].choose:"
         ' "lowest-los" is not known (did you mean lowest-loss?)'),
        ("hold-down = 30", "hold-down = -1", "p.toml:10: policy[1].hold-down:"
         " must be from 0 to 604800 seconds, it is -1.0"),
        ("hold-down = 30", 'hold-down = "30 s"',
         "p.toml:10: policy[1].hold-down: must be a number"),
        ('"stay"', '"remain"', 'p.toml:11: policy[1].running-flows: "remain" is not known'
         " (known: move, stay)"),
        ('"2.5 Mbit/s"', '"2.5 MB/s"', "p.toml:13: policy[1].rate-limit:"
         ' "MB/s" is not a unit of rates (did you mean Mbit/s?)'),
        ('"2.5 Mbit/s"', "2500000", "p.toml:13: policy[1].rate-limit: 2500000 is not a rate"
         ' (as in "2 Mbit/s")'),
        ('"2.5 Mbit/s"', '"1 kbit/s"', "p.toml:13: policy[1].rate-limit:"
         ' "1 kbit/s" is not from 8 kbit/s to 1000 Gbit/s'),
        ('["lte", "wifi"]\nchoose', '["lte"]\nchoose', "p.toml:9: policy[1].choose:"
         " choose stands only beside several links (leave it out)"),
        ("wait = true", 'wait = true\nchoose = "cheapest"', "p.toml:18: policy[2].choose: choose"
         ' stands in the tiers whose links it is about (write tiers = [{ links = ["lte", "wifi"],'
         ' choose = "cheapest" }])'),
        ("drop = true", "drop = true\nwait = true", "p.toml:21: policy[3].wait:"
         " what is dropped goes by no link (leave it out)"),
        ("drop = true", 'drop = true\nrate-limit = "1 Mbit/s"', "p.toml:21: policy[3].rate-limit:"
         " what is dropped goes by no link (leave it out)"),
        ("drop = true", "drop = true\nhold-down = 3", "p.toml:21: policy[3].hold-down:"
         " what is dropped goes by no link (leave it out)"),
        ('{ links = ["sat"] }', '{ links = ["sat"], choose = "cheapest" }', "p.toml:16:"
         " policy[2].tiers[1].choose: choose stands only beside several links (leave it out)"),
        ("under-quota = true", "under-quota = 1", "p.toml:12: policy[1].under-quota:"
         " must be true or false"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path, old, new, problem):
    assert old in POLICIES
    with pytest.raises(PolicyError) as caught:
        load(tmp_path, POLICIES.replace(old, new, 1))
    assert problem in str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_choose_beside_weights_is_refused(tmp_path):
    content = '[default]\nbalance = { lte = 1, wifi = 1 }\nchoose = "cheapest"\n'
    with pytest.raises(PolicyError, match=r"default\.choose: choose stands only beside several"):
        load(tmp_path, content)


def test_the_schema_of_editors_accepts_the_same(tmp_path):
    data = read_toml(write(tmp_path)).data
    schema = make_policy_schema()
    jsonschema.validate(data, schema)
    for key, value in (("choose", "best"), ("hold-down", -1), ("rate-limit", "fast"), ("wait", 3)):
        wrong = {**data, "default": {**data["default"], key: value}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_terms_travel_as_json(tmp_path):
    table = load(tmp_path)
    assert decode_table(json.loads(json.dumps(encode_table(table)))) == table


def test_a_changed_term_is_shown(tmp_path):
    old = load(tmp_path)
    new = load(tmp_path, POLICIES.replace("hold-down = 30", "hold-down = 10").replace(
        'choose = "cheapest"', 'choose = "lowest-latency"'))  # fmt: skip
    (change,) = compare_tables(old, new).changed
    assert [(each.field, each.old, each.new) for each in change.changes] == [
        ("action", "links lte, wifi, cheapest first", "links lte, wifi, lowest-latency first"),
        ("hold_down", "30.0", "10.0"),
    ]


def test_a_tiers_choice_is_shown(tmp_path):
    bulk = load(tmp_path).policies[2]
    assert describe_action(bulk.action) == "balance wifi, lte, lowest-latency first; then sat"


def test_what_is_ranked_is_resolved_in_that_order():
    measures = {Choice.CHEAPEST: {"sat": 1, "lte": 7}}
    action = rank(Steer(("wifi", "lte", "sat"), Choice.CHEAPEST), measures)
    assert resolve(action, {"wifi", "lte", "sat"}) == ("sat",)
    assert resolve(action, {"wifi", "lte"}) == ("lte",)
    assert resolve(action, {"wifi"}) == ("wifi",)
    same = Steer(("wifi", "lte", "sat"))
    assert rank(same, measures) == same
    shared = Balance((Tier(("wifi", "sat"), (1, 1)),))
    assert rank(shared, measures) == shared


def test_links_of_one_level_are_tried_as_they_are_listed():
    action = Steer(("wifi", "lte", "sat"), Choice.LOWEST_LOSS)
    measures = {Choice.LOWEST_LOSS: {"lte": 0, "sat": 1, "wifi": 0}}
    assert rank(action, measures).links == ("wifi", "lte", "sat")
    assert rank(action, {Choice.LOWEST_LOSS: {"wifi": 2, "lte": 2}}).links == action.links
