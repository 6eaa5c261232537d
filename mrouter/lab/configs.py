"""The configuration, policy and key files that the lab's daemons run with."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from mrouter.lab import plan

SPI = 256
KEY_OCTETS = 32
CALL_PORT = 5004
BULK_PORT = 5201
METRICS_LISTEN = "[::1]:9362"


@dataclass(frozen=True, slots=True)
class ConfigFiles:
    """Where a lab's files are; the sockets appear when the daemons run."""

    mobile_router: Path
    home_agent: Path
    correspondent_node: Path
    policy: Path
    mobile_router_socket: Path
    home_agent_socket: Path
    correspondent_node_socket: Path


def write_configs(directory: Path) -> ConfigFiles:
    """Write a file for each role, policy.toml and a fresh key into ``directory``."""
    files = ConfigFiles(
        mobile_router=directory / "mr.toml",
        home_agent=directory / "ha.toml",
        correspondent_node=directory / "cn.toml",
        policy=directory / "policy.toml",
        mobile_router_socket=directory / "mr.sock",
        home_agent_socket=directory / "ha.sock",
        correspondent_node_socket=directory / "cn.sock",
    )
    key = secrets.token_hex(KEY_OCTETS)
    _write_secret(directory / "mr.key", key)
    _write_secret(directory / "ha.key", key)
    files.policy.write_text(_format_policy(), encoding="utf-8")
    files.mobile_router.write_text(
        _format_mobile_router(files.mobile_router_socket), encoding="utf-8"
    )
    files.home_agent.write_text(_format_home_agent(files.home_agent_socket), encoding="utf-8")
    files.correspondent_node.write_text(
        _format_correspondent_node(files.correspondent_node_socket), encoding="utf-8"
    )
    return files


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{text}\n")


def _format_mobile_router(socket: Path) -> str:
    links = "\n".join(
        f"""\
[[link]]
name = "{link.name}"
interface = "{link.interface}"
ifpri = {link.ifpri}
"""
        for link in plan.EGRESS_LINKS
    )
    return f"""\
role = "mobile-router"

[mobile-router]
home-address = "{plan.HOME_ADDRESS}"
home-agent = "{plan.HA_ADDRESS}"
prefixes = ["{plan.MOBILE_NETWORK_PREFIX}"]
prefix-mode = "explicit"
ingress = ["lan0"]
policy = "policy.toml"
lifetime = 60

{links}
[security]
spi = {SPI}
algorithm = "hmac-sha256"
key-file = "mr.key"

[metrics]
listen = "{METRICS_LISTEN}"

[control]
socket = "{socket}"
"""


def _format_home_agent(socket: Path) -> str:
    return f"""\
role = "home-agent"

[home-agent]
address = "{plan.HA_ADDRESS}"
home-prefixes = ["{plan.HOME_PREFIX}"]

[[mobile-router]]
name = "vehicle"
home-address = "{plan.HOME_ADDRESS}"
prefixes = ["{plan.MOBILE_NETWORK_PREFIX}"]
security = [{{ spi = {SPI}, algorithm = "hmac-sha256", key-file = "ha.key" }}]

[metrics]
listen = "{METRICS_LISTEN}"

[control]
socket = "{socket}"
"""


def _format_correspondent_node(socket: Path) -> str:
    return f"""\
role = "correspondent-node"

[correspondent-node]
address = "{plan.CN_ADDRESS}"

[metrics]
listen = "{METRICS_LISTEN}"

[control]
socket = "{socket}"
"""


def _format_policy() -> str:
    return f"""\
# The call goes over two links at once: it does not notice when one of them is cut.
[[policy]]
name = "call"
match = {{ protocol = "udp", destination-port = {CALL_PORT} }}
bicast = ["lte", "wifi"]

[[policy]]
name = "bulk"
match = {{ protocol = "tcp", destination-port = {BULK_PORT} }}
links = ["wifi", "lte", "sat"]

[[policy]]
name = "pings"
match = {{ protocol = "icmpv6" }}
links = ["sat", "lte", "wifi"]

[default]
links = ["lte", "wifi", "sat"]
"""
