"""Routes and rules to and from pyroute2's netlink messages."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any

from pyroute2.netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE
from pyroute2.netlink.rtnl import RTM_DELROUTE, RTM_DELRULE, RTM_NEWROUTE, RTM_NEWRULE
from pyroute2.netlink.rtnl.fibmsg import fibmsg

from mrouter.dataplane import marks
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
_RTA_TABLE = 15
_RTA_ENCAP_TYPE = 21
_RTA_ENCAP = 22

_LWTUNNEL_IP6 = 4
_LWTUNNEL_SEG6 = 5
_LWTUNNEL_SEG6_LOCAL = 7
_SEG6_IPTUNNEL_SRH = 1
_SEG6_MODE_ENCAP_RED = 3
_SEG6_LOCAL_ACTION = 1
_SEG6_LOCAL_TABLE = 3
_SEG6_LOCAL_NH6 = 5
_ACTION_END_DX6 = 5
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
    if add and route.tunnel is not None:
        kind, data = _encode_tunnel(route.tunnel)
        attributes += make_attribute(_RTA_ENCAP_TYPE, struct.pack("=H", kind))
        attributes += make_attribute(_RTA_ENCAP, data)
    header = _RTMSG.pack(
        socket.AF_INET6,
        route.destination.prefixlen,
        0,
        0,
        0,
        marks.PROTOCOL,
        0,
        _RTN[route.kind] if add else 0,
        flags,
    )
    if add:
        return RawMessage(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, header + attributes)
    return RawMessage(RTM_DELROUTE, 0, header + attributes)


def make_rule(rule: Rule, *, add: bool) -> Any:
    """Return the message that adds ``rule``, or deletes it."""
    message = fibmsg()
    message["family"] = socket.AF_INET6
    message["action"] = _FR_ACT_UNREACHABLE if rule.unreachable else _FR_ACT_TO_TBL
    message["header"]["type"] = RTM_NEWRULE if add else RTM_DELRULE
    message["header"]["flags"] = NLM_F_CREATE | NLM_F_EXCL if add else 0
    attributes: list[tuple[str, object]] = [
        ("FRA_PRIORITY", rule.table),
        ("FRA_PROTOCOL", marks.PROTOCOL),
    ]
    if not rule.unreachable:
        attributes.append(("FRA_TABLE", rule.table))
    if rule.mask:
        attributes += [("FRA_FWMARK", rule.mark), ("FRA_FWMASK", rule.mask)]
    if rule.source is not None:
        message["src_len"] = 128
        attributes.append(("FRA_SRC", str(rule.source)))
    if rule.input_interface:
        attributes.append(("FRA_IIFNAME", rule.input_interface))
    message["attrs"] = attributes
    return message


def read_route(message: Any) -> Route | None:
    """Return the identity (table and destination) of a dumped route if it is ours."""
    table = message.get_attr("RTA_TABLE") or message["table"]
    if message["proto"] != marks.PROTOCOL or table not in marks.TABLES:
        return None
    destination = message.get_attr("RTA_DST") or "::"
    return Route(table, IPv6Network((destination, message["dst_len"])))


def read_rule(message: Any) -> Rule | None:
    """Return a dumped rule if it is ours."""
    if message.get_attr("FRA_PROTOCOL") != marks.PROTOCOL:
        return None
    source = message.get_attr("FRA_SRC")
    return Rule(
        table=message.get_attr("FRA_PRIORITY") or 0,
        mark=message.get_attr("FRA_FWMARK") or 0,
        mask=message.get_attr("FRA_FWMASK") or 0,
        source=IPv6Address(source) if source else None,
        input_interface=message.get_attr("FRA_IIFNAME") or "",
        unreachable=message["action"] == _FR_ACT_UNREACHABLE,
    )


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
    if tunnel.table is None:
        return _LWTUNNEL_SEG6_LOCAL, (
            make_attribute(_SEG6_LOCAL_ACTION, struct.pack("=I", _ACTION_END_DX6))
            + make_attribute(_SEG6_LOCAL_NH6, IPv6Address("::").packed)
        )
    return _LWTUNNEL_SEG6_LOCAL, (
        make_attribute(_SEG6_LOCAL_ACTION, struct.pack("=I", _ACTION_END_DT6))
        + make_attribute(_SEG6_LOCAL_TABLE, struct.pack("=I", tunnel.table))
    )
