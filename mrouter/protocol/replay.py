"""Replay protection by timestamps at the home agent (RFC 4285 §6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.keys import from_ntp_timestamp

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from ipaddress import IPv6Address


_MANY = 256


class ReplayGuard:
    """Remembers which timestamps were accepted, also after the binding has ended.

    Deviates from RFC 4285 §6: timestamps must grow per (home address, IFID), not per mobile
    node, because Binding Updates sent over different links may overtake one another. A Binding
    Update without an IFID speaks for the whole home address, so its timestamp binds every IFID.

    So a delayed Binding Update does not bring an ended binding back (RFC 6275 §10.3.2); where there
    are no keys ``EndedBindings`` sees to that.

    About 256 timestamps are kept a home address, and only authenticated ones get here: beyond
    that, those are forgotten which are outside the window, so that it refuses them anyway.
    ``started`` (Unix seconds) is a floor: what was recorded before a restart cannot be replayed
    after it. ``window`` is in seconds.
    """

    def __init__(self, started: float, window: float) -> None:
        self._started = started
        self._window = window
        self._latest: dict[IPv6Address, dict[int | None, float]] = {}

    def admit(
        self,
        home_address: IPv6Address,
        ifids: Collection[int | None],
        timestamp: int,
        now: float,
    ) -> bool:
        """Say whether ``timestamp`` (NTP format) is fresh at ``now`` (Unix), and remember it if so.

        It must be for each of ``ifids``. A timestamp that was refused leaves nothing behind.
        """
        moment = from_ntp_timestamp(timestamp)
        latest = self._latest.setdefault(home_address, {})
        floor = max(latest.get(ifid, self._started) for ifid in (None, *ifids))
        if moment <= floor or abs(moment - now) > self._window:
            return False
        if len(latest) > _MANY:
            for ifid in [key for key, old in latest.items() if old < now - self._window]:
                del latest[ifid]
        latest.update(dict.fromkeys(ifids, moment))
        return True

    def list_latest(self) -> Iterator[tuple[IPv6Address, int | None, float]]:
        """Yield (home address, IFID, accepted timestamp in Unix seconds), for ``restore``."""
        for home_address, latest in self._latest.items():
            for ifid, moment in latest.items():
                yield home_address, ifid, moment

    def restore(self, latest: Iterable[tuple[IPv6Address, int | None, float]]) -> None:
        """Take over what a former run's ``list_latest`` gave."""
        for home_address, ifid, moment in latest:
            self._latest.setdefault(home_address, {})[ifid] = moment
