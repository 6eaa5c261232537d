"""Hours of link weather in simulated time; the numbers of what happens are in weather_plan.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from weather import Weather
from weather_checks import BrokenServiceError, find_grace
from weather_plan import WeatherPlan, read_weather_plan

from mrouter.agent.mobile_router import MobileRouterAgent
from mrouter.agent.policies_in_force import PoliciesInForce
from mrouter.links.link_health import LinkHealth
from mrouter.links.probe_board import ProbeBoard
from mrouter.links.probes import ProbeProfile
from mrouter.protocol.home_agent import HomeAgent
from mrouter.protocol.registrar import HomeRegistrar

HOUR = 3600.0
#: Each found something, or has most of what may happen in little time.
RECORDED = (
    # the first Binding Updates of a link were lost in a tunnel, and repeated 32 s later
    WeatherPlan(seed=3, seconds=300.0, between_tunnels=150.0, between_outages=150.0),
    # a binding ended since its refresh was lost while the home agent was out of reach
    WeatherPlan(seed=105, seconds=300.0, probe=ProbeProfile.AGGRESSIVE),
)
STORM = WeatherPlan(seed=6, seconds=600.0, between_showers=20.0, between_tunnels=200.0)


def drive(plan):
    weather = Weather(plan)
    weather.run()
    return weather


def failure_of(plan=STORM):
    with pytest.raises(BrokenServiceError) as caught:
        drive(plan)
    return str(caught.value)


# --- service, whatever the weather --------------------------------------------------------


@pytest.mark.parametrize("plan", RECORDED, ids=lambda plan: f"seed {plan.seed}")
def test_every_flow_has_service_while_one_of_its_links_is_good(plan):
    weather = drive(plan)
    assert weather.count["packets lost"] > 100
    assert weather.checks.gaps["up"] > 0


def test_every_flow_has_service_in_a_storm():
    weather = drive(STORM)
    assert weather.checks.gaps["up"] > 100
    assert weather.checks.gaps["back"] > 100
    assert weather.checks.gaps["down"] > 100


@pytest.mark.weather
@pytest.mark.parametrize("probe", [ProbeProfile.NORMAL, ProbeProfile.AGGRESSIVE])
@pytest.mark.parametrize("seed", range(200, 220))
def test_every_flow_has_service_for_an_hour(seed, probe):
    drive(WeatherPlan(seed, HOUR, probe))


@pytest.mark.weather
@pytest.mark.parametrize("seed", range(300, 310))
def test_every_flow_has_service_in_a_storm_of_two_hours(seed):
    drive(replace(STORM, seed=seed, seconds=2 * HOUR))


def test_service_is_owed_in_seconds():
    assert find_grace(ProbeProfile.AGGRESSIVE) < find_grace(ProbeProfile.NORMAL) < 10.0


def test_same_seed_makes_the_same_drive():
    program = Path(__file__).with_name("weather.py")
    histories = [
        subprocess.run(
            [sys.executable, program, "--seed", "3", "--seconds", "100"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[:-1]  # but for how long it took
        for hash_seed in ("1", "2")
    ]
    assert histories[0] == histories[1]
    assert len(histories[0]) > 5


# --- the checks can fail ------------------------------------------------------------------


def test_silent_link_that_is_never_left_is_noticed(monkeypatch):
    monkeypatch.setattr(LinkHealth, "fall", lambda *_: None)
    assert "has had no service for" in failure_of()


def test_dead_link_that_never_comes_back_is_noticed(monkeypatch):
    monkeypatch.setattr(LinkHealth, "rise", lambda *_, **__: False)
    assert "has had no service for" in failure_of()


def test_registration_that_waits_for_its_repetition_is_noticed(monkeypatch):
    monkeypatch.setattr(ProbeBoard, "take_reached", lambda _: [])
    assert "policy='single', way='up'" in failure_of(RECORDED[0])


def test_binding_that_outlives_its_link_is_noticed(monkeypatch):
    def forget(self, binding, now):
        self._bindings.remove(binding)

    monkeypatch.setattr(HomeRegistrar, "_end", forget)
    monkeypatch.setattr(PoliciesInForce, "list_wanted", lambda _: ())
    assert "way='down'" in failure_of()


def test_link_whose_loss_is_not_told_is_noticed(monkeypatch):
    told = MobileRouterAgent._links_changed

    def tell_once(self):
        events = told(self)
        return events if not self._role.entries else []

    monkeypatch.setattr(MobileRouterAgent, "_links_changed", tell_once)
    assert "has had no service for" in failure_of()


def test_agent_that_remembers_more_and_more_is_noticed(monkeypatch):
    handle = HomeAgent.handle

    def hoard(self, event, now):
        self.__dict__.setdefault("events", []).append((event, now))
        return handle(self, event, now)

    monkeypatch.setattr(HomeAgent, "handle", hoard)
    assert re.search(r"HomeNode remembers \d+ items", failure_of())


def test_mistake_of_an_agent_is_noticed(monkeypatch):
    def fail(*_):
        raise KeyError

    monkeypatch.setattr(HomeRegistrar, "_receive_acknowledgement", fail)
    assert "made mistakes: [('internal-error', 'KeyError')]" in failure_of()


def test_failure_says_how_to_see_it_again(monkeypatch):
    monkeypatch.setattr(LinkHealth, "fall", lambda *_: None)
    message = failure_of()
    assert f"seed {STORM.seed}; play it again:" in message
    command = re.search(r"\.venv/bin/python tests/simulation/weather\.py (.*)", message)[1]
    assert read_weather_plan(command.split()) == STORM
    assert "silent" in message
