"""Look at the DNS answers that pass, and have the flows obey what they tell.

An answer reaches its asker while it reaches us, so a flow may begin before its address is known:
when it is, what has begun towards it is classified again.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from mrouter.agent.journal import note
from mrouter.agent.name_book import NameBook
from mrouter.agent.overtaken import forget_flows_with
from mrouter.dataplane.name_sets import NAMES_GROUP, name_set_of, render_addresses
from mrouter.errors import DataplaneError, ParseError
from mrouter.packet_log import PacketLog
from mrouter.policy.domains import find_domain_lists, list_domains
from mrouter.wire.dns_answers import parse_dns_packet

if TYPE_CHECKING:
    import asyncio
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mrouter.agent.name_book import KnownName
    from mrouter.agent.policies_in_force import PoliciesInForce
    from mrouter.dataplane.family import Family
    from mrouter.dataplane.linux import LinuxDataplane
    from mrouter.dataplane.name_sets import KnownNames
    from mrouter.wire.dns_answers import NamedAddress

#: So many answers are read before their addresses are put in force in one go.
_BATCH = 64


class NameWatch:
    """The log of DNS answers, open while a policy asks for domains, and what they have told."""

    def __init__(
        self,
        dataplane: LinuxDataplane,
        events: Counter[tuple[str, str]],
        families: Sequence[Family],
        known: Iterable[KnownName],
        learnt: Callable[[], None],
    ) -> None:
        """Put addresses in ``dataplane``, count in ``events``, begin with what was ``known``.

        ``families`` are those that there are tables for. ``learnt`` is called when more is known,
        and in force.
        """
        self._dataplane = dataplane
        self._events = events
        self._families = families
        self._book = NameBook([family.value for family in families], known)
        self._learnt = learnt
        self._log: PacketLog | None = None
        self._policies: PoliciesInForce | None = None

    def follow(self, policies: PoliciesInForce, loop: asyncio.AbstractEventLoop) -> None:
        """Look for what these policies ask for.

        :raises DataplaneError: if the log can't be had; then all is as before.
        """
        lists = find_domain_lists(policies.table)
        if lists and self._log is None:
            self._log = PacketLog(NAMES_GROUP)
            loop.add_reader(self._log.fileno(), self._on_answers)
        elif not lists:
            self.close(loop)
        self._policies = policies
        self._book.follow(lists)

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look no more; what is in force stays until it runs out."""
        if self._log is not None:
            loop.remove_reader(self._log.fileno())
            self._log.close()
            self._log = None

    def list_known(self) -> KnownNames:
        """Return the addresses that are known now, by their lists of domains."""
        return self._book.list_known(time.monotonic())

    def list_rows(self) -> tuple[KnownName, ...]:
        """Return what the next run begins with."""
        return self._book.list_rows(time.monotonic())

    def _on_answers(self) -> None:
        longer, fresh = self._book.learn(self._read_answers(), time.monotonic())
        if self._book.refused:
            self._events["dns-answer-refused", "too-many-addresses"] += self._book.refused
            self._book.refused = 0
        try:
            for domains, addresses in longer.items():
                for family in self._families:
                    name = name_set_of(domains, family)
                    elements = render_addresses(addresses, family)
                    self._dataplane.renew_elements(family, name, elements)
        except DataplaneError as error:
            # they are put in with the set, when it is made
            note("names-not-in-force", logging.WARNING, error=str(error))
            return
        if self._policies is not None:
            for domains, addresses in fresh.items():
                forget_flows_with(addresses, _find_concerned(self._policies, domains))
        if longer:
            self._learnt()

    def _read_answers(self) -> Iterator[NamedAddress]:
        for packet, _mark in self._log.receive(_BATCH) if self._log is not None else ():
            try:
                yield from parse_dns_packet(packet)
            except ParseError as error:
                self._events["dns-answer-refused", error.reason] += 1


def _find_concerned(policies: PoliciesInForce, domains: tuple[str, ...]) -> dict[int, str]:
    """Return, by their numbers, the policies whose flows the addresses of ``domains`` concern.

    They are the first that asks for them, since it may do so by negation, and all after it.
    """
    active = policies.timetable.active.policies
    first = next(
        (at for at, policy in enumerate(active) if domains in list_domains(policy.match)),
        len(active),
    )
    concerned = {policy.name for policy in active[first:]}
    return {number: name for number, name in policies.names.items() if name in concerned}
