"""Ways that are probed side by side, in a world of their own time."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrouter.links.link_health import ANSWERS_TO_RISE, FIRST_HOLD, LinkState
from mrouter.links.probe_board import ProbeBoard
from mrouter.links.probes import TIMINGS, Probe, ProbeProfile

LTE, WIFI, SAT = (
    (name, IPv6Address(f"2001:db8:{n}::2")) for n, name in enumerate(("lte", "wifi", "sat"), 1)
)
WAYS = (LTE, WIFI, SAT)
NORMAL, AGGRESSIVE, FRUGAL, OFF = (
    ProbeProfile.NORMAL,
    ProbeProfile.AGGRESSIVE,
    ProbeProfile.FRUGAL,
    ProbeProfile.OFF,
)
START = 1000.0
#: How long it takes until a way that has risen is registered.
REGISTRATION = 0.1


@dataclass
class World:
    """Ways with round trips, and times at which they or the home agent are dead.

    A way that is down has no binding; when it rises it has one a little later.
    """

    profiles: dict = field(default_factory=lambda: dict.fromkeys(WAYS, NORMAL))
    delays: dict = field(default_factory=lambda: {LTE: 0.03, WIFI: 0.01, SAT: 0.3})
    seed: int = 1
    idle: set = field(default_factory=set)
    lossy: dict = field(default_factory=dict)

    def __post_init__(self):
        self.now = START
        self.board = ProbeBoard(Random(self.seed))
        self.dead, self.home_agent_away = set(), False
        self._chance = Random(self.seed + 1)
        self.usable, self.sent, self.changes = set(self.profiles), [], []
        self._queue, self._number = [], count()
        self.follow()

    def follow(self):
        return self.board.follow(self.profiles, self.usable, self.now)

    def at(self, when, act):
        heapq.heappush(self._queue, (START + when, next(self._number), act))

    def down(self):
        return {way for way in self.profiles if self.board.is_down(way)}

    def run(self, until, check=lambda: None):
        """Go on until so many seconds after the start."""
        end = START + until
        while True:
            deadline = self.board.next_deadline(self.now)
            moments = [m for m in (deadline, self._queue[0][0] if self._queue else None) if m]
            self.now = max(self.now, min(moments, default=end))
            if self.now > end:
                self.now = end
                return self
            while self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
            for way, probe in self.board.take_due(self.now, self.idle.__contains__):
                self.sent.append((self.now - START, way))
                self._answer(way, probe)
            self._judge()
            check()

    def run_while(self, condition):
        while condition():
            self.run(self.now - START + 0.05)

    def _answer(self, way, probe):
        def arrive():
            if way not in self.dead:
                self.board.take_answer(probe, self.now)

        def reach():
            if way not in self.dead and not self.home_agent_away:
                self._after(self.delays[way] / 2, arrive)

        if way not in self.dead and self._chance.random() >= self.lossy.get(way, 0):
            self._after(self.delays[way] / 2, reach)

    def _after(self, delay, act):
        self.at(self.now - START + delay, act)

    def _judge(self):
        changed = self.board.judge(self.now)
        for way in changed:
            state = self.board.find_quality(way).state
            self.changes.append((self.now - START, way, state))
            if state is LinkState.DOWN:
                self.usable.discard(way)
            elif way not in self.usable:
                self._after(REGISTRATION, lambda way=way: self._register(way))
        if changed:
            self.follow()

    def _register(self, way):
        if not self.board.is_down(way):
            self.usable.add(way)
            self.follow()

    def kill(self, *ways):
        self.dead.update(ways)

    def revive(self, *ways):
        self.dead.difference_update(ways)

    def move_home_agent(self, *, away):
        self.home_agent_away = away


def test_ways_that_answer_stay_up_and_their_round_trips_are_known():
    world = World().run(30)
    assert world.changes == []
    for way, delay in world.delays.items():
        quality = world.board.find_quality(way)
        assert quality.rtt_ms == pytest.approx(1000 * delay)
        assert (quality.loss, quality.state) == (0.0, LinkState.UP)


@pytest.mark.parametrize(("profile", "within"), [(NORMAL, 0.55), (AGGRESSIVE, 0.2)])
def test_a_dead_way_is_found_in_the_time_of_its_profile(profile, within):
    world = World(profiles={LTE: profile, WIFI: NORMAL, SAT: NORMAL})
    world.at(10, lambda: world.kill(LTE))
    world.run(20)
    ((moment, way, state),) = world.changes
    assert (way, state) == (LTE, LinkState.DOWN)
    assert moment - 10 <= within


def test_a_frugal_way_that_is_idle_is_left_alone_once_it_is_known():
    world = World(profiles={LTE: NORMAL, SAT: FRUGAL}, idle={SAT})
    world.run(300)
    assert [way for _, way in world.sent].count(SAT) == 1
    assert world.board.find_quality(SAT).rtt_ms == pytest.approx(300)


def test_a_frugal_way_that_carries_traffic_is_probed_now_and_then():
    world = World(profiles={LTE: NORMAL, SAT: FRUGAL})
    world.run(300)
    assert 25 <= [way for _, way in world.sent].count(SAT) <= 35


def test_an_idle_frugal_way_is_asked_to_vouch_for_the_home_agent():
    world = World(profiles={LTE: NORMAL, SAT: FRUGAL}, idle={SAT})
    world.at(100, lambda: world.kill(LTE))
    world.run(110)
    assert [(way, state) for _, way, state in world.changes] == [(LTE, LinkState.DOWN)]
    assert [way for _, way in world.sent].count(SAT) == 2


def test_a_way_that_is_off_is_never_probed_nor_taken_down():
    world = World(profiles={LTE: NORMAL, WIFI: NORMAL, SAT: OFF})
    world.at(1, lambda: world.kill(SAT))
    world.run(30)
    assert world.changes == []
    assert SAT not in {way for _, way in world.sent}
    assert world.board.find_quality(SAT) is None


def test_the_only_probed_way_falls_where_another_one_is_left():
    world = World(profiles={LTE: NORMAL, SAT: OFF})
    world.at(10, lambda: world.kill(LTE))
    world.run(12)
    assert world.down() == {LTE}


def test_the_last_way_is_never_taken_down():
    world = World()
    world.at(10, lambda: world.kill(*WAYS))
    world.run(100)
    assert world.down() == set()


def test_where_one_after_the_other_dies_the_last_one_stays():
    world = World()
    for moment, way in ((10, LTE), (20, WIFI), (30, SAT)):
        world.at(moment, lambda way=way: world.kill(way))
    world.run(60)
    assert world.down() == {LTE, WIFI}


def test_a_way_comes_back_after_answers_in_a_row_and_its_hold():
    world = World()
    world.at(10, lambda: world.kill(LTE))
    world.at(20, lambda: world.revive(LTE))
    world.run(30)
    (_, _, _), (moment, way, state) = world.changes
    assert (way, state) == (LTE, LinkState.UP)
    assert 20 + 0.18 * (ANSWERS_TO_RISE - 1) <= moment <= 22


def test_a_way_that_answers_at_once_again_is_held_down_for_a_while():
    world = World()
    world.at(10, lambda: world.kill(LTE))
    world.at(10.6, lambda: world.revive(LTE))
    world.run(30)
    (fallen_at, _, _), (risen_at, _, _) = world.changes
    assert risen_at - fallen_at >= FIRST_HOLD


def test_a_flapping_way_is_held_down_ever_longer():
    world = World()
    for n in range(20):
        world.at(10 + 4 * n, lambda: world.kill(LTE))
        world.at(11 + 4 * n, lambda: world.revive(LTE))
    world.run(200)
    falls = [moment for moment, _, state in world.changes if state is LinkState.DOWN]
    rises = [moment for moment, _, state in world.changes if state is LinkState.UP]
    assert len(falls) < 10
    assert rises[-1] - falls[-1] > 4 * (rises[0] - falls[0])
    assert world.down() == set()


def test_what_is_held_down_rises_at_once_where_there_is_no_other_way():
    world = World(profiles={LTE: NORMAL, WIFI: NORMAL})
    for _ in range(6):
        world.kill(LTE)
        world.run_while(lambda: world.down() == set())
        world.revive(LTE)
        world.run_while(lambda: world.down() == {LTE})
    (fallen_at, _, _), (risen_at, _, _) = world.changes[-2:]
    assert risen_at - fallen_at > 10

    world.kill(LTE)
    world.run_while(lambda: world.down() == set())
    world.revive(LTE)
    world.kill(WIFI)
    world.run(world.now - START + 3)
    assert world.down() == {WIFI}


def test_a_home_agent_that_is_away_takes_no_way_down_whatever_the_profiles():
    world = World(profiles={LTE: AGGRESSIVE, WIFI: NORMAL, SAT: FRUGAL})
    world.at(10, lambda: world.move_home_agent(away=True))
    world.at(60, lambda: world.move_home_agent(away=False))
    world.run(45)
    assert [change for change in world.changes if change[2] is LinkState.DOWN] == []


def test_a_way_that_dies_while_the_home_agent_is_away_is_found_when_it_is_back():
    world = World()
    world.at(10, lambda: world.move_home_agent(away=True))
    world.at(11, lambda: world.kill(LTE))
    world.at(60, lambda: world.move_home_agent(away=False))
    world.run(62)
    assert world.down() == {LTE}


def test_loss_degrades_a_way_and_its_end_is_seen():
    world = World(profiles={LTE: NORMAL, WIFI: NORMAL})
    for n in range(40):
        world.at(10 + n, lambda: world.kill(LTE))
        world.at(10.15 + n, lambda: world.revive(LTE))
    world.run(100)
    assert [(way, state) for _, way, state in world.changes] == [
        (LTE, LinkState.DEGRADED), (LTE, LinkState.UP),
    ]  # fmt: skip


@pytest.mark.parametrize("profile", [NORMAL, AGGRESSIVE])
@pytest.mark.parametrize("way", WAYS)
def test_a_way_that_loses_many_packets_is_not_taken_for_dead(way, profile):
    world = World(profiles=dict.fromkeys(WAYS, profile), lossy={way: 0.12}).run(600)
    assert {(each, state) for _, each, state in world.changes} <= {
        (way, LinkState.DEGRADED), (way, LinkState.UP),
    }  # fmt: skip
    assert (way, LinkState.DEGRADED) in {change[1:] for change in world.changes}


def test_the_probes_of_doubt_end_where_no_way_can_be_told_from_another():
    world = World()
    world.at(10, lambda: world.move_home_agent(away=True))
    world.run(20)
    before = len(world.sent)
    world.run(120)
    per_way = (len(world.sent) - before) / len(WAYS)
    assert per_way == pytest.approx(100 / TIMINGS[NORMAL].interval, rel=0.1)


def test_an_answer_with_another_cookie_is_none_of_ours():
    world = World()
    ((_way, probe), *_) = world.board.take_due(START, set().__contains__)
    assert world.board.knows(probe.identifier)
    assert world.board.take_answer(replace(probe, cookie=bytes(8)), START) is None
    assert world.board.take_answer(probe, START + 0.1) is not None


def test_an_identifier_that_was_never_ours_is_not_known():
    board = World().board
    known = [n for n in range(1 << 16) if board.knows(n)]
    assert len(known) == 3


def test_a_way_without_a_binding_is_told_of_when_it_answers_after_a_silence():
    world = World()
    world.usable = {WIFI}
    world.follow()
    world.kill(LTE)
    world.run(30)
    assert world.board.take_reached() == []  # SAT was never silent
    assert world.down() == set()
    world.revive(LTE)
    world.run(30.5)
    assert world.board.take_reached() == [LTE]
    assert world.board.take_reached() == []
    world.run(60)
    assert world.board.take_reached() == []


def test_all_ways_are_told_of_when_the_home_agent_is_back():
    world = World()
    world.run(10)
    world.move_home_agent(away=True)
    world.run(60)
    assert world.board.take_reached() == []
    world.move_home_agent(away=False)
    world.run(61)
    assert set(world.board.take_reached()) == set(WAYS)


def test_a_dead_way_that_answers_is_told_of_as_changed_alone():
    world = World()
    world.at(10, lambda: world.kill(LTE))
    world.at(20, lambda: world.revive(LTE))
    world.run(30)
    assert [change[1:] for change in world.changes] == [(LTE, LinkState.DOWN), (LTE, LinkState.UP)]
    assert world.board.take_reached() == []


def test_what_a_way_lost_before_it_had_a_binding_does_not_count():
    world = World()
    world.usable = {WIFI, SAT}
    world.follow()
    world.kill(LTE)
    world.run(30)
    world.revive(LTE)
    world.usable.add(LTE)
    world.follow()
    world.run(40)
    assert world.board.find_quality(LTE).loss == 0.0
    assert world.changes == []


def test_a_link_that_goes_away_comes_back_up_with_its_penalty():
    world = World()
    world.at(10, lambda: world.kill(LTE))
    world.run(11)
    assert world.down() == {LTE}
    profiles = dict(world.profiles)
    del world.profiles[LTE]
    world.follow()
    world.profiles = profiles
    world.revive(LTE)
    world.usable.add(LTE)
    world.follow()
    assert world.down() == set()
    assert world.board._lines[LTE].health.find_penalty(world.now) > 0.9


def test_another_address_of_a_link_begins_anew():
    world = World()
    world.at(10, lambda: world.kill(LTE))
    world.run(11)
    moved = ("lte", IPv6Address("2001:db8:9::2"))
    world.profiles = {moved: NORMAL, WIFI: NORMAL, SAT: NORMAL}
    world.follow()
    assert not world.board.is_down(moved)
    assert not world.board.is_down(LTE)
    assert LTE not in world.board._lines


def test_another_profile_forgives_and_says_so():
    world = World()
    world.at(10, lambda: world.kill(LTE))
    world.run(11)
    world.profiles = {**world.profiles, LTE: OFF}
    assert world.follow() == [LTE]
    assert world.down() == set()
    assert world.follow() == []


def test_nothing_is_due_without_ways():
    board = ProbeBoard(Random(1))
    assert board.next_deadline(START) is None
    assert board.judge(START) == []
    assert board.take_answer(Probe(1, 2, b"cookie"), START) is None


# --- worlds at random -------------------------------------------------------------------

PROFILES = st.sampled_from([NORMAL, AGGRESSIVE])
OUTAGES = st.lists(st.tuples(st.sampled_from(WAYS), st.floats(2, 25), st.floats(0.05, 10)))


@st.composite
def worlds(draw):
    return World(
        profiles={way: draw(PROFILES) for way in WAYS},
        delays={way: draw(st.floats(0.001, 0.7)) for way in WAYS},
        seed=draw(st.integers(0, 1 << 32)),
    )


def plan_outages(world, outages):
    """Kill and revive; a way with two outages at once is dead until the last one ends."""
    depth = dict.fromkeys(WAYS, 0)

    def change(way, by):
        depth[way] += by
        if depth[way]:
            world.kill(way)
        else:
            world.revive(way)

    for way, begin, length in outages:
        world.at(begin, lambda way=way: change(way, 1))
        world.at(begin + length, lambda way=way: change(way, -1))


@settings(max_examples=15, deadline=None)
@given(worlds(), OUTAGES)
def test_some_way_that_carries_is_always_left(world, outages):
    plan_outages(world, outages)

    def check():
        assert world.usable - world.down()

    world.run(40, check)


@settings(max_examples=15, deadline=None)
@given(worlds(), OUTAGES)
def test_in_the_end_all_ways_that_answer_are_up_again(world, outages):
    plan_outages(world, outages)
    world.run(40 + 80)
    assert world.down() == set()
    assert world.usable == set(WAYS)


@settings(max_examples=15, deadline=None)
@given(worlds(), st.lists(st.tuples(st.floats(2, 25), st.floats(0.05, 10)), max_size=3))
def test_a_home_agent_that_comes_and_goes_takes_no_way_down(world, absences):
    away = 0

    def change(by):
        nonlocal away
        away += by
        world.move_home_agent(away=bool(away))

    for begin, length in absences:
        world.at(begin, lambda: change(1))
        world.at(begin + length, lambda: change(-1))
    world.run(45)
    assert [change for change in world.changes if change[2] is LinkState.DOWN] == []


@settings(max_examples=15, deadline=None)
@given(worlds(), st.sampled_from(WAYS))
def test_a_way_that_is_dead_for_good_is_found_and_stays_down(world, way):
    world.at(10, lambda: world.kill(way))
    limit = 3 * max(TIMINGS[NORMAL].silence, *(1 + 2 * delay for delay in world.delays.values()))
    world.run(10 + limit)
    assert world.down() == {way}
    world.run(100)
    assert [(each, state) for _, each, state in world.changes if each == way] == [
        (way, LinkState.DOWN)
    ]
