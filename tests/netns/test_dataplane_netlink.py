"""What the kernel says over netlink, and how much of it at once."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv6Address, IPv6Network

import pytest
from dataplane_world import LINKS, NodeThread, care_of

from mrouter.dataplane import marks
from mrouter.dataplane.routing import make_route
from mrouter.dataplane.state import Route, RouteKind
from mrouter.lab import plan
from mrouter.links.egress import find_egress_links
from mrouter.links.monitor import LinkMonitor
from mrouter.links.snapshot import read_snapshot
from mrouter.netlink import RouteSocket

pytestmark = pytest.mark.netns

MANY = 3000


@pytest.fixture
def mr(plain_lab):
    node = NodeThread(plain_lab.namespace("mr"))
    yield node
    node.close()


@pytest.fixture
def route_socket(mr):
    route_socket = mr(RouteSocket)
    yield route_socket
    route_socket.close()


def many_routes(kind=RouteKind.BLACKHOLE):
    first = int(IPv6Address("2001:db8:b000::"))
    return [
        Route(marks.PRIMARY_TABLE, IPv6Network((first + (number << 64), 64)), kind=kind)
        for number in range(MANY)
    ]


def messages(routes, *, add):
    return [make_route(route, lambda _name: 1, add=add) for route in routes]


def count_routes(lab):
    table = str(marks.PRIMARY_TABLE)
    shown = lab.execute("mr", ["ip", "-6", "route", "show", "table", table], check=False)
    return len(shown.stdout.splitlines())


def test_thousands_of_routes_go_in_and_out(plain_lab, mr, route_socket):
    answers = mr(route_socket.transact, messages(many_routes(), add=True))
    assert answers == [None] * MANY
    assert count_routes(plain_lab) == MANY

    answers = mr(route_socket.transact, messages(many_routes(), add=False))
    assert answers == [None] * MANY
    assert count_routes(plain_lab) == 0


def test_thousands_of_refusals_are_told_one_by_one_in_order(mr, route_socket):
    wrong = messages(many_routes(), add=False)
    right = messages([Route(marks.PRIMARY_TABLE, IPv6Network("2001:db8:c0::/64"),
                            kind=RouteKind.BLACKHOLE)], add=True)  # fmt: skip

    answers = mr(route_socket.transact, [*wrong, *right])

    assert [answer.errno for answer in answers[:-1]] == [errno.ESRCH] * MANY
    assert answers[-1] is None


def test_a_refusal_carries_the_kernels_own_words(mr, route_socket):
    nowhere = Route(marks.PRIMARY_TABLE, IPv6Network("::/0"), "lan0", IPv6Address("ff02::1"))
    message = mr(make_route, nowhere, socket.if_nametoindex, add=True)

    (answer,) = mr(route_socket.transact, [message])

    assert answer.errno == errno.EINVAL
    assert answer.strerror == "Invalid gateway address"


def test_the_snapshot_holds_the_labs_links(plain_lab, mr, route_socket):
    snapshot = mr(read_snapshot, route_socket)
    known = [(link.name, link.interface) for link in plan.EGRESS_LINKS]

    links = find_egress_links(known, snapshot, plan.HA_ADDRESS, plan.HOME_ADDRESS, ())

    assert [(link.name, link.up, link.addresses, link.gateway, link.mtu) for link in links] == [
        (name, True, (care_of(name),), plan.find_link(name).gateway, 1500) for name in LINKS
    ]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("2001:db8:3::2/64 preferred_lft 0", "address deprecated"),
        (None, "no global address"),
    ],
    ids=["deprecated", "gone"],
)
def test_the_snapshot_tells_addresses_that_do_not_count(
    plain_lab, mr, route_socket, address, reason
):
    ip = ["ip", "-6", "addr"]
    if address:
        plain_lab.execute("mr", [*ip, "change", *address.split(), "dev", "sat0"])
    else:
        plain_lab.execute("mr", [*ip, "del", "2001:db8:3::2/64", "dev", "sat0"])
    try:
        snapshot = mr(read_snapshot, route_socket)
        (_other, link) = find_egress_links(
            [("lte", "lte0"), ("sat", "sat0")], snapshot, plan.HA_ADDRESS, plan.HOME_ADDRESS, ()
        )
    finally:
        plain_lab.execute(
            "mr", [*ip, "replace", "2001:db8:3::2/64", "dev", "sat0", "nodad", "preferred_lft",
                   "forever", "valid_lft", "forever"],
        )  # fmt: skip

    assert (link.up, link.reason) == (False, reason)


def test_the_monitor_tells_of_others_changes_alone(plain_lab, mr, route_socket):
    monitor = mr(LinkMonitor, marks.PROTOCOL)
    try:
        mr(route_socket.transact, messages(many_routes()[:5], add=True))
        mr(route_socket.transact, messages(many_routes()[:5], add=False))
        assert not monitor.drain()

        plain_lab.execute("mr", ["ip", "route", "add", "2001:db8:99::/64", "dev", "lan0"])
        assert monitor.drain()

        plain_lab.execute("mr", ["ip", "route", "del", "2001:db8:99::/64", "dev", "lan0"])
        plain_lab.execute("mr", ["ip", "link", "set", "lan0", "mtu", "1400"])
        plain_lab.execute("mr", ["ip", "link", "set", "lan0", "mtu", str(plan.INNER_MTU)])
        assert monitor.drain()
        assert not monitor.drain()
    finally:
        monitor.close()
