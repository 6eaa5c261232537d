from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mrouter.links.quotas import (
    KEPT_PERIODS,
    Period,
    PeriodLength,
    Quota,
    QuotaLedger,
    QuotaState,
    Reading,
    find_period,
    find_start,
    judge,
)

MONTHLY, DAILY = PeriodLength.MONTHLY, PeriodLength.DAILY
BERLIN = ZoneInfo("Europe/Berlin")
#: Two that change at midnight (one back from it, one on to it), one far from UTC.
ZONES = [UTC, BERLIN, *map(ZoneInfo, ["Asia/Beirut", "America/Havana", "Pacific/Kiritimati"])]
READING = Reading("boot-1", "wwan0", 3, 1000)
TODAY, TOMORROW = Period(DAILY, date(2026, 2, 1)), Period(DAILY, date(2026, 2, 2))
QUOTAS = st.builds(
    Quota,
    limit=st.just(1),
    length=st.sampled_from(PeriodLength),
    reset_day=st.integers(1, 28),
    zone=st.sampled_from(ZONES),
)
MOMENTS = st.integers(
    int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()),
    int(datetime(2045, 1, 1, tzinfo=UTC).timestamp()),
)


def moment(text):
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("quota", "now", "start"),
    [
        (Quota(1, DAILY), "2026-02-28T23:59:59Z", date(2026, 2, 28)),
        (Quota(1, DAILY), "2026-03-01T00:00:00Z", date(2026, 3, 1)),
        (Quota(1, DAILY, zone=BERLIN), "2026-02-28T22:59:59Z", date(2026, 2, 28)),
        (Quota(1, DAILY, zone=BERLIN), "2026-02-28T23:00:00Z", date(2026, 3, 1)),
        # 23 and 25 hours
        (Quota(1, DAILY, zone=BERLIN), "2026-03-29T21:59:59Z", date(2026, 3, 29)),
        (Quota(1, DAILY, zone=BERLIN), "2026-03-29T22:00:00Z", date(2026, 3, 30)),
        (Quota(1, DAILY, zone=BERLIN), "2026-10-25T22:59:59Z", date(2026, 10, 25)),
        (Quota(1, DAILY, zone=BERLIN), "2026-10-25T23:00:00Z", date(2026, 10, 26)),
        (Quota(1, MONTHLY), "2026-01-31T23:59:59Z", date(2026, 1, 1)),
        (Quota(1, MONTHLY), "2026-02-01T00:00:00Z", date(2026, 2, 1)),
        (Quota(1, MONTHLY, 28), "2026-02-27T23:59:59Z", date(2026, 1, 28)),
        (Quota(1, MONTHLY, 28), "2026-02-28T00:00:00Z", date(2026, 2, 28)),
        (Quota(1, MONTHLY, 28), "2028-02-29T12:00:00Z", date(2028, 2, 28)),
        (Quota(1, MONTHLY, 15), "2026-01-14T23:59:59Z", date(2025, 12, 15)),
        # a clock that nobody has set, west and east of Greenwich
        (Quota(1, MONTHLY, 2), "1970-01-01T00:00:05Z", date(1969, 12, 2)),
        (Quota(1, DAILY, zone=ZoneInfo("America/Havana")), "1970-01-01T00:00:05Z",
         date(1969, 12, 31)),
    ],
)  # fmt: skip
def test_a_period_is_named_by_the_date_that_it_began_at(quota, now, start):
    assert find_period(quota, moment(now)) == Period(quota.length, start)


@given(QUOTAS, MOMENTS)
def test_a_period_goes_from_its_own_start_to_the_next_ones(quota, now):
    period = find_period(quota, now)
    start = find_start(quota, period).timestamp()
    assert start <= now
    assert find_period(quota, start) == period
    before = find_period(quota, start - 1)
    assert before.start < period.start

    days = (period.start - before.start).days
    assert days == 1 if quota.length is DAILY else 28 <= days <= 31
    long_after = find_start(quota, replace(period, start=period.start + timedelta(days=days + 5)))
    assert find_period(quota, long_after.timestamp()) != period


