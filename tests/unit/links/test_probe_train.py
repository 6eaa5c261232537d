from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.links.probes import (
    LOSS_WINDOW,
    LOST_AFTER,
    TIMINGS,
    ProbeProfile,
    ProbeTrain,
)

NORMAL = TIMINGS[ProbeProfile.NORMAL]
AGGRESSIVE = TIMINGS[ProbeProfile.AGGRESSIVE]
FRUGAL = TIMINGS[ProbeProfile.FRUGAL]
START = 100.0


def make_train(timing=NORMAL, seed=1):
    return ProbeTrain(timing, 7, Random(seed), START)


def run_steadily(train, count, rtt=0.04, now=START):
    """Let ``count`` probes be sent and answered one after the other; return when the last was."""
    for _ in range(count):
        now = max(now, train.next_at)
        assert train.take_answer(train.send(now), now + rtt) == pytest.approx(rtt)
    return now + rtt


def test_the_first_probe_is_due_at_once_and_the_next_after_about_an_interval():
    train = make_train()
    assert train.next_at == START
    train.send(START)
    assert 0.9 * NORMAL.interval <= train.next_at - START <= 1.1 * NORMAL.interval


def test_intervals_vary_by_the_random_that_is_passed():
    def list_times(seed):
        train, times = make_train(seed=seed), []
        for _ in range(5):
            times.append(train.next_at)
            train.send(train.next_at)
        return times

    assert list_times(1) == list_times(1) != list_times(2)


def test_every_probe_of_a_run_has_another_sequence_number_and_the_same_cookie():
    train = make_train()
    probes = [train.send(START + n) for n in range(100)]
    assert len({probe.sequence for probe in probes}) == 100
    assert len({probe.cookie for probe in probes}) == 1
    assert all(0 <= probe.sequence < 1 << 16 for probe in probes)


def test_an_answer_needs_the_cookie():
    train = make_train()
    probe = train.send(START)
    assert train.is_expected(probe)
    assert not train.is_expected(replace(probe, cookie=bytes(8)))
    assert not train.is_expected(replace(probe, cookie=b""))
    assert not train.is_expected(replace(probe, identifier=8))


def test_an_answer_counts_once():
    train = make_train()
    probe = train.send(START)
    assert train.take_answer(probe, START + 0.1) == pytest.approx(0.1)
    assert train.take_answer(probe, START + 0.1) is None
    assert train.answered == 1


def test_before_the_first_answer_nothing_is_known():
    train = make_train()
    assert (train.rtt, train.jitter, train.loss, train.samples) == (None, None, 0.0, 0)


def test_a_steady_round_trip_is_found_without_jitter():
    train = make_train()
    run_steadily(train, 20, rtt=0.123)
    assert train.rtt == pytest.approx(0.123)
    assert train.jitter == pytest.approx(0.0)


def test_the_round_trip_and_the_jitter_are_smoothed():
    train = make_train()
    now = run_steadily(train, 1, rtt=0.1)
    run_steadily(train, 1, rtt=0.18, now=now)
    assert train.rtt == pytest.approx(0.1 + 0.08 / 8)
    assert train.jitter == pytest.approx(0.08 / 16)


def test_a_probe_without_an_answer_is_lost_after_a_while_and_late_answers_count_no_more():
    train = make_train()
    probe = train.send(START)
    train.expire(START + LOST_AFTER - 0.01)
    assert train.lost == 0
    train.expire(START + LOST_AFTER)
    assert (train.lost, train.loss) == (1, 1.0)
    assert train.take_answer(probe, START + LOST_AFTER + 0.1) is None
    assert train.loss == 1.0


def test_loss_is_counted_over_the_last_probes_alone():
    train = make_train()
    train.send(START)
    train.expire(START + LOST_AFTER)
    run_steadily(train, LOSS_WINDOW - 1)
    assert train.loss == 1 / LOSS_WINDOW
    run_steadily(train, 1)
    assert train.loss == 0.0


@pytest.mark.parametrize("timing", [NORMAL, AGGRESSIVE, FRUGAL])
def test_it_is_silent_when_nothing_was_heard_for_the_profiles_time(timing):
    train = make_train(timing)
    heard_at = run_steadily(train, 20, rtt=0.01)
    train.send(train.next_at)
    assert not train.is_silent(heard_at + timing.silence - 0.001)
    assert train.is_silent(heard_at + timing.silence + 0.001)


def test_without_a_probe_that_waits_there_is_no_silence():
    train = make_train()
    heard_at = run_steadily(train, 5)
    assert not train.is_silent(heard_at + 1000)


