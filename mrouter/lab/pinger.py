"""Pings: ICMPv6 echo requests at a steady rate, their replies counted and timed."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mrouter.lab.meters import GapMeter, SequenceMeter

Emit = Callable[[str, dict[str, object]], None]

_ECHO_REQUEST = 128
_ECHO_REPLY = 129
_ECHO = struct.Struct("!BBHHHQ")
_ICMP6_FILTER = 1
_PROGRESS_INTERVAL = 0.5
_DRAIN = 1.0


@dataclass(frozen=True, slots=True)
class PingSettings:
    """Whom to ping and when; times in seconds, ``start_at`` of CLOCK_MONOTONIC."""

    peer: str
    start_at: float
    duration: float
    interval: float = 0.2


@dataclass(slots=True)
class ReplyMeter:
    """The replies that arrived."""

    gaps: GapMeter
    sequences: SequenceMeter = field(default_factory=SequenceMeter)
    longest_round_trip: float = 0.0

    def observe(self, message: bytes, identifier: int, now: float) -> None:
        """Count ``message`` if it is a reply to the pings that carry ``identifier``."""
        if len(message) < _ECHO.size:
            return
        kind, _, _, owner, sequence, sent_at = _ECHO.unpack_from(message)
        if kind != _ECHO_REPLY or owner != identifier:
            return
        self.sequences.observe(sequence)
        self.gaps.observe(now)
        self.longest_round_trip = max(self.longest_round_trip, now - sent_at / 1e9)

    def report(self) -> dict[str, object]:
        """Give the counts so far, as fields of a progress or summary event."""
        return {
            "received": self.sequences.received,
            "duplicated": self.sequences.duplicated,
            "longest_round_trip_ms": round(self.longest_round_trip * 1000, 2),
        }


def run_pings(settings: PingSettings, emit: Emit, stopped: Callable[[], bool]) -> None:
    """Ping until the time is over or ``stopped``; emit progress and summary. Needs CAP_NET_RAW."""
    identifier = os.getpid() & 0xFFFF
    meter = ReplyMeter(GapMeter(1.5 * settings.interval))
    sent = 0
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, _pass_only(_ECHO_REPLY))
        raw.setblocking(False)
        emit("ready", {})
        last_at = settings.start_at + settings.duration
        end_at = last_at + _DRAIN
        report_at = settings.start_at + _PROGRESS_INTERVAL
        while (now := time.monotonic()) < end_at and not stopped():
            due_at = settings.start_at + sent * settings.interval
            if due_at < last_at and now >= due_at:
                _send_request(raw, settings.peer, identifier, sent)
                sent += 1
                continue
            if now >= report_at:
                emit("progress", {"sent": sent, **meter.report()})
                report_at += _PROGRESS_INTERVAL
            until = min(due_at, report_at) if due_at < last_at else min(report_at, end_at)
            readable, _, _ = select.select([raw], [], [], max(0.0, until - now))
            if readable:
                meter.observe(raw.recv(2048), identifier, time.monotonic())
    emit("summary", {"sent": sent, **meter.report(), **meter.gaps.report()})


def _send_request(raw: socket.socket, peer: str, identifier: int, sequence: int) -> None:
    """Send one request; the kernel fills the checksum in. Without a route it counts as lost."""
    sent_at = time.monotonic_ns()
    request = _ECHO.pack(_ECHO_REQUEST, 0, 0, identifier, sequence & 0xFFFF, sent_at)
    with contextlib.suppress(OSError):
        raw.sendto(request, (peer, 0))


def _pass_only(kind: int) -> bytes:
    """Make an ICMP6_FILTER (RFC 3542 §3.2) that blocks every type but ``kind``."""
    words = [0xFFFFFFFF] * 8
    words[kind >> 5] &= ~(1 << (kind & 31))
    return struct.pack("=8I", *words)
