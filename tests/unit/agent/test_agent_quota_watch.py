from __future__ import annotations

import json
import logging
from concurrent.futures import Future
from datetime import datetime

import pytest

from mrouter.agent import quota_watch
from mrouter.agent.quota_watch import QuotaWatch
from mrouter.config.model import LinkConfig
from mrouter.links.counters import InterfaceCounter
from mrouter.links.quotas import PeriodLength, Quota

DAILY = Quota(1000, PeriodLength.DAILY)
MONTHLY = Quota(5000, PeriodLength.MONTHLY, 15, warn=50)
LINKS = (
    LinkConfig("lte", "wwan0", 0, quota=DAILY),
    LinkConfig("sat", "sat0", 1, quota=MONTHLY),
    LinkConfig("wifi", "wlan0", 2),
)
NOON = datetime.fromisoformat("2026-02-14T12:00:00Z").timestamp()
DAY = 86400.0


class Timer:
    def __init__(self, at, call):
        self.at, self.call = at, call

    def cancel(self):
        self.call = None


class Loop:
    """Time goes on when it is told to; what goes to a thread is done at once."""

    def __init__(self):
        self.now = 100.0
        self.timers = []

    def time(self):
        return self.now

    def call_later(self, delay, call, *arguments):
        self.timers.append(Timer(self.now + delay, lambda: call(*arguments)))
        return self.timers[-1]

    def run_in_executor(self, executor, call, *arguments):
        done = Future()
        done.set_result(call(*arguments))
        return done

    def advance(self, seconds):
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer.at <= until and timer.call]:
            self.timers.remove(due[0])
            self.now = due[0].at
            due[0].call()
        self.now = until


class Vehicle:
    """Three links; each ``start`` is an agent of its own over the same state directory."""

    def __init__(self, directory, monkeypatch):
        self.directory = directory
        self.octets = {"wwan0": 10_000, "sat0": 0, "wlan0": 0}
        self.boot = "boot-1"
        self.clock = NOON
        self.changes = []
        monkeypatch.setattr(quota_watch, "read_counters", self.read_counters)
        monkeypatch.setattr(quota_watch, "read_boot_id", lambda: self.boot)
        monkeypatch.setattr(quota_watch.time, "time", lambda: self.clock)

    @property
    def path(self):
        return self.directory / "quotas.json"

    def read_counters(self, route_socket):
        if self.octets is None:
            raise OSError("no buffer space")
        return {
            name: InterfaceCounter(index, octets)
            for index, (name, octets) in enumerate(self.octets.items(), 2)
        }

    def start(self, links=LINKS):
        self.loop = Loop()
        self.watch = QuotaWatch(links, self.directory, object(), self.on_change)
        self.watch.start(self.loop)
        return self.watch

    def on_change(self):
        self.changes.append((set(self.watch.over), set(self.watch.warned)))

    def carry(self, interface, octets, seconds=10):
        self.octets[interface] += octets
        self.loop.advance(seconds)

    def saved(self):
        return {link: row[3] for link, row in json.loads(self.path.read_text())["seen"].items()}

    def used(self, link):
        return self.watch.describe()[link]["used"]


@pytest.fixture
def vehicle(tmp_path, monkeypatch):
    return Vehicle(tmp_path / "state", monkeypatch)


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, logger="mrouter")

    def read():
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return lines

    return read


def test_a_link_is_under_then_warned_then_over_and_both_are_told(vehicle, log):
    watch = vehicle.start()
    assert (watch.warned, watch.over) == (frozenset(), frozenset())
    vehicle.carry("wwan0", 799)
    assert not watch.warned
    assert not vehicle.changes

    vehicle.carry("wwan0", 1)
    assert (watch.warned, watch.over) == ({"lte"}, frozenset())
    vehicle.carry("wwan0", 200)
    assert (watch.warned, watch.over) == (frozenset(), {"lte"})
    vehicle.carry("wwan0", 200)
    assert vehicle.changes == [(set(), {"lte"}), ({"lte"}, set())]
    assert log() == [
        "quota-warned link=lte period=2026-02-14 used=800 limit=1000",
        "quota-exceeded link=lte period=2026-02-14 used=1000 limit=1000",
    ]


def test_a_link_that_jumps_over_both_thresholds_is_only_told_to_be_over(vehicle, log):
    vehicle.start()
    vehicle.carry("sat0", 6000)
    assert [line.split()[0] for line in log()] == ["quota-exceeded"]


def test_a_new_period_is_told_and_gives_the_link_back(vehicle, log):
    watch = vehicle.start()
    vehicle.carry("wwan0", 1500)
    log()
    vehicle.clock += DAY
    vehicle.carry("wwan0", 70)
    assert log() == [
        "quota-renewed link=lte period=2026-02-15 used-before=1500",
        "quota-renewed link=sat period=2026-02-15 used-before=0",
    ]
    assert not watch.over
    assert vehicle.used("lte") == 70
    assert vehicle.changes[-1] == (set(), set())


def test_a_link_that_is_over_again_at_once_in_a_new_period_is_told_so(vehicle, log):
    vehicle.start()
    vehicle.carry("wwan0", 1500)
    log()
    vehicle.clock += DAY
    vehicle.carry("wwan0", 1001)
    assert [line.split()[0] for line in log() if "lte" in line] == [
        "quota-renewed",
        "quota-exceeded",
    ]


