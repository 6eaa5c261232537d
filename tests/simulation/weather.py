"""A drive through link weather: the real agents of a mobile router and its home agent.

Sockets, kernels and time are simulated; the same seed makes the same drive. Run it by itself to
play a failure again.
"""

from __future__ import annotations

import time
from collections import Counter
from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING

from weather_agents import Machinery
from weather_checks import LOOK_INTERVAL, ServiceChecks
from weather_nodes import HomeNode, Link, RouterNode
from weather_plan import KINDS, LIFETIME, LONGEST_DELAY, WeatherPlan, read_weather_plan

from mrouter.agent.downlink import compile_downlink

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from ipaddress import IPv6Address
    from typing import Any

    from weather_agents import Node

#: Where the clock begins: nothing is at zero by chance.
START = 1000.0
_JITTER = 0.2


class Weather:
    """One drive: ``run`` it, then read ``count`` and ``checks``."""

    def __init__(self, plan: WeatherPlan) -> None:
        self.plan = plan
        self.random = Random(plan.seed)
        self.now = START
        self.count: Counter[str] = Counter()
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._pushed = 0
        self._ends_at = START + plan.seconds
        self._machinery = Machinery(self)
        self.links = {
            kind.name: Link(kind, number, self.random) for number, kind in enumerate(KINDS, start=1)
        }
        self.home = HomeNode(self)
        self.router = RouterNode(self)
        self.nodes: tuple[Node, ...] = (self.home, self.router)
        self._settled_at = START
        self._crashed_at: dict[Node, float] = {}
        self.checks = ServiceChecks(self)
        downlink = compile_downlink(self.router.policies)
        self.compiled = {flow.policy: flow.wanted.selector for flow in downlink}

    # --- time -----------------------------------------------------------------------------

    def call_later(self, delay: float, function: Callable[..., None], *arguments: Any) -> None:
        self._pushed += 1
        heappush(self._heap, (self.now + delay, self._pushed, function, arguments))

    def building(self, node: Node) -> AbstractContextManager[None]:
        """Make the stand-ins of ``node``'s."""
        return self._machinery.building(node)

    def run(self) -> None:
        """Drive; raises ``BrokenServiceError``."""
        with self._machinery.in_place():
            self.home.start()
            self.router.start()
            self._begin()
            while self._heap[0][0] < self._ends_at:
                self.now, _, function, arguments = heappop(self._heap)
                self.count["events"] += 1
                function(*arguments)

    def _repeat(self, interval: float, function: Callable[[], None]) -> None:
        def call() -> None:
            function()
            self.call_later(interval, call)

        self.call_later(interval, call)

    def _repeat_randomly(self, mean: float, function: Callable[..., None], *arguments: Any) -> None:
        def call() -> None:
            function(*arguments)
            self.call_later(self.random.expovariate(1 / mean), call)

        self.call_later(self.random.expovariate(1 / mean), call)

    # --- packets --------------------------------------------------------------------------

    def find_interface(self, interface: str | None) -> Link:
        return next(link for link in self.links.values() if link.kind.interface == interface)

    def send_up(
        self, link: Link, source: IPv6Address, arrive: Callable[..., None], *arguments: Any
    ) -> None:
        """Carry a packet to the home agent's machine."""
        if not link.carries_up(source) or not link.is_lucky():
            self.count["packets lost"] += 1
            return

        def reach() -> None:
            if not self.home.away:
                arrive(*arguments)

        self.call_later(self._delay(link), reach)

    def send_down(
        self, destination: IPv6Address, arrive: Callable[..., None], *arguments: Any
    ) -> None:
        """Carry a packet from the home agent's machine to a care-of address."""
        link = next((each for each in self.links.values() if each.has(destination)), None)
        if link is None or not link.carries_down(destination) or not link.is_lucky():
            self.count["packets lost"] += 1
            return

        def reach() -> None:
            if link.carries_down(destination):
                arrive(*arguments)

        self.call_later(self._delay(link), reach)

    def _delay(self, link: Link) -> float:
        return link.delay * (1 - _JITTER * self.random.random())

    # --- weather --------------------------------------------------------------------------

    @property
    def ready_since(self) -> float | None:
        """Since when both agents are there, None while one is not."""
        if self.home.agent is None or self.router.agent is None or self.home.away:
            return None
        return max(self.home.started_at, self.router.started_at, self._settled_at)

    def _begin(self) -> None:
        for link in self.links.values():
            self._repeat_randomly(self.plan.between_showers, self._shower, link)
        self._repeat_randomly(self.plan.between_tunnels, self._tunnel)
        self._repeat_randomly(self.plan.between_outages, self._outage)
        self._repeat_randomly(self.plan.between_agent_restarts, self._restart_home_agent)
        self._repeat_randomly(self.plan.between_router_restarts, self._restart, self.router)
        self._repeat(self.plan.between_sizes, self.checks.check_sizes)
        self._repeat(LOOK_INTERVAL, self.checks.judge)
        self.changed()

    def changed(self, what: str = "") -> None:
        """Let everybody see what the weather is now."""
        for link in self.links.values():
            if not link.is_good:
                link.good_since = None
            elif link.good_since is None:
                link.good_since = self.now
        if what:
            self.checks.note(what)
        self.checks.look()

    def _draw_duration(self) -> float:
        draw = self.random.random
        kind = draw()
        if kind < 0.4:
            return 0.05 + 2.0 * draw()
        if kind < 0.9:
            return 2.0 + 28.0 * draw()
        return 30.0 + 150.0 * draw()

    def _shower(self, link: Link) -> None:
        kinds = ("cut", "no address", "renumbered", "silent up", "silent down", "silent", "lossy")
        kind = self.random.choice((*kinds, "slow", "flapping"))
        self.count[f"{kind} links"] += 1
        duration = self._draw_duration()
        if kind == "renumbered":
            self._renumber(link)
        elif kind == "flapping":
            trouble = self.random.choice(("cut", "silent", "silent up", "silent down"))
            self._flap(link, trouble, self.random.randrange(3, 15))
        else:
            self._trouble(link, kind, duration)

    def _trouble(self, link: Link, kind: str, duration: float) -> None:
        undo = self._do(link, kind)
        self._link_changed(link, f"{link.kind.name} {kind} for {duration:.2f} s")

        def end() -> None:
            undo()
            self._link_changed(link, f"{link.kind.name} no longer {kind}")

        self.call_later(duration, end)

    def _flap(self, link: Link, trouble: str, times: int) -> None:
        self._trouble(link, trouble, self.random.uniform(0.05, 1.5))
        if times:
            self.call_later(self.random.uniform(0.5, 4.0), self._flap, link, trouble, times - 1)

    def _do(self, link: Link, kind: str) -> Callable[[], None]:
        """Begin a trouble; return what ends it."""
        if kind == "lossy":
            loss = self.random.uniform(0.02, 0.25)
            link.losses.append(loss)
            return lambda: link.losses.remove(loss)
        if kind == "slow":
            link.delay = self.random.uniform(link.kind.delay, LONGEST_DELAY)
            return lambda: setattr(link, "delay", link.kind.delay)
        names = {
            "cut": ("cuts",),
            "no address": ("without_address",),
            "silent up": ("silent_up",),
            "silent down": ("silent_down",),
            "silent": ("silent_up", "silent_down"),
        }[kind]

        def add(step: int) -> None:
            for name in names:
                setattr(link, name, getattr(link, name) + step)

        add(1)
        return lambda: add(-1)

    def _renumber(self, link: Link) -> None:
        link.hosts += 1
        link.good_since = None
        self._link_changed(link, f"{link.kind.name} renumbered: {link.address}")

    def _link_changed(self, link: Link, what: str) -> None:
        self.changed(what)
        self.router.tell_links()

    def _tunnel(self) -> None:
        """Drive where no link carries, or none but one."""
        self.count["tunnels"] += 1
        spared = self.random.choice((None, *self.links))
        kind = self.random.choice(("silent", "cut", "silent up", "silent down"))
        for link in self.links.values():
            if link.kind.name != spared:
                self._trouble(link, kind, self._draw_duration())

    def _outage(self) -> None:
        self.count["outages of the home agent's network"] += 1
        self.home.away += 1
        duration = self._draw_duration()
        self.changed(f"home agent out of reach for {duration:.2f} s")

        def end() -> None:
            self.home.away -= 1
            self._settled_at = self.now
            self.changed("home agent in reach")

        self.call_later(duration, end)

    def _restart_home_agent(self) -> None:
        if self.random.random() < 0.2 and self.home.agent is not None:
            self.count["reboots of the home agent"] += 1
            self.home.reboot()
            self.changed("home agent reboots")
            # what stands at the mobile router is refreshed within its lifetime
            self._settled_at = self.now + 20.0 + LIFETIME
            self.call_later(self.random.uniform(1.0, 20.0), self._start, self.home)
        else:
            self._restart(self.home)

    def _restart(self, node: Node) -> None:
        if node.agent is None:
            return
        name = type(node).__name__
        self.count[f"restarts of {name}"] += 1
        node.crash()
        self._crashed_at[node] = self.now
        self.changed(f"{name} crashes")
        self.call_later(self.random.uniform(0.5, 20.0), self._start, node)

    def _start(self, node: Node) -> None:
        node.start()
        if node is self.home:
            # a Binding Update that has waited for it is repeated before it has waited twice as long
            waited = self.now - self._crashed_at.get(node, self.now)
            self._settled_at = max(self._settled_at, self.now + waited + 2.0)
        self.changed(f"{type(node).__name__} starts")

    # --- what happened --------------------------------------------------------------------

    def report(self) -> str:
        """Return what happened, and how often."""
        happened = dict(self.count)
        happened |= {
            f"gaps of flows that were owed service, {k}": n for k, n in self.checks.gaps.items()
        }
        happened |= {f"items in {name}": n for name, n in self.checks.sizes.items()}
        happened |= {"longest gap, ms": round(1000 * self.checks.longest_gap)}
        return "\n".join(f"{number:>10}  {what}" for what, number in sorted(happened.items()))


def main() -> None:
    """Drive once and print what happened."""
    weather = Weather(read_weather_plan())
    began = time.perf_counter()
    weather.run()
    print(weather.report())
    print(f"{time.perf_counter() - began:>10.1f}  seconds of real time")


if __name__ == "__main__":
    main()
