"""What is sent for an optimized route: tests and Binding Updates (RFC 6275 §11.6, §11.7, §11.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mrouter.protocol.egress import find_source
from mrouter.protocol.events import SendPacket
from mrouter.protocol.routability import RoutabilityTest
from mrouter.protocol.route_binding import (
    build_care_of_test_init,
    build_home_test_init,
    build_route_update,
)
from mrouter.protocol.send_rate import SendRate
from mrouter.protocol.settings import MAX_RR_BINDING_LIFETIME
from mrouter.protocol.update_list import SEQUENCES

if TYPE_CHECKING:
    from ipaddress import IPv6Address
    from random import Random

    from mrouter.protocol.events import Effect
    from mrouter.protocol.route_binding import RouteBinding
    from mrouter.protocol.route_list import RouteList
    from mrouter.protocol.settings import MobileRouterSettings


class RouteSender:
    """Sends what the bindings of ``routes`` wait for, as far as rates and tokens allow.

    ``home_test`` is the one return routability test of the home address, which all bindings share;
    ``sequence`` is the last Binding Update's. ``lifetime`` is what is asked for, in seconds;
    ``updates_at`` when Binding Updates that wait may go on, monotonic.
    """

    def __init__(
        self,
        correspondent: IPv6Address,
        settings: MobileRouterSettings,
        random: Random,
        routes: RouteList,
    ) -> None:
        self._correspondent = correspondent
        self._settings = settings
        self._random = random
        self._list = routes
        lifetime = min(settings.route_lifetime, MAX_RR_BINDING_LIFETIME)
        self.lifetime = max(lifetime // 4 * 4, 4)
        self.home_test = RoutabilityTest()
        self.sequence = random.randrange(SEQUENCES)
        self.updates_at: float | None = None
        self._home_test_rate, self._care_of_test_rate = SendRate(), SendRate()
        self._update_rate = SendRate()

    @property
    def is_asking(self) -> bool:
        """Whether an answer is waited for, to a test or a Binding Update."""
        return self.home_test.due_at is not None or any(
            binding.awaiting or binding.test.due_at is not None for binding in self._list.bindings
        )

    def send_updates(self, now: float) -> list[Effect]:
        """Send the Binding Updates that there are tokens for, and ask for the missing tokens."""
        effects: list[Effect] = []
        self.updates_at = None
        for binding in self._list.bindings:
            if not binding.waits:
                continue
            at = self._update_rate.find_time(now)
            if at > now:
                self.updates_at = at
                break
            update = self.send_update(binding, now)
            if update is not None:
                effects.append(update)
                continue
            home_is_fresh = self.home_test.is_fresh(now)
            if not home_is_fresh and self._can_test_home:
                self.home_test.begin(now)
            untested = not binding.is_ending and not binding.test.is_fresh(now)
            if untested and (home_is_fresh or self._can_test_home):
                binding.test.begin(now)
        return effects

    @property
    def _can_test_home(self) -> bool:
        """Whether a Home Test Init reaches the correspondent node (RFC 6275 §11.6.3)."""
        return bool(self._list.situation.addresses) and (
            self._list.situation.registered or self._list.situation.at_home
        )

    def send_update(self, binding: RouteBinding, now: float) -> SendPacket | None:
        """Send ``binding``'s Binding Update, if there are a link and fresh tokens."""
        home_address = self._settings.home_address
        source = find_source(self._list.situation.addresses, home_address, binding)
        tested = binding.is_ending or binding.test.is_fresh(now)
        if source is None or not tested or not self.home_test.is_fresh(now):
            return None
        lifetime = 0 if binding.is_ending else self.lifetime
        self.sequence = (self.sequence + 1) % SEQUENCES
        binding.sequence = self.sequence
        binding.waits = False
        binding.mark_sent(now, source.address, lifetime)
        self._update_rate.book(now)
        return build_route_update(
            self._settings, self._correspondent, binding, source, self.home_test, lifetime
        )

    def send_tests(self, now: float) -> list[Effect]:
        """Send the Inits that are due, and end the tests that nothing waits for any more."""
        effects: list[Effect] = []
        waiting = [binding for binding in self._list.bindings if binding.waits]
        if not waiting or not self._can_test_home:
            self.home_test.stop()
        if self.home_test.is_due(self._home_test_rate, now):
            cookie = self.home_test.mark_sent(now, self._random, self._home_test_rate)
            init = build_home_test_init(self._settings.home_address, self._correspondent, cookie)
            at_home = self._list.situation.at_home
            effects.append(SendPacket(init, via_home_agent=not at_home))
        for binding in self._list.bindings:
            if not binding.waits:
                binding.test.stop()
            if binding.test.is_due(self._care_of_test_rate, now):
                cookie = binding.test.mark_sent(now, self._random, self._care_of_test_rate)
                test_init = build_care_of_test_init(self._correspondent, binding, cookie)
                effects.append(SendPacket(test_init, link=binding.egress.link))
        return effects
