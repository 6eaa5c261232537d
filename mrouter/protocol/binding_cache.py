"""The Binding Cache of a home agent or correspondent node (RFC 6275 §9.1, the draft §5.1).

Its key is (home address, IFID).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv6Address

    from mrouter.protocol.answers import ReplyPath
    from mrouter.protocol.bindings import CacheEntry

    Key = tuple[IPv6Address, int | None]

#: Shares of the lifetime left when a refresh is asked for, then (0) when the binding ends.
_REMAINING = (0.15, 0.10, 0.05, 0.0)


@dataclass(slots=True)
class _Row:
    entry: CacheEntry
    reply_path: ReplyPath
    warnings: int = 0

    @property
    def due_at(self) -> float:
        left = self.entry.lifetime * _REMAINING[self.warnings]
        return self.entry.expires_at - left


class BindingCache:
    """Bindings, their deadlines, and an immutable snapshot of them.

    Refreshing a binding costs O(1): its place in the heap of deadlines is only moved when the old
    deadline comes, so there is exactly one live place per binding.
    """

    def __init__(self) -> None:
        self._rows: dict[IPv6Address, dict[int | None, _Row]] = {}
        self._homes: list[IPv6Address] = []  # sorted
        self._heap: list[tuple[float, int, Key]] = []
        self._scheduled: dict[Key, float] = {}
        self._pushed = 0
        self._snapshot: tuple[CacheEntry, ...] | None = ()

    @property
    def entries(self) -> tuple[CacheEntry, ...]:
        """All bindings, by home address and IFID; the same object until one changes."""
        if self._snapshot is None:
            self._snapshot = tuple(
                row.entry
                for home in self._homes
                for _, row in sorted(self._rows[home].items(), key=_order_by_ifid)
            )
        return self._snapshot

    def get(self, home_address: IPv6Address, ifid: int | None) -> CacheEntry | None:
        """Return the binding with that key, or None."""
        row = self._rows.get(home_address, {}).get(ifid)
        return row.entry if row else None

    def get_reply_path(self, home_address: IPv6Address, ifid: int | None) -> ReplyPath | None:
        """Return how to answer the one who made that binding, or None."""
        row = self._rows.get(home_address, {}).get(ifid)
        return row.reply_path if row else None

    def list_all(self) -> Iterator[tuple[CacheEntry, ReplyPath]]:
        """Yield every binding with how to answer the one who made it."""
        for rows in self._rows.values():
            for row in rows.values():
                yield row.entry, row.reply_path

    def list_of(self, home_address: IPv6Address) -> list[CacheEntry]:
        """Return the bindings of one home address."""
        return [row.entry for row in self._rows.get(home_address, {}).values()]

    def put(self, entry: CacheEntry, reply_path: ReplyPath) -> bool:
        """Add or replace a binding; return whether more than its lifetime and sequence changed."""
        rows = self._rows.get(entry.home_address)
        if rows is None:
            rows = self._rows[entry.home_address] = {}
            insort(self._homes, entry.home_address)
        row = rows.get(entry.ifid)
        changed = row is None or _differs(row.entry, entry)
        if row is None:
            row = rows[entry.ifid] = _Row(entry, reply_path)
        else:
            row.entry, row.reply_path, row.warnings = entry, reply_path, 0
        self._snapshot = None
        self._schedule((entry.home_address, entry.ifid), row.due_at)
        return changed

    def remove(self, home_address: IPv6Address, ifid: int | None) -> CacheEntry | None:
        """Remove a binding and return it; None if there is none."""
        rows: Mapping[int | None, _Row] = self._rows.get(home_address, {})
        if ifid not in rows:
            return None
        row = self._rows[home_address].pop(ifid)
        if not self._rows[home_address]:
            del self._rows[home_address]
            del self._homes[bisect_left(self._homes, home_address)]
        self._snapshot = None
        return row.entry

    def next_deadline(self) -> float | None:
        """Return when ``take_due`` should be called next, in monotonic seconds.

        It may be early for a binding that was refreshed meanwhile, never late.
        """
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> Iterator[tuple[CacheEntry, bool]]:
        """Yield (binding, whether it has ended) for each one due; ended ones are removed.

        The others are near their end and deserve a Binding Refresh Request.
        """
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heappop(self._heap)
            if self._scheduled.get(key) != at:
                continue  # rescheduled earlier
            del self._scheduled[key]
            row = self._rows.get(key[0], {}).get(key[1])
            if row is None:
                continue
            if row.due_at <= now:
                if row.entry.expires_at <= now:
                    self.remove(*key)
                    yield row.entry, True
                    continue
                while row.due_at <= now:  # a late timer asks once, not several times
                    row.warnings += 1
                yield row.entry, False
            self._schedule(key, row.due_at)

    def _schedule(self, key: Key, at: float) -> None:
        scheduled = self._scheduled.get(key)
        if scheduled is None or at < scheduled:
            self._scheduled[key] = at
            self._pushed += 1
            heappush(self._heap, (at, self._pushed, key))


def _order_by_ifid(item: tuple[int | None, object]) -> int:
    return -1 if item[0] is None else item[0]


def _differs(old: CacheEntry, new: CacheEntry) -> bool:
    return (
        old.care_of_address != new.care_of_address
        or old.ifpri != new.ifpri
        or old.slot != new.slot
        or old.prefixes != new.prefixes
        or old.ipv4_prefixes != new.ipv4_prefixes
        or old.mobile_router != new.mobile_router
        or old.link_local != new.link_local
    )
