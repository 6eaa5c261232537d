"""Print when the first Binding Update arrives, seconds of CLOCK_MONOTONIC.

A program that runs in a namespace; it prints a line when it listens, and one more.
"""

from __future__ import annotations

import sys
import time

from bench.fleet import WIRE
from mrouter.capture.find import find_signalling
from mrouter.capture.live import LiveCapture
from mrouter.wire.messages import BindingUpdate
from mrouter.wire.packet import parse_packet

_PATIENCE = 20.0


def main() -> None:
    with LiveCapture() as capture:
        print("ready", flush=True)
        for frame in capture.frames(_PATIENCE):
            arrived_at = time.monotonic()
            found = find_signalling(frame.data)
            if found is not None and isinstance(
                parse_packet(found.packet, WIRE).message, BindingUpdate
            ):
                print(arrived_at, flush=True)
                return
    sys.exit("no Binding Update came")


if __name__ == "__main__":
    main()
