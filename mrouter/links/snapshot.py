"""What the kernel says of interfaces, addresses and routes, in one look."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any

from pyroute2.netlink.rtnl import RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mrouter.netlink import RouteSocket

_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000
_RT_SCOPE_UNIVERSE = 0
_RTN_UNICAST = 1
_RTNH_F_DEAD = 1
_MAIN_TABLE = 254

_IFA_F_TEMPORARY = 0x01
_IFA_F_OPTIMISTIC = 0x04
_IFA_F_DADFAILED = 0x08
_IFA_F_DEPRECATED = 0x20
_IFA_F_TENTATIVE = 0x40


class AddressState(Enum):
    """What may be done with an address (RFC 4862 §5.5.4, RFC 4429)."""

    PREFERRED = "preferred"
    DEPRECATED = "deprecated"
    TENTATIVE = "tentative"
    #: not for long, or somebody else's
    UNFIT = "unfit"


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface: administratively ``up``, with ``carrier``; ``mtu`` in octets."""

    index: int
    name: str
    up: bool
    carrier: bool
    mtu: int


@dataclass(frozen=True, slots=True)
class Address:
    """A global address."""

    index: int
    address: IPv6Address
    state: AddressState


@dataclass(frozen=True, slots=True)
class MainRoute:
    """A unicast route of the main table; on-link if ``gateway`` is None."""

    index: int
    destination: IPv6Network
    gateway: IPv6Address | None
    metric: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Interfaces by name, and all global addresses and main routes."""

    interfaces: dict[str, Interface]
    addresses: tuple[Address, ...]
    routes: tuple[MainRoute, ...]


def read_snapshot(route_socket: RouteSocket) -> Snapshot:
    """Ask the kernel; raises ``OSError`` if it does not answer."""
    interfaces = map(_read_interface, route_socket.dump(ifinfmsg(), RTM_GETLINK))
    addresses = ifaddrmsg()
    addresses["family"] = socket.AF_INET6
    routes = rtmsg()
    routes["family"] = socket.AF_INET6
    routes["table"] = _MAIN_TABLE
    return Snapshot(
        interfaces={interface.name: interface for interface in interfaces},
        addresses=tuple(_read_addresses(route_socket.dump(addresses, RTM_GETADDR))),
        routes=tuple(_read_routes(route_socket.dump(routes, RTM_GETROUTE))),
    )


def _read_interface(message: Any) -> Interface:
    return Interface(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        up=bool(message["flags"] & _IFF_UP),
        carrier=bool(message["flags"] & _IFF_LOWER_UP),
        mtu=message.get_attr("IFLA_MTU") or 1280,
    )


def _read_addresses(messages: Iterable[Any]) -> Iterator[Address]:
    for message in messages:
        text = message.get_attr("IFA_ADDRESS")
        if message["scope"] != _RT_SCOPE_UNIVERSE or text is None:
            continue
        flags = message.get_attr("IFA_FLAGS") or message["flags"]
        yield Address(message["index"], IPv6Address(text), _find_state(flags))


def _find_state(flags: int) -> AddressState:
    if flags & (_IFA_F_TEMPORARY | _IFA_F_DADFAILED):
        return AddressState.UNFIT
    # an optimistic address may be used before it has proved unique (RFC 4429 §3.3)
    if flags & _IFA_F_TENTATIVE and not flags & _IFA_F_OPTIMISTIC:
        return AddressState.TENTATIVE
    return AddressState.DEPRECATED if flags & _IFA_F_DEPRECATED else AddressState.PREFERRED


def _read_routes(messages: Iterable[Any]) -> Iterator[MainRoute]:
    for message in messages:
        table = message.get_attr("RTA_TABLE") or message["table"]
        if table != _MAIN_TABLE or message["type"] != _RTN_UNICAST:
            continue
        destination = IPv6Network((message.get_attr("RTA_DST") or "::", message["dst_len"]))
        metric = message.get_attr("RTA_PRIORITY") or 0
        hops = message.get_attr("RTA_MULTIPATH") or ()
        for index, flags, gateway in [
            (hop["oif"], hop["flags"], hop.get_attr("RTA_GATEWAY")) for hop in hops
        ] or [(message.get_attr("RTA_OIF"), message["flags"], message.get_attr("RTA_GATEWAY"))]:
            if index is not None and not flags & _RTNH_F_DEAD:
                via = IPv6Address(gateway) if gateway else None
                yield MainRoute(index, destination, via, metric)