@given(QUOTAS, MOMENTS, st.integers(0, 40 * 86400))
def test_periods_never_go_back_as_time_goes_on(quota, now, later):
    assert find_period(quota, now).start <= find_period(quota, now + later).start


def test_a_start_is_a_midnight_in_the_zone():
    quota = Quota(1, MONTHLY, 15, zone=BERLIN)
    found = find_start(quota, Period(MONTHLY, date(2026, 7, 15)))
    assert found.isoformat() == "2026-07-15T00:00:00+02:00"


@pytest.mark.parametrize(
    ("used", "state"),
    [
        (0, QuotaState.UNDER),
        (799, QuotaState.UNDER),
        (800, QuotaState.WARNED),
        (949, QuotaState.WARNED),
        (950, QuotaState.OVER),
        (5000, QuotaState.OVER),
    ],
)
def test_a_threshold_is_met_when_it_is_reached(used, state):
    assert judge(Quota(1000, DAILY, warn=80, stop=95), used) is state


def test_a_threshold_that_is_no_whole_number_of_bytes_is_met_by_the_next():
    quota = Quota(3, DAILY, warn=50, stop=100)
    assert [judge(quota, used) for used in (1, 2)] == [QuotaState.UNDER, QuotaState.WARNED]


def test_a_link_that_warns_where_it_stops_is_over():
    assert judge(Quota(10, DAILY, warn=100, stop=100), 10) is QuotaState.OVER


def count(*readings, period=TODAY):
    ledger = QuotaLedger()
    for reading in readings:
        ledger.count("lte", period, reading)
    return ledger.used("lte", period)


@pytest.mark.parametrize(
    ("change", "used"),
    [
        ({"octets": 1500}, 500),
        ({"octets": 40}, 40),
        ({"boot": "boot-2", "octets": 1500}, 1500),
        ({"boot": "boot-2", "interface": "wwan1", "index": 2, "octets": 1500}, 1500),
        ({"index": 9, "octets": 1500}, 1500),
        ({"interface": "lte0", "octets": 1500}, 500),
        ({"interface": "eth0", "index": 2, "octets": 1500}, 0),
    ],
    ids=["more", "less", "another boot", "another boot and interface", "appeared anew", "renamed",
         "configured otherwise"],
)  # fmt: skip
def test_what_is_new_in_a_reading_is_counted(change, used):
    assert count(READING, replace(READING, **change)) == used


def test_what_passed_before_the_first_look_of_all_is_not_counted():
    assert count(READING) == 0


def test_a_reading_that_says_nothing_new_changes_nothing():
    ledger = QuotaLedger()
    assert ledger.count("lte", TODAY, READING)
    assert not ledger.count("lte", TODAY, READING)
    assert not ledger.count("lte", TOMORROW, READING)


def test_links_and_lengths_of_periods_are_counted_apart():
    ledger = QuotaLedger()
    month = Period(MONTHLY, TODAY.start)
    for link in ("lte", "sat"):
        ledger.count(link, TODAY, READING)
    ledger.count("lte", TODAY, replace(READING, octets=1100))
    ledger.count("lte", month, replace(READING, octets=1130))
    assert [ledger.used(*key) for key in (("lte", TODAY), ("lte", month), ("sat", TODAY))] == [
        100,
        30,
        0,
    ]


def test_the_periods_that_were_counted_in_last_are_kept():
    ledger = QuotaLedger()
    ledger.count("lte", TODAY, READING)
    octets = READING.octets
    days = [Period(DAILY, TODAY.start + timedelta(days=n)) for n in range(1, KEPT_PERIODS + 1)]
    for period in (TODAY, *days[:-1], TODAY, days[-1]):
        octets += 10
        ledger.count("lte", period, replace(READING, octets=octets))
    assert ledger.used("lte", TODAY) == 20
    assert ledger.used("lte", days[0]) == 0
    assert [period for period, _ in ledger.usage["lte"]] == [*days[1:-1], TODAY, days[-1]]