def test_the_status_says_how_each_quota_stands(vehicle):
    vehicle.start()
    vehicle.carry("sat0", 2500)
    assert vehicle.watch.describe() == {
        "lte": {
            "used": 0,
            "limit": 1000,
            "state": "under",
            "period": "daily",
            "period_start": "2026-02-14T00:00:00+00:00",
        },
        "sat": {
            "used": 2500,
            "limit": 5000,
            "state": "warned",
            "period": "monthly",
            "period_start": "2026-01-15T00:00:00+00:00",
        },
    }


def test_the_count_goes_on_in_the_next_agent_and_it_knows_from_the_start(vehicle, log):
    vehicle.start()
    vehicle.carry("wwan0", 900)
    vehicle.watch.stop()
    vehicle.octets["wwan0"] += 100  # while no agent runs
    log()

    watch = vehicle.start()
    assert watch.over == {"lte"}
    assert vehicle.used("lte") == 1000
    assert vehicle.changes == [(set(), {"lte"})]  # nobody is called for the first look
    assert [line.split()[0] for line in log()] == ["quota-exceeded"]


def test_the_count_goes_on_after_a_reboot(vehicle):
    vehicle.start()
    vehicle.carry("wwan0", 600)
    vehicle.watch.stop()
    vehicle.boot = "boot-2"
    vehicle.octets["wwan0"] = 50

    vehicle.start()
    assert vehicle.used("lte") == 650


def test_a_wrong_clock_at_boot_leaves_the_real_period_as_it_is(vehicle):
    vehicle.start()
    vehicle.carry("wwan0", 1000)
    vehicle.watch.stop()
    vehicle.boot, vehicle.clock = "boot-2", 5.0
    vehicle.octets["wwan0"] = 50

    watch = vehicle.start()
    assert not watch.over
    assert watch.describe()["lte"]["period_start"] == "1970-01-01T00:00:00+00:00"
    vehicle.clock = NOON + 300
    vehicle.carry("wwan0", 10)
    assert watch.over == {"lte"}
    assert vehicle.used("lte") == 1010


def test_a_killed_agent_has_saved_where_it_began(vehicle):
    vehicle.start()
    vehicle.octets["wwan0"] += 300
    vehicle.start()  # the former one has never looked again
    assert vehicle.used("lte") == 300


def test_what_changes_all_the_time_is_saved_once_a_minute(vehicle):
    vehicle.start()
    seen = [vehicle.saved()["lte"]]
    for _ in range(13):
        vehicle.carry("wwan0", 1)
        seen.append(vehicle.saved()["lte"])
    assert seen == [10_000] * 6 + [10_006] * 6 + [10_012] * 2


def test_nothing_new_is_not_saved(vehicle):
    vehicle.start()
    vehicle.path.unlink()
    vehicle.loop.advance(600)
    assert not vehicle.path.exists()


def test_a_threshold_is_saved_when_it_is_crossed(vehicle):
    vehicle.start()
    vehicle.carry("wwan0", 1)
    assert vehicle.saved()["lte"] == 10_000
    vehicle.carry("wwan0", 850)
    assert vehicle.saved()["lte"] == 10_851


def test_the_end_is_saved(vehicle):
    vehicle.start()
    vehicle.octets["wwan0"] += 5
    vehicle.watch.stop()
    assert vehicle.saved()["lte"] == 10_005


def test_what_could_not_be_saved_is_saved_later(vehicle):
    vehicle.directory.write_text("in the way")
    vehicle.start()
    vehicle.loop.advance(30)
    vehicle.directory.unlink()
    vehicle.loop.advance(30)
    assert vehicle.saved()["lte"] == 10_000


def test_a_kernel_that_does_not_answer_is_told_of_once_and_asked_again(vehicle, log):
    vehicle.start()
    octets, vehicle.octets = vehicle.octets, None
    vehicle.loop.advance(30)
    assert log() == ["quotas-not-counted error='no buffer space'"]
    vehicle.octets = octets
    vehicle.carry("wwan0", 40)
    assert vehicle.used("lte") == 40


def test_an_interface_that_is_away_keeps_what_it_has_used(vehicle):
    vehicle.start()
    vehicle.carry("wwan0", 850)
    del vehicle.octets["wwan0"]
    vehicle.loop.advance(10)
    assert vehicle.watch.warned == {"lte"}


def test_a_mistake_in_one_look_does_not_end_the_watch(vehicle, monkeypatch):
    vehicle.start()
    with monkeypatch.context() as mistake:
        mistake.setattr(quota_watch, "find_period", None)
        with pytest.raises(TypeError):
            vehicle.loop.advance(10)
    assert [timer.at for timer in vehicle.loop.timers] == [120.0]
    vehicle.watch.stop()


def test_without_a_quota_nothing_is_looked_at_or_written(vehicle):
    watch = vehicle.start([LINKS[2]])
    vehicle.octets = None
    assert vehicle.loop.timers == []
    watch.stop()
    assert watch.describe() == {}
    assert not vehicle.directory.exists()
