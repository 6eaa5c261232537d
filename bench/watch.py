"""Print when the first Binding Update arrives, seconds of CLOCK_MONOTONIC.

A program that runs in a namespace; it prints a line when it listens, and one more.
"""

from __future__ import annotations

import sys
import time

from mrouter.capture.find import find_signalling
from mrouter.capture.live import LiveCapture
from mrouter.wire.checksum import MOBILITY_HEADER
from mrouter.wire.constants import MobilityHeaderType

_PATIENCE = 20.0
_BINDING_UPDATE = (MOBILITY_HEADER, MobilityHeaderType.BINDING_UPDATE)


def main() -> None:
    with LiveCapture() as capture:
        print("ready", flush=True)
        for frame in capture.frames(_PATIENCE):
            arrived_at = time.monotonic()
            found = find_signalling(frame.data)
            if found is not None and (found.protocol, found.type) == _BINDING_UPDATE:
                print(arrived_at, flush=True)
                return
    sys.exit("no Binding Update came")


if __name__ == "__main__":
    main()
