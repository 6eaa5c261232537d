"""What a receiver of test traffic measures: gaps between arrivals, packets by sequence."""

from __future__ import annotations

from dataclasses import dataclass, field

_KEPT_GAPS = 1000


@dataclass(slots=True)
class GapMeter:
    """Measures the time between arrivals and keeps every gap of at least ``threshold`` seconds."""

    threshold: float
    longest: float = 0.0
    last_at: float | None = None
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """(time of the arrival that ended the gap, length), seconds; the first thousand."""

    def observe(self, now: float) -> None:
        """Note an arrival at ``now``."""
        if self.last_at is not None:
            gap = now - self.last_at
            self.longest = max(self.longest, gap)
            if gap >= self.threshold and len(self.gaps) < _KEPT_GAPS:
                self.gaps.append((now, gap))
        self.last_at = now

    def report(self) -> dict[str, object]:
        """Give the fields of a summary, lengths in ms, times in seconds of CLOCK_MONOTONIC."""
        return {
            "longest_gap_ms": round(self.longest * 1000, 1),
            "gap_threshold_ms": round(self.threshold * 1000, 1),
            "gaps": [[round(at, 3), round(length * 1000, 1)] for at, length in self.gaps],
        }


@dataclass(slots=True)
class SequenceMeter:
    """Counts packets by sequence number; each is expected ``copies`` times."""

    copies: int = 1
    received: int = 0
    """Packets that were expected, surplus copies not counted."""
    duplicated: int = 0
    """Packets beyond ``copies`` of one sequence number."""
    highest: int = -1
    _seen: dict[int, int] = field(default_factory=dict)

    def observe(self, sequence: int) -> None:
        """Count one packet."""
        seen = self._seen.get(sequence, 0)
        self._seen[sequence] = seen + 1
        if seen < self.copies:
            self.received += 1
        else:
            self.duplicated += 1
        self.highest = max(self.highest, sequence)

    @property
    def missing(self) -> int:
        """Give how many packets up to the highest sequence number have not arrived (yet)."""
        return (self.highest + 1) * self.copies - self.received
