from __future__ import annotations

import re
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nft_model import NftModel, model_of
from state_world import find_chain, follow_policy, make_mobile_router, make_path

from mrouter.dataplane.balance import assign_buckets, count_buckets
from mrouter.dataplane.mobile_router import build_mobile_router
from mrouter.dataplane.nft import render_change, render_table
from mrouter.policy.model import (
    Balance,
    Bicast,
    Drop,
    Match,
    Policy,
    PolicyTable,
    PortRange,
    Steer,
    Tier,
)

NAMES = ("a", "b", "c", "d", "e", "f")
THREE = {"lte": 3, "wifi": 2, "sat": 1}
SHARED = Balance((Tier(tuple(THREE), tuple(THREE.values())),))
TIERED = Balance((Tier(("lte", "wifi"), (3, 1)), Tier(("sat",))))

weights = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 100), min_size=2)


@st.composite
def links_up(draw):
    shares = draw(weights)
    up = draw(st.sets(st.sampled_from(sorted(shares)), min_size=1))
    return shares, up


def measure(shares, up):
    """Return how many buckets each link has."""
    sizes = dict.fromkeys(up, 0)
    for (first, last), link in assign_buckets(shares, up).items():
        sizes[link] += last - first + 1
    return sizes


def link_at(assignment, bucket):
    return next(link for (first, last), link in assignment.items() if first <= bucket <= last)


def edges(*assignments):
    """Return the buckets where one of the assignments may change."""
    return sorted({span[0] for assignment in assignments for span in assignment})


@given(weights)
def test_while_all_links_are_up_shares_are_exact(shares):
    unit = count_buckets(shares) // sum(shares.values())

    assert measure(shares, set(shares)) == {
        link: weight * unit for link, weight in shares.items()
    }  # fmt: skip


@given(links_up())
def test_each_bucket_has_one_link_and_it_is_up(case):
    shares, up = case
    assignment = assign_buckets(shares, up)

    ends = [-1]
    for (first, last), link in assignment.items():
        assert first == ends[-1] + 1
        assert last >= first
        assert link in up
        ends.append(last)
    assert ends[-1] == count_buckets(shares) - 1


@given(links_up())
def test_whatever_links_are_up_shares_are_exact_to_a_thousandth(case):
    shares, up = case
    total = sum(shares[link] for link in up)

    for link, size in measure(shares, up).items():
        assert size / count_buckets(shares) == pytest.approx(shares[link] / total, abs=0.001)


@given(links_up(), st.data())
def test_a_link_that_goes_moves_its_own_buckets_alone(case, data):
    shares, up = case
    gone = data.draw(st.sampled_from(sorted(up)))
    before, after = assign_buckets(shares, up), assign_buckets(shares, up - {gone})

    for bucket in edges(before, after) if up != {gone} else ():
        if link_at(before, bucket) != gone:
            assert link_at(after, bucket) == link_at(before, bucket)


def test_the_buckets_of_a_link_that_has_gone_are_spread_by_weight_over_the_rest():
    shares = {"lte": 2, "wifi": 3, "sat": 1}
    before, after = assign_buckets(shares, set(shares)), assign_buckets(shares, {"lte", "sat"})
    moved = {"lte": 0, "sat": 0}
    places = [*edges(before, after), count_buckets(shares)]
    for place, following in pairwise(places):
        if link_at(before, place) == "wifi":
            moved[link_at(after, place)] += following - place

    assert moved["lte"] / moved["sat"] == pytest.approx(2, abs=0.001)


@given(links_up())
def test_the_order_of_links_and_what_was_up_before_do_not_matter(case):
    shares, up = case
    reversed_order = dict(reversed(list(shares.items())))

    assert assign_buckets(reversed_order, sorted(up)) == assign_buckets(shares, up)


def test_the_assignment_is_the_same_for_ever():
    """Flows would move with an update of the program."""
    assert assign_buckets(THREE, {"lte", "sat"}) == {
        (0, 32768): "lte",
        (32769, 43691): "sat",
        (43692, 60075): "lte",
        (60076, 65537): "sat",
    }


