"""What a configuration file may hold, as pydantic models; `mrouter.config.load` reads it."""

from __future__ import annotations

import re
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from mrouter.config.ipv4 import IPv4Networks, point_to_ipv4_prefixes
from mrouter.config.model import (
    DEFAULT_CONTROL_SOCKET,
    DEFAULT_STATE_DIRECTORY,
    Encapsulation,
    IPv4Exit,
    LinkConfig,
    LogLevel,
    RouteOptimization,
)
from mrouter.config.quota import QuotaOfLink
from mrouter.config.security import Associations, OneAssociation
from mrouter.links.probes import ProbeProfile
from mrouter.protocol.settings import (
    INITIAL_BINDACK_TIMEOUT_FIRST_REG,
    MAX_RR_BINDING_LIFETIME,
)
from mrouter.toml_model import (
    Address,
    InterfaceName,
    Name,
    Prefix,
    StrictModel,
    as_list,
    expect_text,
    one_of,
    parse_address,
    refuse_empty,
    refuse_nested_prefixes,
    refuse_repeats,
    within,
)
from mrouter.toml_source import MistakeError, show
from mrouter.wire.constants import DEFAULT_COAINFO_TYPE, Dialect, OptionType

E = TypeVar("E", bound=Enum)

#: The lifetime field has 16 bits and counts units of 4 s (RFC 6275 §6.1.7).
_LONGEST_LIFETIME = 0xFFFF * 4
_DAY = 86400
#: Every Binding Update names them all.
_MOST_IPV4_NETWORKS = 16
#: Instead of a home agent's address: look for one.
_DISCOVER = "auto"
_HIGHEST_COST = 1_000_000
#: What fits into a sockaddr_un with its closing zero.
_LONGEST_SOCKET_PATH = 107
_DEFAULT_LISTEN = ("::1", 9362)
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")


def _choice(enumeration: type[E]) -> PlainValidator:
    return PlainValidator(one_of({str(member.value): member for member in enumeration}))


def _check_coainfo_type(number: int) -> int:
    within(0, 255)(number)
    if number in list(OptionType):
        message = f"{number} is the type of the option {OptionType(number).name}"
        raise MistakeError(message, f"write {DEFAULT_COAINFO_TYPE}")
    return number


def _parse_listen(value: Any) -> tuple[str, int] | None:
    text = expect_text(value)
    if text == "off":
        return None
    found = _LISTEN.fullmatch(text)
    wrong = MistakeError(f"{show(text)} is not an address and a port", 'as in "[::1]:9362"')
    if found is None or not 1 <= int(found[3]) <= 65535:
        raise wrong
    try:
        host = IPv6Address(found[1]) if found[1] else IPv4Address(found[2])
    except ValueError:
        raise wrong from None
    return str(host), int(found[3])


def _resolve_path(value: Any, info: ValidationInfo) -> Path:
    name = expect_text(value)
    if not name or "\0" in name:
        raise MistakeError(f"{show(name)} is not a file name")
    directory: Path = info.context["directory"] if info.context else Path()
    return directory / name


def _check_socket_length(path: Path) -> Path:
    if len(str(path).encode()) > _LONGEST_SOCKET_PATH:
        message = f"the path of a socket has at most {_LONGEST_SOCKET_PATH} bytes"
        raise MistakeError(message, f"write {show(str(DEFAULT_CONTROL_SOCKET))}")
    return path


def _parse_home_agent(value: Any) -> IPv6Address | None:
    return None if value == _DISCOVER else parse_address(value)


def _refuse_whole_internet(prefix: IPv6Network) -> IPv6Network:
    if prefix.prefixlen == 0:
        raise MistakeError(f"{prefix} is the whole Internet, not a network")
    return prefix


def _refuse_many(networks: list[IPv4Network]) -> list[IPv4Network]:
    if len(networks) > _MOST_IPV4_NETWORKS:
        message = f"{len(networks)} networks are more than {_MOST_IPV4_NETWORKS}"
        raise MistakeError(message, "write the prefix that several of them lie in")
    return networks


_Network = Annotated[Prefix, AfterValidator(_refuse_whole_internet)]
_Networks = Annotated[
    list[_Network], BeforeValidator(as_list), AfterValidator(refuse_nested_prefixes)
]
_NetworksOnBoard = Annotated[
    list[Annotated[_Network, BeforeValidator(point_to_ipv4_prefixes)]],
    BeforeValidator(as_list),
    AfterValidator(refuse_nested_prefixes),
]
_Path = Annotated[Path, PlainValidator(_resolve_path)]
#: Home Agent Preference (RFC 6275 §7.4) has 16 bits and a sign.
_Preference = Annotated[int, AfterValidator(within(-0x8000, 0x7FFF))]
_Lifetime = Annotated[int, AfterValidator(within(8, _LONGEST_LIFETIME, "seconds"))]


