from __future__ import annotations

import pytest

from mrouter.config.load import load_config
from mrouter.errors import ConfigError

SECRET = "00112233445566778899aabbccddeeff" * 2
MOBILE_ROUTER = """\
role = "mobile-router"
log-level = "info"
dialect = "draft-01"
coainfo-type = 192
[mobile-router]
home-address = "2001:db8:f1::100"
home-agent = "2001:db8:f0::2"
prefixes = ["2001:db8:a1::/64"]
prefix-mode = "explicit"
ingress = ["lan0"]
policy = "vehicle.toml"
lifetime = 120
ifid-renewal = 3600
deregister-on-stop = false
[[link]]
name = "lte"
interface = "wwan0"
ifpri = 0
[[link]]
name = "wifi"
interface = "wlan0"
ifpri = 1
[security]
spi = 256
algorithm = "hmac-sha256"
key-file = "ha.key"
[dataplane]
encapsulation = "auto"
[metrics]
listen = "[::1]:9362"
[control]
socket = "/run/mrouter/mr.sock"
"""
HOME_AGENT = """\
role = "home-agent"
[home-agent]
address = "2001:db8:f0::2"
home-prefixes = ["2001:db8:f1::/64"]
min-lifetime = 8
max-lifetime = 600
timestamp-window = 7
[[mobile-router]]
name = "bus-7"
home-address = "2001:db8:f1::7"
prefixes = ["2001:db8:a7::/64"]
security = [
  { spi = 256, algorithm = "hmac-sha256", key-file = "ha.key" },
]
[[mobile-router]]
name = "bus-8"
home-address = "2001:db8:f1::8"
prefixes = [
  "2001:db8:a8::/64",
]
security = [{ spi = 256, algorithm = "hmac-sha256", key-file = "ha.key" }]
"""


def refusals(directory, text):
    key_file = directory / "ha.key"
    key_file.write_text(SECRET)
    key_file.chmod(0o600)
    path = directory / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert SECRET not in str(caught.value)
    return str(caught.value).replace(f"{directory}/", "").splitlines()


