"""What interfaces have carried, as the kernel counts it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyroute2.netlink.rtnl import RTM_GETLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from mrouter.netlink import HEADER, read_attributes

if TYPE_CHECKING:
    from mrouter.netlink import RouteSocket

#: struct ifinfomsg: the index is what is asked for.
_LINK_HEADER = struct.Struct("=BxHiII")
_IFLA_IFNAME = 3
_IFLA_STATS64 = 23
#: The beginning of struct rtnl_link_stats64: packets in and out, then bytes in and out.
_STATS = struct.Struct("=QQQQ")


@dataclass(frozen=True, slots=True)
class InterfaceCounter:
    """The bytes that interface ``index`` has received and sent since it appeared."""

    index: int
    octets: int


def read_counters(route_socket: RouteSocket) -> dict[str, InterfaceCounter]:
    """Return the counters of all interfaces by name; raises ``OSError`` if the kernel refuses."""
    found = {}
    # by hand: pyroute2 decodes hundreds of settings of each interface, of which none is wanted
    for message in route_socket.dump_raw(ifinfmsg(), RTM_GETLINK):
        _, _, index, _, _ = _LINK_HEADER.unpack_from(message, HEADER.size)
        attributes = read_attributes(message[HEADER.size + _LINK_HEADER.size :])
        name = attributes[_IFLA_IFNAME].rstrip(b"\0").decode(errors="surrogateescape")
        _, _, received, sent = _STATS.unpack_from(attributes[_IFLA_STATS64])
        found[name] = InterfaceCounter(index, received + sent)
    return found
