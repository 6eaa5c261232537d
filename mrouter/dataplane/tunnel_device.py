"""The collect-metadata ``ip6tnl`` device: one for all tunnels."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from pyroute2.netlink import NLM_F_CREATE, NLM_F_EXCL
from pyroute2.netlink.rtnl import RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg

from mrouter.dataplane.family import Family
from mrouter.dataplane.fragments import TUNNEL_DEVICE
from mrouter.errors import DataplaneError

if TYPE_CHECKING:
    from collections.abc import Collection

    from mrouter.netlink import RouteSocket

#: IPv6's largest packet without the outer header: what really fits into a tunnel the device finds
#: out for each packet, from the outer route.
_MTU = 65535 - 40


#: The device's protocol by which it takes inner packets of both families.
_ANY_PROTOCOL = 0


def add_tunnel_device(route_socket: RouteSocket, families: Collection[Family]) -> None:
    """Create the device for inner packets of ``families``, or adopt the one that stands.

    A device that stands for others is replaced: what it takes can't be changed.

    :raises DataplaneError: where the kernel has no ``ip6_tunnel``.
    """
    wanted = _ANY_PROTOCOL if Family.IPV4 in families else socket.IPPROTO_IPV6
    if tunnel_device_stands() and _read_protocol(route_socket) != wanted:
        remove_tunnel_device(route_socket)
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
                                ("IFLA_IP6TNL_PROTO", wanted),
                                ("IFLA_IP6TNL_COLLECT_METADATA", True),
                            ]
                        },
                    ),
                ]
            },
        ),
    ]
    (failure,) = route_socket.transact([create])
    if failure is not None and failure.errno == errno.EEXIST and tunnel_device_stands():
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
    if not tunnel_device_stands():
        return
    delete = ifinfmsg()
    delete["header"]["type"] = RTM_DELLINK
    delete["header"]["flags"] = 0
    delete["index"] = socket.if_nametoindex(TUNNEL_DEVICE)
    route_socket.transact([delete])


def _read_protocol(route_socket: RouteSocket) -> int | None:
    """Return what protocol the standing device takes; None if it is another kind of device."""
    index = socket.if_nametoindex(TUNNEL_DEVICE)
    for message in route_socket.dump(ifinfmsg(), RTM_GETLINK):
        if message["index"] == index:
            information = _find(message, "IFLA_LINKINFO")
            protocol = _find(_find(information, "IFLA_INFO_DATA"), "IFLA_IP6TNL_PROTO")
            return None if protocol is None else int(protocol)
    return None


def _find(message: Any, name: str) -> Any:
    return None if message is None else message.get_attr(name)


def tunnel_device_stands() -> bool:
    """Tell whether there is a device of that name."""
    return any(name == TUNNEL_DEVICE for _index, name in socket.if_nameindex())