class DataplaneTable(StrictModel):
    """[dataplane]."""

    encapsulation: Annotated[Encapsulation, _choice(Encapsulation)] = Encapsulation.AUTO


class OptimizingDataplaneTable(DataplaneTable):
    """[dataplane] of a role that has to do with route optimization."""

    route_optimization: Annotated[RouteOptimization, _choice(RouteOptimization)] = (
        RouteOptimization.TUNNEL
    )


class MetricsTable(StrictModel):
    """[metrics]: on by default, ``listen = "off"`` for none."""

    listen: Annotated[tuple[str, int] | None, PlainValidator(_parse_listen)] = _DEFAULT_LISTEN


class ControlTable(StrictModel):
    """[control]."""

    socket: Annotated[_Path, AfterValidator(_check_socket_length)] = DEFAULT_CONTROL_SOCKET


class ConfigFile(StrictModel):
    """What the files of all roles have in common."""

    role: str
    log_level: Annotated[LogLevel, _choice(LogLevel)] = LogLevel.INFO
    dialect: Annotated[Dialect, _choice(Dialect)] = Dialect.DRAFT_01
    coainfo_type: Annotated[int, AfterValidator(_check_coainfo_type)] = DEFAULT_COAINFO_TYPE
    dataplane: DataplaneTable = DataplaneTable()
    metrics: MetricsTable = MetricsTable()
    control: ControlTable = ControlTable()


class MobileRouterTable(StrictModel):
    """[mobile-router] in a mobile router's file."""

    home_address: Address = Field(examples=['home-address = "2001:db8:f1::100"'])
    home_prefix: Prefix | None = None
    home_agent: Annotated[IPv6Address | None, PlainValidator(_parse_home_agent)] = Field(
        examples=['home-agent = "2001:db8:f0::2"']
    )
    prefixes: _NetworksOnBoard = Field(examples=['prefixes = ["2001:db8:a1::/64"], or [] for none'])
    ipv4_prefixes: Annotated[IPv4Networks, AfterValidator(_refuse_many)] = Field(
        default_factory=list
    )
    prefix_mode: Annotated[bool, PlainValidator(one_of({"explicit": True, "implicit": False}))] = (
        True
    )
    ingress: Annotated[
        list[InterfaceName], BeforeValidator(as_list), AfterValidator(refuse_repeats)
    ] = Field(default_factory=list)
    policy: _Path = Field(examples=['policy = "vehicle.toml"'])
    lifetime: _Lifetime = 120
    first_registration_timeout: Annotated[float, AfterValidator(within(1, 32, "seconds"))] = (
        INITIAL_BINDACK_TIMEOUT_FIRST_REG
    )
    ifid_renewal: Annotated[float, AfterValidator(within(0, 365 * _DAY, "seconds"))] = 0
    deregister_on_stop: bool = False
    push_policies: bool = True
    correspondents: Annotated[
        list[Address], BeforeValidator(as_list), AfterValidator(refuse_repeats)
    ] = Field(default_factory=list)

    @field_validator("home_agent")
    @classmethod
    def _check_home_agent(
        cls, home_agent: IPv6Address | None, info: ValidationInfo
    ) -> IPv6Address | None:
        if home_agent == info.data.get("home_address"):
            raise MistakeError(f"{home_agent} is the home address already")
        if home_agent is None and info.data.get("home_prefix") is None:
            message = f'"{_DISCOVER}" looks for home agents of home-prefix, which is missing'
            raise MistakeError(message, 'write home-prefix = "2001:db8:f1::/64"')
        return home_agent

    @field_validator("correspondents")
    @classmethod
    def _check_correspondents(
        cls, correspondents: list[IPv6Address], info: ValidationInfo
    ) -> list[IPv6Address]:
        for index, address in enumerate(correspondents):
            for key in ("home_address", "home_agent"):
                if address == info.data.get(key):
                    message = f"{address} is the {key.replace('_', '-')} already"
                    raise MistakeError(message, "name the nodes to send to directly", (index,))
        return correspondents


