"""What a simulated fleet does, and how bad its network is: every number in one place."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from replay import add_options, write_command

from mrouter.protocol.flow_bindings import WantedFlow
from mrouter.protocol.settings import (
    Algorithm,
    CorrespondentNodeSettings,
    HomeAgentSettings,
    MobileRouterSettings,
    SecurityAssociation,
    ServedMobileRouter,
)
from mrouter.wire.constants import Dialect
from mrouter.wire.traffic_selectors import TrafficSelector

if TYPE_CHECKING:
    from collections.abc import Sequence

EPOCH = 1_800_000_000.0
HOME_AGENT = IPv6Address("2001:db8:aaaa::1")
HOME_NET = IPv6Network("2001:db8:aaaa::/64")
CORRESPONDENT_NET = int(IPv6Address("2001:db8:dddd::"))
MOBILE_NET = int(IPv6Address("2001:db8:8000::"))

#: Seconds that routers ask for; the home agent cuts the longest to 600.
LIFETIMES = (600, 1200, 600, 300, 600, 1200, 600, 120, 600, 300)
LONGEST_LIFETIME = 600
ROUTE_LIFETIME = 420


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of link: its best delay, and the mean of what comes on top (seconds)."""

    name: str
    delay: float
    jitter: float


KINDS = (Kind("lte", 0.03, 0.03), Kind("wifi", 0.005, 0.02), Kind("sat", 0.28, 0.1))


@dataclass(frozen=True, slots=True)
class Plan:
    """One simulation. Times in seconds, means of exponential distributions; shares from 0 to 1."""

    routers: int
    seconds: float
    seed: int
    dialect: Dialect = Dialect.DRAFT_01

    # the network
    loss: float = 0.05
    duplicates: float = 0.02
    stragglers: float = 0.02  # delayed by up to two seconds more
    late_duplicates: float = 0.005
    latest_duplicate: float = 900.0
    between_outages: float = 3600.0
    outage: float = 20.0

    # the routers
    between_moves: float = 1800.0
    link_down: float = 600.0
    between_restarts: float = 6 * 3600.0
    clock_error: float = 5.0  # at most, of every other router
    wrong_clocks: float = 0.02  # this share is an hour wrong

    # those they talk to
    between_agent_restarts: float = 2 * 3600.0
    correspondents: int = 4
    optimizing: float = 0.05  # the share of routers with a correspondent node
    between_correspondent_restarts: float = 4 * 3600.0
    between_forgeries: float = 30.0

    # what is checked when
    between_quiets: float = 3600.0
    quiet: float = 180.0
    between_sweeps: float = 60.0
    final_quiet: float = LONGEST_LIFETIME + ROUTE_LIFETIME + 180.0

    @property
    def replay(self) -> str:
        """The command that plays it again."""
        return write_command("fleet.py", self)


def read_plan(arguments: Sequence[str] | None = None) -> Plan:
    """Return the plan that a command line asks for, by default this program's."""
    parser = ArgumentParser(description="Play one history and print what happened in it.")
    for name, kind in {"routers": int, "seconds": float, "seed": int}.items():
        parser.add_argument(f"--{name}", type=kind, required=True)
    add_options(parser, Plan)
    return Plan(**vars(parser.parse_args(arguments)))


def make_router_settings(plan: Plan, number: int) -> MobileRouterSettings:
    """Return what router ``number`` is told; the numbers decide, not chance."""
    optimizing = (number * 7919) % 1000 < plan.optimizing * 1000 and plan.correspondents > 0
    return MobileRouterSettings(
        home_address=HOME_NET[0x1000 + number],
        home_agent=HOME_AGENT,
        prefixes=(_prefix_of(number),),
        explicit=number % 3 == 0,
        security=_key_of(number),
        lifetime=LIFETIMES[number % len(LIFETIMES)],
        ifid_renewal=3000.0 if number % 4 == 0 else None,
        correspondents=(correspondent_address(number % plan.correspondents),) if optimizing else (),
        route_lifetime=ROUTE_LIFETIME,
    )


def list_flows(number: int) -> tuple[WantedFlow, ...]:
    """Return what router ``number`` wants of the home agent for its downlink (RFC 6089)."""
    if number % 10:
        return ()
    prefix = _prefix_of(number)
    own = (prefix.network_address, prefix.broadcast_address)
    return (
        WantedFlow(
            TrafficSelector(destination=own, destination_ports=(5060, 5061)), ("lte", "sat")
        ),
        WantedFlow(
            TrafficSelector(destination=own, next_header=(17, 17)), ("wifi", "lte"), copies=2
        ),
        WantedFlow(TrafficSelector(destination=own), ("sat",)),
    )


def make_agent_settings(plan: Plan) -> HomeAgentSettings:
    """Return what the home agent is told of them all."""
    return HomeAgentSettings(
        address=HOME_AGENT,
        home_prefixes=(HOME_NET,),
        served=tuple(
            ServedMobileRouter(HOME_NET[0x1000 + n], (_prefix_of(n),), (_key_of(n),))
            for n in range(plan.routers)
        ),
        max_lifetime=LONGEST_LIFETIME,
    )


def make_correspondent_settings(number: int) -> CorrespondentNodeSettings:
    """Return what correspondent node ``number`` is told."""
    return CorrespondentNodeSettings(correspondent_address(number))


def correspondent_address(number: int) -> IPv6Address:
    """Return the address of correspondent node ``number``."""
    return IPv6Address(CORRESPONDENT_NET + number + 1)


def _prefix_of(number: int) -> IPv6Network:
    return IPv6Network((MOBILE_NET + (number << 72), 56))


def _key_of(number: int) -> SecurityAssociation:
    algorithm = Algorithm.HMAC_SHA1 if number % 5 == 0 else Algorithm.HMAC_SHA256
    return SecurityAssociation(256, algorithm, number.to_bytes(4, "big") * 8)