def change(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('role = "mobile-router"\n', "", 'c.toml: role: is missing (write role = "mobile-router")'),
        ('role = "mobile-router"', 'role = "mobil-router"',
         'c.toml:1: role: must be "mobile-router", "home-agent" or "correspondent-node"'
         " (did you mean mobile-router?)"),
        ('role = "mobile-router"', "role = 1",
         'c.toml:1: role: must be "mobile-router", "home-agent" or "correspondent-node"'),
        ('"info"', '"inf"', 'c.toml:2: log-level: "inf" is not known (did you mean info?)'),
        ('"info"', "1", "c.toml:2: log-level: must be text in quotes"),
        ('"draft-01"', '"draft-1"',
         'c.toml:3: dialect: "draft-1" is not known (did you mean draft-01?)'),
        ("coainfo-type = 192", "coainfo-type = 256",
         "c.toml:4: coainfo-type: must be from 0 to 255, it is 256"),
        ("coainfo-type = 192", "coainfo-type = 3",
         "c.toml:4: coainfo-type: 3 is the type of the option ALTERNATE_CARE_OF_ADDRESS"
         " (write 192)"),
        ("coainfo-type", "coainfotype",
         "c.toml:4: coainfotype: unknown key (did you mean coainfo-type?)"),
        ('home-address = "2001:db8:f1::100"\n', "",
         "c.toml:5: mobile-router.home-address: is missing"
         ' (write home-address = "2001:db8:f1::100")'),
        ('"2001:db8:f1::100"', '"192.0.2.1"',
         'c.toml:6: mobile-router.home-address: "192.0.2.1" is IPv4; an IPv6 one is'
         " needed here"),
        ('"2001:db8:f1::100"', '"2001:db8:f1::100/64"',
         'c.toml:6: mobile-router.home-address: "2001:db8:f1::100/64" is not an IPv6 address'
         " (leave the /length out)"),
        ('"2001:db8:f1::100"', '"fe80::1"',
         "c.toml:6: mobile-router.home-address: fe80::1 is not a global or unique local unicast"
         " address"),
        ('"2001:db8:f1::100"', '"ff02::1"',
         "c.toml:6: mobile-router.home-address: ff02::1 is not a global or unique local unicast"
         " address"),
        ('"2001:db8:f1::100"', '"fe80::1%eth0"',
         'c.toml:6: mobile-router.home-address: "fe80::1%eth0" names an interface'
         " (leave out % and what follows)"),
        ('"2001:db8:f0::2"', '"2001:db8:f1::100"',
         "c.toml:7: mobile-router.home-agent: 2001:db8:f1::100 is the home address already"),
        ('"2001:db8:f0::2"', "2", "c.toml:7: mobile-router.home-agent: must be an IPv6 address"
         " in quotes"),
        ("2001:db8:a1::/64", "2001:db8:a1::1/64",
         'c.toml:8: mobile-router.prefixes[0]: "2001:db8:a1::1/64" has bits set after the prefix'
         ' length (write "2001:db8:a1::/64")'),
        ("2001:db8:a1::/64", "::/0",
         "c.toml:8: mobile-router.prefixes[0]: ::/0 is the whole Internet, not a network"),
        ('"2001:db8:a1::/64"', '"2001:db8::/32",\n"2001:db8:a1::/64"',
         "c.toml:9: mobile-router.prefixes[1]: 2001:db8:a1::/64 lies within 2001:db8::/32 of the"
         " same list (leave it out)"),
        ('prefixes = ["2001:db8:a1::/64"]\n', "", "c.toml:5: mobile-router.prefixes: is missing"
         ' (write prefixes = ["2001:db8:a1::/64"], or [] for none)'),
        ('"explicit"', '"explict"',
         'c.toml:9: mobile-router.prefix-mode: "explict" is not known (did you mean explicit?)'),
        ('"lan0"', '"wlan0"',
         "c.toml:10: mobile-router.ingress[0]: is the interface of a link, which leads out"
         " (name the interface of the mobile network)"),
        ('"lan0"', '"much-too-long-a-name"',
         'c.toml:10: mobile-router.ingress[0]: "much-too-long-a-name" is not an interface name'
         " (1 to 15 characters, none of them a space, / or :)"),
        ('"lan0"', '"lan0", "lan0"',
         "c.toml:10: mobile-router.ingress[1]: lan0 is given twice (keep it once)"),
        ('policy = "vehicle.toml"\n', "",
         'c.toml:5: mobile-router.policy: is missing (write policy = "vehicle.toml")'),
        ('"vehicle.toml"', '""', 'c.toml:11: mobile-router.policy: "" is not a file name'),
        ("lifetime = 120", "lifetime = 7",
         "c.toml:12: mobile-router.lifetime: must be from 8 to 262140 seconds, it is 7"),
        ("lifetime = 120", "lifetime = 262141",
         "c.toml:12: mobile-router.lifetime: must be from 8 to 262140 seconds, it is 262141"),
        ("lifetime = 120", "lifetime = 120.0",
         "c.toml:12: mobile-router.lifetime: must be a whole number"),
        ("lifetime = 120", "lifetime = true",
         "c.toml:12: mobile-router.lifetime: must be a whole number"),
        ("ifid-renewal = 3600", "first-registration-timeout = 0.5",
         "c.toml:13: mobile-router.first-registration-timeout:"
         " must be from 1 to 32 seconds, it is 0.5"),
        ("ifid-renewal = 3600", "first-registration-timeout = 33",
         "c.toml:13: mobile-router.first-registration-timeout:"
         " must be from 1 to 32 seconds, it is 33.0"),
        ("ifid-renewal = 3600", "ifid-renewal = nan",
         "c.toml:13: mobile-router.ifid-renewal: must be from 0 to 31536000 seconds, it is nan"),
        ("ifid-renewal = 3600", 'ifid-renewal = "1h"',
         "c.toml:13: mobile-router.ifid-renewal: must be a number"),
        ("deregister-on-stop = false", 'deregister-on-stop = "no"',
         "c.toml:14: mobile-router.deregister-on-stop: must be true or false"),
        ("deregister-on-stop", "deregister-at-stop",
         "c.toml:14: mobile-router.deregister-at-stop: unknown key"
         " (did you mean deregister-on-stop?)"),
        ('name = "wifi"', 'name = "lte"',
         'c.toml:20: link[1].name: "lte" stands in line 16 already'
         " (give each link its own name)"),
        ('name = "wifi"', 'name = "wi fi!"',
         "c.toml:20: link[1].name: \"wi fi!\" is not a name: 1 to 64 letters, digits, dots, '-'"
         ' and \'_\' (write "wi-fi")'),
        ('"wlan0"', '"wwan0"',
         'c.toml:21: link[1].interface: "wwan0" stands in line 17 already'
         " (give each link its own interface)"),
        ("ifpri = 1", "ifpri = 0",
         "c.toml:22: link[1].ifpri: 0 stands in line 18 already (give each link its own ifpri)"),
        ("ifpri = 1", "ifpri = 256", "c.toml:22: link[1].ifpri: must be from 0 to 255, it is 256"),
        ("ifpri = 1\n", "", "c.toml:19: link[1].ifpri: is missing (write ifpri = 0)"),
        ("spi = 256", "spi = 255",
         "c.toml:24: security.spi: an SPI is 3, or from 256 to 4294967295, this is 255"
         " (write 256)"),
        ("spi = 256", "spi = 3",
         "c.toml:25: security.algorithm: SPI 3 means hmac-sha1 (RFC 4285 §8)"
         " (write spi = 256)"),
        ('"hmac-sha256"', '"hmac-sha1"',
         "c.toml:25: security.algorithm: hmac-sha1 stands at SPI 3 only (RFC 4285 §8)"
         ' (write algorithm = "hmac-sha256")'),
        ('"hmac-sha256"', '"hmac-sha265"',
         'c.toml:25: security.algorithm: "hmac-sha265" is not known'
         " (did you mean hmac-sha256?)"),
        ('"ha.key"', '"none.key"',
         'c.toml:26: security.key-file: "none.key" cannot be read: No such file or directory'
         " (make one with: openssl rand -hex 32)"),
        ('"ha.key"', f'"{SECRET}"',
         "c.toml:26: security.key-file: must name a file, this looks like a key"
         " (put the key into a file)"),
        ('key-file = "ha.key"\n', "",
         'c.toml:23: security.key-file: is missing (write key-file = "ha.key")'),
        ('spi = 256\nalgorithm = "hmac-sha256"\nkey-file = "ha.key"', "ipsec = true",
         "c.toml:24: security.ipsec: unknown key"
         " (write unauthenticated-because-ipsec-protects = true)"),
        ("spi = 256", "unauthenticated-because-ipsec-protects = false",
         "c.toml:24: security.unauthenticated-because-ipsec-protects: can only be true"
         " (leave the key out)"),
        ("spi = 256", "unauthenticated-because-ipsec-protects = true",
         "c.toml:24: security.unauthenticated-because-ipsec-protects: excludes spi, algorithm"
         " and key-file (keep either)"),
        ("[security]", "[secruity]", "c.toml: security: is missing"
         " (write [security] and below it spi, algorithm and key-file)"),
        ("[security]", "[secruity]",
         "c.toml:23: secruity: unknown key (did you mean security?)"),
        ("[security]\n", f'[security]\nkey = "{SECRET}"\n',
         "c.toml:24: security.key: unknown key (known: spi, algorithm, key-file)"),
        ('"auto"', '"gre"',
         'c.toml:28: dataplane.encapsulation: "gre" is not known (known: auto, seg6, ip6tnl)'),
        ('"[::1]:9362"', '"::1:9362"',
         'c.toml:30: metrics.listen: "::1:9362" is not an address and a port'
         ' (as in "[::1]:9362")'),
        ('"[::1]:9362"', '"[::1]:0"',
         'c.toml:30: metrics.listen: "[::1]:0" is not an address and a port'
         ' (as in "[::1]:9362")'),
        ('"[::1]:9362"', '"1.2.3:80"',
         'c.toml:30: metrics.listen: "1.2.3:80" is not an address and a port'
         ' (as in "[::1]:9362")'),
        ("/run/mrouter/mr.sock", "/" + "x" * 107,
         "c.toml:32: control.socket: the path of a socket has at most 107 bytes"
         ' (write "/run/mrouter/mrouter.sock")'),
    ],
)  # fmt: skip
def test_a_mistake_of_a_mobile_router_is_named_with_its_place(tmp_path, old, new, problem):
    assert problem in refusals(tmp_path, change(MOBILE_ROUTER, old, new))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("home-prefixes = [", "home-prefixes = [] # [",
         "c.toml:4: home-agent.home-prefixes: the list is empty"
         " (name at least one, or leave the key out)"),
        ("max-lifetime = 600", "max-lifetime = 4000000000000000000000",
         "c.toml:6: home-agent.max-lifetime: must be from 8 to 262140 seconds,"
         " it is a number of more than 64 bits"),
        ("min-lifetime = 8", "min-lifetime = 700",
         "c.toml:6: home-agent.max-lifetime: must be at least min-lifetime, 700 seconds"),
        ("timestamp-window = 7", "timestamp-window = 0",
         "c.toml:7: home-agent.timestamp-window: must be from 1 to 86400 seconds, it is 0"),
        ("spi = 256, alg", 'spi = 256, algorithm = "hmac-sha256", key-file = "ha.key" },\n'
         "{ spi = 256, alg",
         "c.toml:14: mobile-router[0].security[1]: SPI 256 is given twice (keep it once)"),
        ("  { spi", "]\nx = [{ spi",
         "c.toml:12: mobile-router[0].security: the list is empty"
         " (or write { unauthenticated-because-ipsec-protects = true })"),
        ("bus-8", "bus-7",
         'c.toml:16: mobile-router[1].name: "bus-7" stands in line 9 already'
         " (give each mobile-router its own name)"),
        ("2001:db8:f1::8", "2001:DB8:f1:0::7",
         'c.toml:17: mobile-router[1].home-address: "2001:DB8:f1:0::7" stands in line 10 already'
         " (give each mobile-router its own home-address)"),
        ("2001:db8:f1::8", "2001:db8:f3::8",
         "c.toml:17: mobile-router[1].home-address: 2001:db8:f3::8 lies in no home prefix"
         " (known: 2001:db8:f1::/64)"),
        ("2001:db8:f0::2", "2001:db8:f1::8",
         "c.toml:17: mobile-router[1].home-address: 2001:db8:f1::8 is the address of the home"
         " agent"),
        ("2001:db8:a8::/64", "2001:db8:a7::/64",
         "c.toml:19: mobile-router[1].prefixes[0]: 2001:db8:a7::/64 overlaps 2001:db8:a7::/64 in"
         " line 11 (a prefix belongs to one mobile router)"),
        ("2001:db8:a8::/64", "2001:db8::/32",
         "c.toml:19: mobile-router[1].prefixes[0]: 2001:db8::/32 overlaps 2001:db8:a7::/64 in"
         " line 11 (a prefix belongs to one mobile router)"),
    ],
)  # fmt: skip
def test_a_mistake_of_a_home_agent_is_named_with_its_place(tmp_path, old, new, problem):
    text = change(HOME_AGENT, old, new)
    assert any(line.startswith(problem) for line in refusals(tmp_path, text))


