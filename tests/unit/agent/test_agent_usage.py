from __future__ import annotations

import pytest

from mrouter.agent.usage import UsageLedger
from mrouter.dataplane import marks

CALL, BULK = 7, 9
POLICIES = {CALL: "call", BULK: "bulk"}
LINKS = {1: "lte", 2: "wifi"}


def key(policy, slot, bits=marks.ENCAP):
    return marks.mark_policy(policy), marks.mark_slot(slot) | bits


@pytest.fixture
def ledger():
    return UsageLedger()


def test_an_empty_ledger_has_no_rows(ledger):
    assert list(ledger) == []


def test_uplink_and_downlink_are_told_apart_by_the_mark(ledger):
    ledger.add({key(CALL, 1): (3, 300), key(CALL, 1, marks.DECAP): (2, 200)}, POLICIES, LINKS)

    assert list(ledger) == [
        ("call", "lte", "downlink", 2, 200),
        ("call", "lte", "uplink", 3, 300),
    ]


def test_only_what_is_new_since_last_time_is_added(ledger):
    for total in (3, 5, 5):
        ledger.add({key(CALL, 1): (total, total * 100)}, POLICIES, LINKS)

    assert list(ledger) == [("call", "lte", "uplink", 5, 500)]


def test_counters_that_began_anew_count_from_nothing(ledger):
    ledger.add({key(CALL, 1): (10, 1000)}, POLICIES, LINKS)
    ledger.add({key(CALL, 1): (4, 400)}, POLICIES, LINKS)

    assert list(ledger) == [("call", "lte", "uplink", 14, 1400)]


def test_a_slot_that_becomes_another_links_keeps_the_totals_apart(ledger):
    ledger.add({key(CALL, 1): (10, 1000)}, POLICIES, LINKS)
    ledger.add({key(CALL, 1): (13, 1300)}, POLICIES, {1: "sat"})

    assert list(ledger) == [("call", "lte", "uplink", 10, 1000), ("call", "sat", "uplink", 3, 300)]


def test_totals_outlive_the_kernels_counters(ledger):
    ledger.add({key(CALL, 1): (10, 1000)}, POLICIES, LINKS)
    ledger.add({}, POLICIES, LINKS)
    ledger.add({key(CALL, 1): (2, 200)}, POLICIES, LINKS)

    assert list(ledger) == [("call", "lte", "uplink", 12, 1200)]


def test_copies_of_one_flow_are_the_links_they_took(ledger):
    bicast = marks.ENCAP | marks.BICAST
    ledger.add({key(CALL, 1, bicast): (5, 500), key(CALL, 2, bicast): (5, 500)}, POLICIES, LINKS)

    assert [row[:3] for row in ledger] == [("call", "lte", "uplink"), ("call", "wifi", "uplink")]


def test_foreign_bits_of_the_marks_do_not_split_a_row(ledger):
    connection, mark = key(BULK, 2)
    ledger.add({(connection | 0x3, mark | 0x1): (1, 100)}, POLICIES, LINKS)
    ledger.add(
        {(connection | 0x3, mark | 0x1): (1, 100), (connection, mark): (1, 100)}, POLICIES, LINKS
    )

    assert list(ledger) == [("bulk", "wifi", "uplink", 2, 200)]


def test_what_has_no_name_is_counted_without_one(ledger):
    ledger.add({key(99, 5): (1, 100)}, POLICIES, LINKS)

    assert list(ledger) == [("", "", "uplink", 1, 100)]
