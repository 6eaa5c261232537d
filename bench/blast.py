"""Send UDP packets as fast as one CPU can: a program that runs in a namespace.

``sendmmsg`` hands the kernel a batch of packets per call, so that Python costs next to nothing
per packet. The packets belong to several flows in turn, a batch a flow.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import socket
import sys
import time
from collections.abc import Sequence


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """``struct mmsghdr`` of a 64-bit Linux; alignment puts the padding where C has it."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint),
    )


def blast(
    peer: tuple[str, int], octets: int, flows: int, duration: float, batch: int
) -> dict[str, float]:
    """Send payloads of ``octets`` to ``peer`` for ``duration`` seconds, ``batch`` at a time.

    Every flow gets one batch at least.

    Give how many packets the kernel took, the seconds this took, and the CPU seconds: the
    kernel forwards on this CPU, in this process's time. Raise OSError if it refuses.
    """
    library = ctypes.CDLL(None, use_errno=True)
    payload = ctypes.create_string_buffer(b"\x55" * octets, octets)
    vector = _Vector(ctypes.addressof(payload), octets)
    headers = (_Header * batch)(
        *(_Header(vectors=ctypes.addressof(vector), vector_count=1) for _ in range(batch))
    )
    sockets = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(flows)]
    for sender in sockets:
        sender.connect(peer)
    descriptors = [sender.fileno() for sender in sockets]
    packets = 0
    used_at_start = time.process_time()
    started_at = now = time.monotonic()
    while not packets or now - started_at < duration:
        for descriptor in descriptors:
            sent = library.sendmmsg(descriptor, headers, batch, 0)
            if sent < 0:
                error = ctypes.get_errno()
                raise OSError(error, os.strerror(error))
            packets += sent
        now = time.monotonic()
    used = time.process_time() - used_at_start
    for sender in sockets:
        sender.close()
    return {"packets": packets, "seconds": now - started_at, "cpu_seconds": used}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="bench.blast", description=__doc__)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--octets", type=int, required=True)
    parser.add_argument("--flows", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--duration", type=float, default=1.0, help="seconds")
    options = parser.parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # one CPU for the sender and, since the kernel forwards where it was sent, for every hop
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    peer = (options.peer, options.port)
    json.dump(
        blast(peer, options.octets, options.flows, options.duration, options.batch), sys.stdout
    )


if __name__ == "__main__":
    main()
