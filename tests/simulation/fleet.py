"""A fleet in one process: mobile routers, their home agent and correspondent nodes, in events.

The machines are the real ones and exchange real, signed bytes; time, network and movement are
simulated, and the same seed makes the same history. Run it by itself to play a failure again.
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from heapq import heappop, heappush
from random import Random
from typing import TYPE_CHECKING

from fleet_checks import Checks
from fleet_movement import Movement
from fleet_network import Network
from fleet_nodes import AgentBox, CorrespondentBox
from fleet_plan import Plan, make_agent_settings, make_correspondent_settings, read_plan
from fleet_sizes import count_items

from mrouter.protocol.correspondent_node import CorrespondentNode
from mrouter.protocol.home_agent import HomeAgent
from mrouter.wire.format import WireFormat
from mrouter.wire.messages import find_option
from mrouter.wire.options import CareOfAddressInformation

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from fleet_nodes import Box

    from mrouter.wire.messages import Packet

#: Items in all containers of a router; and for each router in those of one that it talks to, which
#: keeps up to 256 timestamps or sequence numbers, bindings and their deadlines.
ROUTER_ITEMS = 100
ITEMS_A_ROUTER = 400
#: Just before the quiet ends, not at the instant when others begin to make noise.
_EPSILON = 1e-6


class BrokenInvariantError(AssertionError):
    """Something happened that must not; the message says how to see it again."""


class Fleet:
    """One simulation: ``run`` it, then read ``count``.

    ``make_agent`` and ``make_correspondent`` may be other than the real machines, to prove that
    the checks see what is wrong with them.
    """

    def __init__(
        self,
        plan: Plan,
        make_agent: Callable[..., Any] = HomeAgent,
        make_correspondent: Callable[..., Any] = CorrespondentNode,
    ) -> None:
        self.plan = plan
        self.format = WireFormat(plan.dialect)
        self.random = Random(plan.seed)
        self.now = 0.0
        self.quiet = False
        self.count: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        self.updates_sent = 0
        self.make_agent = make_agent
        self.make_correspondent = make_correspondent
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._pushed = 0
        self._ends_at = plan.seconds + plan.final_quiet
        self._quiet_until = 0.0
        self.checks = Checks(self)
        self.network = Network(self)
        self.agent_settings = make_agent_settings(plan)
        self.agent = AgentBox(self)
        made = [
            CorrespondentBox(self, make_correspondent_settings(number))
            for number in range(plan.correspondents)
        ]
        self.correspondents = {box.settings.address: box for box in made}
        self.peers = [self.agent, *made]
        self.movement = Movement(self)
        self.routers = [self.movement.make_router(number) for number in range(plan.routers)]
        self.by_home = {router.home.packed: router for router in self.routers}
        self.network.nodes = {self.agent_settings.address.packed: self.agent}
        self.network.nodes |= {address.packed: box for address, box in self.correspondents.items()}
        self.network.homes = set(self.by_home)

    # --- time -----------------------------------------------------------------------------

    def call_at(self, moment: float, function: Callable[..., None], *arguments: object) -> None:
        self._pushed += 1
        heappush(self._heap, (moment, self._pushed, function, arguments))

    def call_later(self, delay: float, function: Callable[..., None], *arguments: object) -> None:
        self.call_at(self.now + delay, function, *arguments)

    def call_loudly(self, delay: float, function: Callable[..., None], *arguments: object) -> None:
        """Call in ``delay`` seconds, or later if it is quiet then."""
        self.call_later(delay, self._call_loudly, function, arguments)

    def _call_loudly(self, function: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if self.quiet:
            delay = self._quiet_until - self.now + self.random.uniform(0.0, 60.0)
            self.call_later(delay, self._call_loudly, function, arguments)
        else:
            function(*arguments)

    def repeat(self, interval: float, function: Callable[[], None]) -> None:
        """Call ``function`` every ``interval`` seconds."""

        def call() -> None:
            function()
            self.call_later(interval, call)

        self.call_later(interval, call)

    def run(self) -> None:
        """Play the plan; raises ``BrokenInvariantError``."""
        for box in self.peers:
            box.start()
        self.movement.begin()
        self.repeat(self.plan.between_sweeps, self.checks.sweep)
        quiet_at = self.plan.between_quiets
        while quiet_at + self.plan.quiet < self.plan.seconds:
            self.call_at(quiet_at, self._begin_quiet, self.plan.quiet)
            quiet_at += self.plan.between_quiets
        self.call_at(self.plan.seconds, self._begin_quiet, self.plan.final_quiet)
        heap = self._heap
        gc.collect()
        gc.freeze()
        while heap[0][0] < self._ends_at:
            self.now, _, function, arguments = heappop(heap)
            self.count["events"] += 1
            function(*arguments)
        gc.unfreeze()
        self.now = self._ends_at
        self.check_sizes()

    def _begin_quiet(self, duration: float) -> None:
        self.quiet = True
        self._quiet_until = self.now + duration
        for router in self.routers:
            for link in router.links:
                link.outage_until = 0.0
        self.call_later(duration - _EPSILON, self._end_quiet)

    def _end_quiet(self) -> None:
        self.checks.check_agreement()
        self.count["quiet times"] += 1
        self.quiet = False

    # --- counting -------------------------------------------------------------------------

    def count_update(self) -> int:
        """Return the number of a Binding Update that is sent now."""
        self.updates_sent += 1
        return self.updates_sent

    def check_sizes(self) -> None:
        """Nobody remembers more and more."""
        for box in (*self.peers, *self.routers):
            bound = ITEMS_A_ROUTER * len(self.routers) if box in self.peers else ROUTER_ITEMS
            items = count_items(box.machine)
            self.sizes[type(box).__name__] = max(items, self.sizes[type(box).__name__])
            if items > bound:
                self.fail(f"{box.name} remembers {items} items, more than {bound}", box)

    def report(self) -> str:
        """Return what happened, and how often; of the machines the size of the largest."""
        sizes = Counter({f"items in the largest {name}": n for name, n in self.sizes.items()})
        happened = sorted((self.count + sizes).items())
        return "\n".join(f"{number:>10}  {what}" for what, number in happened)

    def fail(self, text: str, box: Box) -> NoReturn:
        trail = "\n".join(
            f"  {at:.3f} {verb} {_describe(packet)}" for at, verb, packet in box.trail
        )
        raise BrokenInvariantError(
            f"{text}\nat {self.now:.6f} s, seed {self.plan.seed}; play it again:\n"
            f"  {self.plan.replay}\nthe last that {box.name} did:\n{trail}"
        )


def _describe(packet: Packet) -> str:
    message = packet.message
    fields = [type(message).__name__, f"{packet.source} > {packet.destination}"]
    names = [name for name in ("sequence", "lifetime", "status") if hasattr(message, name)]
    fields += [f"{name} {getattr(message, name)}" for name in names]
    information = find_option(message, CareOfAddressInformation)
    if information is not None:
        fields.append(f"IFID {information.ifid} IFPRI {information.ifpri}")
    return " ".join(fields)


def main() -> None:
    """Play one history and print what happened in it."""
    fleet = Fleet(read_plan())
    began = time.perf_counter()
    fleet.run()
    print(fleet.report())
    print(f"{time.perf_counter() - began:>10.1f}  seconds of real time")


if __name__ == "__main__":
    main()
