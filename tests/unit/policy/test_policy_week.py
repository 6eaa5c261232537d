from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.policy.find import contains_minute
from mrouter.policy.week import (
    DAY_MINUTES,
    WEEK_MINUTES,
    format_minute,
    format_spans,
    join_spans,
    make_spans,
    read_minute,
)
from mrouter.policy.week_values import parse_moment, parse_time, parse_weekdays

BERLIN = "Europe/Berlin"
days = st.lists(st.integers(0, 6), unique=True, min_size=1)
times = st.lists(
    st.tuples(st.integers(0, DAY_MINUTES - 1), st.integers(0, DAY_MINUTES - 1)),
    min_size=1,
    max_size=3,
)


def spans(days, *texts):
    return make_spans(days, [parse_time(text) for text in texts], "UTC")


def read_plainly(days, times):
    """Return the minutes of the week, one by one."""
    minutes = set()
    for day in days:
        for first, last in times:
            minute = first
            while minute % DAY_MINUTES != last:
                minutes.add((day * DAY_MINUTES + minute) % WEEK_MINUTES)
                minute += 1
            minutes.add((day * DAY_MINUTES + minute) % WEEK_MINUTES)
    return minutes


@given(days, times)
def test_a_time_is_of_the_days_that_it_begins_on(days, times):
    made = make_spans(days, times, "UTC")
    covered = {minute for span in made for minute in range(span.first, span.last + 1)}
    assert covered == read_plainly(days, times)
    assert all(contains_minute(made, minute) for minute in covered)


def test_the_end_of_a_time_is_no_more_of_it():
    made = spans([0], "06:00-09:30")
    assert contains_minute(made, parse_moment("mon 06:00"))
    assert contains_minute(made, parse_moment("mon 09:29"))
    assert not contains_minute(made, parse_moment("mon 09:30"))
    assert not contains_minute(made, None)


@pytest.mark.parametrize(
    ("days", "times", "text"),
    [
        ([0, 1, 2, 3, 4], ["06:00-09:30"], "mon-fri 06:00-09:30 (UTC)"),
        (range(7), ["22:00-06:00"], "22:00-06:00 (UTC)"),
        ([4], ["22:00-06:00"], "fri 22:00-06:00 (UTC)"),
        ([6], ["22:00-06:00"], "sun 22:00-06:00 (UTC)"),
        ([5, 6], ["00:00-24:00"], "sat-sun 00:00-24:00 (UTC)"),
        (range(7), ["00:00-24:00"], "00:00-24:00 (UTC)"),
        ([0, 2], ["06:00-07:00", "18:00-24:00"], "mon+wed 06:00-07:00, mon+wed 18:00-24:00 (UTC)"),
        ([6, 0], ["00:00-24:00"], "mon+sun 00:00-24:00 (UTC)"),
    ],
)
def test_times_are_written_by_the_days_that_they_begin_on(days, times, text):
    assert format_spans(spans(days, *times)) == text


@given(days, times)
def test_every_list_of_times_can_be_written(days, times):
    assert format_spans(make_spans(days, times, BERLIN)).endswith(" (Europe/Berlin)")


def test_joined_spans_have_gaps_between_them():
    joined = join_spans((*spans([0], "06:00-09:00"), *spans([0, 1], "08:00-10:00")))
    assert joined == (*spans([0], "06:00-10:00"), *spans([1], "08:00-10:00"))


@given(st.integers(0, WEEK_MINUTES - 1))
def test_a_minute_is_read_as_it_is_written(minute):
    assert parse_moment(format_minute(minute)) == minute


@pytest.mark.parametrize(
    ("text", "week"),
    [("mon", [0]), ("MON - fri", [0, 1, 2, 3, 4]), ("sat-mon", [5, 6, 0]), ("sun-sun", [6])],
)
def test_days_are_read_over_the_end_of_the_week(text, week):
    assert list(parse_weekdays(text)) == week


def at(*moment, zone=UTC):
    return datetime(*moment, tzinfo=zone).timestamp()


def test_the_minute_is_that_of_the_zones_clocks():
    now = at(2026, 11, 24, 13, 24, 59)
    assert format_minute(read_minute(now, "UTC")) == "tue 13:24"
    assert format_minute(read_minute(now, BERLIN)) == "tue 14:24"
    assert format_minute(read_minute(now, "Pacific/Kiritimati")) == "wed 03:24"


def test_the_clocks_leave_an_hour_out_in_spring_and_show_one_twice_in_autumn():
    spring, autumn = at(2026, 3, 29, 0, 59), at(2026, 10, 25, 0, 30)
    shown = [format_minute(read_minute(spring + 60 * step, BERLIN)) for step in (0, 1)]
    assert shown == ["sun 01:59", "sun 03:00"]
    assert read_minute(autumn, BERLIN) == read_minute(autumn + 3600, BERLIN)


@given(st.integers(0, 2**31), st.sampled_from([BERLIN, "Asia/Kathmandu", "America/St_Johns"]))
def test_a_minute_of_any_zone_begins_with_one_of_universal_time(now, zone):
    # so a look at the clock once a minute misses no beginning
    local = datetime.fromtimestamp(now, ZoneInfo(zone))
    assert local.second == now % 60
