"""What a configuration file may hold, as pydantic models; `mrouter.config.load` reads it.

The home agent's are in `home_agent_schema`.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
)

from mrouter.config.ipv4 import IPv4Networks
from mrouter.config.model import (
    DEFAULT_CONTROL_SOCKET,
    DEFAULT_STATE_DIRECTORY,
    Encapsulation,
    LinkConfig,
    LogLevel,
    RouteOptimization,
)
from mrouter.config.quota import QuotaOfLink
from mrouter.config.security import OneAssociation
from mrouter.config.values import (
    DISCOVER,
    CoainfoType,
    FilePath,
    HomeAgentAddress,
    Lifetime,
    ListenAddress,
    NetworksOnBoard,
    SocketPath,
    choice,
    refuse_many,
)
from mrouter.links.probes import ProbeProfile
from mrouter.links.radio import RadioKind
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
    one_of,
    refuse_empty,
    refuse_repeats,
    within,
)
from mrouter.toml_source import MistakeError
from mrouter.wire.constants import DEFAULT_COAINFO_TYPE, Dialect

_DAY = 86400
_HIGHEST_COST = 1_000_000
_DEFAULT_LISTEN = ("::1", 9362)
_PREFIX_MODES = {"explicit": True, "implicit": False}


class DataplaneTable(StrictModel):
    """[dataplane]: what carries packets."""

    encapsulation: Annotated[Encapsulation, choice(Encapsulation)] = Field(
        default=Encapsulation.AUTO,
        description="What carries packets between care-of address and home agent: `seg6` routes or "
        "`ip6tnl` devices; `auto` takes what the kernel has. On the wire both are the same.",
        examples=['encapsulation = "ip6tnl"'],
    )


class OptimizingDataplaneTable(DataplaneTable):
    """[dataplane] of a role that has to do with route optimization."""

    route_optimization: Annotated[RouteOptimization, choice(RouteOptimization)] = Field(
        default=RouteOptimization.TUNNEL,
        description="What carries packets between care-of address and correspondent node; both "
        "ends must say the same. `mip6` is the Home Address option and the type 2 routing header.",
        examples=['route-optimization = "mip6"'],
    )


class MetricsTable(StrictModel):
    """[metrics]: for Prometheus."""

    listen: ListenAddress = Field(
        default=_DEFAULT_LISTEN,
        description="Where metrics are served.",
        examples=['listen = "[::]:9362"'],
    )


class ControlTable(StrictModel):
    """[control]: how the commands reach the agent."""

    socket: SocketPath = Field(
        default=DEFAULT_CONTROL_SOCKET,
        description="The socket that `--socket` of the commands names.",
        examples=['socket = "/run/mrouter/bus-17.sock"'],
    )


class ConfigFile(StrictModel):
    """What the files of all roles have in common."""

    role: str = Field(
        description='What the machine is: `"mobile-router"`, `"home-agent"` or '
        '`"correspondent-node"`.',
        examples=['role = "mobile-router"'],
    )
    log_level: Annotated[LogLevel, choice(LogLevel)] = Field(
        default=LogLevel.INFO,
        description="How much is logged.",
        examples=['log-level = "debug"'],
    )
    dialect: Annotated[Dialect, choice(Dialect)] = Field(
        default=Dialect.DRAFT_01,
        description="How several care-of addresses are signalled; both ends must say the same.",
        examples=['dialect = "rfc5648"'],
    )
    coainfo_type: CoainfoType = Field(
        default=DEFAULT_COAINFO_TYPE,
        description="The type of the draft's CoAINFO option, which the draft leaves open; both "
        "ends must say the same.",
        examples=["coainfo-type = 200"],
    )
    dataplane: DataplaneTable = Field(
        default=DataplaneTable(),
        description="What carries packets.",
        examples=['[dataplane]\nencapsulation = "seg6"'],
    )
    metrics: MetricsTable = Field(
        default=MetricsTable(),
        description="Metrics for Prometheus.",
        examples=['[metrics]\nlisten = "off"'],
    )
    control: ControlTable = Field(
        default=ControlTable(),
        description="How the commands reach the agent.",
        examples=['[control]\nsocket = "/run/mrouter/bus-17.sock"'],
    )


class MobileRouterTable(StrictModel):
    """[mobile-router] in a mobile router's file."""

    home_address: Address = Field(
        description="The router's own address in the home network.",
        examples=['home-address = "2001:db8:f1::100"'],
    )
    home_prefix: Prefix | None = Field(
        default=None,
        description="The home network, where home agents are looked for.",
        examples=['home-prefix = "2001:db8:f1::/64"'],
    )
    home_agent: HomeAgentAddress = Field(
        description='Where it registers; `"auto"` looks for home agents of `home-prefix` over all '
        "links.",
        examples=['home-agent = "2001:db8:f0::2"'],
    )
    prefixes: NetworksOnBoard = Field(
        description="The IPv6 networks on board; none make a mobile node of it.",
        examples=['prefixes = ["2001:db8:a1::/64"], or [] for none'],
    )
    ipv4_prefixes: Annotated[IPv4Networks, AfterValidator(refuse_many)] = Field(
        default_factory=list,
        description="The IPv4 networks on board.",
        examples=['ipv4-prefixes = ["192.0.2.0/24"]'],
    )
    prefix_mode: Annotated[bool, PlainValidator(one_of(_PREFIX_MODES))] = Field(
        default=True,
        description="Whether each registration names the IPv6 networks on board, or the home agent "
        "takes them from its own file (RFC 3963).",
        examples=['prefix-mode = "implicit"'],
    )
    ingress: Annotated[
        list[InterfaceName], BeforeValidator(as_list), AfterValidator(refuse_repeats)
    ] = Field(
        default_factory=list,
        description="The interfaces of the networks on board.",
        examples=['ingress = ["lan0"]'],
    )
    policy: FilePath = Field(description="The policy file.", examples=['policy = "vehicle.toml"'])
    lifetime: Lifetime = Field(
        default=120,
        description="How long a binding is asked for; it is renewed before it ends.",
        examples=["lifetime = 60"],
    )
    first_registration_timeout: Annotated[float, AfterValidator(within(1, 32, "seconds"))] = Field(
        default=INITIAL_BINDACK_TIMEOUT_FIRST_REG,
        description="How long the first Binding Update waits for its answer before it is repeated.",
        examples=["first-registration-timeout = 3"],
    )
    ifid_renewal: Annotated[float, AfterValidator(within(0, 365 * _DAY, "seconds"))] = Field(
        default=0,
        description="After how long a binding gets a fresh IFID; 0 is never.",
        examples=["ifid-renewal = 86400"],
    )
    deregister_on_stop: bool = Field(
        default=False,
        description="An agent that is stopped ends its bindings, instead of leaving forwarding as "
        "it is.",
        examples=["deregister-on-stop = true"],
    )
    push_policies: bool = Field(
        default=True,
        description="The home agent is asked to obey the policies for what it sends.",
        examples=["push-policies = false"],
    )
    correspondents: Annotated[
        list[Address], BeforeValidator(as_list), AfterValidator(refuse_repeats)
    ] = Field(
        default_factory=list,
        description="Correspondent nodes that the router itself talks with directly.",
        examples=['correspondents = ["2001:db8:c::10"]'],
    )

    @field_validator("home_agent")
    @classmethod
    def _check_home_agent(
        cls, home_agent: IPv6Address | None, info: ValidationInfo
    ) -> IPv6Address | None:
        if home_agent == info.data.get("home_address"):
            raise MistakeError(f"{home_agent} is the home address already")
        if home_agent is None and info.data.get("home_prefix") is None:
            message = f'"{DISCOVER}" looks for home agents of home-prefix, which is missing'
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
    """One [[link]]: a way out of the vehicle."""

    name: Name = Field(
        description="What policies, status and metrics call it.", examples=['name = "lte"']
    )
    interface: InterfaceName = Field(
        description="Its network interface; each link has its own.",
        examples=['interface = "wwan0"'],
    )
    ifpri: Annotated[int, AfterValidator(within(0, 255))] = Field(
        description="Its priority, lower is better; each link has its own. In dialect rfc5648 up "
        "to 126.",
        examples=["ifpri = 0"],
    )
    cost: Annotated[int, AfterValidator(within(0, _HIGHEST_COST))] = Field(
        default=0,
        description='What it costs, in a unit of your own, for `choose = "cheapest"`.',
        examples=["cost = 10"],
    )
    quota: QuotaOfLink | None = Field(
        default=None,
        description="What it may carry in a day or a month, for `under-quota`.",
        examples=['quota = { limit = "50 GB", period = "monthly" }'],
    )
    probe: Annotated[ProbeProfile | None, choice(ProbeProfile)] = Field(
        default=None,
        description="How it is probed; without, as `normal`, and only where a policy has to know.",
        examples=['probe = "normal"'],
    )
    radio: Annotated[RadioKind | None, choice(RadioKind)] = Field(
        default=None,
        description="Who knows about its radio: `modem` asks ModemManager over D-Bus (`pip install "
        "'mrouter[modem]'`), `wifi` asks the kernel. Status and metrics show signal, network and "
        "technology.",
        examples=['radio = "modem"'],
    )
    least_signal: Annotated[int, AfterValidator(within(1, 100, "percent"))] | None = Field(
        default=None,
        description="Below it the signal is weak: policies leave the link while another one is up, "
        "until it is 10 percent above. Stands beside `radio`.",
        examples=['radio = "modem"\nleast-signal = 20'],
    )

    @field_validator("least_signal")
    @classmethod
    def _check_radio(cls, least: int | None, info: ValidationInfo) -> int | None:
        # a radio that is wrong has a problem of its own
        if least is not None and info.data.get("radio", least) is None:
            raise MistakeError("stands beside radio only", 'write radio = "modem", or "wifi"')
        return least

    def to_link(self) -> LinkConfig:
        """Return the link as data."""
        return LinkConfig(
            self.name,
            self.interface,
            self.ifpri,
            self.cost,
            None if self.quota is None else self.quota.to_quota(),
            self.probe,
            self.radio,
            self.least_signal,
        )


