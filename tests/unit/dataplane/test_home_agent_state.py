from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from state_world import (
    HOME_ADDRESS,
    HOME_AGENT,
    PREFIX,
    SERVED,
    check_state,
    find_set,
    home_agents,
    make_binding,
    make_home_agent,
)

from mrouter.dataplane import marks
from mrouter.dataplane.fake import render_routing
from mrouter.dataplane.home_agent import build_home_agent
from mrouter.dataplane.state import Encapsulation, RouteKind

OTHER_HOME = HOME_ADDRESS + 1
OTHER_PREFIX = IPv6Network("2001:db8:a2::/64")


def routes_of(state, table):
    return {route.destination: route for route in state.routes if route.table == table}


@settings(max_examples=40)
@given(home_agents())
def test_every_state_keeps_to_its_numbers_and_names(view):
    check_state(build_home_agent(view))


@settings(max_examples=40)
@given(home_agents())
def test_every_served_network_has_a_primary_tunnel_or_is_unreachable(view):
    primary = routes_of(build_home_agent(view), marks.PRIMARY_TABLE)

    registered = {IPv6Network(item.home_address) for item in view.bindings}
    registered |= {prefix for item in view.bindings for prefix in item.prefixes}
    assert set(primary) == set(view.served)
    for network, route in primary.items():
        assert (route.kind is RouteKind.UNREACHABLE) == (network not in registered)
        assert (route.tunnel is not None) == (network in registered)


@settings(max_examples=40)
@given(home_agents())
def test_a_copy_whose_slot_has_gone_falls_into_a_black_hole(view):
    strict = routes_of(build_home_agent(view), marks.STRICT_TABLE)

    assert set(strict) == set(view.served)
    assert {route.kind for route in strict.values()} == {RouteKind.BLACKHOLE}


@settings(max_examples=40)
@given(home_agents())
def test_each_slots_table_leads_to_each_routers_own_care_of_address(view):
    view = replace(view, encapsulation=Encapsulation.SEG6)
    state = build_home_agent(view)

    for binding in view.bindings:
        routes = routes_of(state, marks.slot_table(binding.slot))
        for network in (IPv6Network(binding.home_address), *binding.prefixes):
            assert routes[network].tunnel.segment == binding.care_of_address


@settings(max_examples=40)
@given(home_agents())
def test_the_primary_binding_is_the_one_with_the_lowest_priority_value(view):
    view = replace(view, encapsulation=Encapsulation.SEG6)
    primary = routes_of(build_home_agent(view), marks.PRIMARY_TABLE)

    for home in {item.home_address for item in view.bindings}:
        own = [item for item in view.bindings if item.home_address == home]
        chosen = primary[IPv6Network(home)].tunnel.segment
        lowest = min(item.ifpri for item in own)
        assert chosen in {item.care_of_address for item in own if item.ifpri == lowest}


def test_an_inner_source_is_accepted_only_from_its_routers_care_of_addresses():
    other = make_binding("wifi", home_address=OTHER_HOME, prefixes=(OTHER_PREFIX,), slot=1)
    state = build_home_agent(make_home_agent([make_binding("lte"), other]))

    assert find_set(state, "sources_64") == {
        "2001:db8:1::2 . 0x20010db800a10000": "goto from_1",
        "2001:db8:2::2 . 0x20010db800a20000": "goto from_1",
    }
    assert find_set(state, "sources_128") == {
        f"2001:db8:1::2 . {int(HOME_ADDRESS):#x}": "goto from_1",
        f"2001:db8:2::2 . {int(OTHER_HOME):#x}": "goto from_1",
    }


@pytest.mark.parametrize(("length", "octets", "count"), [(56, 56, 1), (60, 64, 16), (49, 56, 128)])
def test_a_prefix_that_ends_within_an_octet_is_cut_into_whole_ones(length, octets, count):
    prefix = IPv6Network((PREFIX.network_address, length), strict=False)
    state = build_home_agent(make_home_agent([make_binding(prefixes=(prefix,))]))

    keys = [key.split(" . ")[1] for key in find_set(state, f"sources_{octets}")]
    cut = {IPv6Network((int(key, 16) << (128 - octets), octets)) for key in keys}
    assert cut == set(prefix.subnets(new_prefix=octets))
    assert len(keys) == count


def test_a_network_inside_another_is_named_once():
    inside = IPv6Address("2001:db8:a1::100")
    served = [IPv6Network(inside), PREFIX]
    state = build_home_agent(make_home_agent([make_binding(home_address=inside)], served))

    assert list(find_set(state, "mobile")) == [str(PREFIX)]


