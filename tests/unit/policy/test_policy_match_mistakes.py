from __future__ import annotations

import pytest

from mrouter.errors import PolicyError
from mrouter.policy.load import load_policies

POLICIES = """\
[set.office]
prefixes = ["2001:db8:1::/48"]
[set.tv]
file = "tv.txt"
[[policy]]
name = "tv"
match.destination = [
  "@tv",
  "2001:db8:2::/48",
]
match.not-source-mac = "02:00:00:00:00:01"
links = ["lte"]
[[policy]]
name = "ping"
match = { icmpv6-type = "echo-request", not-destination = "@office" }
drop = true
[default]
links = ["lte"]
"""


def refusals(directory, content, tv="2001:db8:3::/48\n"):
    path = directory / "p.toml"
    path.write_text(content)
    if tv is not None:
        (directory / "tv.txt").write_bytes(tv if isinstance(tv, bytes) else tv.encode())
    with pytest.raises(PolicyError) as caught:
        load_policies(path, ["lte"], ["lan0"])
    return str(caught.value).replace(f"{directory}/", "").splitlines()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"@tv"', '"@tw"',
         'p.toml:8: policy[0].match.destination[0]: unknown set "@tw" (did you mean @tv?)'),
        ('"@office"', '"@x"', 'p.toml:15: policy[1].match.not-destination: unknown set "@x"'
         " (known: @office, @tv)"),
        ('"@tv"', '"@tv", "@tv"',
         "p.toml:8: policy[0].match.destination[1]: @tv is given twice (keep it once)"),
        ('  "@tv"', '  "2001:db8:2:1::/64", "@tv"',
         "p.toml:8: policy[0].match.destination[0]: 2001:db8:2:1::/64 lies within"
         " 2001:db8:2::/48 of the same list (leave it out)"),
        ('"@tv"', '"2001:db8:2::/47", "@tv"',
         "p.toml:9: policy[0].match.destination[2]: 2001:db8:2::/48 lies within"
         " 2001:db8:2::/47 of the same list (leave it out)"),
        ('"@tv"', '"tv"', 'p.toml:8: policy[0].match.destination[0]: "tv" is not a prefix'
         ' (as in "2001:db8::/32" or "192.0.2.0/24")'),
        ('"@tv"', "5",
         "p.toml:8: policy[0].match.destination[0]: must be a prefix in quotes"),
        ('"@office"', "[]", "p.toml:15: policy[1].match.not-destination: the list is empty"
         " (name at least one, or leave the key out)"),
        ('[set.office]\nprefixes = ["2001:db8:1::/48"]', "[set.office]",
         "p.toml:1: set.office: has no prefixes"
         ' (write prefixes = ["2001:db8::/32"] or file = "office.txt")'),
        ('"2001:db8:1::/48"', "", "p.toml:2: set.office.prefixes: the list is empty"
         " (name at least one, or leave the key out)"),
        ('"2001:db8:1::/48"', '"192.0.2.1/24"',
         'p.toml:2: set.office.prefixes[0]: "192.0.2.1/24" has bits set after the prefix length'
         ' (write "192.0.2.0/24")'),
        ('"2001:db8:1::/48"', '"192.0.2.0/255.255.255.0"',
         'p.toml:2: set.office.prefixes[0]: "192.0.2.0/255.255.255.0" is not a prefix'
         ' (as in "2001:db8::/32" or "192.0.2.0/24")'),
        ('"2001:db8:1::/48"', '"2001:db8:1::/48", "192.0.2.0/24", "::/0"',
         "p.toml:2: set.office.prefixes[0]: 2001:db8:1::/48 lies within ::/0 of the same list"
         " (leave it out)"),
        ('"2001:db8:1::/48"', '"192.0.2.0/24", "::/0", "192.0.2.1"',
         "p.toml:2: set.office.prefixes[2]: 192.0.2.1/32 lies within 192.0.2.0/24 of the same list"
         " (leave it out)"),
        ('  "@tv",\n  "2001:db8:2::/48",\n]', '  "192.0.2.0/24"]\nmatch.source = "2001:db8::1"',
         "p.toml:7: policy[0].match.destination: no packet has an IPv6 address at one end and an"
         " IPv4 address at the other (write prefixes of one family, or split the policy)"),
        ('"2001:db8:1::/48"', '"@tv"', 'p.toml:2: set.office.prefixes[0]: "@tv" is not a prefix'
         ' (as in "2001:db8::/32" or "192.0.2.0/24")'),
        ('"2001:db8:1::/48"', '"2001:db8:1::/48", "2001:db8:1::1"',
         "p.toml:2: set.office.prefixes[1]: 2001:db8:1::1/128 lies within 2001:db8:1::/48 of the"
         " same list (leave it out)"),
        ("prefixes", "prefixs", "p.toml:2: set.office.prefixs: unknown key"
         " (did you mean prefixes?)"),
        ("[set.office]", '[set."my office"]',
         "p.toml:1: set.\"my office\": \"my office\" is not a name: 1 to 64 letters, digits, dots,"
         " '-' and '_' (write \"my-office\")"),
        ("[set.office]", "[set]", "p.toml:2: set.prefixes: must be a table"),
        ("[set.office]", "[set.tv]\n[set.tv]",
         "p.toml:2: not valid TOML: Cannot declare ('set', 'tv') twice, at column 8"),
        ("[set.tv]", "[set.office]",
         "p.toml:3: not valid TOML: Cannot declare ('set', 'office') twice, at column 12"),
        ("file", "files", "p.toml:4: set.tv.files: unknown key (did you mean file?)"),
        ('"tv.txt"', "5", "p.toml:4: set.tv.file: must be text in quotes"),
        ('"tv.txt"', '"none.txt"',
         "p.toml:4: set.tv.file: none.txt: cannot be read: No such file or directory"),
        ('"tv.txt"', '"/dev"', "p.toml:4: set.tv.file: /dev: cannot be read: Is a directory"),
        ('"echo-request"', '"echo-reqest"', 'p.toml:15: policy[1].match.icmpv6-type: unknown ICMPv6'
         ' type "echo-reqest" (did you mean echo-request?)'),
        ('"echo-request"', "256", "p.toml:15: policy[1].match.icmpv6-type: an ICMPv6 type number is"
         " from 0 to 255, this is 256"),
        ('"echo-request"', "2", "p.toml:15: policy[1].match.icmpv6-type: no flow is known by ICMPv6"
         " type 2 (known: echo-request, echo-reply, node-information-query,"
         " node-information-reply)"),
        ('"echo-request"', '["echo-request", 128]',
         "p.toml:15: policy[1].match.icmpv6-type[1]: 128 is given twice (keep it once)"),
        ('{ icmpv6-type', '{ protocol = ["icmpv6", "tcp"], icmpv6-type',
         "p.toml:15: policy[1].match.icmpv6-type: protocol 6 has no ICMPv6 types"
         " (leave protocol out, or split the policy)"),
        ('{ icmpv6-type', '{ protocol = "udp", not-icmpv6-type',
         "p.toml:15: policy[1].match.not-icmpv6-type: protocol 17 has no ICMPv6 types"
         " (leave protocol out, or split the policy)"),
        ('{ icmpv6-type', '{ not-source-port = 5, icmpv6-type',
         "p.toml:15: policy[1].match.not-source-port: a port needs a protocol that has ports"
         ' (write protocol = "udp" or ["tcp", "udp"] beside it)'),
        ('"02:00:00:00:00:01"', '"02-00-00-00-00-01"',
         'p.toml:11: policy[0].match.not-source-mac: "02-00-00-00-00-01" is not a MAC address'
         ' (as in "02:00:00:00:00:01")'),
        ('"02:00:00:00:00:01"', "2", "p.toml:11: policy[0].match.not-source-mac: 2 is not a MAC"
         ' address (as in "02:00:00:00:00:01")'),
        ('"02:00:00:00:00:01"', '["02:00:00:00:00:0a", "02:00:00:00:00:0A"]',
         "p.toml:11: policy[0].match.not-source-mac[1]: 02:00:00:00:00:0a is given twice"
         " (keep it once)"),
        ('"02:00:00:00:00:01"', '"33:33:00:00:00:01"',
         "p.toml:11: policy[0].match.not-source-mac: 33:33:00:00:00:01 is a group address, which no"
         " device sends from"),
        ("not-source-mac", "not-source-max",
         "p.toml:11: policy[0].match.not-source-max: unknown key (did you mean not-source-mac?)"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path, old, new, problem):
    assert old in POLICIES
    assert problem in refusals(tmp_path, POLICIES.replace(old, new, 1))


