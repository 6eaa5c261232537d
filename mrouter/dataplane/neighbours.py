"""Proxy neighbour entries to and from netlink messages."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from pyroute2.netlink import NLM_F_CREATE, NLM_F_REPLACE
from pyroute2.netlink.rtnl import RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH
from pyroute2.netlink.rtnl.ndmsg import ndmsg

from mrouter.dataplane import marks
from mrouter.dataplane.state import ProxyNeighbour
from mrouter.netlink import RawMessage

if TYPE_CHECKING:
    from collections.abc import Callable

#: struct ndmsg, and its attributes (linux/neighbour.h).
_NDMSG = struct.Struct("=BxxxiHBB")
_NTF_PROXY, _NTF_ROUTER = 0x08, 0x80
_NUD_PERMANENT = 0x80
_NDA_DST = 1
_NDA_PROTOCOL = 12


def make_proxy(proxy: ProxyNeighbour, find_index: Callable[[str], int], *, add: bool) -> RawMessage:
    """Return the message that adds ``proxy``, or deletes it.

    The protocol number tells it from others'. ``find_index`` turns an interface name into its
    index, and raises ``OSError``.
    """
    flags = _NTF_PROXY | (_NTF_ROUTER if proxy.router else 0)
    body = (
        _NDMSG.pack(socket.AF_INET6, find_index(proxy.device), _NUD_PERMANENT, flags, 0)
        + struct.pack("=HH", 20, _NDA_DST)
        + proxy.address.packed
    )
    if not add:
        return RawMessage(RTM_DELNEIGH, 0, body)
    body += struct.pack("=HHBxxx", 5, _NDA_PROTOCOL, marks.PROTOCOL)
    return RawMessage(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)


def make_proxy_dump() -> tuple[Any, int]:
    """Return the message, and its type, that asks for all proxy entries."""
    message = ndmsg()
    message["family"] = socket.AF_INET6
    message["flags"] = _NTF_PROXY
    return message, RTM_GETNEIGH


def read_proxy(message: Any, find_name: Callable[[int], str]) -> ProxyNeighbour | None:
    """Return a dumped entry if it is ours.

    ``find_name`` turns an interface index into its name, and raises ``OSError``.
    """
    destination = message.get_attr("NDA_DST")
    if message.get_attr("NDA_PROTOCOL") != marks.PROTOCOL or destination is None:
        return None
    try:
        device = find_name(message["ifindex"])
    except OSError:
        return None  # the interface has just gone, and its entries with it
    router = bool(message["flags"] & _NTF_ROUTER)
    return ProxyNeighbour(IPv6Address(destination), device, router)