class LinkTable(StrictModel):
    """One [[link]]."""

    name: Name = Field(examples=['name = "lte"'])
    interface: InterfaceName = Field(examples=['interface = "wwan0"'])
    ifpri: Annotated[int, AfterValidator(within(0, 255))] = Field(examples=["ifpri = 0"])
    cost: Annotated[int, AfterValidator(within(0, _HIGHEST_COST))] = 0
    quota: QuotaOfLink | None = None
    probe: Annotated[ProbeProfile | None, _choice(ProbeProfile)] = None

    def to_link(self) -> LinkConfig:
        """Return the link as data."""
        quota = None if self.quota is None else self.quota.to_quota()
        return LinkConfig(self.name, self.interface, self.ifpri, self.cost, quota, self.probe)


class MobileRouterFile(ConfigFile):
    """The whole file of a mobile router."""

    state_directory: _Path = DEFAULT_STATE_DIRECTORY
    dataplane: OptimizingDataplaneTable = OptimizingDataplaneTable()
    mobile_router: MobileRouterTable = Field(
        examples=["[mobile-router] and below it home-address and home-agent"]
    )
    link: Annotated[list[LinkTable], AfterValidator(refuse_empty)] = Field(
        examples=["[[link]] and below it name, interface and ifpri, for each way out"]
    )
    security: OneAssociation = Field(
        examples=["[security] and below it spi, algorithm and key-file"]
    )


class PeerTable(StrictModel):
    """One of ``peers`` in [home-agent]."""

    address: Address = Field(examples=['address = "2001:db8:f0::3"'])
    preference: _Preference = 0
    nemo: bool = True


class HomeAgentTable(StrictModel):
    """[home-agent] in a home agent's file."""

    address: Address = Field(examples=['address = "2001:db8:f0::2"'])
    home_prefixes: Annotated[_Networks, AfterValidator(refuse_empty)] = Field(
        examples=['home-prefixes = ["2001:db8:f1::/64"]']
    )
    min_lifetime: Annotated[int, AfterValidator(within(4, _LONGEST_LIFETIME, "seconds"))] = 4
    max_lifetime: _Lifetime = 600
    timestamp_window: Annotated[float, AfterValidator(within(1, _DAY, "seconds"))] = 7.0
    nemo: bool = True
    home_link: InterfaceName | None = None
    preference: _Preference = 0
    peers: list[PeerTable] = Field(default_factory=list)
    prefix_lifetime: Annotated[int, AfterValidator(within(60, 0xFFFFFFFF, "seconds"))] = 30 * _DAY
    prefix_advertisements: bool = True
    ipv4_exit: Annotated[IPv4Exit, _choice(IPv4Exit)] = IPv4Exit.ROUTE

    @field_validator("max_lifetime")
    @classmethod
    def _refuse_less_than_min(cls, max_lifetime: int, info: ValidationInfo) -> int:
        min_lifetime = info.data.get("min_lifetime", 0)
        if max_lifetime < min_lifetime:
            raise MistakeError(f"must be at least min-lifetime, {min_lifetime} seconds")
        return max_lifetime


class ServedTable(StrictModel):
    """One [[mobile-router]] in a home agent's file."""

    name: Name = Field(examples=['name = "bus-7"'])
    home_address: Address = Field(examples=['home-address = "2001:db8:f1::100"'])
    prefixes: _NetworksOnBoard = Field(examples=['prefixes = ["2001:db8:a1::/64"], or [] for none'])
    ipv4_prefixes: IPv4Networks = Field(default_factory=list)
    security: Associations = Field(
        examples=['security = [{ spi = 256, algorithm = "hmac-sha256", key-file = "bus-7.key" }]']
    )


class HomeAgentFile(ConfigFile):
    """The whole file of a home agent."""

    home_agent: HomeAgentTable = Field(
        examples=["[home-agent] and below it address and home-prefixes"]
    )
    mobile_router: list[ServedTable] = Field(default_factory=list)


class CorrespondentNodeTable(StrictModel):
    """[correspondent-node]."""

    address: Address = Field(examples=['address = "2001:db8:c::10"'])
    max_lifetime: Annotated[int, AfterValidator(within(8, MAX_RR_BINDING_LIFETIME, "seconds"))] = (
        MAX_RR_BINDING_LIFETIME
    )


class CorrespondentNodeFile(ConfigFile):
    """The whole file of a correspondent node."""

    dataplane: OptimizingDataplaneTable = OptimizingDataplaneTable()
    correspondent_node: CorrespondentNodeTable = Field(
        examples=["[correspondent-node] and below it address"]
    )
