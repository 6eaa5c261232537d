"""One end of the watched streams: send, receive, and at SIGTERM print what arrived when.

A program that runs in a namespace. Every millisecond it sends a numbered UDP packet by each of its
ports and writes to its TCP connection. A packet's arrival is the receiving kernel's
(``SO_TIMESTAMPNS``, seconds of the real-time clock), so that a receiver that is not scheduled at
once makes no gap; TCP's is when the program reads it.
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
from typing import TypedDict

INTERVAL = 0.001
"""Seconds between two packets, and between two writes."""
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("=qq")
_HEAD = struct.Struct("=Qd")
"""A packet's number, and when it was sent."""
_PADDING = b"\x55" * (100 - _HEAD.size)
_WRITTEN = b"\xaa" * 1000
"""What a write adds to the TCP connection: 8 Mbit/s, which leaves the CPU to the others."""
_CONNECT_TIMEOUT = 10.0
_MAX_DURATION = 300.0


class Recording(TypedDict):
    """What an end received: (number, sent, arrived) by UDP port, and when TCP brought data."""

    packets: dict[str, list[tuple[int, float, float]]]
    reads: list[float]


class UdpPort:
    """A UDP socket that sends to the same port of ``peer``, and keeps what it receives."""

    def __init__(self, local: str, peer: str, port: int) -> None:
        self.packets: list[tuple[int, float, float]] = []
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((local, port))
        self.socket.setblocking(False)
        self._peer = (peer, port)
        self._number = 0

    def send(self) -> None:
        """Send the next packet; one that the kernel does not take is lost like any other."""
        data = _HEAD.pack(self._number, time.time()) + _PADDING
        self._number += 1
        try:
            self.socket.sendto(data, self._peer)
        except OSError:
            return  # unreachable for a moment: that is what is measured

    def receive(self) -> None:
        """Keep all that waits."""
        while True:
            try:
                data, ancillary, _flags, _address = self.socket.recvmsg(256, 64)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMPv6 error that came meanwhile
            number, sent_at = _HEAD.unpack_from(data)
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                    seconds, nanoseconds = _TIMESPEC.unpack(value)
                    arrived_at = seconds + nanoseconds / 1e9
                    self.packets.append((number, round(sent_at, 6), round(arrived_at, 6)))


class TcpConnection:
    """A TCP connection that is written to at a steady rate as far as its window lets it."""

    def __init__(self, connection: socket.socket) -> None:
        self.reads: list[float] = []
        self.socket = connection
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def send(self) -> None:
        """Write a little, unless the connection's buffer is full."""
        try:
            self.socket.send(_WRITTEN)
        except OSError:
            return  # full, or the far end has ended

    def receive(self) -> None:
        """Keep when data came."""
        try:
            if self.socket.recv(1 << 16):
                self.reads.append(round(time.time(), 6))
        except OSError:
            return


def run_streams(
    senders: Sequence[UdpPort | TcpConnection], receivers: Sequence[UdpPort | TcpConnection]
) -> None:
    """Send and receive until SIGTERM, five minutes at most."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    selector = selectors.DefaultSelector()
    for receiver in receivers:
        selector.register(receiver.socket, selectors.EVENT_READ, receiver)
    started_at = next_at = time.monotonic()
    while not stopping and next_at - started_at < _MAX_DURATION:
        for sender in senders:
            sender.send()
        next_at += INTERVAL
        while (left := next_at - time.monotonic()) > 0:
            for key, _events in selector.select(left):
                key.data.receive()


def open_tcp(local: str, peer: str, port: int, *, listen: bool) -> TcpConnection:
    """Wait for the other end to connect, or connect to it when it listens."""
    if listen:
        with socket.create_server((local, port), family=socket.AF_INET6) as server:
            server.settimeout(_CONNECT_TIMEOUT)
            return TcpConnection(server.accept()[0])
    deadline = time.monotonic() + _CONNECT_TIMEOUT
    while True:
        try:
            return TcpConnection(socket.create_connection((peer, port), _CONNECT_TIMEOUT))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench.stream", description=__doc__)
    parser.add_argument("--local", required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--both-ways", type=int, nargs="*", default=[], metavar="PORT")
    parser.add_argument("--only-send", type=int, nargs="*", default=[], metavar="PORT")
    parser.add_argument("--only-receive", type=int, nargs="*", default=[], metavar="PORT")
    parser.add_argument("--tcp", type=int, required=True, metavar="PORT")
    parser.add_argument("--listen", action="store_true", help="let the other end connect")
    options = parser.parse_args(arguments)
    ports = {
        port: UdpPort(options.local, options.peer, port)
        for port in (*options.both_ways, *options.only_send, *options.only_receive)
    }
    tcp = open_tcp(options.local, options.peer, options.tcp, listen=options.listen)
    run_streams(
        [*(ports[port] for port in (*options.both_ways, *options.only_send)), tcp],
        [*(ports[port] for port in (*options.both_ways, *options.only_receive)), tcp],
    )
    recording: Recording = {
        "packets": {str(port): each.packets for port, each in ports.items()},
        "reads": tcp.reads,
    }
    sys.stdout.write(json.dumps(recording))  # json.dump takes several times as long


if __name__ == "__main__":
    main()
