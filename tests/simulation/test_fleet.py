"""A fleet of real machines over a bad network; the numbers of what happens are in fleet_plan.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from fleet import BrokenInvariantError, Fleet
from fleet_plan import Plan, read_plan

from mrouter.protocol import home_agent, home_registration
from mrouter.protocol.accepted_sequences import AcceptedSequences
from mrouter.protocol.events import PacketReceived
from mrouter.protocol.home_agent import HomeAgent
from mrouter.protocol.registrar import HomeRegistrar
from mrouter.protocol.replay import ReplayGuard
from mrouter.protocol.update_list import Binding
from mrouter.wire.constants import Dialect

HOUR = 3600.0
DAY = 24 * HOUR
SMALL = Plan(routers=6, seconds=DAY, seed=20, optimizing=0.2)
LARGE = Plan(
    routers=1000,
    seconds=HOUR - 180,
    seed=1000,
    between_moves=HOUR,
    between_agent_restarts=HOUR,
    final_quiet=180.0,
)
BAD_DAY = Plan(routers=12, seconds=2 * HOUR, seed=7, loss=0.1, duplicates=0.1, late_duplicates=0.1)


def play(plan, **machines):
    fleet = Fleet(plan, **machines)
    fleet.run()
    return fleet


def failure_of(plan, **machines):
    with pytest.raises(BrokenInvariantError) as caught:
        play(plan, **machines)
    return str(caught.value)


# --- the invariants hold ------------------------------------------------------------------


def test_small_fleet_keeps_the_invariants_for_a_day():
    count = play(SMALL).count
    assert count["quiet times"] == 24
    assert count["agreements at the home agent"] > 100
    assert count["agreements at correspondent nodes"] > 10
    assert count["agreements about flows"] > 15


def test_thousand_routers_keep_the_invariants_for_an_hour():
    count = play(LARGE).count
    assert count["binding updates sent"] > 30_000
    assert count["packets lost"] > 3000
    assert count["moves"] > 1500
    assert count["agreements at the home agent"] > 900


@pytest.mark.parametrize("dialect", Dialect)
def test_small_fleet_keeps_the_invariants_on_a_worse_network(dialect):
    count = play(replace(BAD_DAY, dialect=dialect)).count
    assert count["packets replayed late"] > 300
    assert count["refused by AgentBox: id_mismatch"] > 200


@pytest.mark.fleet
def test_thousand_routers_keep_the_invariants_for_a_day(capsys):
    fleet = play(Plan(routers=1000, seconds=DAY, seed=1))
    with capsys.disabled():
        print(f"\n{fleet.report()}")


# --- it is what it says -------------------------------------------------------------------


def test_same_seed_makes_the_same_history_in_another_process():
    command = [sys.executable, str(Path(__file__).with_name("fleet.py"))]
    command += ["--seed", "3", "--routers", "6", "--seconds", "7200"]
    histories = [
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[:-1]  # but for how long it took
        for hash_seed in ("1", "2")
    ]
    assert histories[0] == histories[1]
    assert len(histories[0]) > 20


# --- the checks can fail ------------------------------------------------------------------


def test_stale_update_that_wins_at_the_home_agent_is_noticed(monkeypatch):
    monkeypatch.setattr(home_agent, "check_sequence", lambda *_: None)
    monkeypatch.setattr(ReplayGuard, "admit", lambda *_: True)
    message = failure_of(BAD_DAY)
    assert "home agent accepted a stale Binding Update of router" in message


def test_stale_update_that_wins_at_a_correspondent_node_is_noticed(monkeypatch):
    monkeypatch.setattr(AcceptedSequences, "find_conflict", lambda *_: None)
    message = failure_of(BAD_DAY)
    assert re.search("correspondent node [0-9a-f:]+ accepted a stale Binding Update", message)


def test_forgery_that_is_believed_is_noticed(monkeypatch):
    monkeypatch.setattr(home_registration, "verify_authenticator", lambda *_: True)
    assert "home agent believed a forgery" in failure_of(BAD_DAY)


def test_binding_that_outlives_its_lifetime_is_noticed():
    class Sleeper(HomeAgent):
        def next_deadline(self):
            return None

    message = failure_of(replace(BAD_DAY, routers=1, between_restarts=600.0), make_agent=Sleeper)
    assert "outlives its lifetime" in message


def test_router_that_believes_too_long_is_noticed(monkeypatch):
    accept = Binding.mark_accepted

    def accept_for_longer(self, status, lifetime, advice):
        accept(self, status, lifetime + 4, advice)

    monkeypatch.setattr(Binding, "mark_accepted", accept_for_longer)
    assert "home agent granted it until" in failure_of(BAD_DAY)


def test_binding_that_changes_with_the_message_of_another_is_noticed():
    class Mixer(HomeAgent):
        def handle(self, event, now):
            effects = super().handle(event, now)
            if isinstance(event, PacketReceived) and event.packet.home_address is not None:
                others = (e for e in self.entries if e.home_address != event.packet.home_address)
                for entry in islice(others, 1):
                    self._cache.remove(entry.home_address, entry.ifid)
            return effects

    assert "bindings without a message of its own" in failure_of(BAD_DAY, make_agent=Mixer)


def test_ends_that_disagree_are_noticed(monkeypatch):
    def forget(self, binding, now):
        self._bindings.remove(binding)

    monkeypatch.setattr(HomeRegistrar, "_end", forget)
    assert "and the home agent disagree once it is quiet" in failure_of(BAD_DAY)


def test_router_that_stays_unregistered_is_noticed(monkeypatch):
    send = Binding.mark_sent

    def send_once(self, now, source, lifetime):
        send(self, now, source, lifetime)
        self.due_at = None

    monkeypatch.setattr(Binding, "mark_sent", send_once)
    message = failure_of(replace(BAD_DAY, between_quiets=DAY, correspondents=0))
    assert "has been on a good link" in message


def test_machine_that_remembers_more_and_more_is_noticed():
    class Hoarder(HomeAgent):
        def handle(self, event, now):
            self.__dict__.setdefault("events", []).append((event, now))
            return super().handle(event, now)

    plan = replace(BAD_DAY, routers=2, between_forgeries=5.0, between_agent_restarts=DAY)
    message = failure_of(plan, make_agent=Hoarder)
    assert re.search(r"home agent remembers \d+ items", message)


def test_failure_says_how_to_see_it_again(monkeypatch):
    monkeypatch.setattr(home_agent, "check_sequence", lambda *_: None)
    monkeypatch.setattr(ReplayGuard, "admit", lambda *_: True)
    message = failure_of(BAD_DAY)
    seconds = float(re.search(r"at ([\d.]+) s, seed 7;", message)[1])
    assert 0 < seconds < BAD_DAY.seconds
    command = re.search(r"\.venv/bin/python tests/simulation/fleet\.py (.*)", message)[1]
    assert read_plan(command.split()) == BAD_DAY
    assert message.count("BindingUpdate") > 1
