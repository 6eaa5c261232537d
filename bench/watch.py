"""Print when the first Binding Update arrives, seconds of CLOCK_MONOTONIC.

A program that runs in a namespace; it prints a line when it listens, and one more.
"""

from __future__ import annotations

import select
import sys
import time

from bench.fleet import WIRE
from mrouter.signalling import SignallingSocket
from mrouter.wire.messages import BindingUpdate
from mrouter.wire.packet import parse_packet

_PATIENCE = 20.0


def main() -> None:
    signalling = SignallingSocket()
    print("ready", flush=True)
    while select.select([signalling.fileno()], [], [], _PATIENCE)[0]:
        arrived_at = time.monotonic()
        for data in signalling.receive(1):
            if isinstance(parse_packet(data, WIRE).message, BindingUpdate):
                print(arrived_at, flush=True)
                return
    sys.exit("no Binding Update came")


if __name__ == "__main__":
    main()
