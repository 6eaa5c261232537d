"""The collect-metadata ``ip6tnl`` device: one for all tunnels."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from pyroute2.netlink import NLM_F_CREATE, NLM_F_EXCL
from pyroute2.netlink.rtnl import RTM_DELLINK, RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg

from mrouter.dataplane.fragments import TUNNEL_DEVICE
from mrouter.errors import DataplaneError

if TYPE_CHECKING:
    from mrouter.netlink import RouteSocket

#: IPv6's largest packet without the outer header: what really fits into a tunnel the device finds
#: out for each packet, from the outer route.
_MTU = 65535 - 40


def add_tunnel_device(route_socket: RouteSocket) -> None:
    """Create the device, or adopt the one that stands, and set it up.

    :raises DataplaneError: where the kernel has no ``ip6_tunnel``.
    """
    create = ifinfmsg()
    create["header"]["type"] = RTM_NEWLINK
    create["header"]["flags"] = NLM_F_CREATE | NLM_F_EXCL
    create["flags"] = create["change"] = IFF_UP
    create["attrs"] = [
        ("IFLA_IFNAME", TUNNEL_DEVICE),
        ("IFLA_MTU", _MTU),
        (
            "IFLA_LINKINFO",
            {
                "attrs": [
                    ("IFLA_INFO_KIND", "ip6tnl"),
                    (
                        "IFLA_INFO_DATA",
                        {
                            "attrs": [
                                ("IFLA_IP6TNL_PROTO", socket.IPPROTO_IPV6),
                                ("IFLA_IP6TNL_COLLECT_METADATA", True),
                            ]
                        },
                    ),
                ]
            },
        ),
    ]
    (failure,) = route_socket.transact([create])
    if failure is not None and failure.errno == errno.EEXIST and _stands():
        adopt = ifinfmsg()
        adopt["header"]["type"] = RTM_NEWLINK
        adopt["header"]["flags"] = 0
        adopt["index"] = socket.if_nametoindex(TUNNEL_DEVICE)
        adopt["flags"] = adopt["change"] = IFF_UP
        adopt["attrs"] = [("IFLA_MTU", _MTU)]
        (failure,) = route_socket.transact([adopt])
    if failure is not None:
        raise DataplaneError(
            f"create the ip6tnl device {TUNNEL_DEVICE}",
            str(failure),
            "load the module ip6_tunnel; only one collect-metadata ip6tnl device can be",
        )


def remove_tunnel_device(route_socket: RouteSocket) -> None:
    """Delete the device if it stands."""
    if not _stands():
        return
    delete = ifinfmsg()
    delete["header"]["type"] = RTM_DELLINK
    delete["header"]["flags"] = 0
    delete["index"] = socket.if_nametoindex(TUNNEL_DEVICE)
    route_socket.transact([delete])


def _stands() -> bool:
    return any(name == TUNNEL_DEVICE for _index, name in socket.if_nameindex())
