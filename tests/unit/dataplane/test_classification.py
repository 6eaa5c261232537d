from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.dataplane import marks
from mrouter.dataplane.classify import compile_classification, number_policies
from mrouter.policy.model import Drop, Match, Policy, PolicyTable, PortRange, Steer
from mrouter.policy.prefix_sets import make_prefix_set

STEER = Steer(("lte",))


def policy(name, port=None, action=STEER):
    ports = () if port is None else (PortRange(port, port),)
    return Policy(name, Match((17,) if ports else (), (), ports), action)


def table(*policies):
    return PolicyTable((*policies, policy("default")))


names = st.lists(st.integers(0, 50), unique=True, max_size=8)


@given(names, names)
def test_numbers_last_over_a_change_behind_them(kept, added):
    before = [policy(f"kept-{number}", number) for number in kept]
    after = [policy(f"added-{number}", number) for number in added]

    old, new = number_policies(table(*before)), number_policies(table(*before, *after))

    assert [new[item.name] for item in before] == [old[item.name] for item in before]


def test_a_change_gives_a_new_number_to_itself_and_to_all_behind_it():
    old = number_policies(table(policy("a", 1), policy("b", 2), policy("c", 3)))
    new = number_policies(table(policy("a", 1), policy("b", 2, Drop()), policy("c", 3)))

    assert new["a"] == old["a"]
    assert all(new[name] != old[name] for name in ("b", "c", "default"))


@given(names)
def test_numbers_are_distinct_and_fit_the_connection_mark(ports):
    numbers = number_policies(table(*(policy(f"policy-{port}", port) for port in ports)))

    assert len(set(numbers.values())) == len(ports) + 1
    for number in numbers.values():
        mark = marks.mark_policy(number)
        assert mark & ~marks.CONNECTION_MASK == 0
        assert marks.policy_of_mark(mark | 0xFFF) == number != 0


def test_a_thousand_port_policies_cost_a_packet_two_lookups():
    policies = table(*(policy(f"policy-{port}", port) for port in range(1, 1001)))

    compiled = compile_classification(policies, number_policies(policies))

    (classify,) = (chain for chain in compiled.chains if chain.name == "classify")
    assert len(classify.rules) == 2
    assert len(compiled.sets) == 1
    assert len(compiled.sets[0].elements) == 1000


def compile_rules(*policies):
    """Return the rules of "classify", the default's left out, and the sets."""
    whole = table(*policies)
    compiled = compile_classification(whole, number_policies(whole))
    (classify,) = (chain for chain in compiled.chains if chain.name == "classify")
    return classify.rules[:-1], compiled.sets


HERE = make_prefix_set("here", [IPv6Network("2001:db8:a1::/64")])
THERE = make_prefix_set("over-there.1", map(IPv6Network, ["2001:db8:c::/49", "2001:db8:d::1/128",
                                                         "2001:db8:c:8000::/49"]))  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {"source_macs": ("02:00:00:00:00:01",)},
        {"source_sets": (HERE,)},
        {"destination_sets": (HERE,)},
        {"none_of": Match(dscp=(46,))},
        {"ingress": ("lan0",)},
    ],
)
def test_what_looks_at_more_than_ports_is_no_element_of_a_map_of_ports(more):
    match = replace(policy("p", 5004).match, **more)

    rules, sets = compile_rules(Policy("p", match, STEER))

    assert len(rules) == 1
    assert "vmap" not in rules[0]
    assert "th dport 5004" in rules[0]
    assert not any(item.kind == "map" for item in sets)


