from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mrouter.policy.find import Flow, matches
from mrouter.policy.model import Drop, Match, Policy, PolicyTable, PortRange, Steer
from mrouter.policy.prefix_sets import make_prefix_set
from mrouter.policy.shadow import Shadowed, find_shadowed

UDP, TCP = 17, 6
LTE, WIFI = Steer(("lte",)), Steer(("wifi",))


def ports(*ranges):
    return tuple(PortRange(first, last) for first, last in ranges)


def prefixes(*texts):
    return tuple(IPv6Network(text) for text in texts)


def find(*matches, actions=None):
    actions = actions or [LTE] * len(matches)
    policies = [
        Policy(f"p{n}", match, action)
        for n, (match, action) in enumerate(zip(matches, actions, strict=True))
    ]
    return list(find_shadowed(PolicyTable((*policies, Policy("default", Match(), Drop())))))


UDP_CALL = Match((UDP,), destination_ports=ports((5000, 5010)))
NETWORK = Match(destination_prefixes=prefixes("2001:db8::/32"))
COMPANY = make_prefix_set("company", prefixes("2001:db8:1::/48", "2001:db8:2::/48"))


def test_a_policy_inside_one_earlier_policy_is_found_with_its_name():
    narrower = replace(UDP_CALL, destination_ports=ports((5005, 5005)))
    assert find(UDP_CALL, narrower) == [Shadowed(1, (0,), redundant=True)]


def test_another_action_makes_it_more_than_redundant():
    (found,) = find(UDP_CALL, UDP_CALL, actions=[LTE, WIFI])
    assert not found.redundant


def test_ranges_of_several_earlier_policies_are_taken_together():
    low = Match((UDP, TCP), destination_ports=ports((1, 99)))
    high = Match((UDP,), destination_ports=ports((100, 200)))
    across = Match((UDP,), destination_ports=ports((50, 150)), dscp=(46,))
    assert find(low, high, across) == [Shadowed(2, (0, 1), redundant=True)]


def test_without_conditions_everything_after_is_unreached_the_default_too():
    assert [found.position for found in find(Match(), UDP_CALL)] == [1, 2]


def test_a_prefix_inside_a_set_is_found():
    inside = Match(destination_prefixes=prefixes("2001:db8:2:3::/64"))
    assert [f.by for f in find(Match(destination_sets=(COMPANY,)), inside)] == [(0,)]


def test_a_set_is_not_inside_another_of_its_name():
    other = make_prefix_set("company", prefixes("2001:db8:3::/48"))
    assert not find(Match(destination_sets=(COMPANY,)), Match(destination_sets=(other,)))


@pytest.mark.parametrize(
    "later",
    [
        replace(UDP_CALL, protocols=(UDP, TCP)),
        replace(UDP_CALL, destination_ports=ports((5005, 5011))),
        replace(UDP_CALL, destination_ports=()),
        Match(dscp=(46,)),
    ],
)
def test_a_policy_that_reaches_beyond_the_earlier_one_is_not_found(later):
    assert not find(UDP_CALL, later)


def test_what_the_earlier_policy_keeps_out_must_be_kept_out_by_the_later_one():
    earlier = replace(NETWORK, none_of=Match(protocols=(TCP,)))
    inside = Match(destination_prefixes=prefixes("2001:db8:1::/48"))
    assert not find(earlier, inside)
    assert find(earlier, replace(inside, none_of=Match(protocols=(TCP, UDP))))


# --- whatever is found is really never reached ------------------------------------------

VALUES = {
    "protocol": [UDP, TCP],
    "source": [IPv6Address(f"2001:db8:{n}::1") for n in range(3)],
    "destination": [IPv6Address(f"2001:db8:{n}::1") for n in range(4)],
    "source_port": [1, 2],
    "destination_port": [1, 2, 3, None],
    "dscp": [0, 46],
}
few_ports = st.sampled_from(
    [(), ports((1, 1)), ports((2, 3)), ports((1, 3)), ports((1, 1), (3, 3))]
)
few_prefixes = st.sampled_from(
    [(), prefixes("2001:db8:1::/48"), prefixes("2001:db8::/47"), prefixes("2001:db8:2::/48")]
)
fields = st.fixed_dictionaries(
    {
        "protocols": st.sampled_from([(), (UDP,), (TCP, UDP)]),
        "source_ports": few_ports,
        "destination_ports": few_ports,
        "source_prefixes": few_prefixes,
        "destination_prefixes": few_prefixes,
        "destination_sets": st.sampled_from([(), (COMPANY,)]),
        "dscp": st.sampled_from([(), (0,), (46,), (0, 46)]),
    }
)
#: Mostly empty, so that one often covers another.
sparse = st.builds(
    lambda values, kept: {name: values[name] for name in kept},
    fields,
    st.lists(st.sampled_from(["protocols", "source_ports", "destination_ports", "dscp",
                              "source_prefixes", "destination_prefixes", "destination_sets"]),
             unique=True, max_size=3),
)  # fmt: skip
some_matches = st.builds(
    lambda values, kept_out: Match(
        **values, none_of=None if kept_out is None else Match(**kept_out)
    ),
    sparse,
    st.none() | sparse.filter(lambda values: any(values.values())),
)
flows = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in VALUES.items()})


@settings(max_examples=150)
@given(st.lists(some_matches, min_size=2, max_size=6), st.lists(flows, min_size=30, max_size=30))
def test_no_packet_meets_a_policy_that_is_said_to_be_unreached_first(table, packets):
    for found in find(*table):
        match = [*table, Match()][found.position]
        for packet in packets:
            flow = Flow(**packet)
            if matches(match, flow):
                assert any(matches(table[each], flow) for each in found.by)


def test_ten_thousand_policies_take_a_moment():
    network = [
        Match((TCP,), destination_ports=ports((n % 500, n % 500 + 9)),
              destination_prefixes=prefixes(f"2001:db8:{n:x}::/48"))
        for n in range(5000)
    ]  # fmt: skip
    single = [Match((UDP,), destination_ports=ports((n, n))) for n in range(5000)]
    assert [found.position for found in find(*network, *single, single[17])] == [10000]
