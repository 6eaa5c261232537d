from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.links.link_health import (
    ANSWERS_TO_RISE,
    DEGRADED_LOSS,
    FIRST_HOLD,
    GOOD_LOSS,
    LONGEST_HOLD,
    PENALTY_HALF_LIFE,
    SAMPLES_TO_JUDGE,
    LinkHealth,
    LinkState,
)

PAUSES = st.lists(st.floats(0, 500), min_size=1, max_size=30)


def rise(health, now, answers=ANSWERS_TO_RISE, *, needed_at_once=False):
    return health.rise(answers, now, needed_at_once=needed_at_once)


def fall(health, now):
    """Let it fall; return for how long it is held."""
    health.fall(now)
    return health.held_until - now


def test_a_way_begins_up():
    assert LinkHealth().state is LinkState.UP


def test_a_first_fall_holds_for_a_second_and_each_at_once_after_it_for_twice_as_long():
    health = LinkHealth()
    assert [fall(health, 10.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 64, 64]


def test_the_penalty_decays_by_half_in_its_half_life():
    health = LinkHealth()
    fall(health, 0.0)
    assert health.find_penalty(0.0) == 1.0
    assert health.find_penalty(PENALTY_HALF_LIFE) == pytest.approx(0.5)
    assert fall(health, PENALTY_HALF_LIFE) == pytest.approx(2**0.5)


def test_after_a_long_calm_a_fall_is_a_first_one_again():
    health = LinkHealth()
    for _ in range(20):
        fall(health, 0.0)
    assert fall(health, 20 * PENALTY_HALF_LIFE) == pytest.approx(FIRST_HOLD, rel=0.01)


def test_too_few_answers_do_not_bring_it_up():
    health = LinkHealth()
    fall(health, 0.0)
    assert not rise(health, 100.0, ANSWERS_TO_RISE - 1)
    assert rise(health, 100.0)
    assert health.state is LinkState.UP


def test_it_is_held_down_whatever_it_answers_unless_it_is_needed_at_once():
    health = LinkHealth()
    fall(health, 0.0)
    assert not rise(health, FIRST_HOLD - 0.01, 1000)
    assert not rise(health, 0.5, ANSWERS_TO_RISE - 1, needed_at_once=True)
    assert rise(health, 0.5, needed_at_once=True)


def test_what_is_up_does_not_rise():
    assert not rise(LinkHealth(), 100.0)


def test_to_forget_keeps_the_penalty():
    health = LinkHealth()
    fall(health, 0.0)
    health.forget()
    assert health.state is LinkState.UP
    assert fall(health, 0.0) == 2 * FIRST_HOLD


def test_loss_degrades_and_only_much_less_of_it_is_good_again():
    health = LinkHealth()
    assert not health.weigh(0.99, SAMPLES_TO_JUDGE - 1)
    assert not health.weigh(DEGRADED_LOSS - 0.01, SAMPLES_TO_JUDGE)
    assert health.weigh(DEGRADED_LOSS, SAMPLES_TO_JUDGE)
    assert health.state is LinkState.DEGRADED
    assert not health.weigh(GOOD_LOSS + 0.01, SAMPLES_TO_JUDGE)
    assert health.weigh(GOOD_LOSS, SAMPLES_TO_JUDGE)
    assert health.state is LinkState.UP


def test_what_is_down_is_not_weighed():
    health = LinkHealth()
    fall(health, 0.0)
    assert not health.weigh(0.0, 50)
    assert not health.weigh(1.0, 50)
    assert health.state is LinkState.DOWN


@given(PAUSES)
def test_a_hold_is_never_shorter_than_the_first_nor_longer_than_the_longest(pauses):
    health, now = LinkHealth(), 0.0
    for pause in pauses:
        now += pause
        assert FIRST_HOLD - 1e-9 <= fall(health, now) <= LONGEST_HOLD + 1e-9


@given(PAUSES, st.floats(0, 500), st.floats(0, 500))
def test_the_penalty_never_grows_by_itself(pauses, first, more):
    health, now = LinkHealth(), 0.0
    for pause in pauses:
        now += pause
        fall(health, now)
    earlier, later = health.find_penalty(now + first), health.find_penalty(now + first + more)
    assert 0 <= later <= earlier


@given(PAUSES, st.floats(0, 400))
def test_one_more_fall_never_shortens_the_next_hold(pauses, wait):
    fewer, more = LinkHealth(), LinkHealth()
    now = 0.0
    fall(more, now)
    for pause in pauses:
        now += pause
        fall(fewer, now)
        fall(more, now)
    now += wait
    assert fall(fewer, now) <= fall(more, now) + 1e-9


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 50)), max_size=50))
def test_the_state_changes_exactly_when_weigh_says_so(samples):
    health = LinkHealth()
    for loss, count in samples:
        before = health.state
        assert health.weigh(loss, count) == (health.state is not before)
        assert health.state is not LinkState.DOWN
