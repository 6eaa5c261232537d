"""Which addresses the policies' domain names have, as DNS answers have told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.dataplane.name_sets import MOST_ADDRESSES
from mrouter.policy.domains import matches_domain

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mrouter.dataplane.name_sets import KnownNames
    from mrouter.policy.model import Address
    from mrouter.wire.dns_answers import NamedAddress

    #: A name, its address, and until when it is known, monotonic seconds.
    KnownName = tuple[str, Address, float]

#: Seconds that an address is known at least, since its flow may begin as late, and at most.
LEAST_LIFETIME = 60
MOST_LIFETIME = 86400

_Domains = tuple[str, ...]


class NameBook:
    """The addresses of the names that lists of domains stand for, while answers last."""

    def __init__(self, versions: Collection[int], rows: Iterable[KnownName] = ()) -> None:
        """Take addresses of these IP ``versions``; begin with what another run has known."""
        self._versions = versions
        self._until = {(name, address): until for name, address, until in rows}
        self._lists: tuple[_Domains, ...] = ()
        self._known: dict[_Domains, dict[Address, float]] = {}
        #: How many addresses were not taken since too many were known.
        self.refused = 0

    def follow(self, lists: tuple[_Domains, ...]) -> None:
        """Look for names of these lists; what is known of other names is of use if they return."""
        self._lists = lists
        self._known = {domains: {} for domains in lists}
        for (name, address), until in self._until.items():
            for domains in self._find_lists(name):
                known = self._known[domains]
                known[address] = max(until, known.get(address, until))

    def learn(self, answers: Iterable[NamedAddress], now: float) -> tuple[KnownNames, KnownNames]:
        """Take ``answers`` at ``now``, monotonic seconds.

        Returns, by their lists, the addresses that are known for longer than they were, and those
        of them that were not known.
        """
        longer: dict[_Domains, dict[Address, int]] = {}
        fresh: dict[_Domains, dict[Address, int]] = {}
        for answer in answers:
            address = answer.address
            if address.version not in self._versions:
                continue
            names = [name for name in answer.names if self._find_lists(name)]
            if not self._has_room(len(names), now):
                self.refused += 1
                continue
            seconds = min(max(answer.lifetime, LEAST_LIFETIME), MOST_LIFETIME)
            until = now + seconds
            for name in names:
                self._until[name, address] = max(until, self._until.get((name, address), until))
                for domains in self._find_lists(name):
                    before = self._known[domains].get(address, now)
                    if until > before:
                        self._known[domains][address] = until
                        longer.setdefault(domains, {})[address] = seconds
                    if before <= now:
                        fresh.setdefault(domains, {})[address] = seconds
        return longer, fresh

    def list_known(self, now: float) -> KnownNames:
        """Return the addresses that are known ``now``, by their lists, and for how long."""
        return {
            domains: {
                address: int(until - now) for address, until in known.items() if until - now >= 1
            }
            for domains, known in self._known.items()
        }

    def list_rows(self, now: float) -> tuple[KnownName, ...]:
        """Return what another run begins with: what is known ``now``."""
        return tuple((*row, until) for row, until in self._until.items() if until > now)

    def _has_room(self, count: int, now: float) -> bool:
        if len(self._until) + count > MOST_ADDRESSES:
            self._until = {
                (name, address): until
                for (name, address), until in self._until.items()
                if until > now and self._find_lists(name)
            }
            self.follow(self._lists)
        return len(self._until) + count <= MOST_ADDRESSES

    def _find_lists(self, name: str) -> list[_Domains]:
        return [
            domains
            for domains in self._lists
            if any(matches_domain(domain, name) for domain in domains)
        ]
