from __future__ import annotations

import pytest

from mrouter.errors import PolicyError
from mrouter.policy.load import load_policies

POLICIES = """\
[[policy]]
name = "call"
match = { protocol = "udp", destination-port = 5004 }
bicast = ["lte", "wifi"]
copies = 2
[[policy]]
name = "bulk"
match.protocol = "tcp"
match.destination-port = [
  20,
  "5201-5210",
]
match.destination = "2001:db8:1::/48"
match.dscp = "ef"
match.ingress = "lan0"
links = ["wifi", "lte"]
[default]
links = ["lte", "wifi", "sat"]
"""


def refusals(directory, content):
    path = directory / "p.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(PolicyError) as caught:
        load_policies(path, ["lte", "wifi", "sat"], ["lan0", "lan1"])
    return str(caught.value).replace(f"{directory}/", "").splitlines()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('name = "call"\n', "", 'p.toml:1: policy[0].name: is missing (write name = "call")'),
        ('"call"', '"default"',
         'p.toml:2: policy[0].name: "default" is reserved (write a [default] table)'),
        ('"call"', '"my call"',
         "p.toml:2: policy[0].name: \"my call\" is not a name: 1 to 64 letters, digits, dots, '-'"
         ' and \'_\' (write "my-call")'),
        ('"call"', "5", "p.toml:2: policy[0].name: must be text in quotes"),
        ('"bulk"', '"call"', 'p.toml:7: policy[1].name: "call" stands in line 2 already'
         " (give each policy its own name)"),
        ('"udp"', '"upd"', 'p.toml:3: policy[0].match.protocol: unknown protocol "upd"'
         " (did you mean udp?)"),
        ('"udp"', '"17"', 'p.toml:3: policy[0].match.protocol: "17" is text'
         " (write the number without quotes)"),
        ('"udp"', "256", "p.toml:3: policy[0].match.protocol: a protocol number is from 0 to 255,"
         " this is 256"),
        ('"udp"', "true", "p.toml:3: policy[0].match.protocol: must be the name or number of a"
         " protocol (known: icmp, tcp, udp, esp, icmpv6, sctp, udplite)"),
        ('"udp"', "[]", "p.toml:3: policy[0].match.protocol: the list is empty"
         " (name at least one, or leave the key out)"),
        ('"udp"', '["udp", 17]',
         "p.toml:3: policy[0].match.protocol[1]: 17 is given twice (keep it once)"),
        ('protocol = "udp", ', "",
         "p.toml:3: policy[0].match.destination-port: a port needs a protocol that has ports"
         ' (write protocol = "udp" or ["tcp", "udp"] beside it)'),
        ('"udp"', '["udp", "icmpv6"]',
         "p.toml:3: policy[0].match.destination-port: protocol 58 has no ports"
         ' (write protocol = "udp" or ["tcp", "udp"] beside it)'),
        ("5004", "65536", "p.toml:3: policy[0].match.destination-port: a port is from 0 to 65535,"
         " this is 65536"),
        ("5004", "-1",
         "p.toml:3: policy[0].match.destination-port: a port is from 0 to 65535, this is -1"),
        ("5004", '"5000-70000"',
         "p.toml:3: policy[0].match.destination-port: a port is from 0 to 65535, this is 70000"),
        ("5004", '"5010-5000"',
         "p.toml:3: policy[0].match.destination-port: the range 5010-5000 is reversed"
         ' (write "5000-5010")'),
        ("5004", '"rtp"', 'p.toml:3: policy[0].match.destination-port: "rtp" is not a port or a'
         ' range (as in "5000-5010")'),
        ("5004", "5004.5", "p.toml:3: policy[0].match.destination-port: must be a port such as"
         ' 5060 or a range such as "5000-5010"'),
        ("5004", "[]", "p.toml:3: policy[0].match.destination-port: the list is empty"
         " (name at least one, or leave the key out)"),
        ("destination-port = 5004", "destination_port = 5004",
         "p.toml:3: policy[0].match.destination_port: unknown key"
         " (did you mean destination-port?)"),
        ("{ protocol", '"x" # ', "p.toml:3: policy[0].match: must be a table"),
        ('"5201-5210"', '"19-5210"',
         "p.toml:10: policy[1].match.destination-port[0]: 20 overlaps 19-5210 of the same list"
         ' (write "19-5210" once for both)'),
        ('"5201-5210"', "20", "p.toml:11: policy[1].match.destination-port[1]: 20 overlaps 20 of"
         " the same list (write 20 once for both)"),
        ("2001:db8:1::/48", "2001:db8:1::1/48",
         'p.toml:13: policy[1].match.destination: "2001:db8:1::1/48" has bits set after the'
         ' prefix length (write "2001:db8:1::/48")'),
        ("2001:db8:1::/48", "224.0.0.1",
         "p.toml:13: policy[1].match.destination: 224.0.0.1/32 is multicast, which mrouter does not"
         " forward"),
        ("2001:db8:1::/48", "ff02::1", "p.toml:13: policy[1].match.destination: ff02::1/128 is"
         " multicast, which mrouter does not forward"),
        ("2001:db8:1::/48", "fe80::/64", "p.toml:13: policy[1].match.destination: fe80::/64 is"
         " link-local, which no router forwards"),
        ("2001:db8:1::/48", "2001:db8:1::/129",
         'p.toml:13: policy[1].match.destination: "2001:db8:1::/129" is not an IPv6 prefix'
         ' (as in "2001:db8::/32")'),
        ('"2001:db8:1::/48"', '["2001:db8:1::/48", "2001:db8::/32"]',
         "p.toml:13: policy[1].match.destination[0]: 2001:db8:1::/48 lies within 2001:db8::/32 of"
         " the same list (leave it out)"),
        ('"2001:db8:1::/48"', "[]", "p.toml:13: policy[1].match.destination: the list is empty"
         " (name at least one, or leave the key out)"),
        ('"ef"', '"af44"',
         'p.toml:14: policy[1].match.dscp: unknown DSCP "af44" (did you mean af43?)'),
        ('"ef"', "64",
         "p.toml:14: policy[1].match.dscp: a DSCP number is from 0 to 63, this is 64"),
        ('"lan0"', '"lan2"', 'p.toml:15: policy[1].match.ingress: unknown ingress interface "lan2"'
         " (did you mean lan1?)"),
        ('"wifi", "lte"]\n[', '"wifii", "lte"]\n[',
         'p.toml:16: policy[1].links[0]: unknown link "wifii" (did you mean wifi?)'),
        ('"wifi", "lte"]\n[', '"dsl"]\n[',
         'p.toml:16: policy[1].links[0]: unknown link "dsl" (known: lte, wifi, sat)'),
        ('["wifi", "lte"]', "[]", "p.toml:16: policy[1].links: the list is empty"
         " (name at least one, or leave the key out)"),
        ('["wifi", "lte"]', '["lte", "lte"]',
         "p.toml:16: policy[1].links[1]: lte is given twice (keep it once)"),
        ('links = ["wifi", "lte"]\n', "",
         "p.toml:6: policy[1]: does not say what to do with the packets"
         ' (write links = ["lte"], balance, tiers, bicast or drop = true)'),
        ('links = ["wifi", "lte"]', 'links = ["wifi", "lte"]\ndrop = true',
         "p.toml:17: policy[1].drop: only one of links and drop can be given"
         " (keep one, or split the policy)"),
        ('links = ["wifi", "lte"]', "drop = false",
         "p.toml:16: policy[1].drop: drop can only be true"
         " (leave the key out, or write drop = true)"),
        ('links = ["wifi", "lte"]', 'links = ["wifi", "lte"]\ncopies = 2',
         "p.toml:17: policy[1].copies: copies stands only beside bicast"
         " (leave it out, or write bicast)"),
        ("copies = 2", "copies = 3", "p.toml:5: policy[0].copies: copies must be from 2 to 2, the"
         " number of links listed"),
        ("copies = 2", "copies = 1", "p.toml:5: policy[0].copies: copies must be from 2 to 2, the"
         " number of links listed"),
        ("copies = 2", 'copies = "2"', "p.toml:5: policy[0].copies: must be a whole number"),
        ('["lte", "wifi"]\ncopies = 2', '["lte"]', "p.toml:4: policy[0].bicast: bicast needs two"
         ' links or more (write links = ["lte"])'),
        ("copies", "copy", "p.toml:5: policy[0].copy: unknown key (did you mean copies?)"),
        ('[default]\nlinks = ["lte", "wifi", "sat"]\n', "", "p.toml: default: is missing"
         ' (write [default] and below it links = ["lte", "wifi"])'),
        ("[default]", '[default]\nname = "x"',
         "p.toml:18: default.name: unknown key (known: links, balance, tiers, sticky, bicast,"
         " copies, choose, drop, dscp-remark, hold-down, running-flows, under-quota, wait,"
         " rate-limit)"),
        ("[default]", "[defaults]",
         "p.toml:17: defaults: unknown key (did you mean default?)"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path, old, new, problem):
    assert old in POLICIES
    assert problem in refusals(tmp_path, POLICIES.replace(old, new, 1))


