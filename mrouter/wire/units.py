"""Times on the wire: 16 bits of units of 4 seconds; the model has seconds (RFC 6275 §6.1.7)."""

from __future__ import annotations

SECONDS_PER_UNIT = 4
MAX_SECONDS = 0xFFFF * SECONDS_PER_UNIT


def parse_units(data: bytes, offset: int) -> int:
    """Return in seconds the time in the two octets at ``offset``."""
    return (data[offset] << 8 | data[offset + 1]) * SECONDS_PER_UNIT


def count_units(seconds: int) -> int:
    """Return how many units ``seconds`` are; raise ValueError unless they fit exactly."""
    units, rest = divmod(seconds, SECONDS_PER_UNIT)
    if rest or not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"{seconds} s is not a multiple of 4 s up to {MAX_SECONDS} s")
    return units
