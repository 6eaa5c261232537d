from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from mrouter.links.egress import (
    EgressLink,
    find_egress_links,
    find_local_addresses,
    find_up_interface,
)
from mrouter.links.snapshot import Address, AddressState, Interface, MainRoute, Snapshot

HOME_AGENT = IPv6Address("2001:db8:f0::2")
HOME = IPv6Address("2001:db8:f1::100")
ON_BOARD = (IPv6Network("2001:db8:a1::/64"),)
DEFAULT = IPv6Network("::/0")
GATEWAY = IPv6Address("fe80::1")
CARE_OF = IPv6Address("2001:db8:1::2")

PREFERRED, DEPRECATED, TENTATIVE = (
    AddressState.PREFERRED,
    AddressState.DEPRECATED,
    AddressState.TENTATIVE,
)

LTE = Interface(3, "wwan0", up=True, carrier=True, mtu=1430)
ADDRESS = Address(3, CARE_OF, PREFERRED)
ROUTE = MainRoute(3, DEFAULT, GATEWAY, 1024)


def look(interfaces=(LTE,), addresses=(ADDRESS,), routes=(ROUTE,)):
    snapshot = Snapshot({item.name: item for item in interfaces}, tuple(addresses), tuple(routes))
    (link,) = find_egress_links([("lte", "wwan0")], snapshot, HOME_AGENT, HOME, ON_BOARD)
    return link


def test_a_link_with_address_and_route_is_up():
    assert look() == EgressLink("lte", "wwan0", True, "", (CARE_OF,), GATEWAY, 1430)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"interfaces": ()}, "no such interface"),
        ({"interfaces": (replace(LTE, up=False),)}, "interface is down"),
        ({"interfaces": (replace(LTE, carrier=False),)}, "no carrier"),
        ({"addresses": ()}, "no global address"),
        ({"addresses": (replace(ADDRESS, index=9),)}, "no global address"),
        ({"addresses": (replace(ADDRESS, state=TENTATIVE),)}, "address tentative or unfit"),
        ({"routes": ()}, "no route to the home agent"),
        ({"routes": (replace(ROUTE, index=9),)}, "no route to the home agent"),
        (
            {"routes": (replace(ROUTE, destination=IPv6Network("2001:db8:1::/64")),)},
            "no route to the home agent",
        ),
    ],
)
def test_a_link_that_is_not_up_says_why(parts, reason):
    assert look(**parts) == EgressLink("lte", "wwan0", False, reason)


def test_only_usable_addresses_are_care_of_addresses_in_the_kernels_order():
    second, third = IPv6Address("2001:db8:1::9"), IPv6Address("2001:db8:1::3")
    addresses = [
        Address(3, second, PREFERRED),
        Address(3, CARE_OF, TENTATIVE),
        Address(3, third, PREFERRED),
    ]

    assert look(addresses=addresses).addresses == (second, third)


def test_an_address_of_the_mobile_network_is_no_care_of_address():
    on_board = Address(3, IPv6Address("2001:db8:a1::1"), PREFERRED)

    assert look(addresses=[on_board, ADDRESS]).addresses == (CARE_OF,)
    assert not look(addresses=[on_board]).up


def test_the_home_address_makes_a_home_link_and_is_its_only_address():
    link = look(addresses=[ADDRESS, Address(3, HOME, PREFERRED)])

    assert (link.up, link.at_home, link.addresses) == (True, True, (HOME,))
    assert not look().at_home


def test_on_the_home_link_the_default_route_leads_away_else_the_home_agent_does():
    at_home = [Address(3, HOME, PREFERRED)]
    on_link = MainRoute(3, IPv6Network("2001:db8:f0::/64"), None, 256)

    assert look(addresses=at_home, routes=[on_link, ROUTE]).gateway == GATEWAY
    assert look(addresses=at_home, routes=[on_link]).gateway == HOME_AGENT


def test_of_two_routes_the_longer_then_the_cheaper_one_names_the_gateway():
    other = IPv6Address("fe80::2")
    longer = MainRoute(3, IPv6Network("2001:db8:f0::/48"), other, 4096)
    cheaper = MainRoute(3, DEFAULT, other, 1)

    assert look(routes=[ROUTE, longer]).gateway == other
    assert look(routes=[ROUTE, cheaper]).gateway == other
    assert look(routes=[longer, replace(cheaper, gateway=GATEWAY)]).gateway == other


