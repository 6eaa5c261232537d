"""Capture files that others wrote: frames, or a CaptureError."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from good_packets import serialize_signalling

from mrouter.capture.frame import CaptureError, Frame
from mrouter.capture.pcap import FrameWriter, read_frames

_FILE = Path(tempfile.gettempdir()) / f"mrouter-fuzz-{os.getpid()}.pcap"
#: Link types: a packet without a link layer, Ethernet, Linux "cooked", Linux "cooked" 2.
_LINK_TYPES = (101, 1, 113, 276)


def test_one_input(data):
    try:
        _FILE.write_bytes(data)
        for frame in read_frames(_FILE):
            assert isinstance(frame.data, bytes)
    except CaptureError:
        pass
    finally:
        _FILE.unlink()


def make_seeds():
    _, packet = serialize_signalling()[0]
    with FrameWriter(_FILE) as writer:
        writer.write(Frame(1.5, "", packet))
        writer.write(Frame(2.5, "", packet[:50]))
    raw = _FILE.read_bytes()
    _FILE.unlink()
    return [raw[:20] + kind.to_bytes(4, "little") + raw[24:] for kind in _LINK_TYPES]
