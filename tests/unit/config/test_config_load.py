from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from mrouter.config.load import load_config
from mrouter.config.model import (
    CorrespondentNodeConfig,
    Encapsulation,
    HomeAgentConfig,
    LinkConfig,
    LogLevel,
    MobileRouterConfig,
)
from mrouter.protocol.settings import (
    Algorithm,
    CorrespondentNodeSettings,
    HomeAgentSettings,
    MobileRouterSettings,
    SecurityAssociation,
    ServedMobileRouter,
)
from mrouter.wire.constants import DEFAULT_COAINFO_TYPE, Dialect

KEY = bytes(range(32))
SHORT_MOBILE_ROUTER = """\
role = "mobile-router"
[mobile-router]
home-address = "2001:db8:f1::100"
home-agent = "2001:db8:f0::2"
prefixes = ["2001:db8:a1::/64"]
policy = "vehicle.toml"
[[link]]
name = "lte"
interface = "wwan0"
ifpri = 0
[security]
spi = 256
algorithm = "hmac-sha256"
key-file = "ha.key"
"""
LONG_MOBILE_ROUTER = """\
role = "mobile-router"
log-level = "debug"
dialect = "rfc5648"
coainfo-type = 200
[mobile-router]
home-address = "2001:db8:f1::100"
home-agent = "2001:db8:f0::2"
prefixes = []
prefix-mode = "implicit"
ingress = ["lan0", "lan1"]
policy = "/etc/mrouter/vehicle.toml"
lifetime = 60
first-registration-timeout = 4.5
ifid-renewal = 3600
deregister-on-stop = true
push-policies = false
correspondents = ["2001:db8:c::10", "2001:db8:d::10"]
[[link]]
name = "lte"
interface = "wwan0"
ifpri = 1
[[link]]
name = "wifi"
interface = "wlan0"
ifpri = 0
[security]
unauthenticated-because-ipsec-protects = true
[dataplane]
encapsulation = "seg6"
[metrics]
listen = "127.0.0.1:9000"
[control]
socket = "run/mr.sock"
"""
HOME_AGENT = """\
role = "home-agent"
[home-agent]
address = "2001:db8:f0::2"
home-prefixes = ["2001:db8:f1::/64", "2001:db8:f2::/64"]
max-lifetime = 300
min-lifetime = 8
timestamp-window = 3.5
nemo = false
[metrics]
listen = "off"
[[mobile-router]]
name = "bus-7"
home-address = "2001:db8:f1::100"
prefixes = ["2001:db8:a1::/64", "2001:db8:a2::/64"]
security = [
  { spi = 256, algorithm = "hmac-sha256", key-file = "ha.key" },
  { spi = 3, algorithm = "hmac-sha1", key-file = "ha.key" },
]
[[mobile-router]]
name = "bus-8"
home-address = "2001:db8:f2::100"
prefixes = []
security = { unauthenticated-because-ipsec-protects = true }
"""


def load(directory, text):
    key_file = directory / "ha.key"
    key_file.write_text(KEY.hex())
    key_file.chmod(0o600)
    path = directory / "mrouter.toml"
    path.write_text(text)
    return load_config(path)


def test_a_short_file_of_a_mobile_router_gets_the_defaults(tmp_path):
    assert load(tmp_path, SHORT_MOBILE_ROUTER) == MobileRouterConfig(
        log_level=LogLevel.INFO,
        dialect=Dialect.DRAFT_01,
        coainfo_type=DEFAULT_COAINFO_TYPE,
        encapsulation=Encapsulation.AUTO,
        metrics=("::1", 9362),
        control_socket=Path("/run/mrouter/mrouter.sock"),
        settings=MobileRouterSettings(
            home_address=IPv6Address("2001:db8:f1::100"),
            home_agent=IPv6Address("2001:db8:f0::2"),
            prefixes=(IPv6Network("2001:db8:a1::/64"),),
            explicit=True,
            security=SecurityAssociation(256, Algorithm.HMAC_SHA256, KEY),
            lifetime=120,
            first_registration_timeout=1.5,
            ifid_renewal=None,
        ),
        links=(LinkConfig("lte", "wwan0", 0),),
        ingress=(),
        policy=tmp_path / "vehicle.toml",
        deregister_on_stop=False,
        push_policies=True,
    )


