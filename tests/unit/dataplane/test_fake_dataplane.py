from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Network

from hypothesis import given, settings
from hypothesis import strategies as st
from state_world import home_agents

from mrouter.dataplane.fake import render_state
from mrouter.dataplane.home_agent import build_home_agent
from mrouter.dataplane.nft import Chain, NftSet, NftTable
from mrouter.dataplane.state import DataplaneState, Route, RouteKind, Rule


def test_a_state_is_rendered_as_rules_routes_and_table():
    state = DataplaneState(
        table=NftTable(
            ("seen",),
            (NftSet("home", "type ipv6_addr;", "set", {"::2": "", "::1": ""}),
             NftSet("ways", "type mark : verdict;", "map", {"0x1": "goto there"})),
            (Chain("there", ("accept",)),
             Chain("in", ("drop", "accept"), "type filter hook input;")),
        ),
        routes=frozenset({Route(7701, IPv6Network("::/0"), kind=RouteKind.BLACKHOLE)}),
        rules=frozenset({Rule(7701, 1, 3)}),
    )  # fmt: skip

    assert (
        render_state(state)
        == """\
rule 7701: mark 0x00000001/0x00000003 lookup 7701
route 7701: blackhole ::/0
counter seen
set home: type ipv6_addr;
    ::1
    ::2
map ways: type mark : verdict;
    0x1 : goto there
chain in: type filter hook input;
    drop
    accept
chain there:
    accept
"""
    )


@settings(max_examples=25)
@given(home_agents(), st.data())
def test_the_text_does_not_depend_on_the_order_of_the_bindings(view, data):
    shuffled = data.draw(st.permutations(view.bindings))
    other = replace(view, bindings=tuple(shuffled))

    assert render_state(build_home_agent(other)) == render_state(build_home_agent(view))
