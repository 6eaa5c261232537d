from __future__ import annotations

import pytest

from mrouter.errors import PolicyError
from mrouter.policy import week_values
from mrouter.policy.find import Flow, find_policy
from mrouter.policy.load import load_policies
from mrouter.policy.model import Match, Policy, PolicyTable, Steer
from mrouter.policy.schedule import find_time_zone, find_week_minute, take_active
from mrouter.policy.shadow import find_shadowed
from mrouter.policy.week import make_spans
from mrouter.policy.week_values import parse_moment

FILE = """\
[time]
zone = "Europe/Berlin"
[[policy]]
name = "p"
links = ["lte"]
match = { %s }
[default]
links = ["lte"]
"""
TUESDAY_NOON = 1795518000.0  # 2026-11-24 11:00 UTC


@pytest.fixture
def load(tmp_path):
    def load(match, text=FILE):
        path = tmp_path / "p.toml"
        path.write_text(text % match)
        return load_policies(path, ["lte"], ["lan0"])

    return load


def is_met(table, moment):
    flow = Flow(17, None, None, time=moment and parse_moment(moment))
    return find_policy(table, flow).name == "p"


@pytest.mark.parametrize(
    ("match", "met", "missed"),
    [
        ('time = "06:00-09:30"', ["mon 06:00", "sun 09:29"], ["mon 05:59", "mon 09:30", None]),
        ('weekday = "mon-fri"', ["mon 00:00", "fri 23:59"], ["sat 00:00", None]),
        ('time = "22:00-06:00", weekday = ["fri"]', ["fri 22:00", "sat 05:59"],
         ["fri 05:59", "sat 22:00"]),
        ('time = ["06:00-07:00", "8:00-9:00"]', ["wed 08:30", "wed 06:30"], ["wed 07:30"]),
        ('not-time = "22:00-06:00"', ["mon 06:00", None], ["sat 22:00", "mon 05:00"]),
        ('not-time = "22:00-06:00", not-weekday = "sun"', ["mon 06:00"],
         ["sun 12:00", "mon 05:00"]),
        ('time = "08:00-20:00", not-weekday = "sat-sun"', ["fri 08:00"],
         ["sat 08:00", "fri 07:59"]),
    ],
)  # fmt: skip
def test_a_policy_is_met_at_its_times(load, match, met, missed):
    table = load(match)
    assert [moment for moment in (*met, *missed) if is_met(table, moment)] == met
    for moment in (*met, *missed):
        active = take_active(table, moment and parse_moment(moment))
        assert (len(active.policies) == 2) == (moment in met)
        assert find_time_zone(active) is None


@pytest.mark.parametrize(
    ("match", "problem"),
    [
        ('time = "6-9"', 'policy[0].match.time: "6-9" is not a time of day (as in "06:00-09:30"'
         ' or "22:00-06:00")'),
        ('time = "06:00-24:30"', 'policy[0].match.time: "06:00-24:30" is not a time of day'),
        ("time = [6]", "policy[0].match.time[0]: 6 is not a time of day"),
        ("time = []", "policy[0].match.time: the list is empty"),
        ('time = "06:00-06:00"', 'policy[0].match.time: "06:00-06:00" ends when it begins'
         ' (write "00:00-24:00", or leave it out)'),
        ('weekday = "mo"', 'policy[0].match.weekday: unknown day "mo" (did you mean mon?)'),
        ('weekday = ["mon", "tue-"]', "policy[0].match.weekday[1]: \"tue-\" is not a day of the"
         ' week (as in "mon" or "mon-fri")'),
        ("not-weekday = 1", "policy[0].match.not-weekday: 1 is not a day of the week"),
    ],
)  # fmt: skip
def test_a_wrong_time_is_refused_with_what_to_write(load, match, problem):
    with pytest.raises(PolicyError) as caught:
        load(match)
    assert f"p.toml:6: {problem}" in str(caught.value)


@pytest.mark.parametrize(
    ("zone", "problem"),
    [
        ('"Europe/Berlim"', 'time.zone: unknown time zone "Europe/Berlim"'
         " (did you mean Europe/Berlin?)"),
        ('"x"', 'time.zone: unknown time zone "x" (as in "Europe/Berlin")'),
        ('"../../etc/passwd"', "time.zone: unknown time zone"),
        ('"Europe"', "time.zone: unknown time zone"),
        ('""', "time.zone: unknown time zone"),
        ('"a\\u0000b"', "time.zone: unknown time zone"),
        ("1", 'time.zone: must be a time zone in quotes (as in "Europe/Berlin")'),
    ],
)  # fmt: skip
def test_an_unknown_zone_is_refused(load, zone, problem):
    with pytest.raises(PolicyError) as caught:
        load("", FILE.replace('"Europe/Berlin"', zone))
    assert f"p.toml:2: {problem}" in str(caught.value)


def test_a_machine_without_time_zones_is_told_where_they_come_from(load, monkeypatch):
    monkeypatch.setattr(week_values, "available_timezones", set)
    hint = r'"Mars/Crater" \(install the package tzdata, or write "UTC"\)'
    with pytest.raises(PolicyError, match=hint):
        load("", FILE.replace("Europe/Berlin", "Mars/Crater"))


def test_the_zone_is_universal_time_if_there_is_none(load):
    table = load('time = "11:00-12:00"', FILE.removeprefix('[time]\nzone = "Europe/Berlin"\n'))
    assert find_time_zone(table) == "UTC"
    assert is_met(take_active(table, find_week_minute(table, TUESDAY_NOON)), None)


def test_the_files_zone_decides_which_minute_it_is(load):
    table = load('time = "12:00-13:00"')
    assert find_week_minute(table, TUESDAY_NOON) == parse_moment("tue 12:00")


def test_policies_without_times_ask_for_no_minute(load):
    table = load('protocol = "udp"')
    assert find_week_minute(table, TUESDAY_NOON) is None
    assert take_active(table, None) == table


def timed(name, days, *times):
    return Policy(name, Match(times=make_spans(days, times, "UTC")), Steer(("lte",)))


def test_a_policy_inside_the_times_of_an_earlier_one_is_never_reached():
    default = Policy("default", Match(), Steer(("lte",)))
    long, short = timed("long", range(5), (300, 900)), timed("short", [2], (400, 500))
    assert [each.position for each in find_shadowed(PolicyTable((long, short, default)))] == [1]
    assert not list(find_shadowed(PolicyTable((short, long, default))))
