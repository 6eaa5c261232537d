from ipaddress import IPv6Address

import pytest

from mrouter.protocol.keys import to_ntp_timestamp
from mrouter.protocol.replay import ReplayGuard

HOME = IPv6Address("2001:db8::1")
OTHER = IPv6Address("2001:db8::2")
START = 1_800_000_000.0


@pytest.fixture
def guard():
    return ReplayGuard(START, 7.0)


def admit(guard, ifid, stamp, now=None, home=HOME):
    moment = START + stamp
    ifids = ifid if isinstance(ifid, tuple) else (ifid,)
    at = moment if now is None else START + now
    return guard.admit(home, ifids, to_ntp_timestamp(moment), at)


def test_same_timestamp_is_admitted_once(guard):
    assert admit(guard, 5, 10)
    assert not admit(guard, 5, 10)


def test_older_timestamp_of_the_same_ifid_is_refused(guard):
    assert admit(guard, 5, 10)
    assert not admit(guard, 5, 9, now=10)


def test_updates_over_two_links_may_overtake_one_another(guard):
    assert admit(guard, 5, 10)
    assert admit(guard, 6, 9, now=10)


def test_plain_update_binds_every_ifid(guard):
    assert admit(guard, None, 10)
    assert not admit(guard, 6, 9, now=10)
    assert admit(guard, 6, 11)


def test_home_addresses_do_not_bind_one_another(guard):
    assert admit(guard, 5, 10)
    assert admit(guard, 5, 9, now=10, home=OTHER)


@pytest.mark.parametrize(
    ("stamp", "fresh"), [(93, True), (107, True), (92.5, False), (107.5, False)]
)
def test_timestamp_must_be_within_the_window(guard, stamp, fresh):
    assert admit(guard, 5, stamp, now=100) is fresh


def test_refused_timestamp_is_not_remembered(guard):
    assert not admit(guard, 5, 200, now=100)
    assert admit(guard, 5, 101, now=101)


def test_what_was_sent_before_the_start_is_refused(guard):
    assert not admit(guard, 5, -1, now=1)
    assert not admit(guard, 5, 0, now=1)


def test_bulk_update_must_be_newer_than_the_last_of_each_ifid(guard):
    assert admit(guard, 5, 10)
    assert not admit(guard, (6, 5), 10)
    assert admit(guard, 6, 9, now=10)
    assert admit(guard, (6, 5), 11)
    assert not admit(guard, 6, 11)


def test_timestamps_that_the_window_refuses_anyway_are_forgotten_when_there_are_many(guard):
    for ifid in range(1, 1001):
        assert admit(guard, ifid, ifid)
    assert len(list(guard.list_latest())) <= 257
    assert not admit(guard, 1, 1, now=1000)
