from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from state_world import (
    CORRESPONDENTS,
    HOME_ADDRESS,
    find_chain,
    find_set,
    make_binding,
    make_mobile_router,
    make_path,
    make_route,
)

from mrouter.dataplane import marks
from mrouter.dataplane.correspondent_node import CorrespondentNodeView, build_correspondent_node
from mrouter.dataplane.fake import render_routing
from mrouter.dataplane.mobile_router import build_mobile_router
from mrouter.dataplane.optimized_routes import choose_optimized
from mrouter.dataplane.state import Encapsulation, RouteOptimization
from mrouter.dataplane.transformations import Direction, Header, Transformations
from mrouter.protocol.bindings import MAX_SLOT

CN, OTHER_CN = CORRESPONDENTS
LTE, WIFI = make_path("lte"), make_path("wifi")


def build_mr(*routes, known=(CN,), optimization=RouteOptimization.MIP6, **changes):
    paths = (LTE, WIFI)
    optimized = choose_optimized(routes, paths)
    view = make_mobile_router(
        paths, correspondents=known, optimized=optimized, optimization=optimization, **changes
    )
    return build_mobile_router(view)


def build_cn(bindings, routes, optimization=RouteOptimization.MIP6):
    view = CorrespondentNodeView(
        Encapsulation.SEG6, CN, "eth0", tuple(bindings), tuple(routes), optimization
    )
    return build_correspondent_node(view)


def bind(link, **changes):
    return make_binding(link, prefixes=(), mobile_router=False, **changes)


def states(state, header):
    return {item for item in state.transformations.states if item.header is header}


def policies(state, direction):
    return [item for item in state.transformations.policies if item.direction is direction]


# --- the mobile router --------------------------------------------------------------------


def test_without_mip6_nothing_is_transformed():
    tunnel = RouteOptimization.TUNNEL
    assert build_mr(make_route(CN, LTE), optimization=tunnel).transformations == Transformations()
    assert build_cn([bind("lte")], [bind("lte")], tunnel).transformations == Transformations()


def test_without_correspondent_nodes_mip6_changes_nothing():
    assert build_mr(known=()) == build_mr(known=(), optimization=RouteOptimization.TUNNEL)


@pytest.mark.parametrize("encapsulation", Encapsulation)
def test_a_route_leads_out_without_a_tunnel_before_and_after_its_transformation(encapsulation):
    text = render_routing(build_mr(make_route(CN, WIFI), encapsulation=encapsulation))

    assert f"route 7661: {CN}/128 via 2001:db8:2::1 dev wifi0" in text
    assert f"route 7761: {CN}/128 via 2001:db8:2::1 dev wifi0" in text
    assert "rule 7661: mark 0x87d00000/0x87f00000 lookup 7661" in text


def test_an_option_is_written_for_packets_of_the_routes_slot_alone():
    text = render_routing(build_mr(make_route(CN, WIFI)))

    ends = f"from {HOME_ADDRESS} to {CN} by 2001:db8:2::2"
    way = f"home address option {ends} mark 0x07d00000/0x87f00000"
    assert f"xfrm policy out: {way}\n" in text
    assert f"xfrm state: {way} then mark 0x87d00000\n" in text


def test_a_routing_header_is_taken_at_every_care_of_address_by_a_state_of_its_slot():
    state = build_mr(make_route(CN, LTE), known=(CN, OTHER_CN))

    assert {(s.source, s.care_of_address, s.mark) for s in states(state, Header.ROUTING)} == {
        (node, path.care_of_address, marks.mark_slot(path.slot))
        for node in (CN, OTHER_CN)
        for path in (LTE, WIFI)
    }
    assert {s.mask for s in states(state, Header.ROUTING)} == {marks.SLOT_MASK}
    assert {p.source for p in policies(state, Direction.IN)} == {CN, OTHER_CN}
    assert state.transformations.home_address == HOME_ADDRESS


def test_another_care_of_address_has_another_state_so_that_both_can_stand():
    (before,), (after,) = (
        states(build_mr(make_route(CN, path)), Header.HOME_ADDRESS_OPTION) for path in (LTE, WIFI)
    )
    assert before.key != after.key


def test_what_is_not_transformed_is_dropped_and_what_is_gets_no_tunnels_header():
    state = build_mr(make_route(CN, LTE), encapsulation=Encapsulation.IP6TNL)

    assert find_chain(state, "postrouting")[0] == "meta mark & 0x87f00000 vmap @transformed"
    assert find_set(state, "transformed") == {
        "0x07e00000": "goto plain",
        "0x87e00000": f"goto outer_{MAX_SLOT}",
    }
    assert find_chain(state, "plain")[0].startswith("rt ipsec missing counter name leaks_prevented")
    assert f"{marks.mark_slot(MAX_SLOT):#010x}" not in find_set(state, "outer")


def test_signalling_with_a_routing_header_is_left_to_the_agent():
    (rule,) = find_chain(build_mr(make_route(CN, LTE)), "early")

    assert "meta l4proto != 135" in rule


# --- the correspondent node ---------------------------------------------------------------


def test_an_option_is_taken_from_every_binding_by_a_state_of_its_slot():
    state = build_cn([bind("lte"), bind("wifi")], [])

    assert {(s.care_of_address, s.mark) for s in states(state, Header.HOME_ADDRESS_OPTION)} == {
        (path.care_of_address, marks.mark_slot(path.slot)) for path in (LTE, WIFI)
    }
    home = f"{int(HOME_ADDRESS):#034x}"
    assert find_set(state, "options") == {
        f"{path.care_of_address} . {home}": f"goto slot_{path.slot}" for path in (LTE, WIFI)
    }
    assert len(policies(state, Direction.IN)) == 1


def test_a_routing_header_goes_by_the_chosen_binding_and_changes_in_place():
    bindings = [bind("lte"), bind("wifi")]
    (before,), (after,) = (
        states(build_cn(bindings, [chosen]), Header.ROUTING) for chosen in bindings
    )

    assert before.key == after.key
    assert (before.care_of_address, after.care_of_address) == (
        LTE.care_of_address,
        WIFI.care_of_address,
    )


def test_a_change_of_care_of_address_renews_the_policy_too():
    bindings = [bind("lte"), bind("wifi")]
    (before,), (after,) = (
        policies(build_cn(bindings, [chosen]), Direction.OUT) for chosen in bindings
    )

    assert before.key == after.key
    assert before != after


def test_signalling_and_neighbour_discovery_are_exempt():
    state = build_cn([bind("lte")], [bind("lte")])
    (policy,) = policies(state, Direction.OUT)

    assert (policy.mark, policy.mask) == (0, marks.OUTER)
    assert find_chain(state, "plain") == (
        f"meta mark set meta mark & 0x000fffff | {marks.OUTER:#x}",
    )
    assert "meta l4proto 135 goto plain" in find_chain(state, "out")
    assert not any("meta mark set" in rule for rule in find_chain(state, "out"))


def test_neither_route_nor_rule_leads_into_a_tunnel():
    state = build_cn([bind("lte")], [bind("lte")])

    assert {route.table for route in state.routes} == {marks.DECAP_TABLE}
    assert {rule.table for rule in state.rules} == {marks.DECAP_TABLE}


def test_bindings_that_lead_into_each_other_are_not_sent_by():
    other = IPv6Address("2001:db8:f1::101")
    ring = [
        bind("lte", home_address=HOME_ADDRESS, care_of_address=other),
        bind("lte", home_address=other),
    ]
    state = build_cn(ring, ring)

    assert [policy.destination for policy in policies(state, Direction.OUT)] == [other]
