from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.lab.meters import GapMeter, SequenceMeter


def test_the_longest_gap_is_kept_with_the_time_that_it_ended():
    meter = GapMeter(threshold=0.05)
    for now in (1.0, 1.02, 1.32, 1.34):
        meter.observe(now)

    assert meter.longest == pytest.approx(0.3)
    assert meter.report()["gaps"] == [[1.32, 300.0]]


def test_a_single_arrival_is_no_gap():
    meter = GapMeter(threshold=0.05)
    meter.observe(100.0)

    assert meter.report() == {"longest_gap_ms": 0.0, "gap_threshold_ms": 50.0, "gaps": []}


def test_a_second_packet_of_a_sequence_is_a_duplicate():
    meter = SequenceMeter()
    for sequence in (0, 1, 1, 2):
        meter.observe(sequence)

    assert (meter.received, meter.duplicated, meter.missing) == (3, 1, 0)


def test_equal_payloads_sent_twice_are_no_duplicates():
    meter = SequenceMeter(copies=2)
    for sequence in (0, 0, 1, 1, 1):
        meter.observe(sequence)

    assert (meter.received, meter.duplicated, meter.missing) == (4, 1, 0)


def test_packets_missing_before_the_highest_are_counted():
    meter = SequenceMeter()
    for sequence in (3, 1):
        meter.observe(sequence)

    assert meter.missing == 2


@given(st.lists(st.integers(0, 20)), st.integers(1, 3))
def test_every_arrival_is_either_expected_or_a_duplicate(sequences, copies):
    meter = SequenceMeter(copies=copies)
    for sequence in sequences:
        meter.observe(sequence)

    assert meter.received + meter.duplicated == len(sequences)
    assert meter.missing >= 0
