from __future__ import annotations

from state_world import (
    CORRESPONDENTS,
    HOME_ADDRESS,
    find_chain,
    find_set,
    make_mobile_router,
    make_path,
    make_route,
)

from mrouter.dataplane.fake import render_routing
from mrouter.dataplane.mobile_router import build_mobile_router
from mrouter.dataplane.optimized_routes import choose_optimized
from mrouter.dataplane.state import Encapsulation
from mrouter.protocol.bindings import MAX_SLOT

CN = CORRESPONDENTS[0]
LTE, WIFI = make_path("lte"), make_path("wifi")


def build(*routes, known=(CN,), **changes):
    paths = (LTE, WIFI)
    optimized = choose_optimized(routes, paths)
    view = make_mobile_router(paths, correspondents=known, optimized=optimized, **changes)
    return build_mobile_router(view)


def chosen_links(routes, paths=(LTE, WIFI)):
    return [route.path.link for route in choose_optimized(routes, paths)]


def test_the_usable_route_of_lowest_ifpri_is_chosen():
    routes = [make_route(CN, LTE, ifpri=2), make_route(CN, WIFI, ifpri=1)]
    assert chosen_links(routes) == ["wifi"]
    assert chosen_links([routes[0], make_route(CN, WIFI, ifpri=1, usable=False)]) == ["lte"]


def test_a_route_of_a_care_of_address_that_has_gone_is_not_chosen():
    assert chosen_links([make_route(CN, LTE)], [WIFI]) == []


def test_routes_by_one_path_share_a_slot_that_no_home_registration_has():
    routes = choose_optimized([make_route(node, LTE) for node in CORRESPONDENTS], [LTE, WIFI])

    assert [route.path.slot for route in routes] == [MAX_SLOT, MAX_SLOT]


def test_a_path_whose_mirrored_slot_is_taken_carries_no_route():
    high = make_path("wifi", slot=MAX_SLOT)
    assert chosen_links([make_route(CN, LTE), make_route(CN, high)], [LTE, high]) == []


def test_a_route_has_a_tunnel_and_a_way_for_its_outer_packets():
    text = render_routing(build(make_route(CN, WIFI)))

    assert f"route 7761: {CN}/128 encapsulate to {CN} via 2001:db8:2::1 dev wifi0" in text
    assert f"route 7661: {CN}/128 via 2001:db8:2::1 dev wifi0" in text


def test_a_route_by_ip6tnl_is_found_by_its_care_of_address():
    text = render_routing(build(make_route(CN, LTE), encapsulation=Encapsulation.IP6TNL))

    assert f"route 7762: {CN}/128 encapsulate from 2001:db8:1::2 to {CN} dev mrouter0" in text
    assert "rule 7662: from 2001:db8:1::2 lookup 7662" in text


def test_only_packets_of_the_home_address_take_it_and_signalling_does_not():
    state = build(make_route(CN, LTE))

    assert find_set(state, "optimized") == {str(CN): f"goto link_{MAX_SLOT}"}
    using = [rule for chain in state.table.chains for rule in chain.rules if "@optimized" in rule]
    assert using == [f"ip6 saddr {HOME_ADDRESS} meta l4proto != 135 ip6 daddr vmap @optimized"]
    uplink = find_chain(state, "uplink")
    signalling = f"ip6 saddr {HOME_ADDRESS} meta l4proto 135 goto link_1"
    assert uplink.index(signalling) < uplink.index(using[0])


def test_a_correspondent_node_may_tunnel_before_its_answer_has_come():
    state = build(make_route(CN, LTE, usable=False))

    assert find_set(state, "optimized") == {}
    assert list(find_set(state, "correspondents")) == [f"{CN} . {int(CN):#034x}"]
    assert any(rule.endswith("goto direct_1") for rule in find_chain(state, "decap_1"))


def test_without_correspondent_nodes_only_the_home_agent_may_tunnel():
    state = build(known=())

    assert not any(chain.name.startswith("direct_") for chain in state.table.chains)
    assert find_chain(state, "decap_1")[0].endswith("counter name outer_rejected drop")
