from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from state_world import (
    HOME_ADDRESS,
    LINKS,
    check_state,
    encapsulations,
    find_chain,
    find_set,
    make_binding,
    optimizations,
)

from mrouter.dataplane import marks
from mrouter.dataplane.correspondent_node import CorrespondentNodeView, build_correspondent_node
from mrouter.dataplane.fake import render_routing
from mrouter.dataplane.nft import render_change, render_replacement
from mrouter.dataplane.state import Encapsulation

ADDRESS = IPv6Address("2001:db8:c::10")
OTHER_HOME = IPv6Address("2001:db8:f1::101")


def make_view(bindings, routes, encapsulation=Encapsulation.SEG6, *optimization):
    return CorrespondentNodeView(
        encapsulation, ADDRESS, "eth0", tuple(bindings), tuple(routes), *optimization
    )


def bind(link="lte", **changes):
    return make_binding(link, prefixes=(), mobile_router=False, **changes)


@st.composite
def views(draw):
    bindings = [
        bind(link, home_address=home)
        for home in (HOME_ADDRESS, OTHER_HOME)
        for link in draw(st.sets(st.sampled_from(LINKS)))
    ]
    homes = {binding.home_address: binding for binding in bindings if draw(st.booleans())}
    return make_view(bindings, homes.values(), draw(encapsulations), draw(optimizations))


@settings(max_examples=40)
@given(views())
def test_every_state_keeps_to_its_numbers_and_names_and_does_not_forward(view):
    state = build_correspondent_node(view)
    check_state(state)
    assert not state.forwarding


@settings(max_examples=40)
@given(views(), views())
def test_a_change_of_bindings_never_replaces_the_table(before, after):
    old, new = (build_correspondent_node(make_view(v.bindings, v.routes)) for v in (before, after))
    assert render_change(old.table, new.table) != render_replacement(new.table)


def test_packets_go_by_the_chosen_binding_alone():
    lte, wifi = bind("lte"), bind("wifi")
    state = build_correspondent_node(make_view([lte, wifi], [wifi]))

    assert f"route 7780: {HOME_ADDRESS}/128 encapsulate to 2001:db8:2::2 dev eth0" in (
        render_routing(state)
    )
    assert list(find_set(state, "mobile")) == [str(HOME_ADDRESS)]


def test_packets_are_taken_from_every_binding():
    state = build_correspondent_node(make_view([bind("lte"), bind("wifi")], []))

    home = f"{int(HOME_ADDRESS):#034x}"
    assert set(find_set(state, "sources")) == {
        f"2001:db8:1::2 . {home}",
        f"2001:db8:2::2 . {home}",
    }


def test_a_home_address_without_a_route_is_left_to_the_ordinary_routes():
    state = build_correspondent_node(make_view([bind("lte")], []))

    assert find_set(state, "mobile") == {}
    assert {route.table for route in state.routes} == {marks.DECAP_TABLE}
    assert not any(rule.unreachable for rule in state.rules)


def test_the_ip6tnl_device_carries_the_tunnel_where_it_is_asked_for():
    state = build_correspondent_node(make_view([bind()], [bind()], Encapsulation.IP6TNL))

    assert state.tunnel_device
    assert f"{HOME_ADDRESS}/128 encapsulate from {ADDRESS} to 2001:db8:1::2 dev mrouter0" in (
        render_routing(state)
    )


@pytest.mark.parametrize("pair", [(HOME_ADDRESS, OTHER_HOME), (OTHER_HOME, HOME_ADDRESS)])
def test_bindings_that_lead_into_each_other_are_not_sent_by(pair):
    home, other = pair
    ring = [bind(home_address=home, care_of_address=other), bind(home_address=other)]
    state = build_correspondent_node(make_view(ring, ring))

    routes = {route.destination for route in state.routes if route.table == marks.PRIMARY_TABLE}
    assert routes == {IPv6Network(other)}


def test_signalling_for_a_home_address_is_never_tunnelled():
    out = find_chain(build_correspondent_node(make_view([bind()], [bind()])), "out")

    assert out.index("meta l4proto 135 goto plain") < next(
        number for number, rule in enumerate(out) if "meta mark set" in rule
    )