def test_a_single_bracket_where_two_belong_is_explained(tmp_path):
    text = '[policy]\nname = "call"\nlinks = ["lte"]\n[default]\ndrop = true\n'
    assert refusals(tmp_path, text) == [
        "p.toml:1: policy: must be a list of tables (write [[policy]], with two brackets)"
    ]


def test_all_mistakes_are_named_at_once_in_file_order(tmp_path):
    text = POLICIES
    for old, new in [
        ('"udp"', '"upd"'),
        ("20,", "20, 20,"),
        ('"lan0"', '"lan7"'),
        ('"wifi", "lte"]\n[', '"wfi"]\n['),
        ('links = ["lte", "wifi", "sat"]', "x = 1"),
    ]:
        text = text.replace(old, new, 1)
    assert [line.split()[:2] for line in refusals(tmp_path, text)] == [
        ["p.toml:3:", "policy[0].match.protocol:"],
        ["p.toml:10:", "policy[1].match.destination-port[1]:"],
        ["p.toml:15:", "policy[1].match.ingress:"],
        ["p.toml:16:", "policy[1].links[0]:"],
        ["p.toml:17:", "default:"],
        ["p.toml:18:", "default.x:"],
    ]


def test_what_is_not_utf_8_is_a_policy_error(tmp_path):
    assert refusals(tmp_path, b'[default]\nlinks = ["\xff"]\n') == [
        "p.toml:2: not UTF-8: byte 0xff at offset 20 (save the file as UTF-8)"
    ]


def test_what_is_not_toml_is_a_policy_error(tmp_path):
    (problem,) = refusals(tmp_path, "[default]\nlinks = lte\n")
    assert problem.startswith("p.toml:2: not valid TOML: Invalid value, at column 9")


def test_a_missing_file_is_a_policy_error(tmp_path):
    with pytest.raises(PolicyError, match="cannot be read: No such file"):
        load_policies(tmp_path / "none.toml", None, None)


def test_any_link_and_ingress_is_accepted_where_none_are_given(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(POLICIES)
    assert len(load_policies(path, None, None).policies) == 3
