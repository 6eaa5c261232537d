"""The mark of a home address: without it the kernel's ``mip6`` takes no type 2 routing header."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from pyroute2.netlink import NLM_F_REPLACE
from pyroute2.netlink.rtnl import RTM_GETADDR, RTM_NEWADDR
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from mrouter.errors import DataplaneError
from mrouter.netlink import RawMessage, make_attribute

if TYPE_CHECKING:
    from mrouter.netlink import RouteSocket

#: struct ifaddrmsg, and its attributes (linux/if_addr.h).
_IFADDRMSG = struct.Struct("=BBBBI")
_IFA_ADDRESS = 1
_IFA_CACHEINFO = 6
_IFA_FLAGS = 8
_CACHEINFO = struct.Struct("=IIII")
_FOREVER = 0xFFFFFFFF

_IFA_F_NODAD = 0x02
_IFA_F_HOMEADDRESS = 0x10
_IFA_F_MANAGETEMPADDR = 0x100
_IFA_F_NOPREFIXROUTE = 0x200
#: What a change of an address would take away if it were not said again.
_KEPT = _IFA_F_NODAD | _IFA_F_MANAGETEMPADDR | _IFA_F_NOPREFIXROUTE


def mark_home_address(route_socket: RouteSocket, address: IPv6Address) -> None:
    """Mark ``address`` as a home address wherever this node has it; lifetimes stay.

    :raises DataplaneError: if the kernel refuses.
    """
    request = ifaddrmsg()
    request["family"] = socket.AF_INET6
    for message in route_socket.dump(request, RTM_GETADDR):
        flags = message.get_attr("IFA_FLAGS") or message["flags"]
        text = message.get_attr("IFA_ADDRESS")
        if text is None or IPv6Address(text) != address or flags & _IFA_F_HOMEADDRESS:
            continue
        (failure,) = route_socket.transact([_make_change(message, flags & _KEPT)])
        if failure is not None:
            raise DataplaneError(f"mark {address} as a home address", str(failure))


def _make_change(message: Any, kept: int) -> RawMessage:
    times = message.get_attr("IFA_CACHEINFO") or {}
    lifetimes = (times.get(f"ifa_{kind}", _FOREVER) for kind in ("preferred", "valid"))
    body = (
        _IFADDRMSG.pack(
            socket.AF_INET6, message["prefixlen"], 0, message["scope"], message["index"]
        )
        + make_attribute(_IFA_ADDRESS, IPv6Address(message.get_attr("IFA_ADDRESS")).packed)
        + make_attribute(_IFA_FLAGS, struct.pack("=I", kept | _IFA_F_HOMEADDRESS))
        + make_attribute(_IFA_CACHEINFO, _CACHEINFO.pack(*lifetimes, 0, 0))
    )
    return RawMessage(RTM_NEWADDR, NLM_F_REPLACE, body)
