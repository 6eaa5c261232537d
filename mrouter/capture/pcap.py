"""Capture files, read and written by scapy."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mrouter.capture.frame import CaptureError, Frame

logging.getLogger("scapy").setLevel(logging.ERROR)  # it reports on interfaces that we do not use
try:
    from scapy.error import Scapy_Exception
    from scapy.layers import inet6, l2  # noqa: F401 - registers Ethernet with the reader
    from scapy.utils import PcapReader, RawPcapWriter
except ImportError:
    raise CaptureError("scapy is missing: pip install 'mrouter[capture]'") from None

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

#: Packets without a link layer: tunnels have none, and interfaces differ.
_LINKTYPE_RAW = 101


def read_frames(path: Path) -> Iterator[Frame]:
    """Yield the IPv6 packets of a pcap or pcapng file, whatever the link layer; others are skipped.

    Raises CaptureError if the file cannot be read.
    """
    try:
        with PcapReader(str(path)) as reader:
            for packet in reader:
                layer = packet.getlayer(inet6.IPv6)
                if layer is not None:
                    yield Frame(float(packet.time), packet.sniffed_on or "", bytes(layer.original))
    except OSError as error:
        raise CaptureError(f"cannot read {path}: {error.strerror or error}") from None
    except Scapy_Exception as error:
        raise CaptureError(f"cannot read {path}: {error}") from None


class FrameWriter:
    """Writes a pcap file of IPv6 packets; each is on disk when ``write`` returns."""

    def __init__(self, path: Path) -> None:
        """Create the file; raise CaptureError if that cannot be done."""
        try:
            self._writer = RawPcapWriter(str(path), linktype=_LINKTYPE_RAW, sync=True)
        except OSError as error:
            raise CaptureError(f"cannot write {path}: {error.strerror}") from None
        self._writer.write_header(None)

    def __enter__(self) -> FrameWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, frame: Frame) -> None:
        """Append ``frame``."""
        seconds, microseconds = divmod(round(frame.time * 1_000_000), 1_000_000)
        self._writer.write_packet(frame.data, sec=seconds, usec=microseconds)
