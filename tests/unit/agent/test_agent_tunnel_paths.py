from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from mrouter.agent.tunnel_paths import find_narrow_paths, find_optimized, find_paths
from mrouter.dataplane.path_mtu import NarrowPath
from mrouter.links.egress import EgressLink
from mrouter.links.path_mtus import PathMtus
from mrouter.links.snapshot import Interface, MainRoute, Snapshot
from mrouter.protocol.bindings import MAX_SLOT, BindingState, RouteEntry, UpdateListEntry

HOME_AGENT = IPv6Address("2001:db8:f0::2")
FIRST, SECOND = IPv6Address("2001:db8:c::10"), IPv6Address("2001:db8:d::10")
ADDRESSES = {"lte": IPv6Address("2001:db8:1::2"), "sat": IPv6Address("2001:db8:3::2")}
LTE, SAT = (
    EgressLink(name, f"{name}0", True, "", (address,), None, mtu)
    for (name, address), mtu in zip(ADDRESSES.items(), (1500, 1430), strict=True)
)
DEFAULT, GATEWAY = IPv6Network("::/0"), IPv6Address("fe80::1")


def make_entry(link, slot, ifpri=0):
    return UpdateListEntry(
        link=link,
        interface=f"{link}0",
        care_of_address=ADDRESSES[link],
        ifid=slot,
        ifpri=ifpri,
        slot=slot,
        state=BindingState.REGISTERED,
        sequence=1,
        status=1,
        expires_at=100.0,
        usable=True,
    )


ENTRIES = (make_entry("sat", 1, ifpri=2), make_entry("lte", 2))


def learn(*known):
    learnt = PathMtus()
    for link, end, mtu in known:
        learnt.learn(ADDRESSES[link], end, mtu, 1500, 0.0)
    return learnt


def sizes(learnt, links=(LTE, SAT)):
    return [
        (path.link, path.mtu, path.learnt)
        for path in find_paths(ENTRIES, links, HOME_AGENT, learnt)
    ]


def test_a_path_takes_what_its_interface_takes_in_order_of_preference():
    assert sizes(learn()) == [("lte", 1500, False), ("sat", 1430, False)]


def test_a_path_takes_what_was_learnt_of_it():
    assert sizes(learn(("lte", HOME_AGENT, 1400))) == [("lte", 1400, True), ("sat", 1430, False)]


def test_what_was_learnt_of_another_path_or_is_no_less_does_not_count():
    learnt = learn(("lte", FIRST, 1300), ("sat", HOME_AGENT, 1430))

    assert sizes(learnt) == [("lte", 1500, False), ("sat", 1430, False)]


def test_a_link_that_is_down_has_no_path():
    down = EgressLink("lte", "lte0", up=False, reason="no carrier")

    assert sizes(learn(), (down, SAT)) == [("sat", 1430, False)]


def test_routes_past_the_home_agent_by_one_path_share_what_the_least_takes():
    learnt = learn(("lte", HOME_AGENT, 1300), ("lte", FIRST, 1400), ("lte", SECOND, 1420))
    paths = find_paths(ENTRIES, (LTE, SAT), HOME_AGENT, learnt)
    entries = [RouteEntry(node, make_entry("lte", 1)) for node in (FIRST, SECOND)]

    routes = find_optimized(entries, paths, (LTE, SAT), learnt)
    assert [route.correspondent for route in routes] == [FIRST, SECOND]
    assert {(r.path.slot, r.path.mtu, r.path.learnt) for r in routes} == {
        (MAX_SLOT + 1 - 2, 1400, True)
    }


INTERFACES = {
    "wan0": Interface(2, "wan0", up=True, carrier=True, mtu=1500),
    "wan1": Interface(3, "wan1", up=False, carrier=False, mtu=1500),
}
ROUTES = (
    MainRoute(2, DEFAULT, GATEWAY, 1024),
    MainRoute(2, IPv6Network("2001:db8:1::/64"), None, 256),
    MainRoute(3, IPv6Network("2001:db8:3::2/128"), None, 256),
)


@pytest.mark.parametrize(
    ("link", "expected"),
    [("lte", ("wan0", None)), ("sat", ("wan0", GATEWAY))],
)
def test_a_narrow_path_begins_as_the_main_table_says(link, expected):
    snapshot = Snapshot(INTERFACES, (), ROUTES)
    address = ADDRESSES[link]

    assert find_narrow_paths({address: 1400}, 1500, snapshot) == (
        NarrowPath(address, 1400, *expected),
    )


def test_a_path_in_another_tunnel_or_without_a_route_has_no_beginning():
    address, snapshot = ADDRESSES["lte"], Snapshot(INTERFACES, (), ROUTES)
    inside = [IPv6Network("2001:db8:1::/56")]

    assert find_narrow_paths({address: 1400}, 1500, snapshot, inside) == (
        NarrowPath(address, 1400),
    )
    assert find_narrow_paths({address: 1400}, 1500, Snapshot(INTERFACES, (), ())) == (
        NarrowPath(address, 1400),
    )


def test_a_path_that_takes_what_the_interface_takes_is_not_narrow():
    snapshot = Snapshot(INTERFACES, (), ROUTES)

    assert find_narrow_paths({ADDRESSES["lte"]: 1500}, 1500, snapshot) == ()
