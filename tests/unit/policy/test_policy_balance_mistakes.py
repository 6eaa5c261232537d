from __future__ import annotations

import pytest

from mrouter.errors import PolicyError
from mrouter.policy.load import load_policies

POLICIES = """\
[[policy]]
name = "web"
balance = { lte = 3, wifi = 1 }
sticky = "source"
dscp-remark = "af11"
[[policy]]
name = "bulk"
tiers = [
  { balance = { lte = 3, wifi = 1 } },
  { links = ["sat"] },
]
[[policy]]
name = "unwanted"
drop = true
[default]
links = ["lte", "wifi", "sat"]
"""
EXAMPLE = "balance = { lte = 3, wifi = 1 }"


def refusals(directory, content):
    path = directory / "p.toml"
    path.write_text(content)
    with pytest.raises(PolicyError) as caught:
        load_policies(path, ["lte", "wifi", "sat"], ["lan0"])
    return str(caught.value).replace(f"{directory}/", "").splitlines()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("{ lte = 3, wifi = 1 }", '["lte", "wifi"]',
         "p.toml:3: policy[0].balance: must be a table of links and weights"
         f" (write {EXAMPLE})"),
        ("{ lte = 3, wifi = 1 }", "{ lte = 3 }",
         "p.toml:3: policy[0].balance: balance needs two links or more"
         ' (write links = ["lte"])'),
        ("{ lte = 3, wifi = 1 }", "{}",
         f"p.toml:3: policy[0].balance: balance needs two links or more (write {EXAMPLE})"),
        ("lte = 3", "lte = 0", "p.toml:3: policy[0].balance.lte: must be from 1 to 100, it is 0"),
        ("lte = 3", "lte = 101",
         "p.toml:3: policy[0].balance.lte: must be from 1 to 100, it is 101"),
        ("lte = 3", "lte = 0.5", "p.toml:3: policy[0].balance.lte: must be a whole number"),
        ("lte = 3", 'lte = "3"', "p.toml:3: policy[0].balance.lte: must be a whole number"),
        ("lte = 3", "lte = true", "p.toml:3: policy[0].balance.lte: must be a whole number"),
        ("wifi = 1", "wify = 1",
         'p.toml:3: policy[0].balance.wify: unknown link "wify" (did you mean wifi?)'),
        ('"source"', '"sauce"',
         'p.toml:4: policy[0].sticky: "sauce" is not known (did you mean source?)'),
        (EXAMPLE, 'links = ["lte"]', "p.toml:4: policy[0].sticky: sticky stands only beside"
         " balance (leave it out: what is not shared stays)"),
        (EXAMPLE, 'tiers = [{ links = ["lte"] }]', "p.toml:4: policy[0].sticky: sticky stands only"
         " beside balance (leave it out: what is not shared stays)"),
        ('"af11"', '"af14"',
         'p.toml:5: policy[0].dscp-remark: unknown DSCP "af14" (did you mean af43?)'),
        ('"af11"', "64", "p.toml:5: policy[0].dscp-remark: a DSCP number is from 0 to 63,"
         " this is 64"),
        ("drop = true", 'drop = true\ndscp-remark = "ef"',
         "p.toml:15: policy[2].dscp-remark: what is dropped leaves with no DSCP (leave it out)"),
        ("{ balance = { lte = 3, wifi = 1 } }", "{ balance = { lte = 300, wifi = 1 } }",
         "p.toml:9: policy[1].tiers[0].balance.lte: must be from 1 to 100, it is 300"),
        ("{ balance = { lte = 3, wifi = 1 } }", "{}",
         "p.toml:9: policy[1].tiers[0]: names no links"
         f' (write links = ["lte"] or {EXAMPLE})'),
        ("{ balance = { lte = 3, wifi = 1 } }", "3",
         "p.toml:9: policy[1].tiers[0]: must be a table"),
        ('"sat"] }', '"sat", "dsl"] }', 'p.toml:10: policy[1].tiers[1].links[1]: unknown link "dsl"'
         " (known: lte, wifi, sat)"),
        ('"sat"] }', '"sat", "wifi"] }',
         "p.toml:10: policy[1].tiers[1].links[1]: wifi stands in tiers[0] already (keep it once)"),
        ('{ links = ["sat"] }', "{ balance = { sat = 1, lte = 1 } }",
         "p.toml:10: policy[1].tiers[1].balance.lte: lte stands in tiers[0] already"
         " (keep it once)"),
        ('{ links = ["sat"] }', '{ links = ["sat"], balance = { lte = 1, wifi = 1 } }',
         "p.toml:10: policy[1].tiers[1].balance: only one of links and balance can be given"
         " (write two tiers)"),
        ('{ links = ["sat"] }', '{ link = ["sat"] }',
         "p.toml:10: policy[1].tiers[1].link: unknown key (did you mean links?)"),
        (EXAMPLE, "tiers = []", "p.toml:3: policy[0].tiers: the list is empty"
         " (name at least one, or leave the key out)"),
        (EXAMPLE, 'tiers = { links = ["sat"] }',
         "p.toml:3: policy[0].tiers: must be a list of tables"
         f' (write tiers = [{{ {EXAMPLE} }}, {{ links = ["sat"] }}])'),
        (EXAMPLE, f'{EXAMPLE}\ntiers = [{{ links = ["sat"] }}]',
         "p.toml:4: policy[0].tiers: only one of balance and tiers can be given"
         " (keep one, or split the policy)"),
        ("[default]\nlinks =", "[default]\nbalance = { lte = 1, lan = 1 }\nlinks =",
         'p.toml:16: default.balance.lan: unknown link "lan" (known: lte, wifi, sat)'),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path, old, new, problem):
    assert old in POLICIES
    assert problem in refusals(tmp_path, POLICIES.replace(old, new, 1))


def test_all_mistakes_of_a_table_of_weights_are_named_at_once(tmp_path):
    text = "[default]\nbalance = { lte = 0, dsl = 1, wifi = 2.5 }\n"
    assert [line.split()[1] for line in refusals(tmp_path, text)] == [
        "default.balance.lte:",
        "default.balance.dsl:",
        "default.balance.wifi:",
    ]
