"""The interface that packets are routed to which wait for a link, and come back by.

It is a TUN device that ends with this process: what is routed there then meets the rule behind
its own, and is dropped.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

from pyroute2.netlink.rtnl import RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg

from mrouter.errors import DataplaneError
from mrouter.links.waiting_queue import WaitingQueue

if TYPE_CHECKING:
    from mrouter.netlink import RouteSocket

DEVICE = "mrouter-wait"

# linux/if_tun.h
_TUNSETIFF, _TUNGETIFF = 0x400454CA, 0x800454D2
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_REQUEST = struct.Struct("=16sH22x")
# linux/sockios.h
_SIOCGIFFLAGS = 0x8913
#: No packet is too big to wait: what fits into a tunnel is asked when it leaves.
_MTU = 65535
#: Packets that the kernel keeps until they are read.
_KERNEL_QUEUE = 1000
#: So many are read at once, that a flood does not keep the agent from its work.
_BATCH = 64


class WaitingRoom:
    """Takes packets out of the kernel, and gives them back."""

    def __init__(self, route_socket: RouteSocket) -> None:
        """Make the device.

        :raises DataplaneError: where the kernel has no TUN, or somebody has a device of the name.
        """
        self.queue = WaitingQueue()
        try:
            self._descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _fail(error) from error
        try:
            request = _REQUEST.pack(DEVICE.encode(), _IFF_TUN | _IFF_NO_PI)
            fcntl.ioctl(self._descriptor, _TUNSETIFF, request)
            self._set_up(route_socket)
        except OSError as error:
            self.close()
            raise _fail(error) from error

    def _set_up(self, route_socket: RouteSocket) -> None:
        message = ifinfmsg()
        message["header"]["type"] = RTM_NEWLINK
        message["header"]["flags"] = 0
        message["index"] = socket.if_nametoindex(DEVICE)
        message["flags"] = message["change"] = IFF_UP
        message["attrs"] = [("IFLA_MTU", _MTU), ("IFLA_TXQLEN", _KERNEL_QUEUE)]
        (failure,) = route_socket.transact([message])
        if failure is not None:
            raise failure

    def is_up(self) -> bool:
        """Tell whether the device is as it was made: nobody has removed it or set it down."""
        try:
            own = fcntl.ioctl(self._descriptor, _TUNGETIFF, bytes(_REQUEST.size))
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
                answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, own)
        except OSError:
            return False
        name, flags = _REQUEST.unpack(answer)
        return name.rstrip(b"\0") == DEVICE.encode() and bool(flags & IFF_UP)

    def fileno(self) -> int:
        """Return the descriptor that is readable while packets come to wait."""
        return self._descriptor

    def close(self) -> None:
        """Remove the device, and drop what waits."""
        os.close(self._descriptor)

    def receive(self, now: float) -> None:
        """Take in packets that have come to wait, some of them at a time.

        :raises OSError: if somebody has removed the device.
        """
        for _ in range(_BATCH):
            try:
                packet = os.read(self._descriptor, _MTU)
            except BlockingIOError:
                return
            # the kernel's own multicast, from when the device came up, is no flow's
            if packet[0] >> 4 != 6 or packet[24] != 0xFF:
                self.queue.add(packet, now)

    def release(self, now: float) -> int:
        """Have the kernel forward what waits, as if it had just come in; return how many."""
        count = 0
        for packet in self.queue.release(now):
            try:
                os.write(self._descriptor, packet)
            except OSError:  # somebody has removed the device, or set it down
                self.queue.dropped += 1
            else:
                count += 1
        return count


def _fail(error: OSError) -> DataplaneError:
    return DataplaneError(
        f"create the TUN device {DEVICE}",
        str(error),
        "load the module tun, and let the agent use /dev/net/tun; until then nothing waits",
    )
