from __future__ import annotations

from dataclasses import fields, replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from mrouter.policy.conditions import KINDS, list_conditions
from mrouter.policy.explain import describe_explanation, explain_flow, explain_links
from mrouter.policy.find import Flow
from mrouter.policy.model import (
    Balance,
    Bicast,
    Choice,
    Drop,
    Match,
    Policy,
    PolicyTable,
    PortRange,
    Steer,
    Tier,
)
from mrouter.policy.resolve import LinkSituation

FLOW = Flow(17, IPv6Address("2001:db8:a1::5"), IPv6Address("2001:db8::1"), 40000, 5004)
CONTROL = Policy("control", Match((17,), dscp=(48,)), Bicast(("lte", "wifi", "sat"), 2))
CALL = Policy(
    "call", Match((17,), destination_ports=(PortRange(5000, 5010),)), Steer(("wifi", "lte"))
)
DEFAULT = Policy("default", Match(), Drop())
TABLE = PolicyTable((CONTROL, CALL, DEFAULT))


def explain(table=TABLE, flow=FLOW, down=None):
    return describe_explanation(explain_flow(table, flow, LinkSituation(down or {})))


def links_of(action, **down):
    table = PolicyTable((Policy("default", Match(), action),))
    return [
        (each["link"], each["used"], each["reason"]) for each in explain(table, FLOW, down)["links"]
    ]


def test_every_field_of_a_match_belongs_to_a_kind_of_condition():
    named = [name for names, _ in KINDS.values() for name in names]
    assert sorted([*named, "none_of"]) == sorted(each.name for each in fields(Match))


def test_the_policy_is_named_with_each_condition_and_what_the_packet_has():
    explained = explain()
    assert (explained["policy"], explained["action"]) == ("call", "links wifi, lte")
    assert explained["conditions"] == [
        {"condition": "protocol", "asks": "udp", "has": "udp"},
        {"condition": "destination-port", "asks": "5000-5010", "has": "5004"},
    ]


def test_an_earlier_policy_is_told_with_the_first_condition_that_failed():
    assert explain()["passed_over"] == [
        {"policy": "control", "condition": "dscp", "asks": "cs6", "has": "cs0"}
    ]


def test_a_negated_condition_is_told_as_one():
    away = Policy(
        "away", Match(none_of=Match(destination_prefixes=(IPv6Network("2001:db8::/32"),))), Drop()
    )
    (passed,) = explain(PolicyTable((away, DEFAULT)))["passed_over"]
    assert passed == {
        "policy": "away",
        "condition": "not-destination",
        "asks": "not 2001:db8::/32",
        "has": "2001:db8::1",
    }


def test_a_packet_that_shows_no_port_has_none():
    explained = explain(flow=replace(FLOW, destination_port=None))
    assert explained["policy"] == "default"
    assert explained["passed_over"][1]["has"] == "none"


def test_a_long_list_is_cut_short():
    many = Match(dscp=tuple(range(20)))
    (condition,) = list_conditions(many)
    assert condition.asks == "cs0, 1, 2, 3, 4, 5, 6, 7 and 12 more"


def test_of_links_that_are_up_the_first_is_used():
    assert links_of(Steer(("wifi", "lte", "sat")), wifi="down: no carrier") == [
        ("wifi", False, "down: no carrier"),
        ("lte", True, "up"),
        ("sat", False, "up, but lte comes before it"),
    ]


def test_of_copies_each_link_is_one_of_several():
    assert links_of(Bicast(("lte", "wifi", "sat"), 2)) == [
        ("lte", True, "up, as one of 2"),
        ("wifi", True, "up, as one of 2"),
        ("sat", False, "up, but lte and wifi come before it"),
    ]


def test_links_of_a_later_tier_wait():
    action = Balance((Tier(("lte", "wifi"), (1, 3)), Tier(("sat",))))
    assert links_of(action, wifi="down") == [
        ("wifi", False, "down"),
        ("lte", True, "up"),
        ("sat", False, "up, but lte comes before it"),
    ]


def test_a_policy_that_drops_has_no_links():
    assert links_of(Drop()) == []


@pytest.mark.parametrize("source", [IPv6Address(0), FLOW.source])
def test_a_packet_without_a_source_shows_none(source):
    shown = explain(flow=replace(FLOW, source=source))["packet"]
    assert shown.get("source") == (None if source == IPv6Address(0) else "2001:db8:a1::5")


def test_what_a_policy_holds_down_and_prefers_is_told():
    steer = Steer(("wifi", "lte", "sat"), Choice.CHEAPEST)
    call = Policy("call", Match(), steer)
    situation = LinkSituation(
        held={"call": {"sat": "over its quota"}, "other": {"lte": "held down, 3 s to go"}},
        measures={Choice.CHEAPEST: {"wifi": 3, "sat": 1, "lte": 2}},
    )
    assert [(each.link, each.used, each.reason) for each in explain_links(call, situation)] == [
        ("sat", False, "over its quota"),
        ("lte", True, "up"),
        ("wifi", False, "up, but lte comes before it"),
    ]
