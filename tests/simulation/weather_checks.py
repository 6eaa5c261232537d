"""What must always hold: service by any link that is good, and nothing that grows.

A flow is owed service while a link of its policy's is *good*: carrier, an address, nothing lost in
either direction, and both agents are there. ``find_grace`` says how long after that, and after
service was lost, it may take.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from fleet_sizes import count_items
from weather_plan import LONGEST_DELAY

from mrouter.links.link_health import ANSWERS_TO_RISE
from mrouter.links.probes import TIMINGS
from mrouter.policy.model import Balance
from mrouter.protocol.update_list import INITIAL_BINDACK_TIMEOUT
from mrouter.wire.traffic_selectors import TrafficSelector

if TYPE_CHECKING:
    from weather import Weather
    from weather_nodes import Link

    from mrouter.links.probes import ProbeProfile
    from mrouter.policy.model import Policy
    from mrouter.protocol.bindings import CacheEntry

#: Items in all containers of an agent's machines, at most.
MOST_ITEMS = {"RouterNode": 1500, "HomeNode": 1500}
#: How often what lacks service is looked at, in seconds.
LOOK_INTERVAL = 0.05
#: Binding Updates that a link with random loss may swallow: that they are repeated takes
#: 1 + 2 + 4 + 8 seconds, and so long after the loss is over as well.
LOSSY_SLACK = 15.0


class BrokenServiceError(AssertionError):
    """A flow was not served; the message says how to see it again."""


class Direction(NamedTuple):
    """One direction of a policy's flows; ``number`` tells those that began at another time."""

    policy: str
    way: str
    number: int


def find_grace(profile: ProbeProfile) -> float:
    """Return the seconds within which a flow must have found its good link.

    A silent link is found out twice in the worst case: first it only ceases to vouch for others, so
    that one which was held down may rise, and when that one has been registered and has answered
    for as long, the silent one is left. A patience is at most the longest round trip and four of
    its variations, which a change of delay brings to a quarter of that change.
    """
    timing = TIMINGS[profile]
    round_trip = 2 * LONGEST_DELAY
    patience = 2 * round_trip
    silence = max(timing.silence, timing.interval + 2 * patience)
    rise = ANSWERS_TO_RISE * 1.1 * timing.interval + round_trip
    # a Binding Update may have gone by a link whose silence was not known yet: it is repeated
    registration = INITIAL_BINDACK_TIMEOUT + round_trip
    return 2 * silence + rise + registration


