"""One end of a 1 kHz UDP stream: send, receive, and at SIGTERM print when packets arrived.

A program that runs in a namespace. Arrival times are the kernel's (``SO_TIMESTAMPNS``, seconds
of the real-time clock), so that a receiver that is not scheduled at once makes no gap.
"""

from __future__ import annotations

import argparse
import json
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence

INTERVAL = 0.001
"""Seconds between two packets."""
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("=qq")
_PAYLOAD = b"\x55" * 100
_MAX_DURATION = 300.0


def run_stream(local: tuple[str, int], peer: tuple[str, int], *, receive_only: bool) -> list[float]:
    """Send and receive until SIGTERM, five minutes at most; give the arrivals' times."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    arrivals: list[float] = []
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as stream:
        stream.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        stream.bind(local)
        stream.setblocking(False)
        selector = selectors.DefaultSelector()
        selector.register(stream, selectors.EVENT_READ)
        started_at = next_at = time.monotonic()
        while not stopping and next_at - started_at < _MAX_DURATION:
            if not receive_only:
                _send(stream, peer)
            next_at += INTERVAL
            while (left := next_at - time.monotonic()) > 0:
                if selector.select(left):
                    _receive(stream, arrivals)
    return arrivals


def _send(stream: socket.socket, peer: tuple[str, int]) -> None:
    try:
        stream.sendto(_PAYLOAD, peer)
    except OSError:
        return  # unreachable for a moment: that is what is measured


def _receive(stream: socket.socket, arrivals: list[float]) -> None:
    while True:
        try:
            _data, ancillary, _flags, _address = stream.recvmsg(256, 64)
        except BlockingIOError:
            return
        except OSError:
            continue  # an ICMPv6 error that came meanwhile
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(data)
                arrivals.append(seconds + nanoseconds / 1e9)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench.stream", description=__doc__)
    parser.add_argument("--local", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--receive-only", action="store_true")
    options = parser.parse_args(arguments)
    arrivals = run_stream(
        (options.local, options.port),
        (options.peer, options.port),
        receive_only=options.receive_only,
    )
    json.dump([round(at, 6) for at in arrivals], sys.stdout)


if __name__ == "__main__":
    main()