def test_the_routing_reads_so():
    served = [IPv6Network(HOME_ADDRESS), PREFIX, OTHER_PREFIX]
    state = build_home_agent(make_home_agent([make_binding("lte"), make_binding("wifi")], served))

    assert (
        render_routing(state)
        == """\
rule 7690: mark 0x08000000/0x08000000 lookup 7690
rule 7701: mark 0x04100000/0x07f00000 lookup 7701
rule 7702: mark 0x04200000/0x07f00000 lookup 7702
rule 7770: mark 0x40000000/0x40000000 lookup 7770
rule 7780: iif lo lookup 7780
rule 7780: mark 0x04000000/0x04000000 lookup 7780
route 7690: fd6d:726f:7574:6572::1/128 decapsulate dev wan0
route 7690: fd6d:726f:7574:6572::2/128 decapsulate, lookup 255 dev wan0
route 7701: 2001:db8:a1::/64 encapsulate to 2001:db8:1::2 dev wan0
route 7701: 2001:db8:f1::100/128 encapsulate to 2001:db8:1::2 dev wan0
route 7702: 2001:db8:a1::/64 encapsulate to 2001:db8:2::2 dev wan0
route 7702: 2001:db8:f1::100/128 encapsulate to 2001:db8:2::2 dev wan0
route 7770: blackhole 2001:db8:a1::/64
route 7770: blackhole 2001:db8:a2::/64
route 7770: blackhole 2001:db8:f1::100/128
route 7780: 2001:db8:a1::/64 encapsulate to 2001:db8:1::2 dev wan0
route 7780: unreachable 2001:db8:a2::/64
route 7780: 2001:db8:f1::100/128 encapsulate to 2001:db8:1::2 dev wan0
"""
    )


def test_the_routing_of_ip6tnl_names_the_device_and_both_ends():
    view = replace(make_home_agent([make_binding("lte")]), encapsulation=Encapsulation.IP6TNL)

    lines = render_routing(build_home_agent(view)).splitlines()

    assert lines[0] == "device ip6tnl"
    assert (
        f"route 7701: {PREFIX} encapsulate from {HOME_AGENT} to 2001:db8:1::2 dev mrouter0" in lines
    )


# --- a real home link -------------------------------------------------------------------------


def test_defended_addresses_are_answered_for_on_the_home_link():
    view = make_home_agent(
        [make_binding("lte")], home_link="eth1", defended=frozenset({HOME_ADDRESS})
    )
    assert f"answer for {HOME_ADDRESS} on eth1" in render_routing(build_home_agent(view))


def test_nothing_is_answered_for_where_the_home_network_is_virtual():
    assert build_home_agent(make_home_agent([make_binding("lte")])).proxy_neighbours == frozenset()


def test_home_address_without_a_binding_may_be_at_home_but_not_its_prefix():
    served = (IPv6Network(HOME_ADDRESS), PREFIX)
    unbound = make_home_agent([], served=served, home_link="eth1")
    assert set(routes_of(build_home_agent(unbound), marks.PRIMARY_TABLE)) == {PREFIX}
    virtual = replace(unbound, home_link=None)
    assert set(routes_of(build_home_agent(virtual), marks.PRIMARY_TABLE)) == set(served)


def test_tunnel_for_a_mobile_router_behind_another_stays_an_outer_packet():
    state = build_home_agent(make_home_agent([make_binding("lte")]))
    chains = {chain.name: chain.rules for chain in state.table.chains}
    assert chains["output"][-1] == "ip6 daddr @mobile goto out"
    assert f"{marks.OUTER:#010x} == {marks.OUTER:#010x}" in chains["out"][0]
    assert chains["out"][0].endswith("accept")


def test_ip6tnl_is_shown_another_interface_towards_a_care_of_address_in_a_served_prefix():
    inside = make_binding(home_address=OTHER_HOME, prefixes=(), care_of_address=PREFIX[9])
    served = (*SERVED, IPv6Network(OTHER_HOME))
    texts = [
        render_routing(build_home_agent(make_home_agent([make_binding(), inside], served, **way)))
        for way in ({}, {"encapsulation": Encapsulation.IP6TNL})
    ]
    assert "7775" not in texts[0]
    assert f"route 7775: {PREFIX[9]}/128 dev wan0\n" in texts[1]
    assert "rule 7775: mark 0x00000000/0x04000000 iif lo lookup 7775\n" in texts[1]
    assert texts[1].count("route 7775:") == 1
