from __future__ import annotations

from dataclasses import replace

from mrouter.agent.policies_in_force import PoliciesInForce
from mrouter.agent.timetable import Timetable
from mrouter.dataplane.steering import LinkFacts
from mrouter.policy.model import Drop, Match, Policy, PolicyTable, Steer
from mrouter.policy.week import make_spans
from mrouter.protocol.events import Instant

LTE = Steer(("lte",))
DEFAULT = Policy("default", Match(), LTE)
MONDAY = 1795392000.0  # 2026-11-23 00:00 UTC


def policy(name, first, last, **more):
    """Return a policy of so many minutes after midnight, of every day."""
    spans = make_spans(range(7), [(first, last)], "UTC")
    return Policy(name, Match(times=spans, **more), LTE)


def at(minutes, seconds=0.0):
    after = minutes * 60 + seconds
    return Instant(1000.0 + after, MONDAY + after)


TABLE = PolicyTable((policy("early", 10, 19), policy("late", 20, 29, protocols=(17,)), DEFAULT))


def take(now, table=TABLE):
    return Timetable(table, now)


def names(timetable):
    return [policy.name for policy in timetable.active.policies]


def test_a_policy_is_in_force_while_its_time_is():
    timetable = take(at(9))
    assert names(timetable) == ["default"]
    for minute, wanted in ((10, "early"), (19, "early"), (20, "late"), (29, "late")):
        timetable.look(at(minute))
        assert names(timetable) == [wanted, "default"]
    assert timetable.look(at(30))
    assert names(timetable) == ["default"]


def test_what_is_in_force_has_no_times():
    assert take(at(10)).active.policies[0] == Policy("early", Match(), LTE)


def test_only_a_change_of_what_is_in_force_is_told():
    timetable = take(at(10))
    assert not timetable.look(at(10, 30.0))
    assert not timetable.look(at(11))
    assert timetable.look(at(20))


def test_it_is_looked_again_when_the_minute_ends():
    timetable = take(at(10, 20.0))
    assert timetable.next_look_at == at(11).monotonic
    timetable.look(at(11))
    assert timetable.next_look_at == at(12).monotonic


def test_a_clock_that_jumps_is_obeyed_when_it_is_looked_at():
    timetable = take(at(10))
    for jumped, wanted in ((at(25), "late"), (at(-20), "default"), (at(15), "early")):
        assert timetable.look(replace(jumped, monotonic=1060.0))
        assert names(timetable)[0] == wanted
        assert timetable.next_look_at <= 1060.0 + 60.0


def test_without_times_the_clock_is_nothing_to_it():
    timetable = take(at(0), PolicyTable((DEFAULT,)))
    assert timetable.next_look_at is None
    assert not timetable.look(at(10))
    assert timetable.take_begun() == frozenset()


def test_what_begins_is_told_once_and_what_ends_is_not():
    timetable = take(at(10))
    assert timetable.take_begun() == {"early"}
    assert timetable.take_begun() == frozenset()
    timetable.look(at(20))
    timetable.look(at(30))
    assert timetable.take_begun() == {"late"}
    timetable.look(at(31))
    assert timetable.take_begun() == frozenset()


FACTS = LinkFacts(frozenset({"lte"}))


def obey(now, push=True):
    policies = PoliciesInForce(TABLE, now, push=push)
    policies.update(FACTS, now, None)
    return policies


def test_numbers_last_while_times_go_by():
    policies = obey(at(0))
    before = dict(policies.steering.numbers)
    assert policies.update(FACTS, at(10), None)
    assert policies.steering.numbers == before
    assert set(before) == {"early", "late", "default"}
    numbers = policies.steering.numbers
    assert policies.steering.treatments.keys() == {numbers["early"], numbers["default"]}
    assert policies.steering.names.keys() == set(numbers.values())


def test_the_home_agent_is_asked_for_what_is_in_force():
    policies = obey(at(0))
    assert len(policies.list_wanted()) == 1
    assert policies.describe_downlink(()) == {
        "early": "not-active", "late": "not-active", "default": "no-link",
    }  # fmt: skip
    policies.update(FACTS, at(20), None)
    selectors = [wanted.selector.next_header for wanted in policies.list_wanted()]
    assert selectors == [(17, 17), None]
    assert policies.describe_downlink(())["late"] == "no-link"


def test_where_nothing_is_pushed_nothing_is_wanted():
    policies = obey(at(20), push=False)
    assert policies.list_wanted() == ()
    assert set(policies.describe_downlink(()).values()) == {"off"}


def test_a_policy_that_is_not_active_uses_no_links():
    described = obey(at(10)).describe({"lte"}, (), 0.0)["policies"]
    assert {row["name"]: row["active"] for row in described} == {
        "early": ["lte"], "late": [], "default": ["lte"],
    }  # fmt: skip


def test_a_reload_that_is_taken_back_leaves_times_as_they_were():
    policies = obey(at(10))
    take_back = policies.replace(PolicyTable((DEFAULT,)), push=True, now=at(10))
    assert policies.next_deadline is None
    take_back()
    assert policies.table == TABLE
    assert policies.next_deadline == at(11).monotonic
    assert policies.update(FACTS, at(20), None)


def test_a_negated_time_ends_and_begins_too():
    nights = Match(none_of=Match(times=make_spans(range(7), [(10, 19)], "UTC")))
    timetable = take(at(9), PolicyTable((Policy("not", nights, Drop()), DEFAULT)))
    assert timetable.active.policies[0] == Policy("not", Match(), Drop())
    timetable.look(at(10))
    assert names(timetable) == ["default"]
    timetable.look(at(20))
    assert timetable.take_begun() == {"not"}