def test_a_home_agent_on_the_link_needs_no_gateway():
    on_link = MainRoute(3, IPv6Network("2001:db8:f0::/64"), None, 256)

    link = look(routes=[on_link, ROUTE])

    assert link.up
    assert link.gateway is None


def test_links_are_told_apart_by_their_interface():
    sat = Interface(4, "sat0", up=True, carrier=False, mtu=1500)
    snapshot = Snapshot({"wwan0": LTE, "sat0": sat}, (ADDRESS,), (ROUTE,))

    both = [("sat", "sat0"), ("lte", "wwan0")]
    links = find_egress_links(both, snapshot, HOME_AGENT, HOME, ON_BOARD)

    assert [(link.name, link.up) for link in links] == [("sat", False), ("lte", True)]


def test_local_addresses_are_those_inside_the_home_networks_sorted_and_once():
    inside = [IPv6Address("2001:db8:f1::100"), IPv6Address("2001:db8:a1::1")]
    addresses = [
        *(Address(1, address, PREFERRED) for address in (*inside, inside[0])),
        ADDRESS,
    ]
    snapshot = Snapshot({}, tuple(addresses), ())

    networks = (IPv6Network(HOME), *ON_BOARD)
    assert find_local_addresses(snapshot, networks) == tuple(sorted(inside))


def test_the_first_interface_that_is_up_is_found():
    down = Interface(5, "lan0", up=False, carrier=False, mtu=1500)
    snapshot = Snapshot({"lan0": down, "wwan0": LTE}, (), ())

    assert find_up_interface(snapshot, ["nowhere0", "lan0", "wwan0"]) == "wwan0"
    assert find_up_interface(snapshot, ["nowhere0", "lan0"]) is None


# --- addresses that make room for others ------------------------------------------------

OLD, NEW, OTHER = (IPv6Address(f"2001:db8:1::{n}") for n in ("a", "b", "c"))


def find_addresses(lte, wifi=(), registered=()):
    """Return what each of two links uses, what of it is deprecated, and what it has left."""
    interfaces = {"wwan0": LTE, "wlan0": replace(LTE, index=4, name="wlan0")}
    routes = (ROUTE, replace(ROUTE, index=4))
    addresses = [
        Address(index, address, state)
        for index, items in ((3, lte), (4, wifi))
        for address, state in items
    ]
    snapshot = Snapshot(interfaces, tuple(addresses), routes)
    both = [("lte", "wwan0"), ("wifi", "wlan0")]
    found = find_egress_links(both, snapshot, HOME_AGENT, HOME, ON_BOARD, set(registered))
    return [(link.addresses, link.deprecated, link.left) for link in found]


NOTHING = ((), (), ())


@pytest.mark.parametrize("state", [PREFERRED, TENTATIVE])
def test_a_deprecated_address_is_used_until_its_links_new_one_is_registered(state):
    lte, wifi = [(OLD, DEPRECATED), (NEW, state)], [(OTHER, PREFERRED)]
    more = (NEW,) if state is PREFERRED else ()

    assert find_addresses(lte, wifi, {OLD, OTHER})[0] == ((OLD, *more), (OLD,), ())
    assert find_addresses([(OLD, DEPRECATED), (NEW, PREFERRED)], wifi, {OLD, NEW, OTHER})[0] == (
        (NEW,),
        (),
        (OLD,),
    )


def test_a_deprecated_address_that_nothing_replaces_is_left_for_another_link():
    lte, wifi = [(OLD, DEPRECATED)], [(OTHER, PREFERRED)]
    assert find_addresses(lte, wifi, {OLD}) == [((OLD,), (OLD,), ()), ((OTHER,), (), ())]
    assert find_addresses(lte, wifi, {OLD, OTHER}) == [((), (), (OLD,)), ((OTHER,), (), ())]


def test_a_deprecated_address_is_used_where_there_is_nothing_else():
    assert find_addresses([(OLD, DEPRECATED)]) == [((OLD,), (OLD,), ()), NOTHING]
    assert find_addresses([(OLD, DEPRECATED)], [(OTHER, TENTATIVE)])[0] == ((OLD,), (OLD,), ())


def test_a_deprecated_address_that_was_not_in_use_is_not_begun_with():
    lte = [(OLD, DEPRECATED), (NEW, PREFERRED)]
    assert find_addresses(lte, registered={NEW}) == [((NEW,), (), (OLD,)), NOTHING]
    assert find_addresses(lte) == [((NEW,), (), (OLD,)), NOTHING]
