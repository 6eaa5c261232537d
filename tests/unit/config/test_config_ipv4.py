"""IPv4 networks on board in both ends' files."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from mrouter.config.load import load_config
from mrouter.config.model import IPv4Exit
from mrouter.errors import ConfigError

MOBILE_ROUTER = """\
role = "mobile-router"
[mobile-router]
home-address = "2001:db8:f1::100"
home-agent = "2001:db8:f0::2"
prefixes = ["2001:db8:a1::/64"]
ipv4-prefixes = ["192.0.2.0/24"]
policy = "vehicle.toml"
[[link]]
name = "lte"
interface = "wwan0"
ifpri = 0
[security]
unauthenticated-because-ipsec-protects = true
"""
HOME_AGENT = """\
role = "home-agent"
[home-agent]
address = "2001:db8:f0::2"
home-prefixes = ["2001:db8:f1::/64"]
ipv4-exit = "nat"
[[mobile-router]]
name = "bus-7"
home-address = "2001:db8:f1::7"
prefixes = ["2001:db8:a7::/64"]
ipv4-prefixes = ["192.0.2.0/25", "198.51.100.0/24"]
security = { unauthenticated-because-ipsec-protects = true }
[[mobile-router]]
name = "bus-8"
home-address = "2001:db8:f1::8"
prefixes = []
ipv4-prefixes = ["192.0.2.128/25"]
security = { unauthenticated-because-ipsec-protects = true }
"""


def load(directory, text):
    path = directory / "c.toml"
    path.write_text(text)
    return load_config(path)


def refusals(directory, text):
    with pytest.raises(ConfigError) as caught:
        load(directory, text)
    return str(caught.value).replace(f"{directory}/", "").splitlines()


def with_networks(written):
    return MOBILE_ROUTER.replace('["192.0.2.0/24"]', written)


@pytest.mark.parametrize(
    ("written", "networks"),
    [
        ('["192.0.2.0/24"]', ["192.0.2.0/24"]),
        ('"10.1.0.0/16"', ["10.1.0.0/16"]),
        ('["10.1.0.0/16", "192.168.7.9"]', ["10.1.0.0/16", "192.168.7.9/32"]),
        ("[]", []),
    ],
)
def test_mobile_routers_file_says_which_ipv4_networks_are_on_board(tmp_path, written, networks):
    settings = load(tmp_path, with_networks(written)).settings
    assert settings.ipv4_prefixes == tuple(map(IPv4Network, networks))


def test_home_agents_file_says_which_ipv4_networks_a_mobile_router_has(tmp_path):
    config = load(tmp_path, HOME_AGENT)
    assert [router.ipv4_prefixes for router in config.settings.served] == [
        (IPv4Network("192.0.2.0/25"), IPv4Network("198.51.100.0/24")),
        (IPv4Network("192.0.2.128/25"),),
    ]


@pytest.mark.parametrize(
    ("line", "exit_"),
    [
        ('ipv4-exit = "nat"\n', IPv4Exit.NAT),
        ('ipv4-exit = "route"\n', IPv4Exit.ROUTE),
        ("", IPv4Exit.ROUTE),
    ],
)
def test_ipv4_leaves_the_home_agent_as_its_file_says(tmp_path, line, exit_):
    assert load(tmp_path, HOME_AGENT.replace('ipv4-exit = "nat"\n', line)).ipv4_exit is exit_


def test_both_keys_may_be_left_out(tmp_path):
    router = load(tmp_path, MOBILE_ROUTER.replace('ipv4-prefixes = ["192.0.2.0/24"]\n', ""))
    assert router.settings.ipv4_prefixes == ()
    agent = load(tmp_path, HOME_AGENT.replace('ipv4-prefixes = ["192.0.2.128/25"]\n', ""))
    assert agent.settings.served[1].ipv4_prefixes == ()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("[5]", "ipv4-prefixes[0]: must be an IPv4 prefix in quotes"),
        (
            '["2001:db8::/64"]',
            'ipv4-prefixes[0]: "2001:db8::/64" is not an IPv4 prefix (as in "192.0.2.0/24")',
        ),
        (
            '["lan0"]',
            'ipv4-prefixes[0]: "lan0" is not an IPv4 prefix (as in "192.0.2.0/24")',
        ),
        (
            '["192.0.2.0/33"]',
            'ipv4-prefixes[0]: "192.0.2.0/33" is not an IPv4 prefix (as in "192.0.2.0/24")',
        ),
        (
            '["192.0.2.1/24"]',
            'ipv4-prefixes[0]: "192.0.2.1/24" has bits set after the prefix length '
            '(write "192.0.2.0/24")',
        ),
        (
            '["0.0.0.0/0"]',
            "ipv4-prefixes[0]: 0.0.0.0/0 has addresses of 0.0.0.0/8, which no network can use",
        ),
        (
            '["169.254.7.0/24"]',
            "ipv4-prefixes[0]: 169.254.7.0/24 has addresses of 169.254.0.0/16, "
            "which no network can use",
        ),
        (
            '["10.0.0.0/8", "239.1.0.0/16"]',
            "ipv4-prefixes[1]: 239.1.0.0/16 has addresses of 224.0.0.0/4, which no network can use",
        ),
        (
            '["10.0.0.0/8", "10.1.0.0/16"]',
            "ipv4-prefixes[1]: 10.1.0.0/16 lies within 10.0.0.0/8 of the same list (leave it out)",
        ),
        (
            str([f"10.{number}.0.0/16" for number in range(17)]).replace("'", '"'),
            "ipv4-prefixes: 17 networks are more than 16 "
            "(write the prefix that several of them lie in)",
        ),
    ],
)
def test_what_is_no_network_on_board_is_refused(tmp_path, written, message):
    assert refusals(tmp_path, with_networks(written)) == [f"c.toml:6: mobile-router.{message}"]


def test_sixteen_networks_are_taken(tmp_path):
    written = str([f"10.{number}.0.0/16" for number in range(16)]).replace("'", '"')
    assert len(load(tmp_path, with_networks(written)).settings.ipv4_prefixes) == 16


@pytest.mark.parametrize("text", [MOBILE_ROUTER, HOME_AGENT])
def test_ipv4_among_the_ipv6_prefixes_is_sent_to_its_own_key(tmp_path, text):
    text = text.replace('"2001:db8:a', '"203.0.113.0/24", "2001:db8:a')
    (line,) = refusals(tmp_path, text)
    assert line.endswith("prefixes[0]: 203.0.113.0/24 is IPv4 (write it under ipv4-prefixes)")


def test_networks_of_two_mobile_routers_that_overlap_are_refused_with_both_lines(tmp_path):
    text = HOME_AGENT.replace('["192.0.2.128/25"]', '["203.0.113.0/24", "192.0.2.64/26"]')
    assert refusals(tmp_path, text) == [
        "c.toml:16: mobile-router[1].ipv4-prefixes[1]: 192.0.2.64/26 overlaps 192.0.2.0/25 "
        "in line 10 (a prefix belongs to one mobile router)"
    ]


def test_another_way_out_than_route_and_nat_is_refused(tmp_path):
    (line,) = refusals(tmp_path, HOME_AGENT.replace('"nat"', '"masquerade"'))
    assert line.startswith('c.toml:5: home-agent.ipv4-exit: "masquerade" is not known')


def test_the_mobile_router_has_no_way_out_of_the_home_agent(tmp_path):
    (line,) = refusals(tmp_path, MOBILE_ROUTER.replace("policy", 'ipv4-exit = "nat"\npolicy'))
    assert line.startswith("c.toml:7: mobile-router.ipv4-exit: unknown key")
