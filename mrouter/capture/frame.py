"""What was captured: an IPv6 packet, when and where."""

from __future__ import annotations

from dataclasses import dataclass

from mrouter.errors import MrouterError


class CaptureError(MrouterError):
    """The capture cannot be done as asked."""


@dataclass(frozen=True, slots=True)
class Frame:
    """An IPv6 packet from its first octet.

    ``time`` is in Unix seconds; ``link`` is an interface's name, "" where a file has none;
    ``direction`` is "in", "out" or "".
    """

    time: float
    link: str
    data: bytes
    direction: str = ""
