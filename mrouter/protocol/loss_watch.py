"""Whether what a correspondent node sends by a binding arrives (the draft §4).

"CN can detect CoA's invalidation by packets loss". Nothing tells a sender of a loss, so three signs
are put together. Where packets go and none come, the mobile node is asked to refresh the binding
(RFC 6275 §9.5.5): one whose care-of address is gone cannot prove it again. And a mobile node that
goes on repeating a Binding Update has not got our answer to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from ipaddress import IPv6Address

    Key = tuple[IPv6Address, int | None]

#: Seconds of sending and hearing nothing before the mobile node is asked.
_SILENCE = 2.0
#: Seconds that it has for its answer, which takes return routability's round trips.
_ANSWER_TIME = 3.0
_MOST_REQUESTS = 2
#: Seconds that a Binding Update vouches for a flow that goes one way only.
_TRUST = 30.0
#: Binding Updates that say the same come this close together only if they are repetitions: the
#: longest pause between two is 32 seconds (MAX_BINDACK_TIMEOUT).
_LONGEST_REPETITION = 40.0
_MOST_REPETITIONS = 3
#: Seconds after which a binding that nothing was sent by is in use no more.
_USE = 60.0


@dataclass(slots=True)
class _Silence:
    """Nothing has come; ``due_at`` is when the next step is taken."""

    due_at: float
    requests: int = 0


@dataclass(frozen=True, slots=True)
class _Repetition:
    updated_at: float
    count: int = 0


class LossWatch:
    """Judges each binding by its traffic and its Binding Updates."""

    def __init__(self) -> None:
        self._sending: Collection[Key] = frozenset()
        self._used_until: dict[Key, float] = {}
        self._silences: dict[Key, _Silence] = {}
        self._trusted_until: dict[Key, float] = {}
        self._repetitions: dict[Key, _Repetition] = {}

    def see_traffic(self, sent: Collection[Key], received: Collection[Key], now: float) -> None:
        """Take note which bindings packets have gone and come by since the last time."""
        self._sending = sent
        for key in sent:
            self._used_until[key] = now + _USE
            if key not in received:
                due_at = max(now + _SILENCE, self._trusted_until.get(key, now))
                self._silences.setdefault(key, _Silence(due_at))
        for key in received:
            self._silences.pop(key, None)
            self._trusted_until.pop(key, None)

    def is_used(self, key: Key, now: float) -> bool:
        """Tell whether packets have been sent by the binding lately."""
        return key in self._sending or self._used_until.get(key, now) > now

    def judge(self, now: float) -> tuple[list[Key], list[Key]]:
        """Return the bindings to ask for, and those that have not answered."""
        asked, lost = [], []
        for key, silence in tuple(self._silences.items()):
            if now < silence.due_at or not (silence.requests or key in self._sending):
                continue
            if silence.requests == _MOST_REQUESTS:
                del self._silences[key]
                lost.append(key)
            else:
                silence.requests += 1
                silence.due_at = now + _ANSWER_TIME
                asked.append(key)
        return asked, lost

    def hear(self, key: Key, now: float, *, lifetime: int, changed: bool) -> bool:
        """Take note of a Binding Update; return whether our answers to it seem to arrive.

        ``lifetime`` (seconds) is that of the binding, which is refreshed well before its end.
        """
        last = self._repetitions.get(key)
        pause = min(_LONGEST_REPETITION, lifetime / 4)
        if last is None or changed or now - last.updated_at > pause:
            self._repetitions[key] = _Repetition(now)
            self._silences.pop(key, None)
            self._trusted_until[key] = now + _TRUST
            return True
        self._repetitions[key] = _Repetition(now, last.count + 1)
        return last.count + 1 < _MOST_REPETITIONS

    def forget(self, key: Key) -> None:
        """Take note that the binding has ended."""
        self._used_until.pop(key, None)
        self._silences.pop(key, None)
        self._trusted_until.pop(key, None)
        self._repetitions.pop(key, None)
