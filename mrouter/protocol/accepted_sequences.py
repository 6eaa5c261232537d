"""Sequence numbers that were accepted (RFC 6275 §5.2.8, §9.5.1, §9.5.3, §10.3.2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv6Address

_HALF = 1 << 15


class _Accepted(NamedTuple):
    sequence: int
    until: float


@dataclass(slots=True)
class _Home:
    latest: _Accepted
    by_ifid: dict[int | None, _Accepted] = field(default_factory=dict)


class AcceptedSequences:
    """Remembers the last sequence number of every binding, also after the binding has ended.

    "Correspondent nodes must retain bindings and the associated sequence number information at
    least as long as the nonces used in the authorization of the binding are still valid"
    (RFC 6275 §5.2.8): otherwise a recorded Binding Update would bring an ended binding back.

    Each IFID counts for itself, as bindings do. A Binding Update without CoAINFO speaks for all
    of the home address: it must follow the last one accepted for any of its bindings, and one
    with CoAINFO must follow it.
    """

    def __init__(self) -> None:
        self._homes: dict[IPv6Address, _Home] = {}
        self._count = 0

    def __len__(self) -> int:
        """Return how many numbers are remembered."""
        return self._count

    def knows(self, home_address: IPv6Address, ifid: int | None) -> bool:
        """Say whether a number of that binding is remembered."""
        home = self._homes.get(home_address)
        return home is not None and ifid in home.by_ifid

    def find_conflict(
        self, home_address: IPv6Address, ifid: int | None, sequence: int, now: float
    ) -> int | None:
        """Return the accepted number that ``sequence`` does not follow, or None if it may pass.

        Numbers are compared modulo 2^16 (RFC 6275 §9.5.1).
        """
        home = self._homes.get(home_address)
        if home is None:
            return None
        others = home.latest if ifid is None else home.by_ifid.get(None)
        for accepted in (home.by_ifid.get(ifid), others):
            if accepted is None or accepted.until <= now:
                continue
            ahead = (sequence - accepted.sequence) % (2 * _HALF)
            if ahead == 0 or ahead >= _HALF:
                return accepted.sequence
        return None

    def remember(
        self, home_address: IPv6Address, ifid: int | None, sequence: int, until: float
    ) -> None:
        """Remember an accepted number until ``until``, monotonic seconds."""
        accepted = _Accepted(sequence, until)
        home = self._homes.setdefault(home_address, _Home(accepted))
        self._count += ifid not in home.by_ifid
        home.by_ifid[ifid] = home.latest = accepted

    def list_all(self) -> Iterator[tuple[IPv6Address, int | None, int, float]]:
        """Yield (home address, IFID, number, until when) of each, as ``remember`` took it."""
        for home_address, home in self._homes.items():
            # the latest last, so that it is the latest again when they are remembered in order
            ordered = sorted(home.by_ifid.items(), key=lambda item: item[1] is home.latest)
            for ifid, accepted in ordered:
                yield home_address, ifid, accepted.sequence, accepted.until

    def forget_old(self, now: float) -> None:
        """Forget the numbers whose time is over."""
        for home_address, home in tuple(self._homes.items()):
            for ifid, accepted in tuple(home.by_ifid.items()):
                if accepted.until <= now:
                    del home.by_ifid[ifid]
                    self._count -= 1
            if not home.by_ifid:
                del self._homes[home_address]
