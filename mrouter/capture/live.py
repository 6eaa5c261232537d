"""Signalling as it passes by, in and out, on every interface of this network namespace."""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from mrouter.capture.find import EXTENSION_HEADERS, MAX_HEADERS
from mrouter.capture.frame import CaptureError, Frame
from mrouter.packet_filter import attach_filter
from mrouter.wire.checksum import MOBILITY_HEADER
from mrouter.wire.home_discovery import ICMPV6

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

_ETH_P_ALL = 0x0003
_ETH_P_IPV6 = 0x86DD
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@ll")
_PACKET_OUTGOING = 4
_ARPHRD_LOOPBACK = 772
_BUFFER = 4 << 20
_RECEIVE_SIZE = 65535

Instruction = tuple[int, int, int, int]


class LiveCapture:
    """A packet socket that sees the signalling of this namespace; needs CAP_NET_RAW.

    Its first frames may be of anything.
    """

    def __init__(self, interfaces: Sequence[str] = ()) -> None:
        """Open the socket; no ``interfaces`` means all.

        :raises CaptureError: without CAP_NET_RAW, or for an interface that there is not.
        """
        for name in interfaces:
            try:
                socket.if_nametoindex(name)
            except OSError:
                raise CaptureError(f"there is no interface {name!r} in this namespace") from None
        self._interfaces = frozenset(interfaces)
        try:
            # Outgoing packets reach only sockets for all protocols.
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ALL)
            )
        except PermissionError:
            raise CaptureError("capturing needs root, or CAP_NET_RAW") from None
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        # What came before the filter is left in the queue: there may be signalling in it.
        attach_filter(self._socket, build_filter())

    def __enter__(self) -> LiveCapture:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def frames(self, seconds: float | None = None) -> Iterator[Frame]:
        """Yield packets as they come, for ``seconds``, or without end."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return
            if select.select([self._socket], [], [], left)[0]:
                frame = self._receive()
                if frame is not None:
                    yield frame

    def _receive(self) -> Frame | None:
        try:
            data, ancillary, _, address = self._socket.recvmsg(
                _RECEIVE_SIZE, socket.CMSG_SPACE(_TIMESPEC.size)
            )
        except OSError:
            return None  # an interface went down, or another reader was faster
        link, _, packet_type, hardware = address[:4]
        outgoing = packet_type == _PACKET_OUTGOING
        if self._interfaces and link not in self._interfaces:
            return None
        if outgoing and hardware == _ARPHRD_LOOPBACK:
            return None  # it comes in again
        return Frame(_read_time(ancillary), link, data, "out" if outgoing else "in")


def _read_time(ancillary: list[tuple[int, int, bytes]]) -> float:
    for _, kind, value in ancillary:
        if kind == _SO_TIMESTAMPNS and len(value) == _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack(value)
            return float(seconds + nanoseconds / 1e9)
    return time.time()


# --- the kernel's filter --------------------------------------------------------------------

_LOAD_HALF, _LOAD_BYTE, _LOAD_BYTE_X, _LOAD_MEMORY = 0x28, 0x30, 0x50, 0x60
_LOAD_X, _LOAD_X_MEMORY, _STORE, _TO_X, _FROM_X = 0x01, 0x61, 0x02, 0x07, 0x87
_ADD, _ADD_X, _SHIFT_LEFT, _AND, _JUMP, _EQUAL, _GIVE = 0x04, 0x0C, 0x64, 0x54, 0x05, 0x15, 0x06
_PROTOCOL = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL
_STEP = 20
#: ICMPv6 types 144 to 147 differ in their two lowest bits alone.
_DISCOVERY, _DISCOVERY_MASK = 144, 0xFC


def build_filter() -> list[Instruction]:
    """Return a classic BPF program: IPv6 with signalling, also in IPv6-in-IPv6 tunnels.

    It goes along the headers as ``find_signalling`` does: X is where a header lies, A its type.
    """
    first = 4
    drop = first + MAX_HEADERS * _STEP
    program = [
        (_LOAD_HALF, 0, 0, _PROTOCOL),
        (_EQUAL, 0, drop - 2, _ETH_P_IPV6),
        (_LOAD_BYTE, 0, 0, 6),
        (_LOAD_X, 0, 0, 40),
    ]
    for step in range(MAX_HEADERS):
        at = first + step * _STEP
        program += _build_step(drop - at)
    return [
        *program,
        (_GIVE, 0, 0, 0),
        (_LOAD_BYTE_X, 0, 0, 0),
        (_AND, 0, 0, _DISCOVERY_MASK),
        (_EQUAL, 0, 1, _DISCOVERY),
        (_GIVE, 0, 0, 0xFFFFFFFF),
        (_GIVE, 0, 0, 0),
    ]


def _build_step(to_drop: int) -> list[Instruction]:
    """Return the instructions for one header; ``to_drop`` lies so far from the first of them."""
    extension, tunnel, following = 6, 14, _STEP
    to_discovery, to_accept = to_drop + 1, to_drop + 4
    hop_by_hop, routing, destination = EXTENSION_HEADERS
    return [
        (_EQUAL, to_accept - 1, 0, MOBILITY_HEADER),
        (_EQUAL, to_discovery - 2, 0, ICMPV6),
        (_EQUAL, tunnel - 3, 0, 41),
        (_EQUAL, extension - 4, 0, hop_by_hop),
        (_EQUAL, extension - 5, 0, routing),
        (_EQUAL, extension - 6, to_drop - 6, destination),
        # an extension header: X += 8 + 8 * its length, A = its next header
        (_LOAD_BYTE_X, 0, 0, 1),
        (_ADD, 0, 0, 1),
        (_SHIFT_LEFT, 0, 0, 3),
        (_ADD_X, 0, 0, 0),
        (_STORE, 0, 0, 0),
        (_LOAD_BYTE_X, 0, 0, 0),
        (_LOAD_X_MEMORY, 0, 0, 0),
        (_JUMP, 0, 0, following - 14),
        # a tunnel: A = the inner next header, X += 40
        (_LOAD_BYTE_X, 0, 0, 6),
        (_STORE, 0, 0, 0),
        (_FROM_X, 0, 0, 0),
        (_ADD, 0, 0, 40),
        (_TO_X, 0, 0, 0),
        (_LOAD_MEMORY, 0, 0, 0),
    ]
