"""Duplicate address detection on the home link, for whoever is away (RFC 4862 §5.4)."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mrouter.agent.journal import note
from mrouter.protocol.events import DuplicateChecked

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv6Address

    from mrouter.links.home_link import HomeLink
    from mrouter.protocol.events import CheckDuplicate

#: How long to listen for an objection, in seconds (RFC 4861 §10, RETRANS_TIMER).
_PATIENCE = 1.0


class DuplicateDetector:
    """Runs the checks that the home agent asks for, and ``report``s how each one ended.

    While the home link can't be asked at all a check goes on: nothing may be bound unchecked.
    """

    def __init__(self, home_link: HomeLink, report: Callable[[DuplicateChecked], None]) -> None:
        self._home_link = home_link
        self._report = report
        self._checks: dict[IPv6Address, tuple[CheckDuplicate, asyncio.TimerHandle]] = {}

    def start(self, check: CheckDuplicate) -> None:
        """Begin with ``check``."""
        heard = True
        for address in check.addresses:
            try:
                self._home_link.probe(address)
            except OSError as error:
                heard = False
                note("home-link-unavailable", logging.ERROR, error=str(error))
        then = self._pass if heard else self.start
        timer = asyncio.get_running_loop().call_later(_PATIENCE, then, check)
        self._checks[check.home_address] = check, timer

    def listen(self) -> None:
        """Read what is said on the home link; an objection ends a check at once."""
        for address in self._home_link.receive():
            for check, timer in tuple(self._checks.values()):
                if address in check.addresses:
                    timer.cancel()
                    self._finish(check, duplicate=True)

    def stop(self) -> None:
        """Give all checks up."""
        for _check, timer in self._checks.values():
            timer.cancel()

    def _pass(self, check: CheckDuplicate) -> None:
        self._finish(check, duplicate=False)

    def _finish(self, check: CheckDuplicate, *, duplicate: bool) -> None:
        del self._checks[check.home_address]
        for address in check.addresses:
            self._home_link.end_probe(address)
        self._report(DuplicateChecked(check.home_address, duplicate))
