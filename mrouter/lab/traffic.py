"""Test traffic to be run inside a namespace: ``python -m mrouter.lab.traffic call|bulk|ping``.

Every line printed is a JSON object with ``event`` (ready, progress or summary) and ``at``, seconds
of CLOCK_MONOTONIC, which all namespaces of a machine share. SIGTERM ends a run with its summary.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from mrouter.lab.bulk import BulkOrder, connect_bulk, serve_bulk
from mrouter.lab.pinger import PingSettings, run_pings
from mrouter.lab.rtp_call import CallSettings, run_call


class _Stop:
    """Remembers that somebody asked the program to end.

    Before anyone looks, while the program waits for its start or for a connection, there is
    nothing to sum up: then it ends at once.
    """

    def __init__(self) -> None:
        self._requested = False
        self._looked_at = False
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    def __call__(self) -> bool:
        self._looked_at = True
        return self._requested

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._requested = True
        if not self._looked_at:
            raise SystemExit(128 + number)


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read the events that a traffic program has printed to ``path`` so far, oldest first."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def call_command(
    local: tuple[str, int],
    peer: tuple[str, int],
    *,
    start_at: float,
    duration: float,
    equal_payloads: bool = False,
) -> list[str]:
    """Give the command line of one end of a call; the other end's has the addresses swapped."""
    flags = ["--equal-payloads"] if equal_payloads else []
    return [
        *_program("call"),
        *("--local", local[0], "--local-port", str(local[1])),
        *("--peer", peer[0], "--peer-port", str(peer[1])),
        *("--start-at", repr(start_at), "--duration", repr(duration)),
        *flags,
    ]


def bulk_server_command(local: tuple[str, int]) -> list[str]:
    """Give the command line of the listening end of a bulk transfer."""
    return [*_program("serve"), "--local", local[0], "--port", str(local[1])]


def bulk_command(peer: tuple[str, int], order: BulkOrder, *, start_at: float) -> list[str]:
    """Give the command line of the connecting end of a bulk transfer."""
    return [
        *_program("bulk"),
        *("--peer", peer[0], "--port", str(peer[1])),
        *("--duration", repr(order.duration), "--rate", repr(order.rate)),
        *("--start-at", repr(start_at)),
        *(["--reverse"] if order.reverse else []),
    ]


def ping_command(peer: str, *, start_at: float, duration: float, interval: float) -> list[str]:
    """Give the command line of a run of pings."""
    return [
        *_program("ping"),
        *("--peer", peer, "--interval", repr(interval)),
        *("--start-at", repr(start_at), "--duration", repr(duration)),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; give its exit code."""
    options = _parse(arguments)
    stop = _Stop()
    start_at = time.monotonic() if options.start_at is None else options.start_at
    try:
        if options.kind == "call":
            settings = CallSettings(
                (options.local, options.local_port),
                (options.peer, options.peer_port),
                start_at,
                options.duration,
                copies=2 if options.equal_payloads else 1,
            )
            run_call(settings, _emit, stop)
        elif options.kind == "serve":
            serve_bulk((options.local, options.port), _emit, stop)
        elif options.kind == "bulk":
            time.sleep(max(0.0, start_at - time.monotonic()))
            order = BulkOrder(options.duration, options.rate, options.reverse)
            connect_bulk((options.peer, options.port), order, _emit, stop)
        else:
            pings = PingSettings(options.peer, start_at, options.duration, options.interval)
            run_pings(pings, _emit, stop)
    except OSError as error:
        print(f"{options.kind}: {error}", file=sys.stderr)
        return 1
    return 0


def _program(kind: str) -> list[str]:
    return [sys.executable, "-m", "mrouter.lab.traffic", kind]


def _emit(event: str, fields: dict[str, object]) -> None:
    print(json.dumps({"event": event, "at": round(time.monotonic(), 3), **fields}), flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mrouter.lab.traffic", description=__doc__)
    parser.set_defaults(start_at=None)
    kinds = parser.add_subparsers(dest="kind", required=True)

    timing = argparse.ArgumentParser(add_help=False)
    timing.add_argument("--duration", type=float, default=10.0, help="seconds")
    timing.add_argument("--start-at", type=float, help="seconds of CLOCK_MONOTONIC; default now")

    call = kinds.add_parser("call", parents=[timing], help="one end of an RTP-like call")
    call.add_argument("--local", required=True)
    call.add_argument("--local-port", type=int, default=5004)
    call.add_argument("--peer", required=True)
    call.add_argument("--peer-port", type=int, default=5004)
    call.add_argument("--equal-payloads", action="store_true", help="send every payload twice")

    serve = kinds.add_parser("serve", help="the listening end of a bulk transfer")
    serve.add_argument("--local", default="::")
    serve.add_argument("--port", type=int, default=5201)

    bulk = kinds.add_parser(
        "bulk", parents=[timing], help="the connecting end of a bulk transfer, which sends"
    )
    bulk.add_argument("--peer", required=True)
    bulk.add_argument("--port", type=int, default=5201)
    bulk.add_argument("--rate", type=float, default=0.0, help="Mbit/s, 0 for no limit")
    bulk.add_argument("--reverse", action="store_true", help="let the listening end send")

    ping = kinds.add_parser("ping", parents=[timing], help="ICMPv6 echo requests")
    ping.add_argument("--peer", required=True)
    ping.add_argument("--interval", type=float, default=0.2, help="seconds")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