def test_a_set_is_made_once_for_all_that_use_it():
    users = [
        Policy(f"p-{number}", Match(dscp=(number,), **{field: (THERE,)}), STEER)
        for number, field in enumerate(["source_sets", "destination_sets"] * 2)
    ] + [Policy("not", Match(none_of=Match(destination_sets=(THERE, HERE))), STEER)]

    rules, sets = compile_rules(*users)

    assert {item.name: set(item.elements) for item in sets} == {
        "set6_over-there.1": {
            "2001:db8:c::/48", "2001:db8:d::1",
        },
        "hash6_64_here": {"2001:db8:a1::"},
    }  # fmt: skip
    assert [rule.split(" goto")[0] for rule in rules] == [
        "ip6 dscp 0 ip6 saddr @set6_over-there.1",
        "ip6 dscp 1 ip6 daddr @set6_over-there.1",
        "ip6 dscp 2 ip6 saddr @set6_over-there.1",
        "ip6 dscp 3 ip6 daddr @set6_over-there.1",
        "ip6 daddr != @set6_over-there.1 ip6 daddr & ffff:ffff:ffff:ffff:: != @hash6_64_here",
    ]


def test_sets_that_do_not_change_are_not_made_again():
    whole = table(Policy("p", Match(source_sets=(HERE,)), STEER))
    one, other = (compile_classification(whole, number_policies(whole)) for _ in range(2))
    assert one.sets[-1] is other.sets[-1]


def test_prefixes_and_sets_of_one_end_have_a_rule_each_with_one_verdict():
    match = Match(
        source_sets=(HERE, THERE),
        destination_prefixes=(IPv6Network("2001:db8:e::/48"),),
        destination_sets=(THERE,),
    )
    rules, _ = compile_rules(Policy("p", match, STEER))
    assert len(rules) == 2 * 2
    assert len({rule.split("goto")[1] for rule in rules}) == 1


def test_a_set_that_changes_gives_its_policy_a_new_number():
    changed = make_prefix_set("here", [IPv6Network("2001:db8:a2::/64")])
    old, new = (
        number_policies(table(policy("a", 1), Policy("b", Match(source_sets=(each,)), STEER)))
        for each in (HERE, changed)
    )
    assert old["a"] == new["a"]
    assert old["b"] != new["b"]


def test_the_prefixes_of_a_set_that_touch_are_one_range():
    touching = map(IPv6Network, ["2001:db8:1::/48", "2001:db8:2::/47"])
    match = Match(source_sets=(make_prefix_set("here", touching),))
    _, sets = compile_rules(Policy("p", match, STEER))
    assert list(sets[0].elements) == ["2001:db8:1::-2001:db8:3:ffff:ffff:ffff:ffff:ffff"]


@pytest.mark.parametrize(
    ("prefixes", "mask", "elements"),
    [
        (["2001:db8:1::/48", "2001:db8:2::/48"], " & ffff:ffff:ffff::",
         ["2001:db8:1::", "2001:db8:2::"]),
        (["2001:db8::/33", "192.0.2.0/24"], " & ffff:ffff:8000::", ["2001:db8::"]),
        (["2001:db8::7/128", "2001:db8::8/128"], "", ["2001:db8::7", "2001:db8::8"]),
    ],
)  # fmt: skip
def test_prefixes_of_one_length_are_looked_up_as_what_their_addresses_begin_with(
    prefixes, mask, elements
):
    here = make_prefix_set("here", map(ip_network, prefixes))
    rules, sets = compile_rules(Policy("p", Match(source_sets=(here,)), STEER))
    assert rules[0].startswith(f"ip6 saddr{mask} @{sets[0].name} goto")
    assert (list(sets[0].elements), "interval" in sets[0].declaration) == (elements, False)


def test_a_prefix_of_everything_is_no_hash():
    everything = make_prefix_set("x", [IPv6Network("::/0")])
    rules, sets = compile_rules(Policy("p", Match(source_sets=(everything,)), STEER))
    assert rules[0].startswith("ip6 saddr @set6_x goto")
    assert list(sets[0].elements) == ["::/0"]


def test_the_same_is_compiled_once_for_all_changes_of_links():
    whole = table(policy("a", 1))
    one, other = (compile_classification(whole, number_policies(whole)) for _ in range(2))
    assert one is other


def test_other_numbers_are_compiled_anew():
    whole = table(policy("a", 1))
    numbers = number_policies(whole)
    others = {name: number % 7 + at for at, (name, number) in enumerate(numbers.items(), start=99)}
    old, new = (compile_classification(whole, each) for each in (numbers, others))
    assert old != new