class MobileRouterFile(ConfigFile):
    """The whole file of a mobile router."""

    state_directory: FilePath = Field(
        default=DEFAULT_STATE_DIRECTORY,
        description="Holds what links have carried, over reboots. Each agent of a machine needs "
        "one of its own.",
        examples=['state-directory = "/var/lib/mrouter-17"'],
    )
    dataplane: OptimizingDataplaneTable = Field(
        default=OptimizingDataplaneTable(),
        description="What carries packets.",
        examples=['[dataplane]\nroute-optimization = "mip6"'],
    )
    mobile_router: MobileRouterTable = Field(
        description="The mobile router itself.",
        examples=["[mobile-router] and below it home-address and home-agent"],
    )
    link: Annotated[list[LinkTable], AfterValidator(refuse_empty)] = Field(
        description="The ways out.",
        examples=["[[link]] and below it name, interface and ifpri, for each way out"],
    )
    security: OneAssociation = Field(
        description="How the home agent knows the router.",
        examples=["[security] and below it spi, algorithm and key-file"],
    )


class CorrespondentNodeTable(StrictModel):
    """[correspondent-node]: what mobile routers reach it by."""

    address: Address = Field(
        description="Its address, which mobile routers name among their `correspondents`.",
        examples=['address = "2001:db8:c::10"'],
    )
    max_lifetime: Annotated[int, AfterValidator(within(8, MAX_RR_BINDING_LIFETIME, "seconds"))] = (
        Field(
            default=MAX_RR_BINDING_LIFETIME,
            description="No binding is granted for longer.",
            examples=["max-lifetime = 300"],
        )
    )


class CorrespondentNodeFile(ConfigFile):
    """The whole file of a correspondent node."""

    dataplane: OptimizingDataplaneTable = Field(
        default=OptimizingDataplaneTable(),
        description="What carries packets.",
        examples=['[dataplane]\nroute-optimization = "mip6"'],
    )
    correspondent_node: CorrespondentNodeTable = Field(
        description="The correspondent node itself.",
        examples=["[correspondent-node] and below it address"],
    )
