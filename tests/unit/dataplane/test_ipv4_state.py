"""IPv4 on board in the desired states of mobile router and home agent."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from state_world import (
    HOME_ADDRESS,
    check_state,
    home_agents,
    make_binding,
    make_home_agent,
    make_mobile_router,
    make_path,
    mobile_routers,
)

from mrouter.dataplane import marks
from mrouter.dataplane.classify import number_policies
from mrouter.dataplane.fake import render_routing, render_state
from mrouter.dataplane.family import Family
from mrouter.dataplane.home_agent import build_home_agent
from mrouter.dataplane.mobile_router import HomePath, build_mobile_router
from mrouter.dataplane.state import Encapsulation, IPv4Exit
from mrouter.dataplane.steering import treat_plainly
from mrouter.policy.model import Match, Policy, PolicyTable, Steer
from mrouter.policy.prefix_sets import make_prefix_set

BOARD = IPv4Network("192.168.7.0/24")
OTHER = IPv4Network("10.0.0.0/9")
PREFIXES6 = (IPv6Network("2001:db8::/32"),)
networks = st.lists(st.sampled_from([BOARD, OTHER]), unique=True, min_size=1).map(tuple)


@st.composite
def routers_with_ipv4(draw):
    view = draw(mobile_routers())
    paths = [replace(path, ipv4=draw(st.booleans())) for path in view.paths]
    waiting = draw(st.sampled_from([None, "wait0"]))
    return replace(
        view, paths=tuple(paths), ipv4_prefixes=draw(networks), waiting=waiting, optimized=()
    )


@st.composite
def agents_with_ipv4(draw):
    view = draw(home_agents())
    # nobody's network is another's, and a link that has just come up may have none yet
    own = {HOME_ADDRESS: (BOARD,), HOME_ADDRESS + 1: (OTHER,)}
    bindings = [
        replace(each, ipv4_prefixes=own.get(each.home_address, ()) if draw(st.booleans()) else ())
        for each in view.bindings
    ]
    exits = st.sampled_from(IPv4Exit)
    return replace(
        view, bindings=tuple(bindings), served_ipv4=(BOARD, OTHER), ipv4_exit=draw(exits)
    )


def with_ipv4(**changes):
    paths = [make_path(link, ipv4=True) for link in ("lte", "wifi", "sat")]
    return replace(make_mobile_router(paths), ipv4_prefixes=(BOARD,), **changes)


def find(state, name):
    """Return the rules of a chain, or the elements of a set, of the IPv4 table."""
    chains = {chain.name: chain.rules for chain in state.ipv4_table.chains}
    return chains.get(name) or {s.name: s.elements for s in state.ipv4_table.sets}[name]


def is_ipv4(route):
    return route.destination.version == 4


@settings(max_examples=40, deadline=None)
@given(routers_with_ipv4())
def test_every_mobile_router_keeps_to_its_numbers_and_names(view):
    state = build_mobile_router(view)

    check_state(state)
    assert not any("ip6 " in rule for chain in state.ipv4_table.chains for rule in chain.rules)


@settings(max_examples=40, deadline=None)
@given(agents_with_ipv4())
def test_every_home_agent_keeps_to_its_numbers_and_names(view):
    state = build_home_agent(view)

    check_state(state)
    assert not any("ip6 " in rule for chain in state.ipv4_table.chains for rule in chain.rules)


@settings(max_examples=40, deadline=None)
@given(routers_with_ipv4())
def test_without_ipv4_on_board_a_mobile_router_has_nothing_of_it(view):
    state = build_mobile_router(replace(view, ipv4_prefixes=()))

    assert state.ipv4_table is None
    assert not any(map(is_ipv4, state.routes))
    assert {rule.family for rule in state.rules} == {Family.IPV6}
    assert "l4proto { 4" not in render_state(state)
    assert state.tunnel_interfaces == ()


@settings(max_examples=40, deadline=None)
@given(agents_with_ipv4())
def test_without_ipv4_served_a_home_agent_has_nothing_of_it(view):
    state = build_home_agent(replace(view, served_ipv4=()))

    assert state.ipv4_table is None
    assert not any(map(is_ipv4, state.routes))
    assert {rule.family for rule in state.rules} == {Family.IPV6}
    assert "l4proto { 4" not in render_state(state)


@settings(max_examples=40, deadline=None)
@given(routers_with_ipv4())
def test_only_paths_that_ipv4_is_granted_for_have_a_way_for_it(view):
    state = build_mobile_router(view)

    ways = {route.table for route in state.routes if is_ipv4(route) and route.tunnel is not None}
    assert ways == {marks.slot_table(path.slot) for path in view.paths if path.usable and path.ipv4}
    unreachable = [rule for rule in state.rules if rule.unreachable]
    assert {rule.family for rule in unreachable} == set(Family)


@settings(max_examples=40, deadline=None)
@given(agents_with_ipv4())
def test_every_served_network_has_a_route_that_does_not_leave_in_the_clear(view):
    state = build_home_agent(view)

    for table in (marks.PRIMARY_TABLE, marks.STRICT_TABLE):
        routes = [route for route in state.routes if is_ipv4(route) and route.table == table]
        assert {route.destination for route in routes} >= set(view.served_ipv4)
        assert all(route.tunnel is not None or not route.device for route in routes)


def test_the_routing_of_a_mobile_router():
    view = replace(with_ipv4(), paths=(make_path("lte", ipv4=True, mtu=1400), make_path("wifi")))

    lines = [line for line in render_routing(build_mobile_router(view)).splitlines() if is4(line)]

    assert lines == [
        "accept any source on lte0",
        "accept any source on wifi0",
        "accept any source on sat0",
        "rule 7601: IPv4 mark 0x80100000/0x87f00000 lookup 7601",
        "rule 7701: IPv4 mark 0x04100000/0x87f00000 lookup 7701",
        "rule 7770: IPv4 mark 0x04000000/0x04000000 unreachable",
        "rule 7774: IPv4 from 192.168.7.0/24 iif lo lookup main without its default route",
        "rule 7780: IPv4 from 192.168.7.0/24 iif lo lookup 7780",
        "route 7601: 0.0.0.0/0 dev lo mtu 1360",
        "route 7690: fd6d:726f:7574:6572::4/128 decapsulate IPv4 dev lan0",
        "route 7701: 0.0.0.0/0 encapsulate to 2001:db8:f0::2 dev lo",
        "route 7780: 0.0.0.0/0 dev lo",
    ]


def is4(line):
    return any(word in line for word in ("IPv4", "0.0.0.0", "accept any", "192.168"))


def test_the_routing_of_a_home_agent():
    bindings = [
        make_binding("lte", ipv4_prefixes=(BOARD,), ifpri=5),
        make_binding("wifi", ipv4_prefixes=(BOARD,), ifpri=3),
        make_binding("sat", ifpri=1),
    ]
    view = make_home_agent(bindings, served_ipv4=(BOARD, OTHER))

    lines = render_routing(build_home_agent(view)).splitlines()

    assert [line for line in lines if "192.168" in line or "10.0.0" in line] == [
        "route 7701: 192.168.7.0/24 encapsulate to 2001:db8:1::2 dev lo",
        "route 7702: 192.168.7.0/24 encapsulate to 2001:db8:2::2 dev lo",
        "route 7770: blackhole 10.0.0.0/9",
        "route 7770: blackhole 192.168.7.0/24",
        "route 7780: unreachable 10.0.0.0/9",
        "route 7780: 192.168.7.0/24 encapsulate to 2001:db8:2::2 dev lo",
    ]


def test_ip6tnl_carries_both_families_in_one_device():
    view = with_ipv4(encapsulation=Encapsulation.IP6TNL)
    state = build_mobile_router(view)

    ways = {r.device for r in state.routes if is_ipv4(r) and r.tunnel is not None}
    assert ways == set(state.tunnel_interfaces) == {"mrouter0"}
    assert state.tunnel_device
    (guard, *_rest) = find(state, "prerouting")
    assert guard.startswith('iifname "mrouter0" meta mark')


def test_the_class_is_copied_from_the_place_that_each_family_has_it_in():
    state = build_mobile_router(with_ipv4(encapsulation=Encapsulation.IP6TNL))
    rules = {chain.name: chain.rules for chain in state.table.chains}["postrouting"]

    assert "ip6 nexthdr 41 @nh,0,16 set @nh,320,16" in rules
    (copy,) = [rule for rule in rules if rule.startswith("ip6 nexthdr 4 ")]
    assert "0xb8 : 0x6b80" in copy


def test_only_the_exit_by_translation_translates():
    binding = make_binding(ipv4_prefixes=(BOARD,))
    for way_out, expected in ((IPv4Exit.ROUTE, False), (IPv4Exit.NAT, True)):
        view = make_home_agent([binding], served_ipv4=(BOARD,), ipv4_exit=way_out)
        chains = build_home_agent(view).ipv4_table.chains
        assert any("masquerade" in rule for chain in chains for rule in chain.rules) is expected


def test_at_home_there_is_no_way_for_ipv4():
    view = with_ipv4(home_path=HomePath("lte", "lte0", None))
    state = build_mobile_router(replace(view, paths=()))

    actions = [c for c in state.ipv4_table.chains if c.name.startswith("action_")]
    assert {chain.rules[-1] for chain in actions} == {
        "counter name no_link_dropped drop",
        "counter name policy_dropped drop",
    }


def test_what_is_too_big_is_asked_of_the_narrowest_link_that_an_action_uses():
    paths = (make_path("lte", ipv4=True, mtu=1400), make_path("wifi", ipv4=True, mtu=1300))
    view = replace(with_ipv4(), paths=paths)

    rules = {rule for c in build_mobile_router(view).ipv4_table.chains for rule in c.rules}

    asked = sorted(rule for rule in rules if "goto too_big" in rule)
    assert [(rule.split()[3], rule.split()[-1]) for rule in asked] == [
        ("1260", "too_big_2"),
        ("1360", "too_big_1"),
    ]


@pytest.mark.parametrize("family", Family)
def test_a_policy_is_compiled_for_the_families_of_its_prefixes(family):
    mixed = make_prefix_set("mixed", [BOARD, IPv4Network("10.0.0.0/8"), *PREFIXES6])
    policies = PolicyTable(
        (
            Policy("four", Match(source_prefixes=(BOARD,)), Steer(("lte",))),
            Policy("six", Match(source_prefixes=PREFIXES6), Steer(("lte",))),
            Policy("both", Match(source_sets=(mixed,)), Steer(("lte",))),
            Policy("ping6", Match(icmpv6_types=(128,)), Steer(("lte",))),
            Policy("default", Match(), Steer(("lte",))),
        )
    )
    numbers = number_policies(policies)
    treatments = treat_plainly(policies, numbers)
    view = with_ipv4(policies=policies, numbers=numbers, treatments=treatments)

    table = build_mobile_router(view).tables[family]

    rules = {chain.name: chain.rules for chain in table.chains}["classify"]
    met = [rule.rpartition("policy_")[2] for rule in rules]
    names = {str(number): name for name, number in numbers.items()}
    expected = {Family.IPV4: ["four", "both"], Family.IPV6: ["six", "both", "ping6"]}[family]
    assert [names[number] for number in met] == [*expected, "default"]
    (made,) = [s for s in table.sets if "mixed" in s.name]
    assert (made.name, set(made.elements)) == {
        Family.IPV4: ("set4_mixed", {"10.0.0.0/8", "192.168.7.0/24"}),
        Family.IPV6: ("hash6_32_mixed", {"2001:db8::"}),
    }[family]
