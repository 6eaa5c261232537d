from __future__ import annotations

import pytest

from mrouter.config.load import load_config
from mrouter.config.model import RouteOptimization
from mrouter.errors import ConfigError

MOBILE_ROUTER = """\
role = "mobile-router"
[mobile-router]
home-address = "2001:db8:f1::100"
home-agent = "2001:db8:f0::2"
prefixes = []
policy = "vehicle.toml"
correspondents = ["2001:db8:c::10"]
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
"""
CORRESPONDENT_NODE = """\
role = "correspondent-node"
[correspondent-node]
address = "2001:db8:c::10"
"""


def load(directory, text):
    path = directory / "mrouter.toml"
    path.write_text(text)
    return load_config(path)


def with_key(text, value):
    return f'{text}[dataplane]\nroute-optimization = "{value}"\n'


@pytest.mark.parametrize("text", [MOBILE_ROUTER, CORRESPONDENT_NODE])
def test_a_tunnel_is_the_default_and_mip6_the_choice(tmp_path, text):
    assert load(tmp_path, text).route_optimization is RouteOptimization.TUNNEL
    for choice in RouteOptimization:
        assert load(tmp_path, with_key(text, choice.value)).route_optimization is choice


def test_another_word_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r'route-optimization: "xfrm" is not known \(known: tunnel, mip6\)'
    ):
        load(tmp_path, with_key(CORRESPONDENT_NODE, "xfrm"))


def test_a_home_agent_has_nothing_to_choose(tmp_path):
    with pytest.raises(ConfigError, match="route-optimization"):
        load(tmp_path, with_key(HOME_AGENT, "mip6"))
