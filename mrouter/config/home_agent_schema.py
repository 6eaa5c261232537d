"""What a home agent's configuration file may hold, as pydantic models."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from mrouter.config.ipv4 import IPv4Networks
from mrouter.config.model import IPv4Exit
from mrouter.config.schema import ConfigFile
from mrouter.config.security import Associations
from mrouter.config.values import (
    LONGEST_LIFETIME,
    Lifetime,
    Networks,
    NetworksOnBoard,
    Preference,
    choice,
)
from mrouter.toml_model import Address, InterfaceName, Name, StrictModel, refuse_empty, within
from mrouter.toml_source import MistakeError

_DAY = 86400


class PeerTable(StrictModel):
    """One of ``peers`` in [home-agent]: another home agent of the same home network."""

    address: Address = Field(description="Its address.", examples=['address = "2001:db8:f0::3"'])
    preference: Preference = Field(
        default=0,
        description="The higher, the earlier mobile routers try it.",
        examples=["preference = 10"],
    )
    nemo: bool = Field(
        default=True, description="It serves mobile routers.", examples=["nemo = false"]
    )


class HomeAgentTable(StrictModel):
    """[home-agent] in a home agent's file."""

    address: Address = Field(
        description="Where mobile routers register.", examples=['address = "2001:db8:f0::2"']
    )
    home_prefixes: Annotated[Networks, AfterValidator(refuse_empty)] = Field(
        description="The home networks, where home addresses are.",
        examples=['home-prefixes = ["2001:db8:f1::/64"]'],
    )
    min_lifetime: Annotated[int, AfterValidator(within(4, LONGEST_LIFETIME, "seconds"))] = Field(
        default=4,
        description="A binding that is asked for a shorter time is refused.",
        examples=["min-lifetime = 20"],
    )
    max_lifetime: Lifetime = Field(
        default=600,
        description="No binding is granted for longer.",
        examples=["max-lifetime = 300"],
    )
    timestamp_window: Annotated[float, AfterValidator(within(1, _DAY, "seconds"))] = Field(
        default=7.0,
        description="How far a mobile router's clock may be from ours (replay protection).",
        examples=["timestamp-window = 30"],
    )
    nemo: bool = Field(
        default=True,
        description="Networks on board are served; `false`: home addresses alone.",
        examples=["nemo = false"],
    )
    home_link: InterfaceName | None = Field(
        default=None,
        description="The home network's interface; without, the home network is virtual. A home "
        "address is looked for there before its first binding is accepted (status 134 if somebody "
        "has it), and answered for while it is bound. Sets `net.ipv6.conf.all.proxy_ndp`.",
        examples=['home-link = "eth1"'],
    )
    preference: Preference = Field(
        default=0,
        description="Its own place among the home agents: the higher, the earlier.",
        examples=["preference = 10"],
    )
    peers: list[PeerTable] = Field(
        default_factory=list,
        description="Other home agents that mobile routers are told of.",
        examples=['peers = [{ address = "2001:db8:f0::3", preference = 10 }]'],
    )
    prefix_lifetime: Annotated[int, AfterValidator(within(60, 0xFFFFFFFF, "seconds"))] = Field(
        default=30 * _DAY,
        description="How long home prefixes are valid, as mobile routers are told.",
        examples=["prefix-lifetime = 86400"],
    )
    prefix_advertisements: bool = Field(
        default=True,
        description="Mobile routers are told of the home prefixes; if not, their solicitations are "
        "counted, and not answered.",
        examples=["prefix-advertisements = false"],
    )
    ipv4_exit: Annotated[IPv4Exit, choice(IPv4Exit)] = Field(
        default=IPv4Exit.ROUTE,
        description="How IPv4 of the networks on board leaves: by routes, or under the home "
        "agent's own address.",
        examples=['ipv4-exit = "nat"'],
    )

    @field_validator("max_lifetime")
    @classmethod
    def _refuse_less_than_min(cls, max_lifetime: int, info: ValidationInfo) -> int:
        min_lifetime = info.data.get("min_lifetime", 0)
        if max_lifetime < min_lifetime:
            raise MistakeError(f"must be at least min-lifetime, {min_lifetime} seconds")
        return max_lifetime


class ServedTable(StrictModel):
    """One [[mobile-router]] in a home agent's file: one that is served."""

    name: Name = Field(description="What status and metrics call it.", examples=['name = "bus-7"'])
    home_address: Address = Field(
        description="Its address in the home network.",
        examples=['home-address = "2001:db8:f1::100"'],
    )
    prefixes: NetworksOnBoard = Field(
        description="The IPv6 networks on board that it may register.",
        examples=['prefixes = ["2001:db8:a1::/64"], or [] for none'],
    )
    ipv4_prefixes: IPv4Networks = Field(
        default_factory=list,
        description="The IPv4 networks on board that it may register.",
        examples=['ipv4-prefixes = ["192.0.2.0/24"]'],
    )
    security: Associations = Field(
        description="The keys that it may have; two while one is replaced.",
        examples=['security = [{ spi = 256, algorithm = "hmac-sha256", key-file = "bus-7.key" }]'],
    )


class HomeAgentFile(ConfigFile):
    """The whole file of a home agent."""

    home_agent: HomeAgentTable = Field(
        description="The home agent itself.",
        examples=["[home-agent] and below it address and home-prefixes"],
    )
    mobile_router: list[ServedTable] = Field(
        default_factory=list,
        description="The mobile routers that it serves.",
        examples=["a [[mobile-router]] for each"],
    )
