"""The command: frames in, lines out, and a file if asked for."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mrouter.capture.frame import CaptureError
from mrouter.capture.live import LiveCapture
from mrouter.capture.pcap import FrameWriter, read_frames
from mrouter.capture.record import decode
from mrouter.capture.render import render_json, render_line
from mrouter.config.keys import read_key
from mrouter.protocol.settings import Algorithm, SecurityAssociation
from mrouter.scapy_layers import use_dialect
from mrouter.toml_source import MistakeError
from mrouter.wire.constants import DEFAULT_COAINFO_TYPE, Dialect
from mrouter.wire.format import WireFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mrouter.capture.frame import Frame


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What to capture, and when to end; None is without an end."""

    interfaces: Sequence[str] = ()
    read: Path | None = None
    write: Path | None = None
    count: int | None = None
    seconds: float | None = None
    as_json: bool = False


def make_format(dialect: str, coainfo_type: int = DEFAULT_COAINFO_TYPE) -> WireFormat:
    """Return the layout of bytes to read by; raise CaptureError for one that there is not."""
    known = [each.value for each in Dialect]
    if dialect not in known:
        raise CaptureError(f"--dialect is one of {', '.join(known)}")
    try:
        return WireFormat(Dialect(dialect), coainfo_type)
    except ValueError as error:
        raise CaptureError(str(error)) from None


def load_association(
    key_file: Path | None, spi: int | None, algorithm: str
) -> SecurityAssociation | None:
    """Return the security association to check authenticators by, None without ``key_file``.

    Raises CaptureError if the file is not as a key file has to be; it never shows its content.
    """
    if key_file is None:
        return None
    if spi is None:
        raise CaptureError("--key-file goes with --spi")
    try:
        key = read_key(Path(), str(key_file))
        return SecurityAssociation(spi, Algorithm(algorithm), key)
    except MistakeError as error:
        remedy = f" ({error.suggestion})" if error.suggestion else ""
        raise CaptureError(f"--key-file: {error}{remedy}") from None
    except ValueError:
        names = ", ".join(known.value for known in Algorithm)
        raise CaptureError(f"--algorithm is one of {names}") from None


def run_capture(
    options: CaptureOptions,
    fmt: WireFormat,
    association: SecurityAssociation | None = None,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Tell each message of the signalling in one line; return how many there were.

    Ends by the bounds in ``options``, at the end of the file read, or by Ctrl-C. Raises
    CaptureError.
    """
    tell = tell or partial(print, flush=True)
    use_dialect(fmt.dialect, fmt.coainfo_type)
    render = render_json if options.as_json else render_line
    told = 0
    with ExitStack() as stack:
        frames = _open_frames(options, stack)
        writer = stack.enter_context(FrameWriter(options.write)) if options.write else None
        try:
            while options.count is None or told < options.count:
                frame = next(frames, None)
                if frame is None:
                    break
                record = decode(frame, fmt, association)
                if record is None:
                    continue
                told += 1
                tell(render(record))
                if writer is not None:
                    writer.write(frame)
        except KeyboardInterrupt:
            pass  # how a live capture is ended
    return told


def _open_frames(options: CaptureOptions, stack: ExitStack) -> Iterator[Frame]:
    if options.read is None:
        return stack.enter_context(LiveCapture(options.interfaces)).frames(options.seconds)
    if options.interfaces or options.seconds is not None:
        raise CaptureError("--read excludes --interface and --seconds")
    if options.write is not None and options.write.resolve() == options.read.resolve():
        raise CaptureError("--write would overwrite the file that is read")
    return read_frames(options.read)
