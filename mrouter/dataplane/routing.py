"""Routes and rules to and from pyroute2's netlink messages."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from pyroute2.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE
from pyroute2.netlink.rtnl import RTM_DELROUTE, RTM_DELRULE, RTM_NEWROUTE, RTM_NEWRULE
from pyroute2.netlink.rtnl.fibmsg import fibmsg

from mrouter.dataplane import marks
from mrouter.dataplane.family import Family
from mrouter.dataplane.state import (
    Ip6Encapsulation,
    Route,
    RouteKind,
    Rule,
    Seg6Decapsulation,
    Seg6Encapsulation,
)
from mrouter.netlink import RawMessage, make_attribute

if TYPE_CHECKING:
    from collections.abc import Callable

_RTN = {RouteKind.UNICAST: 1, RouteKind.BLACKHOLE: 6, RouteKind.UNREACHABLE: 7}
_RTNH_F_ONLINK = 4
_RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RT_SCOPE_NOWHERE = 0, 253, 255
_MAIN_TABLE = 254
_FR_ACT_TO_TBL = 1
_FR_ACT_UNREACHABLE = 7
#: The metric that the kernel gives a route of ours, which has none of its own.
_PRIORITY = 1024

#: struct rtmsg, and its attributes (linux/rtnetlink.h).
_RTMSG = struct.Struct("=BBBBBBBBI")
_RTA_DST = 1
_RTA_OIF = 4
_RTA_GATEWAY = 5
_RTA_PRIORITY = 6
_RTA_METRICS = 8
_RTA_TABLE = 15
_RTA_ENCAP_TYPE = 21
_RTA_ENCAP = 22
_RTAX_MTU = 2

_RTAX_LOCK = 1
_RTAX_MTU = 2

_LWTUNNEL_IP6 = 4
_LWTUNNEL_SEG6 = 5
_LWTUNNEL_SEG6_LOCAL = 7
_SEG6_IPTUNNEL_SRH = 1
_SEG6_MODE_ENCAP_RED = 3
_SEG6_LOCAL_ACTION = 1
_SEG6_LOCAL_TABLE = 3
_SEG6_LOCAL_NH4 = 4
_SEG6_LOCAL_NH6 = 5
_ACTION_END_DX6 = 5
_ACTION_END_DX4 = 6
_ACTION_END_DT6 = 7
_IP6_DST = 2
_IP6_SRC = 3
_IP6_HOPLIMIT = 4
_ROUTING_TYPE_SRH = 4
_HOP_LIMIT = 64


def make_route(route: Route, find_index: Callable[[str], int], *, add: bool) -> RawMessage:
    """Return the message that adds (or replaces) ``route``, or deletes it.

    pyroute2 knows neither ``encap.red`` nor ``encap ip6``, and takes 150 us a route, too much for
    a home agent that takes thousands of registrations a second: so this one message is ours.

    ``find_index`` turns an interface name into its index, and raises ``OSError``.
    """
    flags = 0
    attributes = (
        make_attribute(_RTA_TABLE, struct.pack("=I", route.table))
        + make_attribute(_RTA_DST, route.destination.network_address.packed)
        + make_attribute(_RTA_PRIORITY, struct.pack("=I", _PRIORITY))
    )
    if add and route.device:
        attributes += make_attribute(_RTA_OIF, struct.pack("=I", find_index(route.device)))
    if add and route.via is not None:
        attributes += make_attribute(_RTA_GATEWAY, route.via.packed)
        # else the gateway would be looked for in the route's own table, where our default
        # route, which has a gateway itself, would answer: EINVAL
        flags = _RTNH_F_ONLINK
    if add and route.mtu is not None:
        # the kernel looks at a route's own MTU when it forwards only if it is locked
        metrics = make_attribute(_RTAX_LOCK, struct.pack("=I", 1 << _RTAX_MTU))
        metrics += make_attribute(_RTAX_MTU, struct.pack("=I", route.mtu))
        attributes += make_attribute(_RTA_METRICS, metrics)
    if add and route.tunnel is not None:
        kind, data = _encode_tunnel(route.tunnel)
        attributes += make_attribute(_RTA_ENCAP_TYPE, struct.pack("=H", kind))
        attributes += make_attribute(_RTA_ENCAP, data)
    if add and route.mtu is not None:
        mtu = make_attribute(_RTAX_MTU, struct.pack("=I", route.mtu))
        attributes += make_attribute(_RTA_METRICS, mtu)
    header = _RTMSG.pack(
        Family(route.destination.version).socket_family,
        route.destination.prefixlen,
        0,
        0,
        0,
        marks.PROTOCOL,
        _find_scope(route, add=add),
        _RTN[route.kind] if add else 0,
        flags,
    )
    if add:
        return RawMessage(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, header + attributes)
    return RawMessage(RTM_DELROUTE, 0, header + attributes)


def _find_scope(route: Route, *, add: bool) -> int:
    """Return the scope, of which IPv6 knows none; a route is deleted whatever its scope is."""
    if route.destination.version == 6:
        return _RT_SCOPE_UNIVERSE
    if not add:
        return _RT_SCOPE_NOWHERE
    return _RT_SCOPE_LINK if route.kind is RouteKind.UNICAST else _RT_SCOPE_UNIVERSE


def make_rule(rule: Rule, *, add: bool) -> Any:
    """Return the message that adds ``rule``, or deletes it."""
    message = fibmsg()
    message["family"] = rule.family.socket_family
    message["action"] = _FR_ACT_UNREACHABLE if rule.unreachable else _FR_ACT_TO_TBL
    message["header"]["type"] = RTM_NEWRULE if add else RTM_DELRULE
    message["header"]["flags"] = NLM_F_CREATE | NLM_F_EXCL if add else 0
    attributes: list[tuple[str, object]] = [
        ("FRA_PRIORITY", rule.table),
        ("FRA_PROTOCOL", marks.PROTOCOL),
    ]
    if rule.local:
        attributes += [("FRA_TABLE", _MAIN_TABLE), ("FRA_SUPPRESS_PREFIXLEN", 0)]
    elif not rule.unreachable:
        attributes.append(("FRA_TABLE", rule.table))
    if rule.mask:
        attributes += [("FRA_FWMARK", rule.mark), ("FRA_FWMASK", rule.mask)]
    if rule.source is not None:
        network = ip_network(rule.source)
        message["src_len"] = network.prefixlen
        attributes.append(("FRA_SRC", str(network.network_address)))
    if rule.input_interface:
        attributes.append(("FRA_IIFNAME", rule.input_interface))
    message["attrs"] = attributes
    return message


def read_route(message: Any) -> Route | None:
    """Return the identity (table and destination) of a dumped route if it is ours."""
    table = message.get_attr("RTA_TABLE") or message["table"]
    if message["proto"] != marks.PROTOCOL or table not in marks.TABLES:
        return None
    if message["family"] == socket.AF_INET:
        return Route(table, IPv4Network((message.get_attr("RTA_DST") or 0, message["dst_len"])))
    return Route(table, IPv6Network((message.get_attr("RTA_DST") or "::", message["dst_len"])))


def read_rule(message: Any) -> Rule | None:
    """Return a dumped rule if it is ours."""
    if message.get_attr("FRA_PROTOCOL") != marks.PROTOCOL:
        return None
    family = Family.IPV4 if message["family"] == socket.AF_INET else Family.IPV6
    return Rule(
        table=message.get_attr("FRA_PRIORITY") or 0,
        mark=message.get_attr("FRA_FWMARK") or 0,
        mask=message.get_attr("FRA_FWMASK") or 0,
        source=_read_source(message, family),
        input_interface=message.get_attr("FRA_IIFNAME") or "",
        unreachable=message["action"] == _FR_ACT_UNREACHABLE,
        local=message.get_attr("FRA_SUPPRESS_PREFIXLEN") == 0,
        family=family,
    )


def _read_source(message: Any, family: Family) -> IPv6Address | IPv4Network | None:
    source = message.get_attr("FRA_SRC")
    if not source:
        return None
    if family is Family.IPV4:
        return IPv4Network((source, message["src_len"]))
    return IPv6Address(source)


def _encode_tunnel(
    tunnel: Seg6Encapsulation | Ip6Encapsulation | Seg6Decapsulation,
) -> tuple[int, bytes]:
    if isinstance(tunnel, Seg6Encapsulation):
        # mode, then a segment routing header (RFC 8754 §2) that encap.red leaves out on the wire
        header = struct.pack("=I", _SEG6_MODE_ENCAP_RED)
        header += struct.pack("!BBBBBBH", 0, 2, _ROUTING_TYPE_SRH, 0, 0, 0, 0)
        return _LWTUNNEL_SEG6, make_attribute(_SEG6_IPTUNNEL_SRH, header + tunnel.segment.packed)
    if isinstance(tunnel, Ip6Encapsulation):
        return _LWTUNNEL_IP6, (
            make_attribute(_IP6_DST, tunnel.destination.packed)
            + make_attribute(_IP6_SRC, tunnel.source.packed)
            + make_attribute(_IP6_HOPLIMIT, bytes([_HOP_LIMIT]))
        )
    if tunnel.family is Family.IPV4:
        # by the ordinary rules; unlike End.DX6's, such a look-up delivers locally as well
        return _LWTUNNEL_SEG6_LOCAL, (
            make_attribute(_SEG6_LOCAL_ACTION, struct.pack("=I", _ACTION_END_DX4))
            + make_attribute(_SEG6_LOCAL_NH4, bytes(4))
        )
    if tunnel.table is None:
        return _LWTUNNEL_SEG6_LOCAL, (
            make_attribute(_SEG6_LOCAL_ACTION, struct.pack("=I", _ACTION_END_DX6))
            + make_attribute(_SEG6_LOCAL_NH6, IPv6Address("::").packed)
        )
    return _LWTUNNEL_SEG6_LOCAL, (
        make_attribute(_SEG6_LOCAL_ACTION, struct.pack("=I", _ACTION_END_DT6))
        + make_attribute(_SEG6_LOCAL_TABLE, struct.pack("=I", tunnel.table))
    )
