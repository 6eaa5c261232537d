from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from state_world import make_mobile_router

from mrouter.dataplane.classify import number_policies
from mrouter.dataplane.family import Family
from mrouter.dataplane.mobile_router import build_mobile_router
from mrouter.dataplane.name_sets import name_set_of
from mrouter.dataplane.nft import render_change, render_renewal, render_table
from mrouter.dataplane.steering import treat_plainly
from mrouter.policy.model import Match, Policy, PolicyTable, Steer

LTE = Steer(("lte",))
ADDRESS = IPv6Address("2001:db8::1")
DOMAINS, OTHERS = ("example.com", "*.example.net"), ("example.org",)
DEFAULT = Policy("default", Match(), LTE)
VIDEO = Policy("video", Match(destination_domains=DOMAINS), LTE)


def build(*policies, **changes):
    table = PolicyTable((*policies, DEFAULT))
    return build_state(table, **changes).table


def build_state(table, **changes):
    numbers = number_policies(table)
    treatments = treat_plainly(table, numbers)
    view = replace(
        make_mobile_router(), policies=table, numbers=numbers, treatments=treatments, **changes
    )
    return build_mobile_router(view)


def list_names(table):
    return [item.name for item in table.sets if item.name.startswith("names6_")]


def test_a_list_of_domains_has_one_set_for_all_its_policies():
    negated = Policy("not", Match((6,), none_of=Match(destination_domains=DOMAINS)), LTE)
    table = build(VIDEO, negated)
    (name,) = list_names(table)
    (classify,) = (chain for chain in table.chains if chain.name == "classify")
    assert [rule.split(" goto")[0] for rule in classify.rules[:2]] == [
        f"ip6 daddr @{name}", f"meta l4proto 6 ip6 daddr != @{name}",
    ]  # fmt: skip


def test_another_list_has_another_set():
    assert name_set_of(DOMAINS, Family.IPV6) != name_set_of(OTHERS, Family.IPV6)


def test_what_is_known_is_put_in_when_the_set_is_made_and_never_after():
    known = build(VIDEO, known_names={DOMAINS: {ADDRESS: 60}})
    name = name_set_of(DOMAINS, Family.IPV6)
    for text in (render_table(known), render_change(build(), known)):
        (made,) = [
            line for line in text.splitlines() if line.startswith(f"add set ip6 mrouter {name}")
        ]
        assert f"elements = {{ {ADDRESS} timeout 60s }}" in made
    less = build(VIDEO, known_names={DOMAINS: {}})
    assert render_change(less, known) == render_change(known, less) == ""


def test_lists_whose_policies_are_not_active_are_kept_and_looked_for():
    table = build(known_names={OTHERS: {}})
    assert list_names(table) == [name_set_of(OTHERS, Family.IPV6)]
    assert any("log group 78" in rule for chain in table.chains for rule in chain.rules)


def test_each_family_has_addresses_of_its_own():
    table = PolicyTable((VIDEO, DEFAULT))
    known = {DOMAINS: {ADDRESS: 60, IPv4Address("192.0.2.1"): 60}}
    networks = (IPv4Network("10.0.0.0/24"),)
    state = build_state(table, known_names=known, ipv4_prefixes=networks)
    for family, text in ((Family.IPV6, str(ADDRESS)), (Family.IPV4, "192.0.2.1")):
        name = name_set_of(DOMAINS, family)
        made = next(item for item in state.tables[family].sets if item.name == name)
        assert list(made.initial) == [f"{text} timeout 60s"]
        chains = {chain.name: chain.rules for chain in state.tables[family].chains}
        assert f"{family.word} daddr @{name} goto" in chains["classify"][0]
        assert "log group 78" in chains["names"][0]


def test_without_domains_no_answer_is_looked_at():
    table = build()
    assert list_names(table) == []
    assert not any("log group 78" in rule for chain in table.chains for rule in chain.rules)


def test_elements_are_renewed_whether_they_are_there_or_not():
    elements = {"2001:db8::1 timeout 60s": "", "2001:db8::2 timeout 60s": ""}
    lines = render_renewal(Family.IPV6, "names", elements).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["add", "delete", "add"]
