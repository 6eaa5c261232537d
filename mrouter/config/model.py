"""What a configuration file means, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mrouter.links.probes import ProbeProfile
    from mrouter.links.quotas import Quota
    from mrouter.links.radio import RadioKind
    from mrouter.protocol.settings import (
        CorrespondentNodeSettings,
        HomeAgentSettings,
        MobileRouterSettings,
    )
    from mrouter.wire.constants import Dialect

DEFAULT_CONTROL_SOCKET = Path("/run/mrouter/mrouter.sock")
DEFAULT_STATE_DIRECTORY = Path("/var/lib/mrouter")


class LogLevel(Enum):
    """How much is logged; the values are the names of the standard library's levels."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Encapsulation(Enum):
    """What carries packets between a care-of address and the home agent (DESIGN decision 2)."""

    AUTO = "auto"
    SEG6 = "seg6"
    IP6TNL = "ip6tnl"


class RouteOptimization(Enum):
    """What carries packets between a care-of address and a correspondent node."""

    TUNNEL = "tunnel"
    MIP6 = "mip6"


class IPv4Exit(Enum):
    """How IPv4 of the networks on board leaves the home agent.

    By routes, where the network around it routes their prefixes to it, or under an address of its
    own.
    """

    ROUTE = "route"
    NAT = "nat"


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """A way out of the vehicle: its name in policies, its egress interface, its IFPRI.

    ``cost`` is in a unit of the operator's, lower is cheaper. ``probe`` is how it is probed, None
    for as the policies need it. ``radio`` is who knows about its radio, None for nobody; below
    ``least_signal`` percent its signal is weak.
    """

    name: str
    interface: str
    ifpri: int
    cost: int = 0
    quota: Quota | None = None
    probe: ProbeProfile | None = None
    radio: RadioKind | None = None
    least_signal: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What every role is told beside its protocol settings.

    ``metrics`` is the numeric host and the port to serve metrics at, None for not at all.
    """

    log_level: LogLevel
    dialect: Dialect
    coainfo_type: int
    encapsulation: Encapsulation
    metrics: tuple[str, int] | None
    control_socket: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileRouterConfig(Config):
    """All that a mobile router is told; ``policy`` is the policy file, loaded separately.

    ``push_policies``: the home agent is asked to obey them for what it sends (RFC 6089).
    ``discover``: its home agent is to be found; ``settings`` have the anycast address for it.
    ``state_directory`` holds what is remembered for longer than the machine runs.
    """

    settings: MobileRouterSettings
    links: tuple[LinkConfig, ...]
    ingress: tuple[str, ...]
    policy: Path
    deregister_on_stop: bool
    push_policies: bool
    route_optimization: RouteOptimization = RouteOptimization.TUNNEL
    discover: bool = False
    state_directory: Path = DEFAULT_STATE_DIRECTORY

    @property
    def priorities(self) -> dict[str, int]:
        """The IFPRI of each link: a lower one is preferred."""
        return {link.name: link.ifpri for link in self.links}

    @property
    def costs(self) -> dict[str, int]:
        """What each link costs."""
        return {link.name: link.cost for link in self.links}

    @property
    def may_weaken(self) -> frozenset[str]:
        """The links whose signal may be told of as weak."""
        return frozenset(link.name for link in self.links if link.least_signal is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeAgentConfig(Config):
    """All that a home agent is told."""

    settings: HomeAgentSettings
    ipv4_exit: IPv4Exit = IPv4Exit.ROUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrespondentNodeConfig(Config):
    """All that a correspondent node is told."""

    settings: CorrespondentNodeSettings
    route_optimization: RouteOptimization = RouteOptimization.TUNNEL
