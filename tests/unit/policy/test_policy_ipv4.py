"""Policies with IPv4 prefixes: they match IPv4 alone, in every place that asks a policy."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.errors import FileError, PolicyError
from mrouter.policy.difference import read_tracked_flow
from mrouter.policy.expectations import Expectations, read_packet
from mrouter.policy.explain import describe_explanation, explain_flow
from mrouter.policy.families import restrict_match
from mrouter.policy.find import Flow, find_policy, matches
from mrouter.policy.load import load_policies
from mrouter.policy.model import Match, Policy, PolicyTable, Steer, pack_prefix, unpack_prefix
from mrouter.policy.prefix_sets import contains, list_spans, make_prefix_set
from mrouter.policy.shadow import find_shadowed
from mrouter.policy.table_codec import decode_table, encode_table

POLICIES = """
[set.company]
prefixes = ["2001:db8:1::/48", "192.0.2.0/24"]
file = "company.txt"
[[policy]]
name = "ipv4-cameras"
match = { source = "192.168.7.32/27", destination = "@company" }
links = ["wifi"]
[[policy]]
name = "company"
match.destination = "@company"
links = ["lte"]
[[policy]]
name = "pings"
match.protocol = ["icmp", "icmpv6"]
links = ["sat"]
[default]
links = ["lte", "sat"]
"""
CAMERA = IPv4Address("192.168.7.33")
OFFICE4, OFFICE6 = IPv4Address("192.0.2.9"), IPv6Address("2001:db8:1::9")
EVERYTHING = IPv6Network("::/0")

prefixes4 = st.builds(
    lambda number, length: IPv4Network((number, length), strict=False),
    st.integers(0xC0000000, 0xC000FFFF),
    st.integers(0, 32),
)
prefixes6 = st.builds(
    lambda number, length: IPv6Network((number, length), strict=False),
    st.integers(0, 0xFFFF) | st.integers(2**128 - 0xFFFF, 2**128 - 1),
    st.integers(0, 128),
)
prefixes = st.lists(prefixes4 | prefixes6, min_size=1, max_size=8)


@pytest.fixture
def table(tmp_path):
    (tmp_path / "p.toml").write_text(POLICIES)
    (tmp_path / "company.txt").write_text("198.51.100.7   # the depot\n2001:db8:2::/48\n")
    return load_policies(tmp_path / "p.toml")


def flow(destination, source=CAMERA, protocol=17, **more):
    return Flow(protocol, source, destination, **more)


@pytest.mark.parametrize(
    ("source", "destination", "protocol", "name"),
    [
        (CAMERA, OFFICE4, 17, "ipv4-cameras"),
        (CAMERA, IPv4Address("198.51.100.7"), 17, "ipv4-cameras"),
        (IPv4Address("192.168.7.64"), OFFICE4, 17, "company"),
        (IPv6Address("2001:db8:a1::1"), OFFICE6, 17, "company"),
        (CAMERA, IPv4Address("203.0.113.1"), 1, "pings"),
        (IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:9::1"), 58, "pings"),
        (CAMERA, IPv4Address("203.0.113.1"), 17, "default"),
    ],
)
def test_one_file_steers_both_families(table, source, destination, protocol, name):
    assert find_policy(table, flow(destination, source, protocol)).name == name


def test_the_numbers_of_an_address_are_never_those_of_the_other_family():
    for text in ("0.0.0.0", "255.255.255.255", "192.0.2.1"):
        number = int(IPv4Address(text))
        ipv6 = make_prefix_set("x", [EVERYTHING])
        ipv4 = make_prefix_set("y", [IPv4Network("0.0.0.0/0")])
        assert not contains(ipv6, IPv4Address(number))
        assert contains(ipv4, IPv4Address(number))
        assert not contains(ipv4, IPv6Address(number))


@given(prefixes, st.integers(0xC0000000, 0xC000FFFF), st.integers(0, 0xFFFF))
def test_a_set_contains_what_one_of_its_prefixes_does(networks, number4, number6):
    made = make_prefix_set("x", networks)

    for address in (IPv4Address(number4), IPv6Address(number6)):
        assert contains(made, address) == any(address in network for network in networks)


@given(prefixes)
def test_a_sets_spans_are_of_the_version_that_is_asked_for(networks):
    made = make_prefix_set("x", networks)

    for version, most in ((6, 1 << 128), (4, (1 << 129) + (1 << 128))):
        spans = list_spans(made, version)
        assert bool(spans) == any(network.version == version for network in networks)
        assert all(first <= last < most for first, last in spans)


@given(prefixes4 | prefixes6)
def test_a_prefix_is_unpacked_as_it_was(network):
    assert unpack_prefix(pack_prefix(network)) == network


@given(prefixes, prefixes, prefixes, st.data())
def test_a_restricted_match_is_met_by_the_same_packets_of_its_version(here, there, refused, data):
    match = Match(
        source_prefixes=data.draw(st.sampled_from([(), tuple(here)])),
        destination_prefixes=data.draw(st.sampled_from([(), tuple(there)])),
        source_sets=data.draw(st.sampled_from([(), (make_prefix_set("x", refused),)])),
        icmpv6_types=data.draw(st.sampled_from([(), (128,)])),
        none_of=data.draw(
            st.sampled_from([None, Match(destination_prefixes=tuple(refused), icmpv6_types=(129,))])
        ),
    )
    kind = data.draw(st.sampled_from([None, 128, 129]))
    for version, packet in (
        (4, flow(IPv4Address(0xC0000001), IPv4Address(0xC0000002))),
        (6, flow(IPv6Address(1), IPv6Address(2), 58, icmpv6_type=kind)),
    ):
        restricted = restrict_match(match, version)
        assert matches(match, packet) == (restricted is not None and matches(restricted, packet))


def test_a_match_without_addresses_is_the_same_for_both_families():
    match = Match(protocols=(6,), dscp=(46,))

    assert restrict_match(match, 4) is restrict_match(match, 6) is match


def test_a_table_is_decoded_and_unpickled_as_it_was(table):
    assert decode_table(json.loads(json.dumps(encode_table(table)))) == table
    (company,) = table.policies[1].match.destination_sets
    again = pickle.loads(pickle.dumps(company))
    assert (again, again.packed) == (company, company.packed)
    assert {network.version for network in again.prefixes} == {4, 6}


def test_shadowing_looks_at_both_families():
    def policy(name, *networks):
        return Policy(name, Match(destination_prefixes=networks), Steer(("lte",)))

    default = Policy("default", Match(), Steer(("lte",)))
    one = policy("one", EVERYTHING, IPv4Network("192.0.2.0/24"))
    covered = policy("covered", IPv4Network("192.0.2.128/25"), IPv6Network("2001:db8::/32"))
    ipv4 = policy("ipv4", IPv4Network("192.0.0.0/16"))

    found = [each.position for each in find_shadowed(PolicyTable((one, covered, ipv4, default)))]

    assert found == [1]


def test_a_set_covers_an_ipv4_prefix():
    company = make_prefix_set("company", [IPv4Network("192.0.0.0/16"), EVERYTHING])
    first = Policy("first", Match(destination_sets=(company,)), Steer(("lte",)))
    inner = replace(
        first, name="inner", match=Match(destination_prefixes=(IPv4Network("192.0.2.0/24"),))
    )
    outer = replace(
        first, name="outer", match=Match(destination_prefixes=(IPv4Network("192.0.0.0/15"),))
    )
    default = Policy("default", Match(), Steer(("lte",)))

    table = PolicyTable((first, inner, outer, default))

    assert [each.position for each in find_shadowed(table)] == [1]


def test_an_ipv4_packet_is_explained(table):
    packet = read_packet({"protocol": "udp", "destination": "192.0.2.1"})

    explained = describe_explanation(explain_flow(table, packet))

    assert packet.source == IPv4Address(0)
    assert explained["policy"] == "company"
    assert explained["packet"] == {"protocol": "udp", "destination": "192.0.2.1", "dscp": "cs0"}
    assert explained["passed_over"][0]["has"] == "none"


def test_a_packet_is_of_one_family():
    with pytest.raises(FileError, match="--destination: the source is IPv4, this is another"):
        read_packet({"protocol": "udp", "source": "192.0.2.1", "destination": "2001:db8::1"})


def test_an_address_that_no_router_forwards_is_refused():
    for address in ("224.0.0.1", "127.0.0.1", "169.254.1.1", "0.0.0.0"):
        with pytest.raises(FileError, match="is not a unicast address that is forwarded"):
            read_packet({"protocol": "udp", "destination": address})


def test_expectations_are_of_ipv4_too(tmp_path, table):
    (tmp_path / "e.toml").write_text(
        'policies = "p.toml"\n'
        '[[expect]]\nname = "a camera"\nprotocol = "udp"\n'
        'source = "192.168.7.33"\ndestination = "192.0.2.1"\npolicy = "ipv4-cameras"\n'
    )

    assert Expectations(tmp_path / "e.toml").judge(table) == []


def test_a_tracked_ipv4_flow_is_read():
    row = {
        "protocol": "icmp",
        "source": "192.168.7.33",
        "destination": "192.0.2.1",
        "source_port": None,
        "destination_port": None,
        "icmpv6_type": None,
        "policy": "pings",
        "links": ["sat"],
    }

    assert read_tracked_flow(row).flow == flow(IPv4Address("192.0.2.1"), protocol=1)


def test_netmasks_are_refused(tmp_path):
    content = POLICIES.replace("192.168.7.32/27", "192.168.7.32/255.255.255.224")
    (tmp_path / "p.toml").write_text(content)
    (tmp_path / "company.txt").write_text("198.51.100.7\n")

    with pytest.raises(PolicyError, match="is not a prefix"):
        load_policies(tmp_path / "p.toml")
