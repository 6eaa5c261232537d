from __future__ import annotations

import socket

from mrouter.agent.flows import read_flows
from mrouter.dataplane import marks
from mrouter.netlink import make_attribute

NESTED = 0x8000
POLICIES, ACTIVE = {7: "call"}, {7: ("lte", "wifi")}


def number(kind, value, size):
    return make_attribute(kind, value.to_bytes(size))


def nest(kind, *attributes):
    return make_attribute(kind | NESTED, b"".join(attributes))


SIX = (
    make_attribute(3, socket.inet_pton(socket.AF_INET6, "2001:db8:a1::5")),
    make_attribute(4, socket.inet_pton(socket.AF_INET6, "2001:db8::1")),
)
FOUR = (
    make_attribute(1, socket.inet_pton(socket.AF_INET, "192.168.7.5")),
    make_attribute(2, socket.inet_pton(socket.AF_INET, "192.0.2.1")),
)


def make_tuple(kind, protocol, addresses):
    return nest(kind, nest(1, *addresses), nest(2, *protocol))


UDP = (number(1, 17, 1), number(2, 40000, 2), number(3, 5004, 2))
PING = (number(1, 58, 1), number(7, 99, 2), number(8, 128, 1), number(9, 0, 1))


def make_entry(protocol=UDP, policy=7, *more, addresses=SIX):
    mark = number(8, marks.mark_policy(policy) | 0xFFF, 4)
    family = socket.AF_INET6 if addresses is SIX else socket.AF_INET
    tuples = b"".join(make_tuple(kind, protocol, addresses) for kind in (1, 2))
    return bytes(16) + bytes([family, 0, 0, 0]) + tuples + mark + b"".join(more)


def read(*entries):
    return list(read_flows(entries, POLICIES, ACTIVE))


def test_a_flow_has_its_ends_its_policy_and_the_links_that_this_uses():
    assert read(make_entry()) == [
        {
            "protocol": "udp",
            "source": "2001:db8:a1::5",
            "source_port": 40000,
            "destination": "2001:db8::1",
            "destination_port": 5004,
            "icmpv6_type": None,
            "icmpv6_id": None,
            "policy": "call",
            "links": ["lte", "wifi"],
            "packets": None,
            "bytes": None,
        }
    ]


def test_a_ping_has_type_and_identifier_instead_of_ports():
    (flow,) = read(make_entry(PING))
    assert (flow["protocol"], flow["icmpv6_type"], flow["icmpv6_id"]) == ("icmpv6", 128, 99)
    assert (flow["source_port"], flow["destination_port"]) == (None, None)


def test_a_protocol_without_a_name_is_its_number():
    assert read(make_entry((number(1, 50, 1),)))[0]["protocol"] == "50"


def test_a_flow_of_ipv4_has_its_ends_too():
    (flow,) = read(make_entry(addresses=FOUR))
    assert (flow["source"], flow["destination"]) == ("192.168.7.5", "192.0.2.1")
    assert (flow["protocol"], flow["destination_port"]) == ("udp", 5004)


def test_a_ping_of_ipv4_has_no_icmpv6_type():
    ping = (number(1, 1, 1), number(4, 99, 2), number(5, 8, 1), number(6, 0, 1))
    (flow,) = read(make_entry(ping, addresses=FOUR))
    assert (flow["protocol"], flow["icmpv6_type"], flow["icmpv6_id"]) == ("icmp", None, None)


def test_both_directions_are_counted_together():
    there = nest(9, number(1, 2, 8), number(2, 200, 8))
    back = nest(10, number(1, 3, 8), number(2, 5000000000, 8))
    (flow,) = read(make_entry(UDP, 7, there, back))
    assert (flow["packets"], flow["bytes"]) == (5, 5000000200)


def test_flows_of_no_policy_are_passed_over():
    assert read(make_entry(policy=8), bytes(20) + make_tuple(1, UDP, SIX)) == []
