from __future__ import annotations

import pytest

from mrouter.agent.usage import UsageLedger
from mrouter.dataplane import marks

CALL, BULK = 7, 9
POLICIES = {CALL: "call", BULK: "bulk"}
SLOTS = {1: "lte", 2: "wifi"}
ONE_LINK = {CALL: ("lte",), BULK: ("wifi",)}


def sent(policy, packets):
    return {marks.mark_policy(policy): (packets, packets * 100)}


def received(policy, slot, packets, foreign=0):
    mark = marks.DECAP | marks.mark_slot(slot) | foreign
    return {(marks.mark_policy(policy) | foreign, mark): (packets, packets * 100)}


@pytest.fixture
def ledger():
    return UsageLedger()


def test_an_empty_ledger_has_no_rows(ledger):
    assert list(ledger) == []


def test_uplink_and_downlink_are_told_apart(ledger):
    ledger.add_sent(sent(CALL, 3), POLICIES, ONE_LINK)
    ledger.add_by_slot("downlink", received(CALL, 1, 2), POLICIES, SLOTS)

    assert list(ledger) == [
        ("call", "lte", "downlink", 2, 200),
        ("call", "lte", "uplink", 3, 300),
    ]


def test_only_what_is_new_since_last_time_is_added(ledger):
    for total in (3, 5, 5):
        ledger.add_sent(sent(CALL, total), POLICIES, ONE_LINK)
        ledger.add_by_slot("downlink", received(CALL, 1, total), POLICIES, SLOTS)

    assert [row[3:] for row in ledger] == [(5, 500), (5, 500)]


def test_counters_that_began_anew_count_from_nothing(ledger):
    ledger.add_sent(sent(CALL, 10), POLICIES, ONE_LINK)
    ledger.add_sent(sent(CALL, 4), POLICIES, ONE_LINK)

    assert list(ledger) == [("call", "lte", "uplink", 14, 1400)]


def test_a_policy_that_moves_to_another_link_keeps_the_totals_apart(ledger):
    ledger.add_sent(sent(CALL, 10), POLICIES, ONE_LINK)
    ledger.add_sent(sent(CALL, 13), POLICIES, {CALL: ("sat",)})

    assert list(ledger) == [("call", "lte", "uplink", 10, 1000), ("call", "sat", "uplink", 3, 300)]


def test_a_slot_that_becomes_another_links_keeps_the_totals_apart(ledger):
    ledger.add_by_slot("downlink", received(CALL, 1, 10), POLICIES, SLOTS)
    ledger.add_by_slot("downlink", received(CALL, 1, 13), POLICIES, {1: "sat"})

    assert [row[1::2] for row in ledger] == [("lte", 10), ("sat", 3)]


def test_totals_outlive_the_kernels_counters(ledger):
    ledger.add_sent(sent(CALL, 10), POLICIES, ONE_LINK)
    ledger.add_sent({}, POLICIES, ONE_LINK)
    ledger.add_sent(sent(CALL, 2), POLICIES, ONE_LINK)

    assert list(ledger) == [("call", "lte", "uplink", 12, 1200)]


def test_a_bicast_policys_packets_took_all_its_links(ledger):
    ledger.add_sent(sent(CALL, 5), POLICIES, {CALL: ("lte", "wifi")})

    assert list(ledger) == [
        ("call", "lte", "uplink", 5, 500),
        ("call", "wifi", "uplink", 5, 500),
    ]


def test_packets_of_a_policy_without_a_link_took_none(ledger):
    ledger.add_sent(sent(CALL, 5), POLICIES, {CALL: ()})

    assert list(ledger) == []


def test_a_balanced_policys_packets_are_counted_by_the_link_that_each_took(ledger):
    ledger.add_sent(sent(CALL, 9), POLICIES, {})
    ledger.add_by_slot("uplink", received(CALL, 1, 6) | received(CALL, 2, 3), POLICIES, SLOTS)

    assert [row[1::2] for row in ledger] == [("lte", 6), ("wifi", 3)]


def test_the_two_directions_are_counted_from_nothing_each(ledger):
    ledger.add_by_slot("uplink", received(CALL, 1, 6), POLICIES, SLOTS)
    ledger.add_by_slot("downlink", received(CALL, 1, 8), POLICIES, SLOTS)

    assert [row[2:4] for row in ledger] == [("downlink", 8), ("uplink", 6)]


def test_foreign_bits_of_the_marks_do_not_split_a_row(ledger):
    both = received(BULK, 2, 1, foreign=0x3) | received(BULK, 2, 1)
    ledger.add_by_slot("downlink", both, POLICIES, SLOTS)

    assert list(ledger) == [("bulk", "wifi", "downlink", 2, 200)]


def test_what_has_no_name_is_counted_without_one(ledger):
    ledger.add_by_slot("downlink", received(99, 5, 1), POLICIES, SLOTS)

    assert list(ledger) == [("", "", "downlink", 1, 100)]
