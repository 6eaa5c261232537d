from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from mrouter.links.path_mtus import LIFETIME, PathMtus

HERE, THERE, ELSEWHERE = map(IPv6Address, ("2001:db8::1", "2001:db8::2", "2001:db8::3"))
INTERFACE = 1500


@pytest.fixture
def learnt():
    return PathMtus()


def test_a_smaller_mtu_is_news_and_is_that_paths_own(learnt):
    assert learnt.learn(HERE, THERE, 1400, INTERFACE, 0.0)

    assert learnt.find(HERE, THERE) == 1400
    assert learnt.find(HERE, ELSEWHERE) is None
    assert learnt.find(THERE, HERE) is None
    assert learnt.list_from(HERE) == {THERE: 1400}
    assert learnt.list_from(THERE) == {}


@pytest.mark.parametrize("mtu", [0, 1279, 1500, 1501, 70000])
def test_what_everybody_must_take_and_what_is_no_less_is_not_learnt(learnt, mtu):
    assert not learnt.learn(HERE, THERE, mtu, INTERFACE, 0.0)

    assert learnt.find(HERE, THERE) is None
    assert learnt.next_deadline() is None


def test_it_grows_by_no_error(learnt):
    learnt.learn(HERE, THERE, 1300, INTERFACE, 0.0)

    assert not learnt.learn(HERE, THERE, 1400, 1300, 1.0)
    assert learnt.find(HERE, THERE) == 1300


def test_it_is_forgotten_after_ten_minutes(learnt):
    learnt.learn(HERE, THERE, 1400, INTERFACE, 5.0)

    assert learnt.next_deadline() == 5.0 + 600.0
    assert not learnt.expire(5.0 + LIFETIME - 1.0)
    assert learnt.expire(5.0 + LIFETIME)
    assert learnt.find(HERE, THERE) is None
    assert learnt.next_deadline() is None


def test_the_same_again_is_no_news_but_lasts_longer(learnt):
    learnt.learn(HERE, THERE, 1400, INTERFACE, 0.0)

    assert not learnt.learn(HERE, THERE, 1400, 1400, 100.0)
    assert learnt.next_deadline() == 100.0 + LIFETIME
