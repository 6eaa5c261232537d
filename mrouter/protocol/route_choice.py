"""Which of a mobile node's bindings a correspondent node sends by (the draft §4, §8.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from mrouter.protocol.binding_cache import BindingCache
    from mrouter.protocol.bindings import CacheEntry

    Key = tuple[IPv6Address, int | None]


class RouteChoice:
    """Chooses among the bindings of ``cache``, by what is told of them here."""

    def __init__(self, cache: BindingCache) -> None:
        self._cache = cache
        self._failed: set[Key] = set()
        self._changes: dict[Key, int] = {}  # which binding was changed last
        self._change_count = 0

    @property
    def routes(self) -> tuple[CacheEntry, ...]:
        """The binding to send by, of every home address that has one."""
        homes = dict.fromkeys(entry.home_address for entry in self._cache.entries)
        found = (self.choose(home) for home in homes)
        return tuple(entry for entry in found if entry is not None)

    def choose(self, home_address: IPv6Address) -> CacheEntry | None:
        """Return the binding to send by to ``home_address``, None to send there itself.

        "the CN MAY decide to choose the best binding by the comparison of each registered
        priority value" (the draft §8.1); of equal ones the one that was changed last. "CN can
        switch to an active CoA as soon as it detects CoA's invalidation" (the draft §4).
        """
        bound = self._cache.list_of(home_address)
        return min(
            (entry for entry in bound if _find_key(entry) not in self._failed),
            key=lambda entry: (entry.ifpri, -self._changes[_find_key(entry)]),
            default=None,
        )

    def take_change(self, entry: CacheEntry) -> None:
        """Take note that ``entry`` is new, or not what it was."""
        self._change_count += 1
        self._changes[_find_key(entry)] = self._change_count

    def revive(self, entry: CacheEntry) -> bool:
        """Use ``entry``'s care-of address again, as it has been tested; return if it had failed."""
        failed = _find_key(entry) in self._failed
        self._failed.discard(_find_key(entry))
        return failed

    def forget(self, entry: CacheEntry) -> None:
        """Take note that ``entry`` is in the cache no more."""
        self._failed.discard(_find_key(entry))
        self._changes.pop(_find_key(entry), None)

    def give_up(self, care_of_address: IPv6Address) -> list[CacheEntry]:
        """Send no more by ``care_of_address`` until it is registered anew; return what it held.

        Deviates from RFC 6275 §9.3.4, which would delete the binding: what the mobile node sends
        from there may well arrive still.
        """
        lost = [
            entry
            for entry in self._cache.entries
            if entry.care_of_address == care_of_address and _find_key(entry) not in self._failed
        ]
        self._failed.update(map(_find_key, lost))
        return lost


def _find_key(entry: CacheEntry) -> Key:
    return entry.home_address, entry.ifid
