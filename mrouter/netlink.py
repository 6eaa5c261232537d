"""A route netlink socket: pyroute2's messages, many in one transaction, answers in order.

Synchronous on purpose: the data plane's changes are short, and must be done when ``apply``
returns. pyroute2's own synchronous front end starts an event loop per call, which can't be used
inside the agent's.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from pyroute2.netlink import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: struct nlmsghdr, struct nlattr.
HEADER = struct.Struct("=LHHLL")
ATTRIBUTE = struct.Struct("=HH")
_RECEIVE_SIZE = 1 << 20
#: So many messages go out before their answers are read: both fit the socket's buffers.
_BATCH = 256
_SOL_NETLINK = 270
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_NLM_F_ACK_TLVS = 0x200
_NLM_F_CAPPED = 0x100
_NLMSGERR_ATTR_MSG = 1

#: The kernel's netfilter, as a protocol of netlink sockets (linux/netlink.h).
NETLINK_NETFILTER = 12


class NetlinkFailure(OSError):  # noqa: N818 - an answer, returned rather than raised
    """The kernel refused one message; carries its words where it had any."""

    def __init__(self, code: int, message: str) -> None:
        """Keep the errno and the kernel's extended message."""
        super().__init__(code, message or os.strerror(code))


class RawMessage:
    """A message whose body is encoded already; to ``RouteSocket`` it looks like pyroute2's."""

    def __init__(self, kind: int, flags: int, body: bytes) -> None:
        """Keep type, flags and body."""
        self._header = {"type": kind, "flags": flags, "sequence_number": 0}
        self._body = body
        self.data = b""

    def __getitem__(self, key: str) -> dict[str, int]:
        """Return the header, by the name that pyroute2 gives it."""
        if key != "header":
            raise KeyError(key)
        return self._header

    def encode(self) -> None:
        """Put header and body together in ``data``."""
        header = self._header
        self.data = (
            HEADER.pack(
                HEADER.size + len(self._body),
                header["type"],
                header["flags"],
                header["sequence_number"],
                0,
            )
            + self._body
        )


class RouteSocket:
    """A socket to the kernel's routing, or to another ``protocol``; one request at a time."""

    def __init__(self, protocol: int = socket.NETLINK_ROUTE) -> None:
        """Open and bind the socket; raises ``OSError`` where the kernel lacks ``protocol``."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        # let the kernel leave out of a dump what the request does not ask for
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def transact(self, messages: Iterable[Any]) -> list[NetlinkFailure | None]:
        """Send ``messages`` (type and flags set), return each one's failure or None, in order."""
        answers: list[NetlinkFailure | None] = []
        batch: list[Any] = []
        for message in messages:
            batch.append(message)
            if len(batch) == _BATCH:
                answers += self._transact_batch(batch)
                batch = []
        if batch:
            answers += self._transact_batch(batch)
        return answers

    def dump(self, message: Any, kind: int) -> list[Any]:
        """Ask for a dump with ``message`` of type ``kind``; return the decoded messages.

        Table and protocol of a route message choose what is dumped.
        """
        found = []
        for body in self.dump_raw(message, kind):
            answer = type(message)(body)
            answer.decode()
            found.append(answer)
        return found

    def dump_raw(self, message: Any, kind: int) -> list[bytes]:
        """Ask for a dump with ``message`` of type ``kind``; return the messages, header and all."""
        self._encode(message, kind, NLM_F_REQUEST | NLM_F_DUMP)
        self._socket.send(message.data)
        found: list[bytes] = []
        while True:
            data = self._socket.recv(_RECEIVE_SIZE)
            for kind_, sequence, body in split_messages(data):
                if sequence != self._sequence:
                    continue
                if kind_ == NLMSG_DONE:
                    return found
                if kind_ == NLMSG_ERROR:
                    failure = _read_failure(body)
                    if failure is not None:
                        raise failure
                    return found
                found.append(body)

    def _transact_batch(self, batch: list[Any]) -> list[NetlinkFailure | None]:
        first = self._sequence + 1
        data = bytearray()
        for message in batch:
            header = message["header"]
            self._encode(message, header["type"], header["flags"] | NLM_F_REQUEST | NLM_F_ACK)
            data += message.data
        self._socket.send(data)
        answers: dict[int, NetlinkFailure | None] = {}
        while len(answers) < len(batch):
            for kind, sequence, body in split_messages(self._socket.recv(_RECEIVE_SIZE)):
                if kind == NLMSG_ERROR and sequence >= first:
                    answers[sequence] = _read_failure(body)
        return [answers[first + index] for index in range(len(batch))]

    def _encode(self, message: Any, kind: int, flags: int) -> None:
        self._sequence += 1
        message["header"]["type"] = kind
        message["header"]["flags"] = flags
        message["header"]["sequence_number"] = self._sequence
        message.encode()


def read_attributes(data: bytes) -> dict[int, bytes]:
    """Return netlink attributes by type; of a type that stands twice, the last."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size:
            break
        found[kind] = data[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def make_attribute(kind: int, value: bytes) -> bytes:
    """Return one netlink attribute, padded."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def split_messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, sequence number, whole message) of the netlink messages in ``data``."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, _flags, sequence, _port = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        yield kind, sequence, data[offset : offset + length]
        offset += (length + 3) & ~3


def _read_failure(body: bytes) -> NetlinkFailure | None:
    code = -struct.unpack_from("=i", body, HEADER.size)[0]
    if code == 0:
        return None
    return NetlinkFailure(code, _read_extended_message(body))


def _read_extended_message(body: bytes) -> str:
    flags = HEADER.unpack_from(body)[2]
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    request = HEADER.size + 4
    length = HEADER.size if flags & _NLM_F_CAPPED else struct.unpack_from("=L", body, request)[0]
    attributes = read_attributes(body[request + ((length + 3) & ~3) :])
    return attributes.get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
