"""When a signal is weak."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.links.radio import WeakSignals, rate_signal


def watch(*percents, least=20):
    """Return whether the signal was weak at each of ``percents``; None is not known."""
    signals, found = WeakSignals({"lte": least}), []
    for percent in percents:
        signals.update({} if percent is None else {"lte": percent})
        found.append("lte" in signals.names)
    return found


def test_a_signal_is_weak_below_the_least():
    assert watch(21, 20) == [False, False]
    assert watch(19) == [True]


def test_a_weak_signal_stays_weak_until_it_is_clearly_better():
    assert watch(19, 20, 29, 30, 29, 20, 19) == [True, True, True, False, False, False, True]


def test_a_least_near_the_top_can_be_reached():
    assert watch(94, 99, 100, least=95) == [True, True, False]


def test_a_signal_that_is_not_known_is_not_weak():
    assert watch(None, 5, None, 25) == [False, True, False, False]


def test_a_link_without_a_least_is_never_weak():
    signals = WeakSignals({"lte": 20})
    signals.update({"lte": 90, "wifi": 0})
    assert signals.names == frozenset()


@given(st.lists(st.integers(0, 100), min_size=1), st.integers(1, 100))
def test_whatever_the_signal_does_weak_and_strong_are_apart(percents, least):
    for percent, weak in zip(percents, watch(*percents, least=least), strict=True):
        assert weak or percent >= least
        assert not weak or percent < min(least + 10, 100)


@pytest.mark.parametrize(
    ("dbm", "percent"), [(-120, 0), (-100, 0), (-75, 50), (-60, 80), (-50, 100), (-30, 100)]
)
def test_power_passes_for_a_percentage(dbm, percent):
    assert rate_signal(dbm) == percent
