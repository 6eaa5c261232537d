"""What a home agent has to remember over a restart, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.protocol.bindings import CacheEntry


@dataclass(frozen=True, slots=True)
class SavedBinding:
    """One binding, and how its mobile router was answered; no key, only its SPI."""

    entry: CacheEntry
    destination: IPv6Address
    spi: int | None
    timestamp: int | None


@dataclass(frozen=True, slots=True)
class HomeAgentMemory:
    """All bindings, and the timestamps that must not be accepted again.

    ``timestamps`` are (home address, IFID, Unix seconds).
    """

    bindings: tuple[SavedBinding, ...] = ()
    timestamps: tuple[tuple[IPv6Address, int | None, float], ...] = ()