class ServiceChecks:
    """Looks at both kernels whenever one of them, or the weather, has changed."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self._absent: dict[Direction, float] = {}
        self._came_by: dict[int, set[int]] = {}
        self._calm_since = 0.0
        self.grace = find_grace(weather.plan.probe)
        self.gaps: Counter[str] = Counter()
        self.longest_gap = 0.0
        self.sizes: Counter[str] = Counter()
        self.trail: deque[str] = deque(maxlen=60)

    def note(self, text: str) -> None:
        """Remember what happened, for a failure's message."""
        self.trail.append(f"  {self._weather.now:.3f} {text}")

    # --- service --------------------------------------------------------------------------

    def look(self) -> None:
        """See which flows are served now."""
        now = self._weather.now
        served = self._find_served()
        for direction, works in served.items():
            if not works:
                self._absent.setdefault(direction, now)
            elif direction in self._absent:
                self._count_gap(direction)
                del self._absent[direction]
        self._absent = {each: at for each, at in self._absent.items() if each in served}

    def _count_gap(self, direction: Direction) -> None:
        owed = self._find_owed(direction)
        if owed is not None:
            self.longest_gap = max(self.longest_gap, owed[0])
            self.gaps[direction.way] += 1

    def judge(self) -> None:
        """Fail if a flow has been without service for too long though a link of its is good.

        Or if an agent has made a mistake, which costs an event.
        """
        weather = self._weather
        for node in weather.nodes:
            events = () if node.agent is None else node.agent._events
            mistakes = [event for event in events if event[0] == "internal-error"]
            if mistakes:
                self.fail(f"{type(node).__name__} made mistakes: {mistakes}")
        if any(link.losses for link in weather.links.values()):
            self._calm_since = weather.now
        calm = weather.now - self._calm_since > LOSSY_SLACK
        grace = self.grace if calm else self.grace + LOSSY_SLACK
        for direction in self._absent:
            owed = self._find_owed(direction)
            if owed is not None and owed[0] > grace:
                self._fail(direction, *owed)

    def _find_owed(self, direction: Direction) -> tuple[float, Link] | None:
        """Return for how long owed service has been missing, and the link that was good."""
        weather = self._weather
        ready = weather.ready_since
        if ready is None:
            return None
        absent = self._absent[direction]
        links = self._find_policy(direction.policy).action.links
        good = [weather.links[name] for name in links if weather.links[name].good_since is not None]
        best = min(good, key=self._find_usable_since, default=None)
        if best is None:
            return None
        return weather.now - max(absent, ready, self._find_usable_since(best)), best

    def _find_usable_since(self, link: Link) -> float:
        """Return since when ``link``, which is good, was to be used.

        One that has been silent again and again is held down while there is another, which need
        not be the policy's.
        """
        others = (each for each in self._weather.links.values() if each is not link)
        if not any(self._is_carrying(other) for other in others):
            return link.good_since
        lines = self._weather.router.agent._prober._board._lines
        line = lines.get((link.kind.name, link.address))
        return max(link.good_since, 0.0 if line is None else line.health.held_until)

    def _is_carrying(self, link: Link) -> bool:
        path = self._weather.router.paths.get(link.kind.name)
        return path is not None and link.carries_up(path.care_of_address)

    def _find_policy(self, name: str) -> Policy:
        policies = self._weather.router.policies.policies
        return next(policy for policy in policies if policy.name == name)

    def _find_served(self) -> dict[Direction, bool]:
        """Return for each flow and direction whether what is sent arrives."""
        router = self._weather.router
        served: dict[Direction, bool] = {}
        for number, links in router.active.items():
            name = router.names[number]
            carried = [link for link in links if self._carries_up(link)]
            shared = isinstance(self._find_policy(name).action, Balance)
            works = len(carried) == len(links) > 0 if shared else bool(carried)
            served[Direction(name, "up", number)] = works
            served[Direction(name, "back", number)] = self._comes_back(name, number, carried)
            served[Direction(name, "down", 0)] = self._arrives(self._choose_by_flow(name))
        return served

    def _carries_up(self, name: str) -> bool:
        path = self._weather.router.paths.get(name)
        if path is None:
            return False
        address, home = path.care_of_address, self._weather.home
        link = self._weather.links[name]
        return link.carries_up(address) and not home.away and address in home.bindings

    def _comes_back(self, name: str, number: int, carried: list[str]) -> bool:
        """Say whether a running flow's answers arrive, and let the home agent learn its way.

        They go by the slots that its packets came by last; else as those of a new flow.
        """
        weather = self._weather
        if carried:
            addresses = [weather.router.paths[link].care_of_address for link in carried]
            self._came_by[number] = {weather.home.bindings[each].slot for each in addresses}
        slots = self._came_by.get(number, set()) & weather.home.slots.keys()
        if not slots:
            return self._arrives(self._choose_by_flow(name))
        return self._arrives([weather.home.slots[slot] for slot in slots])

    def _choose_by_flow(self, name: str) -> list[CacheEntry]:
        """Return the bindings by which the home agent sends what begins at the far end."""
        home, compiled = self._weather.home, self._weather.compiled
        by_ifid = {entry.ifid: entry for entry in home.bindings.values()}
        for selector in (compiled[name], TrafficSelector()):
            for flow in home.flows:
                if flow.selector == selector:
                    chosen = [by_ifid[ifid] for ifid in flow.ifids if ifid in by_ifid]
                    if chosen:
                        return chosen
        ranked = sorted(home.bindings.values(), key=lambda entry: (entry.ifpri, entry.slot))
        return ranked[:1]

    def _arrives(self, entries: list[CacheEntry]) -> bool:
        weather = self._weather
        return not weather.home.away and any(
            link.carries_down(entry.care_of_address)
            for entry in entries
            for link in weather.links.values()
        )

    # --- sizes ----------------------------------------------------------------------------

    def check_sizes(self) -> None:
        """Nobody remembers more and more."""
        for node in self._weather.nodes:
            if node.agent is None:
                continue
            name = type(node).__name__
            parts = [node.agent._role, node.agent._events]
            if node is self._weather.router:
                parts += [
                    node.agent._prober._board,
                    node.agent._policies,
                    node.agent._prober._slots,
                ]
            items = sum(map(count_items, parts))
            self.sizes[name] = max(self.sizes[name], items)
            if items > MOST_ITEMS[name]:
                self.fail(f"{name} remembers {items} items, more than {MOST_ITEMS[name]}")

    # --- failures -------------------------------------------------------------------------

    def _fail(self, direction: Direction, missing: float, link: Link) -> NoReturn:
        weather = self._weather
        states = "\n".join(f"  {each.kind.name}: {each}" for each in weather.links.values())
        agent = weather.router.agent
        entries = "\n".join(f"  {entry}" for entry in agent._role.entries)
        cached = "\n".join(f"  {entry}" for entry in weather.home.bindings.values())
        health = "\n".join(
            f"  {way[0]}: {line.health.state.value} held until {line.health.held_until:.3f}"
            f" usable {line.usable} probed {line.is_probed}"
            for way, line in agent._prober._board._lines.items()
        )
        self.fail(
            f"{direction} has had no service for {missing:.2f} s, {link.kind.name} was good"
            f" since {link.good_since:.3f}; uses {weather.router.active.get(direction.number)}",
            f"links:\n{states}\nupdate list:\n{entries}\nbinding cache:\n{cached}\n"
            f"probed:\n{health}\n",
        )

    def fail(self, text: str, details: str = "") -> NoReturn:
        """Raise with all that is needed to see it again."""
        weather = self._weather
        trail = "\n".join(self.trail)
        raise BrokenServiceError(
            f"{text}\nat {weather.now:.3f} s, seed {weather.plan.seed}; play it again:\n"
            f"  {weather.plan.replay}\n{details}the weather before:\n{trail}"
        )
