"""Packets that a rule of ours hands to a netfilter log group."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from mrouter.errors import DataplaneError
from mrouter.netlink import (
    HEADER,
    NETLINK_NETFILTER,
    make_attribute,
    read_attributes,
    split_messages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class PacketLog:
    """The packets of one log group, in one network namespace."""

    def __init__(self, group: int) -> None:
        """Open the socket.

        :raises DataplaneError: without the kernel's netfilter log, or if another agent has the
            group.
        """
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.bind((0, 0))
        try:
            self._configure(group, _CFG_CMD, bytes([_CMD_BIND]))
            self._configure(group, _CFG_MODE, struct.pack("!IBB", 0xFFFF, _COPY_PACKET, 0))
            self._configure(group, _CFG_QTHRESH, struct.pack("!I", 1))  # at once, one by one
        except DataplaneError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor to watch for packets."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket; the group is free again."""
        self._socket.close()

    def receive(self, limit: int) -> Iterator[tuple[bytes, int]]:
        """Yield up to ``limit`` waiting packets, whole from their IP header on, with their marks.

        A packet's mark is the firewall mark that it had when it met our rule.
        """
        for _ in range(limit):
            try:
                data = self._socket.recv(_RECEIVE_SIZE)
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

    def _configure(self, group: int, kind: int, value: bytes) -> None:
        body = _GENERIC.pack(socket.AF_UNSPEC, 0, group) + make_attribute(kind, value)
        header = HEADER.pack(HEADER.size + len(body), _MSG_CONFIG, _NLM_F_REQUEST_ACK, 0, 0)
        self._socket.send(header + body)
        code = next(
            -_CODE.unpack_from(message, HEADER.size)[0]
            # where the rule stands already, packets may come before the answer
            for data in iter(lambda: self._socket.recv(_RECEIVE_SIZE), b"")
            for answer, _sequence, message in split_messages(data)
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
