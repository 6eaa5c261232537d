"""Whether a mobile router's next Binding Update replaces all that stands (RFC 5648 §5.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mrouter.protocol.update_list import Binding


class Overwriting:
    """Decides which Binding Update has the O flag, and what follows from it.

    "When a mobile node bootstraps and registers multiple bindings for the first time, it MUST set
    the 'O' flag in the Binding Update message" (RFC 5648 §5.9). Each care-of address has its own
    Binding Update, and one with the flag would end what the others have registered: so one at a
    time has it, and the others wait for its answer, or for the time in which it should have come.
    """

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted

    def order(self, bindings: Sequence[Binding]) -> Sequence[Binding]:
        """Return ``bindings`` in the order in which they may send: each gets its turn."""
        if not self.wanted:
            return tuple(bindings)
        return sorted(bindings, key=lambda binding: binding.sent_at or 0.0)

    def find_time(self, binding: Binding, bindings: Sequence[Binding], now: float) -> float:
        """Return when ``binding`` may send: ``now``, or later while another one has the flag."""
        if not self.wanted or binding.plain or binding.is_ending:
            return now
        others = (each for each in bindings if each is not binding and each.overwrote)
        return max((now, *map(_find_end, others)))

    def mark(self, binding: Binding, lifetime: int) -> bool:
        """Tell whether the Binding Update that ``binding`` sends now has the flag."""
        overwrites = self.wanted and lifetime > 0 and not binding.plain
        binding.overwrote |= overwrites
        return overwrites

    def take_acceptance(self, binding: Binding, bindings: Sequence[Binding], now: float) -> None:
        """Register all others again if ``binding`` may have replaced them at the home agent."""
        if not binding.overwrote:
            return
        binding.overwrote = self.wanted = False
        for other in bindings:
            # one whose own is under way is told by its answer, and then tells the others
            asked = other.overwrote and _find_end(other) > now
            if other is not binding and not other.is_ending and not asked:
                other.tell_change(now)


def _find_end(binding: Binding) -> float:
    """Return until when an answer to what ``binding`` has sent is to be waited for."""
    if not binding.awaiting or binding.sent_at is None:
        return 0.0
    return binding.sent_at + binding.first_interval