def test_a_first_answer_is_waited_for_longer():
    train = make_train(AGGRESSIVE)
    train.send(START)
    assert not train.is_silent(START + 1.0)
    assert train.is_silent(START + 1.1)


def test_a_slow_link_is_given_its_round_trip_time():
    train = make_train()
    heard_at = run_steadily(train, 20, rtt=0.65)
    train.send(max(heard_at, train.next_at))
    assert not train.is_silent(heard_at + NORMAL.silence + 0.2)
    assert train.is_silent(heard_at + NORMAL.interval + 2 * 0.65 + 0.2)


def test_time_in_which_nobody_was_asked_is_no_silence():
    train = make_train(FRUGAL)
    run_steadily(train, 5)
    asked_at = START + 10_000
    train.send(asked_at)
    assert not train.is_silent(asked_at + FRUGAL.silence / 2)
    assert train.is_silent(asked_at + FRUGAL.silence + 1)


def test_a_busy_machine_that_sends_too_rarely_still_finds_silence():
    train = make_train(AGGRESSIVE)
    now, sent = run_steadily(train, 5, rtt=0.01), 0
    while not train.is_silent(now):
        now += 4 * AGGRESSIVE.interval
        train.send(now)
        sent += 1
        assert sent < 10
    assert sent >= 3  # one alone might have been answered if it had been sent in time


def test_a_pause_ends_the_waiting_and_loses_nothing():
    train = make_train()
    probe = train.send(START)
    train.pause()
    assert not train.is_silent(START + 1000)
    train.expire(START + 1000)
    assert train.lost == 0
    assert train.take_answer(probe, START + 0.1) is None


def test_a_hurried_probe_goes_at_once_unless_one_has_gone_since():
    train = make_train(FRUGAL)
    train.send(START)
    train.hurry(START - 1, START + 2)
    assert train.next_at > START + 2
    train.hurry(START + 1, START + 2)
    assert (train.next_at, train.is_urgent) == (START + 2, True)
    train.send(START + 2)
    assert not train.is_urgent


def test_a_lost_probe_breaks_the_row_of_answers():
    train = make_train()
    run_steadily(train, 4)
    assert train.answers_in_row == 4
    train.send(train.next_at)
    run_steadily(train, 1, now=train.next_at)
    assert train.answers_in_row == 1


def test_silence_ends_a_row_of_answers():
    train = make_train()
    run_steadily(train, 10)
    train.send(train.next_at)
    train.expire(train.next_at + LOST_AFTER)
    assert train.answers_in_row == 0


def test_more_probes_than_one_may_be_under_way():
    train = make_train()
    probes = [train.send(START + 0.2 * n) for n in range(5)]
    for n, probe in enumerate(probes):
        assert train.take_answer(probe, START + 0.2 * n + 0.9) == pytest.approx(0.9)
    assert train.answers_in_row == 5
    assert train.waiting_since is None


@given(
    st.lists(st.one_of(st.none(), st.floats(0.001, 3.0)), min_size=1, max_size=80),
    st.sampled_from([NORMAL, AGGRESSIVE, FRUGAL]),
)
def test_whatever_comes_back_every_probe_is_counted_once(delays, timing):
    """Each delay is one probe's, None if it is lost; answers come in any order."""
    train, now, coming = make_train(timing), START, []
    for delay in delays:
        now = train.next_at
        for answer in sorted((a for a in coming if a[0] <= now), key=lambda a: a[0]):
            train.take_answer(answer[1], answer[0])
            coming.remove(answer)
        train.expire(now)
        probe = train.send(now)
        if delay is not None:
            coming.append((now + delay, probe))
        assert train.sent == train.answered + train.lost + len(train._outstanding)
        assert 0.0 <= train.loss <= 1.0
        assert train.samples <= LOSS_WINDOW
        assert train.answers_in_row <= train.answered
        if train.rtt is not None:
            assert 0.001 <= train.rtt <= 3.0
            assert 0.0 <= train.jitter <= 3.0
    train.expire(now + LOST_AFTER)
    assert train.sent == train.answered + train.lost


@given(st.integers(0, 2**32), st.floats(0.001, 0.6), st.floats(0.0, 0.1))
def test_a_link_that_answers_everything_is_never_silent(seed, delay, jitter):
    random, train = Random(seed), make_train(seed=seed)
    coming, now = [], START
    for _ in range(60):
        now = train.next_at
        for at, probe in sorted((a for a in coming if a[0] <= now), key=lambda a: a[0]):
            train.take_answer(probe, at)
        coming = [a for a in coming if a[0] > now]
        probe = train.send(now)
        coming.append((now + delay + random.uniform(0, jitter), probe))
        assert not train.is_silent(now)
