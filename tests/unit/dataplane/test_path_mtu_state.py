"""What is too big for a tunnel, in the states of all roles."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from state_world import (
    CORRESPONDENTS,
    HOME_ADDRESS,
    HOME_AGENT,
    PREFIX,
    find_chain,
    find_set,
    follow_policy,
    make_binding,
    make_home_agent,
    make_mobile_router,
    make_path,
    make_route,
)

from mrouter.dataplane import marks
from mrouter.dataplane.correspondent_node import CorrespondentNodeView, build_correspondent_node
from mrouter.dataplane.home_agent import build_home_agent
from mrouter.dataplane.mobile_router import build_mobile_router
from mrouter.dataplane.optimized_routes import choose_optimized
from mrouter.dataplane.path_mtu import NarrowPath, find_tunnel_mtu
from mrouter.dataplane.state import Encapsulation, Route, Rule

GATEWAY = IPv6Address("fe80::1")
LTE, WIFI = (make_path(link).care_of_address for link in ("lte", "wifi"))
OUTER = Rule(marks.NARROW_TABLE, marks.OUTER, marks.OUTER)


@pytest.mark.parametrize(
    ("path_mtu", "tunnel_mtu"), [(1500, 1460), (1321, 1281), (1320, 1280), (1280, 1280)]
)
def test_a_tunnel_takes_its_path_less_the_header_and_never_less_than_everybody_must(
    path_mtu, tunnel_mtu
):
    assert find_tunnel_mtu(path_mtu) == tunnel_mtu


def cuts(state):
    return [rule for rule in find_chain(state, "enter") if "log group" in rule]


def clamps(state):
    names = [chain.name for chain in state.table.chains if chain.name.startswith("clamp_")]
    return {name: find_chain(state, name)[0].rsplit(" ", 1)[-1] for name in names}


def routes_with_mtu(state):
    return {(route.table, route.destination, route.mtu) for route in state.routes if route.mtu}


@pytest.mark.parametrize("encapsulation", Encapsulation)
def test_each_paths_segments_are_clamped_to_its_own_size(encapsulation):
    paths = [make_path("lte"), make_path("sat", mtu=1400)]
    state = build_mobile_router(make_mobile_router(paths, encapsulation=encapsulation))

    assert clamps(state) == {"clamp_1": "1400", "clamp_3": "1300"}
    assert find_set(state, "clamp") == {"0x00100000": "jump clamp_1", "0x00300000": "jump clamp_3"}


def test_bicast_segments_fit_the_narrowest_of_its_paths():
    view = make_mobile_router([make_path("lte"), make_path("wifi", mtu=1400)])
    state = build_mobile_router(view)

    assert follow_policy(state, view, "call")[0].endswith("jump clamp_2")
    call = f"{marks.mark_policy(view.numbers['call']):#010x}"
    assert find_set(state, "narrowest") == {call: "jump clamp_2"}


def test_bicast_over_paths_of_one_size_is_clamped_by_each():
    view = make_mobile_router([make_path("lte"), make_path("wifi")])
    state = build_mobile_router(view)

    assert not any("clamp" in rule for rule in follow_policy(state, view, "call"))
    assert find_set(state, "narrowest") == {}


@pytest.mark.parametrize(
    ("mtu", "expected"),
    [
        (1500, []),
        (1320, []),
        (1319, ["meta length 1280-1280"]),
        (1280, ["meta length 1241-1280"]),
    ],
)
def test_seg6_hands_over_what_does_not_fit_and_must_pass(mtu, expected):
    state = build_mobile_router(make_mobile_router([make_path("lte", mtu=mtu)]))

    assert [rule.partition(" meta mark")[0] for rule in cuts(state)] == expected


def test_ip6tnl_hands_over_what_came_in_fragments_too():
    view = make_mobile_router([make_path("lte", mtu=1280)], encapsulation=Encapsulation.IP6TNL)
    state = build_mobile_router(view)

    assert [rule.replace("meta mark & 0x03f00000 == 0x00100000 ", "") for rule in cuts(state)] == [
        "meta length 1241-1280 log group 79 drop",
        "meta length > 1280 ip6 saddr . ip6 daddr @fragmented log group 79 drop",
        "meta length > 1280 meta l4proto != 6 fib saddr type local log group 79 drop",
    ]
    (remember,) = find_chain(state, "fragments")
    assert remember.startswith('exthdr frag exists iifname "lan0" update @fragmented')


@pytest.mark.parametrize(
    ("encapsulation", "mtu"), [(Encapsulation.IP6TNL, 1320), (Encapsulation.SEG6, 1280)]
)
def test_fragments_are_not_remembered_without_need(encapsulation, mtu):
    states = (
        build_mobile_router(
            make_mobile_router([make_path("lte", mtu=mtu)], encapsulation=encapsulation)
        ),
        build_narrow_home_agent(NarrowPath(WIFI, mtu), mtu=mtu, encapsulation=encapsulation),
    )

    for state in states:
        assert "fragments" not in {chain.name for chain in state.table.chains}


def test_a_home_agent_remembers_fragments_for_its_mobile_routers():
    state = build_narrow_home_agent(NarrowPath(WIFI, 1300), encapsulation=Encapsulation.IP6TNL)

    assert len(cuts(state)) == 3
    assert "ip6 daddr @mobile" in find_chain(state, "fragments")[0]


def test_a_learnt_path_mtu_is_told_to_the_outer_packets_routes():
    path = make_path("lte", mtu=1400, learnt=True)
    optimized = choose_optimized([make_route(CORRESPONDENTS[0], path)], [path])
    view = make_mobile_router([path, make_path("wifi")], optimized=optimized)

    slot = optimized[0].path.slot
    assert routes_with_mtu(build_mobile_router(view)) == {
        (marks.outer_table(1), IPv6Network(HOME_AGENT), 1400),
        (marks.outer_table(slot), IPv6Network(CORRESPONDENTS[0]), 1400),
    }


def build_narrow_home_agent(*narrow, bindings=("lte", "wifi"), **changes):
    view = make_home_agent(map(make_binding, bindings), **changes)
    return build_home_agent(replace(view, narrow=narrow))


def test_a_home_agent_clamps_each_way_to_what_its_interface_takes():
    state = build_narrow_home_agent(mtu=1492)

    assert clamps(state) == {"clamp_up": "1392", "clamp_down": "1392"}


@pytest.mark.parametrize("encapsulation", Encapsulation)
def test_a_home_agent_clamps_by_binding_where_a_path_is_narrow(encapsulation):
    state = build_narrow_home_agent(NarrowPath(WIFI, 1400), encapsulation=encapsulation)

    for name, side in (("clamp_up", "saddr"), ("clamp_down", "daddr")):
        narrow, otherwise = find_chain(state, name)
        assert narrow == (
            f"meta mark & 0x03f00000 == 0x00200000 ip6 {side} @narrow_2_1400 goto clamp_1400"
        )
        assert otherwise.endswith(" 1400")
    assert clamps(state)["clamp_1400"] == "1300"
    assert set(find_set(state, "narrow_2_1400")) == {str(PREFIX), f"{HOME_ADDRESS}/128"}


def test_what_has_no_slot_is_clamped_as_the_primary_care_of_address_asks():
    state = build_narrow_home_agent(NarrowPath(LTE, 1400))

    assert {item.name for item in state.table.sets if item.name.startswith("narrow")} == {
        "narrow_0_1400",
        "narrow_1_1400",
    }


def test_a_home_agent_hands_over_what_does_not_fit_a_narrow_path():
    state = build_narrow_home_agent(NarrowPath(WIFI, 1300))

    assert cuts(state) == [
        "meta length 1261-1280 meta mark & 0x03f00000 == 0x00200000 ip6 daddr @narrow_2_1300 "
        "log group 79 drop"
    ]


def test_a_home_agent_by_a_narrow_interface_hands_over_what_is_for_anybody():
    state = build_narrow_home_agent(mtu=1280)

    assert cuts(state) == ["meta length 1241-1280 ip6 daddr @mobile log group 79 drop"]


def test_seg6s_outer_packets_find_what_their_path_takes():
    state = build_narrow_home_agent(NarrowPath(LTE, 1400, "wan0", GATEWAY), NarrowPath(WIFI, 1300))

    narrow = {route for route in state.routes if route.table == marks.NARROW_TABLE}
    assert narrow == {Route(marks.NARROW_TABLE, IPv6Network(LTE), "wan0", GATEWAY, mtu=1400)}
    assert OUTER in state.rules


@pytest.mark.parametrize(
    ("encapsulation", "device"), [(Encapsulation.IP6TNL, "wan0"), (Encapsulation.SEG6, "")]
)
def test_without_a_known_beginning_and_for_ip6tnl_there_is_no_such_route(encapsulation, device):
    state = build_narrow_home_agent(NarrowPath(LTE, 1400, device), encapsulation=encapsulation)

    assert marks.NARROW_TABLE not in {route.table for route in state.routes}
    assert OUTER not in state.rules


def test_a_correspondent_node_knows_what_its_paths_take():
    binding = make_binding("lte")
    view = CorrespondentNodeView(
        encapsulation=Encapsulation.SEG6,
        address=CORRESPONDENTS[0],
        device="eth0",
        bindings=(binding,),
        routes=(binding,),
        narrow=(NarrowPath(LTE, 1300, "eth0", GATEWAY),),
    )
    state = build_correspondent_node(view)

    assert routes_with_mtu(state) == {(marks.NARROW_TABLE, IPv6Network(LTE), 1300)}
    assert OUTER in state.rules
    assert clamps(state)["clamp_1300"] == "1200"
    assert list(find_set(state, "narrow_0_1300")) == [f"{HOME_ADDRESS}/128"]
    assert cuts(state)[0].startswith("meta length 1261-1280")
