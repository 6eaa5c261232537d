"""What a correspondent node has to remember over a restart, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.protocol.bindings import CacheEntry


@dataclass(frozen=True, slots=True)
class CorrespondentNodeMemory:
    """All bindings, and the sequence numbers that must not be accepted again.

    ``sequences`` are (home address, IFID, number, until when in monotonic seconds); of each home
    address the number accepted last stands last.
    """

    bindings: tuple[CacheEntry, ...] = ()
    sequences: tuple[tuple[IPv6Address, int | None, int, float], ...] = ()
