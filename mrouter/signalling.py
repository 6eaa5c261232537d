"""Mobility Header packets in and out, on every kernel.

Out: whole IPv6 packets through a raw socket, bound to the egress interface. In: by the netfilter
log, from our own rule in the ``input`` hook. A raw socket would not do: a kernel without ``mip6``
hands it no packet with the Home Address option or the type 2 routing header. A packet socket
would, but it is shown every packet that is forwarded, which costs a twentieth of the packet rate,
and it does not see what comes out of a tunnel.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from mrouter.errors import DataplaneError
from mrouter.netlink import HEADER, make_attribute, read_attributes, split_messages

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETLINK_NETFILTER = 12
_RECEIVE_SIZE = 1 << 17
_RECEIVE_BUFFER = 4 << 20

#: struct nfgenmsg: the group is in network byte order.
_GENERIC = struct.Struct("!BBH")
_CODE = struct.Struct("=i")
_NLMSG_ERROR = 2
_NLM_F_REQUEST_ACK = 0x5

#: linux/netfilter/nfnetlink_log.h
_ULOG_SUBSYSTEM = 4 << 8
_MSG_PACKET = _ULOG_SUBSYSTEM | 0
_MSG_CONFIG = _ULOG_SUBSYSTEM | 1
_CFG_CMD = 1
_CFG_MODE = 2
_CFG_QTHRESH = 5
_CMD_BIND = 1
_COPY_PACKET = 2
_MARK = 2
_PAYLOAD = 9
_NUMBER = struct.Struct("!I")


class SignallingSocket:
    """The signalling sockets of one network namespace."""

    def __init__(self, group: int) -> None:
        """Open the sockets; ``group`` is the netfilter log group of our rule.

        :raises DataplaneError: without the kernel's netfilter log, or if another agent has the
            group.
        """
        self._receiver = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER
        )
        self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._receiver.bind((0, 0))
        self._configure(group, _CFG_CMD, bytes([_CMD_BIND]))
        self._configure(group, _CFG_MODE, struct.pack("!IBB", 0xFFFF, _COPY_PACKET, 0))
        self._configure(group, _CFG_QTHRESH, struct.pack("!I", 1))  # at once, one by one
        self._senders: dict[str | None, socket.socket] = {}

    def fileno(self) -> int:
        """Return the descriptor to watch for received packets."""
        return self._receiver.fileno()

    def close(self) -> None:
        """Close all sockets."""
        self._receiver.close()
        for sender in self._senders.values():
            sender.close()

    def receive(self, limit: int) -> Iterator[tuple[bytes, int]]:
        """Yield up to ``limit`` waiting packets, whole from their IPv6 header on, with their marks.

        A packet's mark is the firewall mark that it had when it met our rule.
        """
        for _ in range(limit):
            try:
                data = self._receiver.recv(_RECEIVE_SIZE)
            except BlockingIOError:
                return
            except OSError:
                continue  # ENOBUFS: some were lost, and will be sent again
            for kind, _sequence, message in split_messages(data):
                if kind == _MSG_PACKET:
                    attributes = read_attributes(message[HEADER.size + _GENERIC.size :])
                    mark = attributes.get(_MARK)  # left out if it is 0
                    number = 0 if mark is None else _NUMBER.unpack(mark)[0]
                    yield attributes[_PAYLOAD], number

    def send(self, packet: bytes, interface: str | None) -> None:
        """Send a whole IPv6 packet by ``interface``, or by the ordinary routes.

        :raises OSError: where the kernel does not take it.
        """
        destination = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        sender = self._senders.get(interface)
        if sender is None:
            sender = self._senders[interface] = _open_sender(interface)
        try:
            sender.sendto(packet, (destination, 0))
        except OSError:
            # the interface may have gone and come again under its name
            self._senders.pop(interface).close()
            raise

    def _configure(self, group: int, kind: int, value: bytes) -> None:
        body = _GENERIC.pack(socket.AF_UNSPEC, 0, group) + make_attribute(kind, value)
        header = HEADER.pack(HEADER.size + len(body), _MSG_CONFIG, _NLM_F_REQUEST_ACK, 0, 0)
        self._receiver.send(header + body)
        code = next(
            -_CODE.unpack_from(message, HEADER.size)[0]
            for answer, _sequence, message in split_messages(self._receiver.recv(_RECEIVE_SIZE))
            if answer == _NLMSG_ERROR
        )
        if code:
            raise DataplaneError(
                f"listen to netfilter log group {group}", *_explain(OSError(code, ""))
            )


def _explain(error: OSError) -> tuple[str, str]:
    name = errno.errorcode.get(error.errno or 0, str(error.errno))
    if error.errno == errno.EPERM:
        # a group belongs to the first who asks, who need not be told apart from a lack of privilege
        return name, (
            "another agent runs in this network namespace: stop it first; "
            "or this one has CAP_NET_ADMIN in another user namespace only"
        )
    return name, "load the modules nfnetlink_log and nft_log"


def _open_sender(interface: str | None) -> socket.socket:
    sender = socket.socket(
        socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW
    )
    if interface is not None:
        try:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        except OSError:
            sender.close()
            raise
    return sender