def test_a_set_is_asked_for_where_there_is_none(tmp_path):
    text = '[[policy]]\nname = "p"\nmatch.source = "@x"\ndrop = true\n[default]\ndrop = true\n'
    assert refusals(tmp_path, text) == [
        'p.toml:3: policy[0].match.source: unknown set "@x" (write a [set.NAME] table for it)'
    ]


@pytest.mark.parametrize("text", ["set = 5\n", "[[set]]\n"])
def test_sets_are_tables(tmp_path, text):
    assert "p.toml:1: set: must be a table" in refusals(tmp_path, text + "[default]\ndrop = true\n")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("2001:db8::1/48", '"2001:db8::1/48" has bits set after the prefix length'
         ' (write "2001:db8::/48")'),
        ("2001:db8::/129", '"2001:db8::/129" is not an IPv6 prefix (as in "2001:db8::/32")'),
        ("2001:db8::/", '"2001:db8::/" is not an IPv6 prefix (as in "2001:db8::/32")'),
        ("2001:db8::/4 8", '"2001:db8::/4 8" is not an IPv6 prefix (as in "2001:db8::/32")'),
        ("2001:db8::/\u0664", '"2001:db8::/\\u0664" is not an IPv6 prefix (as in "2001:db8::/32")'),
        ("192.0.2.1/24", '"192.0.2.1/24" has bits set after the prefix length'
         ' (write "192.0.2.0/24")'),
        ("192.0.2.0/33", '"192.0.2.0/33" is not an IPv4 prefix (as in "192.0.2.0/24")'),
        ("192.0.2.256", '"192.0.2.256" is not an IPv4 prefix (as in "192.0.2.0/24")'),
        ("192.0.2", '"192.0.2" is not a prefix (as in "2001:db8::/32" or "192.0.2.0/24")'),
        ("224.0.0.0/4", "224.0.0.0/4 is multicast, which mrouter does not forward"),
        ("169.254.0.0/16", "169.254.0.0/16 is link-local, which no router forwards"),
        ("ff02::/16", "ff02::/16 is multicast, which mrouter does not forward"),
        ("fe80::/64", "fe80::/64 is link-local, which no router forwards"),
        ("fe80::1%lan0", '"fe80::1%lan0" names an interface (leave out % and what follows)'),
        ("\0", '"\\u0000" is not a prefix (as in "2001:db8::/32" or "192.0.2.0/24")'),
    ],
)  # fmt: skip
def test_a_wrong_line_of_a_file_is_named_by_the_file_and_the_line(tmp_path, line, problem):
    content = f"# television\n2001:db8:3::/48\n{line}\n2001:db8:4::/48\n"
    assert refusals(tmp_path, POLICIES, content) == [f"tv.txt:3: {problem}"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "tv.txt: holds no prefix (write one a line)"),
        ("# nothing\n\n", "tv.txt: holds no prefix (write one a line)"),
        (b"::1\n\xff\n", "tv.txt:2: not UTF-8: byte 0xff at offset 4 (save the file as UTF-8)"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_named(tmp_path, content, problem):
    assert refusals(tmp_path, POLICIES, content) == [problem]


def test_of_a_file_of_the_wrong_kind_the_first_lines_are_told(tmp_path):
    told = refusals(tmp_path, POLICIES, "nonsense\n" * 1000)
    assert len(told) == 21
    assert told[19].startswith("tv.txt:20:")
    assert told[20] == "tv.txt: 980 more lines are wrong"


def test_mistakes_of_all_files_are_told_at_once_the_policy_file_first(tmp_path):
    text = POLICIES.replace('"@office"', '"@offic"').replace('"2001:db8:1::/48"', "")
    assert [line.split()[0] for line in refusals(tmp_path, text, "x\n::/0\ny\n")] == [
        "p.toml:2:",
        "p.toml:15:",
        "tv.txt:1:",
        "tv.txt:3:",
    ]
