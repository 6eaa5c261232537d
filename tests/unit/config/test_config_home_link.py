"""Keys of the home link and of home agent discovery."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from test_config_mistakes import HOME_AGENT, MOBILE_ROUTER, change, refusals

from mrouter.config.load import load_config
from mrouter.protocol.settings import PeerHomeAgent

TABLE = "[home-agent]\n"
FOUND = 'home-agent = "auto"\nhome-prefix = "2001:db8:f1::/64"'


def load(directory, text):
    key_file = directory / "ha.key"
    key_file.write_text("00112233445566778899aabbccddeeff" * 2)
    key_file.chmod(0o600)
    path = directory / "c.toml"
    path.write_text(text)
    return load_config(path)


def add(text):
    return change(HOME_AGENT, TABLE, TABLE + text + "\n")


def test_home_network_is_virtual_and_alone_by_default(tmp_path):
    settings = load(tmp_path, HOME_AGENT).settings
    assert (settings.home_link, settings.peers, settings.preference) == (None, (), 0)
    assert settings.prefix_lifetime == 30 * 86400
    assert settings.prefix_advertisements


def test_home_link_and_peers(tmp_path):
    text = """\
home-link = "eth1"
preference = -3
prefix-lifetime = 3600
prefix-advertisements = false
peers = [{ address = "2001:db8:f0::3", preference = 10, nemo = false }, \
{ address = "2001:db8:f0::4" }]"""
    settings = load(tmp_path, add(text)).settings
    assert (settings.home_link, settings.preference) == ("eth1", -3)
    assert settings.prefix_lifetime == 3600
    assert not settings.prefix_advertisements
    assert settings.peers == (
        PeerHomeAgent(IPv6Address("2001:db8:f0::3"), 10, nemo=False),
        PeerHomeAgent(IPv6Address("2001:db8:f0::4"), 0, nemo=True),
    )


def test_home_agent_that_is_to_be_found_stands_as_the_anycast_address(tmp_path):
    text = change(MOBILE_ROUTER, 'home-agent = "2001:db8:f0::2"', FOUND)
    config = load(tmp_path, text)
    assert config.discover
    assert config.settings.home_agent == IPv6Address("2001:db8:f1:0:fdff:ffff:ffff:fffe")
    assert not load(tmp_path, MOBILE_ROUTER).discover


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("preference = 40000", "home-agent.preference: must be from -32768 to 32767"),
        ("prefix-lifetime = 1", "home-agent.prefix-lifetime: must be from 60 to 4294967295"),
        ("prefix-advertisements = 0", "home-agent.prefix-advertisements: must be true or false"),
        ("peers = [{ preference = 1 }]", "home-agent.peers[0].address: is missing"),
        ('home-link = "a/b"', "home-agent.home-link: "),
    ],
)
def test_mistakes_are_named(tmp_path, text, problem):
    (found,) = refusals(tmp_path, add(text))
    assert problem in found


def test_home_agent_cannot_be_found_without_the_home_prefix(tmp_path):
    text = change(MOBILE_ROUTER, '"2001:db8:f0::2"', '"auto"')
    assert refusals(tmp_path, text) == [
        'c.toml:7: mobile-router.home-agent: "auto" looks for home agents of home-prefix,'
        ' which is missing (write home-prefix = "2001:db8:f1::/64")'
    ]
