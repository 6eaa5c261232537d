"""What a simulated vehicle drives through, and with which files: every number in one place."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from replay import add_options, write_command

from mrouter.config.model import (
    Encapsulation,
    HomeAgentConfig,
    LinkConfig,
    LogLevel,
    MobileRouterConfig,
)
from mrouter.links.probes import ProbeProfile
from mrouter.policy.load import load_policies
from mrouter.protocol.settings import (
    Algorithm,
    HomeAgentSettings,
    MobileRouterSettings,
    SecurityAssociation,
    ServedMobileRouter,
)
from mrouter.wire.constants import DEFAULT_COAINFO_TYPE, Dialect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mrouter.policy.model import PolicyTable

EPOCH = 1_800_000_000.0
HOME_AGENT = IPv6Address("2001:db8:f0::2")
HOME_ADDRESS = IPv6Address("2001:db8:f1::100")
HOME_NET = IPv6Network("2001:db8:f1::/64")
MOBILE_NET = IPv6Network("2001:db8:a1::/64")
KEY = SecurityAssociation(256, Algorithm.HMAC_SHA256, bytes(range(32)))
LIFETIME = 60

POLICIES = """
[[policy]]
name = "call"
match = { protocol = "udp", destination-port = 5004 }
bicast = ["lte", "wifi", "sat"]
copies = 2

[[policy]]
name = "patient"
match = { protocol = "tcp", destination-port = 443 }
links = ["wifi", "lte", "sat"]
hold-down = 20

[[policy]]
name = "staying"
match = { protocol = "tcp", destination-port = 22 }
links = ["sat", "wifi", "lte"]
hold-down = 5
running-flows = "stay"

[[policy]]
name = "game"
match = { protocol = "udp", destination-port = 3074 }
links = ["lte", "wifi", "sat"]
choose = "lowest-latency"

[[policy]]
name = "shared"
match = { protocol = "tcp", destination-port = 80 }
balance = { wifi = 3, lte = 1 }

[[policy]]
name = "single"
match = { protocol = "udp", destination-port = 123 }
links = ["sat"]

[default]
links = ["lte", "wifi", "sat"]
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of link: its name and its usual delay each way, in seconds."""

    name: str
    delay: float

    @property
    def interface(self) -> str:
        """The mobile router's interface."""
        return f"{self.name}0"


KINDS = (Kind("lte", 0.03), Kind("wifi", 0.005), Kind("sat", 0.14))
#: A link's delay each way is at most so many seconds, also while it is changed.
LONGEST_DELAY = 0.3


@dataclass(frozen=True, slots=True)
class WeatherPlan:
    """One drive. Times in seconds, means of exponential distributions."""

    seed: int
    seconds: float
    probe: ProbeProfile = ProbeProfile.NORMAL

    between_showers: float = 60.0  # a link's trouble of its own
    between_tunnels: float = 900.0  # no link carries
    between_outages: float = 1200.0  # nobody reaches the home agent
    between_agent_restarts: float = 900.0
    between_router_restarts: float = 900.0
    between_sizes: float = 60.0

    @property
    def replay(self) -> str:
        """The command that plays it again."""
        return write_command("weather.py", self)


def read_weather_plan(arguments: Sequence[str] | None = None) -> WeatherPlan:
    """Return the plan that a command line asks for, by default this program's."""
    parser = ArgumentParser(description="Drive through one weather and print what happened.")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    add_options(parser, WeatherPlan)
    return WeatherPlan(**vars(parser.parse_args(arguments)))


def make_policies() -> PolicyTable:
    """Return the policies, read as a file is."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "policy.toml"
        path.write_text(POLICIES)
        return load_policies(path, [kind.name for kind in KINDS])


def make_router_config(plan: WeatherPlan) -> MobileRouterConfig:
    """Return what the mobile router's file would say."""
    return MobileRouterConfig(
        **_common("mr"),
        settings=MobileRouterSettings(
            home_address=HOME_ADDRESS,
            home_agent=HOME_AGENT,
            prefixes=(MOBILE_NET,),
            explicit=True,
            security=KEY,
            lifetime=LIFETIME,
        ),
        links=tuple(
            LinkConfig(kind.name, kind.interface, ifpri, probe=plan.probe)
            for ifpri, kind in enumerate(KINDS)
        ),
        ingress=("lan0",),
        policy=Path("policy.toml"),
        deregister_on_stop=False,
        push_policies=True,
        state_directory=Path("/nonexistent"),
    )


def make_home_config() -> HomeAgentConfig:
    """Return what the home agent's file would say."""
    served = ServedMobileRouter(HOME_ADDRESS, (MOBILE_NET,), (KEY,), "vehicle")
    return HomeAgentConfig(
        **_common("ha"),
        settings=HomeAgentSettings(HOME_AGENT, (HOME_NET,), (served,)),
    )


def _common(name: str) -> dict[str, object]:
    return {
        "log_level": LogLevel.ERROR,
        "dialect": Dialect.DRAFT_01,
        "coainfo_type": DEFAULT_COAINFO_TYPE,
        "encapsulation": Encapsulation.SEG6,
        "metrics": None,
        "control_socket": Path(f"/nonexistent/{name}.sock"),
    }