def test_a_dozen_links_are_assigned_with_few_spans():
    shares = {f"link-{number}": number for number in range(1, 13)}

    for size in (2, 6, 11):
        up = set(list(shares)[:size])
        assert len(assign_buckets(shares, up)) < 5_000


def make_view(action, links=("lte", "wifi", "sat"), remark=None, **changes):
    policies = PolicyTable((Policy("default", Match(), action, remark),))
    return make_mobile_router(map(make_path, links), policies=policies, **changes)


def rules_of(action, **changes):
    view = make_view(action, **changes)
    return follow_policy(build_mobile_router(view), view, "default")


def slots_of(rule):
    return set(re.findall(r"goto share_(\d+)", rule))


def test_flows_are_told_apart_by_ports_where_there_are_any():
    with_ports, without = rules_of(SHARED)

    assert with_ports.startswith(
        "meta l4proto { 6, 17, 132, 136 } "
        "jhash ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport mod 65538 seed 0x4d vmap"
    )
    assert without.startswith("jhash ip6 saddr . ip6 daddr . meta l4proto mod 65538 seed 0x4d vmap")
    assert slots_of(with_ports) == slots_of(without) == {"1", "2", "3"}


def test_sticky_by_source_looks_at_the_source_alone():
    (rule,) = rules_of(Balance(SHARED.tiers, by_source=True))

    assert rule.startswith("jhash ip6 saddr mod 65538 seed 0x4d vmap")


@pytest.mark.parametrize(
    ("links", "slots"),
    [
        (("lte", "wifi", "sat"), {"1", "2"}),
        (("wifi", "sat"), {"2"}),
        (("sat",), {"3"}),
    ],
)
def test_the_first_tier_with_a_link_that_is_up_is_used(links, slots):
    rules = rules_of(TIERED, links=links)

    assert {slot for rule in rules for slot in slots_of(rule)} == slots


def test_balanced_packets_are_counted_by_policy_and_link():
    state = build_mobile_router(make_view(SHARED))

    assert "update @balanced { ct mark . meta mark }" in find_chain(state, "share_1")


def test_without_a_balanced_policy_no_packet_is_counted_so():
    state = build_mobile_router(make_view(Steer(("lte",))))

    rules = [rule for chain in state.table.chains for rule in chain.rules]
    assert not any("@balanced" in rule for rule in rules)


@pytest.mark.parametrize(
    "action", [SHARED, TIERED, Steer(("lte",)), Bicast(("lte", "wifi"), 2)]
)  # fmt: skip
def test_the_dscp_is_set_before_a_packet_is_sent_or_copied(action):
    assert rules_of(action, remark=46) == ("ip6 dscp set 46", *rules_of(action))


def test_policies_that_differ_in_their_remark_have_a_chain_each():
    policies = PolicyTable(
        (
            Policy("voice", Match((17,), (), (PortRange(1, 1),)), Steer(("lte",)), 46),
            Policy("unwanted", Match((17,), (), (PortRange(2, 2),)), Drop()),
            Policy("default", Match(), Steer(("lte",))),
        )
    )
    view = make_mobile_router(policies=policies)
    state = build_mobile_router(view)

    assert follow_policy(state, view, "voice") == ("ip6 dscp set 46", "goto link_1")
    assert follow_policy(state, view, "default") == ("goto link_1",)


CHOICES = [links for size in range(4) for links in combinations(("lte", "wifi", "sat"), size)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(CHOICES), min_size=2, max_size=5), st.sampled_from([SHARED, TIERED])
)
def test_every_change_of_links_is_one_transaction_that_the_kernel_takes(visits, action):
    model = NftModel()
    tables = [build_mobile_router(make_view(action, links)).table for links in visits]
    model.run(render_table(tables[0]))
    for before, after in pairwise(tables):
        model.run(render_change(before, after))
        assert model == model_of(after)


def test_a_link_change_rewrites_the_balanced_policys_chain_alone():
    before = build_mobile_router(make_view(SHARED)).table
    paths = [make_path("lte"), make_path("wifi", usable=False), make_path("sat")]
    view = make_mobile_router(paths, policies=make_view(SHARED).policies)
    after = build_mobile_router(view).table

    model = NftModel()
    model.run(render_table(before))
    assert model.run(render_change(before, after)) == {"action_0"}
