"""A TCP bulk transfer, in either direction over a connection that LFN opens."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mrouter.lab.meters import GapMeter

Emit = Callable[[str, dict[str, object]], None]
Stopped = Callable[[], bool]

_ORDER = struct.Struct("!Bdd")
"""What the connecting end asks for: 1 if the listener shall send, seconds, Mbit/s or 0."""
_CHUNK = 256 * 1024
_PROGRESS_INTERVAL = 0.5
_GAP_THRESHOLD = 0.05
_POLL = 0.1
_CONNECT_PATIENCE = 5.0
_DRAIN = 5.0
_SO_MAX_PACING_RATE = 47
_TCP_INFO_OCTETS = 192
_TOTAL_RETRANSMITS_AT = 100
_DATA_SEGMENTS_OUT_AT = 156


@dataclass(frozen=True, slots=True)
class BulkOrder:
    """How long to transfer (seconds), how fast at most (Mbit/s, 0 for no limit), which way."""

    duration: float
    rate: float = 0.0
    reverse: bool = False
    """The listening end sends."""


def serve_bulk(local: tuple[str, int], emit: Emit, stopped: Stopped) -> None:
    """Accept one connection at ``local`` and do what it orders; emit progress and summary."""
    with socket.create_server(local, family=socket.AF_INET6) as listener:
        emit("ready", {})
        while not _wait(listener, stopped):
            if stopped():
                return
        connection, _ = listener.accept()
    with connection:
        connection.settimeout(_CONNECT_PATIENCE)
        reverse, duration, rate = _ORDER.unpack(_receive_exactly(connection, _ORDER.size))
        if reverse:
            _send(connection, BulkOrder(duration, rate), emit, stopped)
        else:
            _receive(connection, duration, emit, stopped)


def connect_bulk(peer: tuple[str, int], order: BulkOrder, emit: Emit, stopped: Stopped) -> None:
    """Connect to a listening end and transfer as ``order`` says; emit progress and summary.

    Raise OSError if nobody answers.
    """
    with _connect(peer) as connection:
        connection.sendall(_ORDER.pack(order.reverse, order.duration, order.rate))
        emit("ready", {})
        if order.reverse:
            _receive(connection, order.duration, emit, stopped)
        else:
            _send(connection, order, emit, stopped)


def _connect(peer: tuple[str, int]) -> socket.socket:
    deadline = time.monotonic() + _CONNECT_PATIENCE
    while True:
        try:
            return socket.create_connection(peer, timeout=_CONNECT_PATIENCE)
        except ConnectionRefusedError:  # the other end may still be starting
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL)


def _receive_exactly(connection: socket.socket, octets: int) -> bytes:
    data = b""
    while len(data) < octets:
        chunk = connection.recv(octets - len(data))
        if not chunk:
            raise ConnectionError("the connecting end went before it said what it wants")
        data += chunk
    return data


def _send(connection: socket.socket, order: BulkOrder, emit: Emit, stopped: Stopped) -> None:
    """Send for the order's duration; the kernel paces, so no burst follows a stall."""
    if order.rate:
        octets_per_second = round(order.rate * 1e6 / 8)
        connection.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, octets_per_second)
    chunk = b"\x55" * _CHUNK
    total = 0
    now = time.monotonic()
    end_at = now + order.duration
    report_at = now + _PROGRESS_INTERVAL
    connection.setblocking(False)
    while now < end_at and not stopped():
        _, writable, _ = select.select([], [connection], [], _POLL)
        if writable:
            total += connection.send(chunk)
        now = time.monotonic()
        if now >= report_at:
            emit("progress", {"direction": "sender", "bytes": total, **_read_tcp_info(connection)})
            report_at += _PROGRESS_INTERVAL
    connection.shutdown(socket.SHUT_WR)
    drained_by = now + _DRAIN
    while not _wait(connection, stopped) and time.monotonic() < drained_by and not stopped():
        continue
    emit("summary", {"direction": "sender", "bytes": total, **_read_tcp_info(connection)})


def _receive(connection: socket.socket, duration: float, emit: Emit, stopped: Stopped) -> None:
    """Receive until the sender has finished, or is ``_DRAIN`` seconds late."""
    gaps = GapMeter(_GAP_THRESHOLD)
    buffer = bytearray(_CHUNK)
    total = 0
    now = time.monotonic()
    end_at = now + duration + _DRAIN
    report_at = now + _PROGRESS_INTERVAL
    finished = False
    connection.setblocking(False)
    while not finished and now < end_at and not stopped():
        readable, _, _ = select.select([connection], [], [], _POLL)
        now = time.monotonic()
        if readable:
            octets = connection.recv_into(buffer)
            finished = octets == 0
            total += octets
            if not finished:
                gaps.observe(now)
        if now >= report_at:
            emit("progress", {"direction": "receiver", "bytes": total})
            report_at += _PROGRESS_INTERVAL
    summary: dict[str, Any] = {"direction": "receiver", "bytes": total, "finished": finished}
    emit("summary", summary | gaps.report())


def _read_tcp_info(connection: socket.socket) -> dict[str, object]:
    """Read the segments sent and sent again, from the kernel's ``struct tcp_info``."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_OCTETS)
    (retransmitted,) = struct.unpack_from("=I", info, _TOTAL_RETRANSMITS_AT)
    (segments,) = struct.unpack_from("=I", info, _DATA_SEGMENTS_OUT_AT)
    return {"segments": segments, "retransmitted": retransmitted}


def _wait(waiting: socket.socket, stopped: Stopped) -> bool:
    """Say whether there is something to read, after a short wait at most."""
    readable, _, _ = select.select([waiting], [], [], 0.0 if stopped() else _POLL)
    return bool(readable)
