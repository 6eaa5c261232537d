"""What happens to a fleet: links that move, come and go; machines that crash, stop and forge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleet_network import Link
from fleet_plan import KINDS
from fleet_router import RouterBox

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from fleet import Fleet

#: Seconds between two looks at the traffic that a correspondent node sees of a router.
_TRAFFIC_INTERVAL = 60.0
#: At most this old is a state file when its agent crashes, in seconds.
_SAVE_DELAY = 0.5


class Movement:
    """Draws what happens next to every link and every machine."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._random = fleet.random
        self._plan = fleet.plan

    def make_router(self, number: int) -> RouterBox:
        draw, plan = self._random, self._plan
        skew = draw.uniform(-plan.clock_error, plan.clock_error) if number % 2 else 0.0
        if draw.random() < plan.wrong_clocks:
            skew = draw.choice((-3600.0, 3600.0))
        router = RouterBox(self._fleet, number, skew)
        router.links = [Link(number, kind, ifpri) for ifpri, kind in enumerate(KINDS)]
        return router

    def begin(self) -> None:
        fleet, plan = self._fleet, self._plan
        for router in fleet.routers:
            for link in router.links:
                if self._random.random() < 0.8:
                    self._come_up(router, link)
                else:
                    self._after(plan.link_down, self._come_up, router, link)
                self._after(plan.between_outages, self._fall_silent, router, link)
            fleet.call_loudly(self._random.uniform(0.0, 60.0), router.start)
            self._after(plan.between_restarts, self._restart_router, router)
            if router.settings.correspondents:
                fleet.call_loudly(_TRAFFIC_INTERVAL, self._show_traffic, router)
        self._after(plan.between_agent_restarts, self._restart_agent)
        for box in fleet.correspondents.values():
            self._after(plan.between_correspondent_restarts, self._restart_correspondent, box)
            fleet.repeat(300.0, box.note_use)
        self._after(plan.between_forgeries, self._forge)

    def _after(self, mean: float, function, *arguments: object) -> None:
        self._fleet.call_loudly(self._random.expovariate(1 / mean), function, *arguments)

    # --- links ----------------------------------------------------------------------------

    def _come_up(self, router: RouterBox, link: Link) -> None:
        self._fleet.network.lease(link, KINDS.index(link.kind))
        self._changed(router, link)
        self._after(self._plan.between_moves, self._move, router, link)

    def _come_back(self, router: RouterBox, link: Link, address: IPv6Address) -> None:
        """Come up again with the same address, unless somebody has it by now."""
        if address.packed in self._fleet.network.links:
            self._come_up(router, link)
            return
        self._fleet.network.attach(link, address)
        self._changed(router, link)
        self._after(self._plan.between_moves, self._move, router, link)

    def _move(self, router: RouterBox, link: Link) -> None:
        network, count = self._fleet.network, self._fleet.count
        old = link.addresses[0]
        chance = self._random.random()
        if chance < 0.10:
            count["priorities changed"] += 1
            first, second = self._random.sample(router.links, 2)
            first.ifpri, second.ifpri = second.ifpri, first.ifpri
            self._changed(router, first)
            self._after(self._plan.between_moves, self._move, router, link)
            return
        count["moves"] += 1
        if chance < 0.30:  # for a while it has both
            network.lease(link, KINDS.index(link.kind))
            self._changed(router, link)
            self._after(5.0, self._leave, router, link, old)
            return
        network.release(link, old)
        if chance < 0.65:
            self._come_up(router, link)
            return
        if chance < 0.68 and not any(router.home in each.addresses for each in router.links):
            count["returns home"] += 1
            network.attach(link, router.home)
            self._changed(router, link)
            self._after(self._plan.link_down, self._leave_home, router, link)
            return
        self._changed(router, link)
        if chance < 0.78:  # it was only a bridge
            self._after(10.0, self._come_back, router, link, old)
        else:
            count["links lost"] += 1
            self._after(self._plan.link_down, self._come_up, router, link)

    def _leave(self, router: RouterBox, link: Link, old: IPv6Address) -> None:
        self._fleet.network.release(link, old)
        self._changed(router, link)
        self._after(self._plan.between_moves, self._move, router, link)

    def _leave_home(self, router: RouterBox, link: Link) -> None:
        self._fleet.network.release(link, router.home)
        self._come_up(router, link)

    def _changed(self, router: RouterBox, link: Link) -> None:
        for each in router.links:  # what is wanted of the others may have changed, too
            good = each.up and each.outage_until <= self._fleet.now
            each.good_since = self._fleet.now if good else None
        if router.machine is not None:
            router.tell_links()

    def _fall_silent(self, router: RouterBox, link: Link) -> None:
        """Lose everything for a while; the router only sees that no answer comes."""
        self._fleet.count["outages"] += 1
        length = self._random.expovariate(1 / self._plan.outage)
        link.outage_until = self._fleet.now + length
        link.good_since = None
        self._fleet.call_later(length, self._be_heard, link)
        self._after(self._plan.between_outages, self._fall_silent, router, link)

    def _be_heard(self, link: Link) -> None:
        if link.up and link.outage_until <= self._fleet.now and link.good_since is None:
            link.good_since = self._fleet.now

    # --- machines -------------------------------------------------------------------------

    def _restart_router(self, router: RouterBox) -> None:
        chance = self._random.random()
        off = self._random.expovariate(1 / 20.0)
        if router.machine is not None:
            if chance < 0.6:
                keeps_memory = chance < 0.4
                router.crash_soon(_SAVE_DELAY * self._random.random(), keeps_memory=keeps_memory)
                off += _SAVE_DELAY
                self._fleet.count[
                    f"router crashes, memory {'kept' if keeps_memory else 'lost'}"
                ] += 1
            else:
                router.shut_down(deregister=chance < 0.85)
                off *= 15.0
                self._fleet.count["router shutdowns"] += 1
            self._fleet.call_loudly(off, router.start)
        self._after(self._plan.between_restarts, self._restart_router, router)

    def _restart_agent(self) -> None:
        keeps_memory = self._random.random() < 0.7
        delay = _SAVE_DELAY * self._random.random()
        self._fleet.agent.crash_soon(delay, keeps_memory=keeps_memory)
        self._after(self._plan.between_agent_restarts, self._restart_agent)

    def _restart_correspondent(self, box) -> None:
        delay = _SAVE_DELAY * self._random.random()
        box.crash_soon(delay, keeps_memory=self._random.random() < 0.5)
        self._after(self._plan.between_correspondent_restarts, self._restart_correspondent, box)

    def _forge(self) -> None:
        if len(self._fleet.routers) > 1:
            forger, victim = self._random.sample(self._fleet.routers, 2)
            if forger.machine is not None and victim.machine is not None:
                forger.forge(victim)
        self._after(self._plan.between_forgeries, self._forge)

    def _show_traffic(self, router: RouterBox) -> None:
        """Let the correspondent node see a packet by each route that is taken for usable."""
        for route in () if router.machine is None else router.machine.routes:
            if route.binding.usable and self._random.random() < 0.9:
                box = self._fleet.correspondents[route.correspondent]
                address = route.binding.care_of_address
                self._fleet.call_later(0.1, box.see_traffic, address, router.home)
        self._fleet.call_loudly(_TRAFFIC_INTERVAL, self._show_traffic, router)
