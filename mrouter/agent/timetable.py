"""Which policies of a file are in force: those whose times it is, and those without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.policy.schedule import find_time_zone, find_timed, take_active
from mrouter.policy.week import read_minute

if TYPE_CHECKING:
    from mrouter.policy.model import PolicyTable
    from mrouter.protocol.events import Instant

#: A time of day begins with a minute. The clock is looked at in each, so that one that is set, or
#: goes over to summer time, is obeyed as soon.
_MINUTE = 60.0


class Timetable:
    """The file's ``table``, and that of the policies that are ``active``."""

    def __init__(self, table: PolicyTable, now: Instant) -> None:
        """Look at ``table`` as it is ``now``."""
        self.table = table
        #: When to look again, monotonic seconds; None if it is all the same to these policies.
        self.next_look_at: float | None = None
        self._zone = find_time_zone(table)
        self._minute: int | None = None
        self._timed: frozenset[str] = frozenset()
        self._begun: frozenset[str] = frozenset()
        self._read_clock(now)
        self._take_active()

    def look(self, now: Instant) -> bool:
        """Tell whether others are active ``now`` than were when this was asked last."""
        if not self._read_clock(now):
            return False
        before = self.active
        self._take_active()
        return self.active != before

    def take_begun(self) -> frozenset[str]:
        """Return the policies whose time has begun since this was asked last.

        Flows that run may have met later ones, which they no longer do.
        """
        begun, self._begun = self._begun, frozenset()
        return begun

    def _read_clock(self, now: Instant) -> bool:
        """Tell whether it is another minute of the week than it was before."""
        if self._zone is None:
            return False
        self.next_look_at = now.monotonic + _MINUTE - now.unix % _MINUTE
        minute = read_minute(now.unix, self._zone)
        before, self._minute = self._minute, minute
        return minute != before

    def _take_active(self) -> None:
        self.active = take_active(self.table, self._minute)
        before = self._timed
        self._timed = find_timed(self.table) & {policy.name for policy in self.active.policies}
        self._begun |= self._timed - before