@pytest.mark.parametrize("ifpri", [127, 255])
def test_an_ifpri_without_a_binding_priority_is_refused_in_dialect_rfc5648(tmp_path, ifpri):
    text = change(MOBILE_ROUTER, "ifpri = 1", f"ifpri = {ifpri}")
    assert refusals(tmp_path, change(text, '"draft-01"', '"rfc5648"')) == [
        f"c.toml:22: link[1].ifpri: must be from 0 to 126 in dialect rfc5648, it is {ifpri}"
        " (only their order counts: write a lower number)"
    ]


def test_an_ifpri_that_fits_no_dialect_is_named_once(tmp_path):
    text = change(MOBILE_ROUTER, "ifpri = 1", "ifpri = 256")
    assert refusals(tmp_path, change(text, '"draft-01"', '"rfc5648"')) == [
        "c.toml:22: link[1].ifpri: must be from 0 to 255, it is 256"
    ]


def test_a_single_bracket_where_two_belong_is_explained(tmp_path):
    text = HOME_AGENT.partition("[[mobile-router]]")[0] + '[mobile-router]\nname = "bus-7"\n'
    assert refusals(tmp_path, text) == [
        "c.toml:8: mobile-router: must be a list of tables"
        " (write [[mobile-router]], with two brackets)"
    ]