class LinkAndItsOperator(RuleBasedStateMachine):
    """A vehicle's link over restarts, reboots and clocks, and what its operator counts.

    ``saved`` is what is on the disk. An agent that is killed has its last state from there, and
    still loses nothing while the machine runs; of a power cut it loses what was not saved.
    """

    def __init__(self):
        super().__init__()
        self.quota = Quota(1, DAILY, zone=BERLIN)
        self.now = moment("2026-03-27T12:00:00Z")
        self.boot = self.index = 1
        self.octets = 5000
        self.uncounted = 0
        self.billed = Counter()
        self.ledger = QuotaLedger()
        self.look()
        self.save()

    @property
    def period(self):
        return find_period(self.quota, self.now)

    def appear(self):
        self.index += 1
        self.octets = 0

    @rule(octets=st.integers(0, 2000))
    def carry(self, octets):
        self.octets += octets
        self.uncounted += octets

    @rule()
    def look(self):
        reading = Reading(f"boot-{self.boot}", "wwan0", self.index, self.octets)
        self.ledger.count("lte", self.period, reading)
        self.billed[self.period] += self.uncounted
        self.uncounted = 0

    @rule()
    def save(self):
        self.saved = self.ledger.usage, self.ledger.seen, Counter(self.billed)

    @rule()
    def restart(self):
        self.look()
        self.save()
        self.ledger = QuotaLedger(*self.saved[:2])

    @rule()
    def kill_and_restart(self):
        """All since the file was written is counted at the first look, in the period of then."""
        usage, seen, billed = self.saved
        self.uncounted += self.billed.total() - billed.total()
        self.billed = Counter(billed)
        self.ledger = QuotaLedger(usage, seen)
        self.look()

    @rule(octets=st.integers(0, 2000))
    def reboot(self, octets):
        self.restart()
        self.boot += 1
        self.index = 0
        self.appear()
        self.carry(octets)

    @rule()
    def cut_power(self):
        usage, seen, billed = self.saved
        self.ledger, self.billed, self.uncounted = QuotaLedger(usage, seen), Counter(billed), 0
        self.boot += 1
        self.index = 0
        self.appear()

    # what an interface has counted since the last look goes with it
    @precondition(lambda self: self.uncounted == 0 and self.saved_is_current())
    @rule(octets=st.integers(0, 2000))
    def lose_interface(self, octets):
        self.appear()
        self.carry(octets)

    @precondition(lambda self: self.uncounted == 0 and self.saved_is_current())
    @rule(data=st.data())
    def reset_interface(self, data):
        before = self.octets
        self.octets = 0
        self.carry(data.draw(st.integers(0, max(0, min(2000, before - 1)))))
        self.look()  # while the number still is a smaller one: nothing else tells
        self.save()

    @rule(hours=st.integers(0, 30))
    def let_time_go_on(self, hours):
        self.now += hours * 3600

    @rule(clock=st.sampled_from(["1970-01-01T00:00:09Z", "2099-12-31T23:00:00Z"]))
    def boot_with_a_wrong_clock(self, clock):
        right, self.now = self.now, moment(clock)
        self.reboot(7)
        self.look()
        self.now = right

    def saved_is_current(self):
        return self.saved[1] == self.ledger.seen

    @invariant()
    def agrees_with_the_operator(self):
        kept = dict(self.ledger.usage.get("lte", ()))
        assert {period: octets for period, octets in self.billed.items() if period in kept} == kept
        assert self.ledger.used("lte", self.period) == self.billed[self.period]


TestLinkAndItsOperator = LinkAndItsOperator.TestCase
