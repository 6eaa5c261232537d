"""Sequence numbers that a correspondent node remembers (RFC 6275 §5.2.8, §9.5.1)."""

from ipaddress import IPv6Address

import pytest

from mrouter.protocol.accepted_sequences import AcceptedSequences

HOME = IPv6Address("2001:db8::1")
OTHER = IPv6Address("2001:db8::2")


def remembering(*accepted, until=100.0):
    sequences = AcceptedSequences()
    for ifid, sequence in accepted:
        sequences.remember(HOME, ifid, sequence, until)
    return sequences


@pytest.mark.parametrize(
    ("last", "next_", "conflict"),
    [
        (15, 16, None),
        (15, 15, 15),
        (15, 14, 15),
        (15, 15 + 32767, None),
        (15, 15 + 32768, 15),
        (65535, 0, None),
        (0, 65535, 0),
    ],
)
def test_numbers_are_compared_modulo_two_to_the_sixteenth(last, next_, conflict):
    assert remembering((1, last)).find_conflict(HOME, 1, next_, 0.0) == conflict


def test_each_ifid_counts_for_itself():
    assert remembering((1, 1000)).find_conflict(HOME, 2, 5, 0.0) is None


def test_each_home_address_counts_for_itself():
    assert remembering((1, 1000)).find_conflict(OTHER, 1, 5, 0.0) is None


def test_update_for_all_must_follow_the_last_of_any_binding():
    sequences = remembering((1, 10), (2, 20))
    assert sequences.find_conflict(HOME, None, 20, 0.0) == 20
    assert sequences.find_conflict(HOME, None, 21, 0.0) is None


def test_no_binding_may_precede_an_update_for_all():
    sequences = remembering((1, 10), (None, 12))
    assert sequences.find_conflict(HOME, 1, 11, 0.0) == 12
    assert sequences.find_conflict(HOME, 9, 12, 0.0) == 12
    assert sequences.find_conflict(HOME, 9, 13, 0.0) is None


def test_number_is_forgotten_when_its_time_is_over():
    sequences = remembering((1, 10), (2, 20), until=50.0)
    sequences.remember(HOME, 3, 30, 60.0)
    assert sequences.find_conflict(HOME, 1, 10, 49.9) == 10
    assert sequences.find_conflict(HOME, 1, 10, 50.0) is None
    sequences.forget_old(50.0)
    assert (len(sequences), sequences.knows(HOME, 1), sequences.knows(HOME, 3)) == (1, False, True)


def test_repeated_number_of_one_binding_counts_once():
    sequences = remembering((1, 10), (1, 11))
    assert len(sequences) == 1
    sequences.forget_old(200.0)
    assert len(sequences) == 0