def test_every_key_of_a_mobile_router_is_read(tmp_path):
    assert load(tmp_path, LONG_MOBILE_ROUTER) == MobileRouterConfig(
        log_level=LogLevel.DEBUG,
        dialect=Dialect.RFC5648,
        coainfo_type=200,
        encapsulation=Encapsulation.SEG6,
        metrics=("127.0.0.1", 9000),
        control_socket=tmp_path / "run/mr.sock",
        settings=MobileRouterSettings(
            home_address=IPv6Address("2001:db8:f1::100"),
            home_agent=IPv6Address("2001:db8:f0::2"),
            prefixes=(),
            explicit=False,
            security=None,
            lifetime=60,
            first_registration_timeout=4.5,
            follow_rfc5648=True,
            ifid_renewal=3600,
            correspondents=(IPv6Address("2001:db8:c::10"), IPv6Address("2001:db8:d::10")),
        ),
        links=(LinkConfig("lte", "wwan0", 1), LinkConfig("wifi", "wlan0", 0)),
        ingress=("lan0", "lan1"),
        policy=Path("/etc/mrouter/vehicle.toml"),
        deregister_on_stop=True,
        push_policies=False,
    )


def test_every_key_of_a_home_agent_is_read(tmp_path):
    assert load(tmp_path, HOME_AGENT) == HomeAgentConfig(
        log_level=LogLevel.INFO,
        dialect=Dialect.DRAFT_01,
        coainfo_type=DEFAULT_COAINFO_TYPE,
        encapsulation=Encapsulation.AUTO,
        metrics=None,
        control_socket=Path("/run/mrouter/mrouter.sock"),
        settings=HomeAgentSettings(
            address=IPv6Address("2001:db8:f0::2"),
            home_prefixes=(IPv6Network("2001:db8:f1::/64"), IPv6Network("2001:db8:f2::/64")),
            served=(
                ServedMobileRouter(
                    home_address=IPv6Address("2001:db8:f1::100"),
                    prefixes=(IPv6Network("2001:db8:a1::/64"), IPv6Network("2001:db8:a2::/64")),
                    security=(
                        SecurityAssociation(256, Algorithm.HMAC_SHA256, KEY),
                        SecurityAssociation(3, Algorithm.HMAC_SHA1, KEY),
                    ),
                    name="bus-7",
                ),
                ServedMobileRouter(
                    home_address=IPv6Address("2001:db8:f2::100"),
                    prefixes=(),
                    security=(),
                    name="bus-8",
                ),
            ),
            max_lifetime=300,
            min_lifetime=8,
            timestamp_window=3.5,
            nemo=False,
        ),
    )


def test_ifid_renewal_of_0_means_never(tmp_path):
    text = LONG_MOBILE_ROUTER.replace("ifid-renewal = 3600", "ifid-renewal = 0")
    assert load(tmp_path, text).settings.ifid_renewal is None


@pytest.mark.parametrize(("dialect", "ifpri"), [("draft-01", 255), ("rfc5648", 126)])
def test_the_highest_ifpri_depends_on_the_dialect(tmp_path, dialect, ifpri):
    text = LONG_MOBILE_ROUTER.replace('"rfc5648"', f'"{dialect}"')
    links = load(tmp_path, text.replace("ifpri = 1\n", f"ifpri = {ifpri}\n")).links
    assert links[0].ifpri == ifpri


def test_names_are_relative_to_the_file_whatever_the_directory_of_the_process(
    tmp_path, monkeypatch
):
    load(tmp_path, SHORT_MOBILE_ROUTER)
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("mrouter.toml")).policy == tmp_path / "vehicle.toml"


@pytest.mark.parametrize("text", [SHORT_MOBILE_ROUTER, HOME_AGENT])
def test_no_repr_shows_a_key(tmp_path, text):
    shown = repr(load(tmp_path, text))
    assert KEY.hex() not in shown
    assert repr(KEY)[2:-1] not in shown


def test_ten_thousand_mobile_routers_load(tmp_path):
    head = HOME_AGENT.partition("[[mobile-router]]")[0]
    rows = [
        f'[[mobile-router]]\nname = "mr-{number}"\nhome-address = "2001:db8:f1::{number:x}"\n'
        f'prefixes = ["2001:db8:{number:x}::/48"]\n'
        'security = { spi = 256, algorithm = "hmac-sha256", key-file = "ha.key" }\n'
        for number in range(1, 10001)
    ]
    config = load(tmp_path, head + "".join(rows))
    assert len({served.home_address for served in config.settings.served}) == 10000


def test_a_short_file_of_a_correspondent_node_gets_the_defaults(tmp_path):
    text = 'role = "correspondent-node"\n[correspondent-node]\naddress = "2001:db8:c::10"\n'
    assert load(tmp_path, text) == CorrespondentNodeConfig(
        log_level=LogLevel.INFO,
        dialect=Dialect.DRAFT_01,
        coainfo_type=DEFAULT_COAINFO_TYPE,
        encapsulation=Encapsulation.AUTO,
        metrics=("::1", 9362),
        control_socket=Path("/run/mrouter/mrouter.sock"),
        settings=CorrespondentNodeSettings(IPv6Address("2001:db8:c::10"), max_lifetime=420),
    )
    assert load(tmp_path, text + "max-lifetime = 60\n").settings.max_lifetime == 60
