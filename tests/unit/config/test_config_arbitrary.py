from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mrouter.config.load import load_config
from mrouter.errors import ConfigError

ROOT_KEYS = ["log-level", "dialect", "coainfo-type", "mobile-router", "home-agent", "link",
             "security", "dataplane", "metrics", "control", "other"]  # fmt: skip
KEYS = [
    *("home-address", "home-agent", "prefixes", "prefix-mode", "ingress", "policy", "lifetime"),
    *("ifid-renewal", "deregister-on-stop", "name", "interface", "ifpri", "security", "spi"),
    *("algorithm", "key-file", "encapsulation", "listen", "socket", "address", "home-prefixes"),
    *("max-lifetime", "min-lifetime", "timestamp-window", "nemo", "ipsec", "other"),
    "unauthenticated-because-ipsec-protects",
]
WORDS = [
    *("lte", "wwan0", "2001:db8::1", "2001:db8::/48", "2001:db8::1/48", "::/0", "fe80::1%x"),
    *("10.0.0.1", "ff02::1", "hmac-sha1", "hmac-sha256", "explicit", "[::1]:9362", "off", "auto"),
    *(".", "/", "/dev/null", "", "\0"),
]
#: Python parses a hexadecimal number of any length, but does not write it in decimal.
HUGE = "0x1" + "0" * 5000


def write_toml(value):
    match value:
        case dict():
            return (
                "{" + ", ".join(f"{key} = {write_toml(item)}" for key, item in value.items()) + "}"
            )
        case list():
            return "[" + ", ".join(write_toml(item) for item in value) + "]"
        case "huge":
            return HUGE
        case float():
            return str(value)
        case _:
            return json.dumps(value)


values = st.recursive(
    st.sampled_from([*WORDS, "huge", 0, 3, 256, -1, 1.5, True, False])
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=15,
)  # fmt: skip


@pytest.fixture(scope="module")
def config_path(tmp_path_factory):
    return tmp_path_factory.mktemp("config") / "c.toml"


def load_or_refuse(path):
    with contextlib.suppress(ConfigError):
        load_config(path)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_loaded_or_refused(config_path, content):
    config_path.write_bytes(content)
    load_or_refuse(config_path)


@given(
    role=st.sampled_from(["mobile-router", "home-agent"]),
    data=st.dictionaries(st.sampled_from(ROOT_KEYS), values, max_size=6),
)
@example(role="home-agent", data={"mobile-router": [{"home-address": "huge"}]})
def test_any_tables_are_loaded_or_refused(config_path, role, data):
    lines = [f"{key} = {write_toml(value)}\n" for key, value in data.items()]
    config_path.write_text(f'role = "{role}"\n' + "".join(lines))
    load_or_refuse(config_path)
