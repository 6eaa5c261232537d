"""Bindings of a home agent that have just ended: what is delayed does not bring them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.accepted_sequences import AcceptedSequences
from mrouter.protocol.home_registration import Refuse
from mrouter.wire.constants import BindingStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mrouter.protocol.bindings import CacheEntry
    from mrouter.protocol.home_registration import Request

#: Seconds that an ended binding's sequence number counts (RFC 6275 §12).
MAX_DELETE_BCE_TIMEOUT = 10.0


class EndedBindings:
    """Remembers the sequence numbers of de-registrations (RFC 6275 §10.3.2).

    A mobile router that returns home de-registers while its last refresh may still be on the way:
    registered after that, its packets would be intercepted. Where there are keys ``ReplayGuard``
    refuses what is older, by its timestamp and for longer.
    """

    def __init__(self) -> None:
        self._sequences = AcceptedSequences()

    def check(self, request: Request, now: float) -> None:
        """Refuse with 135 what does not follow a de-registration; ``now``: monotonic seconds."""
        for ifid in request.ifids:
            last = self._sequences.find_conflict(
                request.home_address, ifid, request.update.sequence, now
            )
            if last is not None:
                raise Refuse(BindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW, sequence=last)

    def remember(self, request: Request, ended: Iterable[CacheEntry], now: float) -> None:
        """Take note that ``request`` has ended these bindings."""
        self._sequences.forget_old(now)
        ifids = {entry.ifid for entry in ended} if request.informations else {None}
        for ifid in ifids:
            self._sequences.remember(
                request.home_address, ifid, request.update.sequence, now + MAX_DELETE_BCE_TIMEOUT
            )
