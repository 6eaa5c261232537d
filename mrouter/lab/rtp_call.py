"""One end of an RTP-like call: 50 packets a second each way, counted and timed."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mrouter.lab.meters import GapMeter, SequenceMeter

PACKET_INTERVAL = 0.02
PAYLOAD_OCTETS = 160
_RTP = struct.Struct("!BBHII")
_RTP_VERSION_2 = 0x80
_RTP_PCMU = 0
_SAMPLES = 160
_BODY = struct.Struct("!QIB")
_OCTETS = _RTP.size + PAYLOAD_OCTETS
_PROGRESS_INTERVAL = 0.5
_DRAIN = 1.0
"""Seconds to go on receiving after the last packet was sent."""

Emit = Callable[[str, dict[str, object]], None]
"""Takes an event's name and its fields."""


@dataclass(frozen=True, slots=True)
class CallSettings:
    """One end's addresses and timing; times in seconds of CLOCK_MONOTONIC."""

    local: tuple[str, int]
    peer: tuple[str, int]
    start_at: float
    duration: float
    copies: int = 1
    """How often each payload is sent, octet for octet the same."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of the call: an RTP header over a body that tells when it was sent."""

    sequence: int
    sent_at: float
    copies: int = 1

    def serialize(self, source: int) -> bytes:
        """Give the datagram of the stream ``source`` (RTP's SSRC)."""
        header = _RTP.pack(
            _RTP_VERSION_2,
            _RTP_PCMU,
            self.sequence & 0xFFFF,
            (self.sequence * _SAMPLES) & 0xFFFFFFFF,
            source,
        )
        body = _BODY.pack(round(self.sent_at * 1e9), self.sequence, self.copies)
        return (header + body).ljust(_OCTETS, b"\x55")


def parse_packet(datagram: bytes) -> Packet | None:
    """Read a packet of a call; give None for anything else."""
    if len(datagram) != _OCTETS or datagram[0] != _RTP_VERSION_2:
        return None
    sent_at, sequence, copies = _BODY.unpack_from(datagram, _RTP.size)
    return Packet(sequence, sent_at / 1e9, copies)


@dataclass(slots=True)
class CallReceiver:
    """What arrived of the far end's stream."""

    sequences: SequenceMeter = field(default_factory=SequenceMeter)
    gaps: GapMeter = field(default_factory=lambda: GapMeter(1.5 * PACKET_INTERVAL))
    longest_delay: float = 0.0
    total_delay: float = 0.0
    packets: int = 0

    def observe(self, packet: Packet, now: float) -> None:
        """Count ``packet``, arrived at ``now``."""
        self.sequences.copies = packet.copies
        self.sequences.observe(packet.sequence)
        self.gaps.observe(now)
        delay = now - packet.sent_at
        self.packets += 1
        self.total_delay += delay
        self.longest_delay = max(self.longest_delay, delay)

    def report(self) -> dict[str, object]:
        """Give the counts so far, as fields of a progress or summary event."""
        mean = self.total_delay / self.packets if self.packets else 0.0
        return {
            "received": self.sequences.received,
            "duplicated": self.sequences.duplicated,
            "missing": self.sequences.missing,
            "mean_delay_ms": round(mean * 1000, 2),
            "longest_delay_ms": round(self.longest_delay * 1000, 2),
        }


def run_call(settings: CallSettings, emit: Emit, stopped: Callable[[], bool]) -> None:
    """Send and receive until the call's time is over or ``stopped``; emit progress and summary.

    The far end's sequence numbers start at 0, so packets missing at the start count as well.
    """
    receiver = CallReceiver()
    sent = 0
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as endpoint:
        endpoint.bind(settings.local)
        endpoint.setblocking(False)
        emit("ready", {})
        sequence = 0
        last_packet_at = settings.start_at + settings.duration
        end_at = last_packet_at + _DRAIN
        report_at = settings.start_at + _PROGRESS_INTERVAL
        source = settings.local[1]
        while (now := time.monotonic()) < end_at and not stopped():
            due_at = settings.start_at + sequence * PACKET_INTERVAL
            if due_at < last_packet_at and now >= due_at:
                datagram = Packet(sequence, now, settings.copies).serialize(source)
                for _ in range(settings.copies):
                    _send(endpoint, datagram, settings.peer)
                sent += settings.copies
                sequence += 1
                continue
            if now >= report_at:
                emit("progress", {"sent": sent, **receiver.report()})
                report_at += _PROGRESS_INTERVAL
            until = min(due_at, report_at) if due_at < last_packet_at else min(report_at, end_at)
            _receive(endpoint, receiver, until - now)
    emit("summary", {"sent": sent, **receiver.report(), **receiver.gaps.report()})


def _send(endpoint: socket.socket, datagram: bytes, peer: tuple[str, int]) -> None:
    """Send a packet; one that finds no route is lost like any other."""
    with contextlib.suppress(OSError):
        endpoint.sendto(datagram, peer)


def _receive(endpoint: socket.socket, receiver: CallReceiver, patience: float) -> None:
    readable, _, _ = select.select([endpoint], [], [], max(0.0, patience))
    while readable:
        try:
            datagram = endpoint.recv(2048)
        except BlockingIOError:
            return
        if packet := parse_packet(datagram):
            receiver.observe(packet, time.monotonic())