def test_a_mobile_router_has_one_association(tmp_path):
    one = '{ spi = 256, algorithm = "hmac-sha256", key-file = "ha.key" }'
    head, _, tail = MOBILE_ROUTER.partition("[security]")
    text = f"security = [\n{one},\n{one.replace('256,', '257,', 1)}]\n{head}[dataplane]\n"
    assert "key-file" in tail
    assert refusals(tmp_path, text) == [
        "c.toml:3: security[1]: a mobile router has one association with its home agent"
    ]


def test_a_key_file_open_to_others_is_refused_with_the_remedy(tmp_path):
    open_file = tmp_path / "open.key"
    open_file.write_text(SECRET)
    open_file.chmod(0o644)
    assert refusals(tmp_path, MOBILE_ROUTER.replace("ha.key", "open.key")) == [
        'c.toml:26: security.key-file: "open.key" is open to group or others (mode 0644)'
        " (chmod 600 open.key)"
    ]


def test_all_mistakes_are_named_at_once_in_file_order(tmp_path):
    text = MOBILE_ROUTER
    for old, new in [
        ('"info"', '"inf"'),
        ('"2001:db8:f0::2"', '"10.0.0.1"'),
        ('"wlan0"', '"wwan0"'),
        ("spi = 256", "spi = 1"),
        ("[control]", "[contol]"),
    ]:
        text = change(text, old, new)
    assert [line.split()[0] for line in refusals(tmp_path, text)] == [
        "c.toml:2:",
        "c.toml:7:",
        "c.toml:21:",
        "c.toml:24:",
        "c.toml:31:",
    ]


def test_what_is_not_toml_is_a_config_error(tmp_path):
    (problem,) = refusals(tmp_path, "role = \n")
    assert problem.startswith("c.toml:1: not valid TOML: Invalid value")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('["2001:db8:f1::100"]', "2001:db8:f1::100 is the home-address already"
         " (name the nodes to send to directly)"),
        ('["2001:db8:c::10", "2001:db8:f0::2"]', "2001:db8:f0::2 is the home-agent already"
         " (name the nodes to send to directly)"),
        ('["2001:db8:c::10", "2001:db8:c::10"]', "2001:db8:c::10 is given twice (keep it once)"),
    ],
)  # fmt: skip
def test_a_wrong_correspondent_is_named_with_its_place(tmp_path, value, problem):
    text = change(MOBILE_ROUTER, "lifetime = 120\n", f"correspondents = {value}\n")
    (line,) = refusals(tmp_path, text)
    assert line.startswith("c.toml:12: mobile-router.correspondents")
    assert line.endswith(problem)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("max-lifetime = 421", "c.toml:4: correspondent-node.max-lifetime: must be from 8 to 420"),
        ("lifetime = 60", "c.toml:4: correspondent-node.lifetime: unknown key"),
    ],
)
def test_a_mistake_of_a_correspondent_node_is_named_with_its_place(tmp_path, line, problem):
    text = 'role = "correspondent-node"\n[correspondent-node]\naddress = "2001:db8:c::10"\n'
    assert any(found.startswith(problem) for found in refusals(tmp_path, text + line))


def test_a_correspondent_node_needs_an_address(tmp_path):
    (line,) = refusals(tmp_path, 'role = "correspondent-node"\n[correspondent-node]\n')
    assert "correspondent-node.address: is missing" in line
