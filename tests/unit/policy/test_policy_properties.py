from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.errors import PolicyError
from mrouter.policy.find import Flow, find_policy
from mrouter.policy.load import load_policies
from mrouter.policy.model import (
    Balance,
    Bicast,
    Drop,
    Match,
    Policy,
    PolicyTable,
    PortRange,
    Steer,
    Tier,
)
from mrouter.policy.prefix_sets import make_prefix_set

LINKS = ["lte", "wifi", "sat", "dsl"]
INGRESS = ["lan0", "lan1"]
FIRST_PREFIX = int(IPv6Address("2001:db8::"))
SETS = [
    make_prefix_set(
        "odd-1.x", [IPv6Network((FIRST_PREFIX + (number << 80), 64)) for number in (1, 3)]
    ),
    make_prefix_set("high", [IPv6Network((FIRST_PREFIX + (4 << 80), 46))]),
]


def subsets(values, least=0):
    return st.lists(st.sampled_from(values), unique=True, min_size=least).map(tuple)


@st.composite
def port_lists(draw):
    bounds = sorted(draw(st.lists(st.integers(0, 65535), unique=True, max_size=6)))
    ranges = [PortRange(*pair) for pair in zip(bounds[::2], bounds[1::2], strict=False)]
    if len(bounds) % 2:
        ranges.append(PortRange(bounds[-1], bounds[-1]))
    return tuple(draw(st.permutations(ranges)))


@st.composite
def prefix_lists(draw):
    numbers = draw(st.lists(st.integers(0, 5), unique=True, max_size=3))
    lengths = st.sampled_from([48, 64, 128])
    return tuple(
        IPv6Network((FIRST_PREFIX + (number << 80), draw(lengths))) for number in numbers
    )  # fmt: skip


@st.composite
def fields(draw, ports, types):
    """Draw a match that asks for no protocol."""
    return Match(
        (),
        draw(ports),
        draw(ports),
        draw(prefix_lists()),
        draw(prefix_lists()),
        draw(st.lists(st.integers(0, 63), unique=True, max_size=3).map(tuple)),
        draw(subsets(INGRESS)),
        draw(types),
        draw(subsets(["02:00:00:00:00:01", "02:00:00:00:00:0a"])),
        draw(subsets(SETS)),
        draw(subsets(SETS)),
    )


@st.composite
def matches(draw):
    protocols = draw(subsets([6, 17, 58, 132, 136, 50, 47]))
    ports = port_lists() if protocols and set(protocols) <= {6, 17, 132, 136} else st.just(())
    types = subsets([128, 129, 139, 140]) if set(protocols) <= {58} else st.just(())
    none_of = draw(fields(ports, types))
    none_of = replace(none_of, protocols=draw(subsets([6, 17, 58, 47])))
    return replace(
        draw(fields(ports, types)),
        protocols=protocols,
        none_of=draw(st.sampled_from([none_of, None])) if none_of != Match() else None,
    )


@st.composite
def bicasts(draw):
    links = draw(subsets(LINKS, least=2))
    return Bicast(links, draw(st.integers(2, len(links))))


@st.composite
def balances(draw):
    left = list(draw(st.permutations(LINKS)))
    tiers = []
    for size in draw(st.lists(st.integers(1, len(LINKS)), min_size=1, max_size=3)):
        links, left = tuple(left[:size]), left[size:]
        weights = st.lists(st.integers(1, 100), min_size=len(links), max_size=len(links))
        if len(links) > 1 and draw(st.booleans()):
            tiers.append(Tier(links, tuple(draw(weights))))
        elif links:
            tiers.append(Tier(links))
    return Balance(tuple(tiers), draw(st.booleans()) and any(tier.weights for tier in tiers))


actions = st.just(Drop()) | subsets(LINKS, least=1).map(Steer) | bicasts() | balances()
remarks = st.none() | st.integers(0, 63)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@st.composite
def tables(draw):
    policies = draw(
        st.lists(
            sending_policies(names.filter(lambda name: name != "default"), matches()),
            unique_by=lambda policy: policy.name,
            max_size=4,
        )
    )
    return PolicyTable((*policies, draw(sending_policies(st.just("default"), st.just(Match())))))


def sending_policies(names, matches):
    policies = st.builds(Policy, names, matches, actions, remarks)
    return policies.filter(lambda policy: policy.action != Drop() or policy.remark is None)


def write_table(table):
    *policies, default = table.policies
    text = "".join(
        f'[set."{each.name}"]\nprefixes = {json.dumps(list(map(str, each.prefixes)))}\n'
        for each in SETS
    )
    for policy in policies:
        text += f'[[policy]]\nname = "{policy.name}"\n{write_action(policy)}'
        text += write_match(policy.match)
    return f"{text}[default]\n{write_action(default)}"


def write_match(match):
    return write_fields(match, "") + (write_fields(match.none_of, "not-") if match.none_of else "")


def write_fields(match, sign):
    lists = {
        "protocol": match.protocols,
        "source-port": [f"{ports.first}-{ports.last}" for ports in match.source_ports],
        "destination-port": [
            ports.first if ports.first == ports.last else f"{ports.first}-{ports.last}"
            for ports in match.destination_ports
        ],
        "source": write_ends(match.source_prefixes, match.source_sets),
        "destination": write_ends(match.destination_prefixes, match.destination_sets),
        "dscp": match.dscp,
        "ingress": match.ingress,
        "icmpv6-type": match.icmpv6_types,
        "source-mac": match.source_macs,
    }
    return "".join(
        f"match.{sign}{key} = {json.dumps(values[0] if len(values) == 1 else values)}\n"
        for key, values in lists.items()
        if values
    )


def write_ends(prefixes, sets):
    return [*(f"@{each.name}" for each in sets), *map(str, prefixes)]


def write_action(policy):
    remark = "" if policy.remark is None else f"dscp-remark = {policy.remark}\n"
    return remark + write_links(policy.action)


def write_links(action):
    match action:
        case Drop():
            return "drop = true\n"
        case Steer(links):
            return f"links = {json.dumps(links)}\n"
        case Bicast(links, copies):
            return f"bicast = {json.dumps(links)}\ncopies = {copies}\n"
        case Balance(tiers, by_source):
            sticky = 'sticky = "source"\n' if by_source else ""
            return f"tiers = [{', '.join(map(write_tier, tiers))}]\n{sticky}"


def write_tier(tier):
    if not tier.weights:
        return f"{{ links = {json.dumps(tier.links)} }}"
    shares = ", ".join(f"{link} = {weight}" for link, weight in tier.shares.items())
    return f"{{ balance = {{ {shares} }} }}"


@pytest.fixture(scope="module")
def policy_path(tmp_path_factory):
    return tmp_path_factory.mktemp("policy") / "p.toml"


@given(tables())
def test_a_table_written_as_a_file_loads_back_equal(policy_path, table):
    policy_path.write_text(write_table(table))
    assert load_policies(policy_path, LINKS, INGRESS) == table


def load_or_refuse(path):
    with contextlib.suppress(PolicyError):
        assert load_policies(path, LINKS, INGRESS).policies[-1].name == "default"


@given(content=st.binary(max_size=200))
def test_any_bytes_are_loaded_or_refused(policy_path, content):
    policy_path.write_bytes(content)
    load_or_refuse(policy_path)


@given(table=tables(), data=st.data())
def test_a_garbled_file_is_loaded_or_refused(policy_path, table, data):
    content = bytearray(write_table(table), "ascii")
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 6))] = data.draw(
            st.sampled_from(
                [b"", b"[", b"]", b'"', b"{}", b"\n", b"-", b"0x1", b"e", b".", b"\xff"]
            )
        )
        content += b"\n"
    policy_path.write_bytes(content)
    load_or_refuse(policy_path)


flows = st.builds(
    Flow,
    protocol=st.sampled_from([6, 17, 58]),
    source=st.integers(0, 5).map(lambda number: IPv6Address(FIRST_PREFIX + (number << 80))),
    destination=st.integers(0, 5).map(lambda number: IPv6Address(FIRST_PREFIX + (number << 80))),
    source_port=st.none() | st.integers(0, 65535),
    destination_port=st.none() | st.integers(0, 65535),
    dscp=st.integers(0, 63),
    ingress=st.sampled_from(INGRESS),
    icmpv6_type=st.none() | st.integers(128, 140),
    source_mac=st.sampled_from([None, "02:00:00:00:00:01", "02:00:00:00:00:0a"]),
)


@given(tables(), flows)
def test_no_policy_before_the_one_found_matches(table, flow):
    place = table.policies.index(find_policy(table, flow))
    default = table.policies[-1]
    for earlier in table.policies[:place]:
        assert find_policy(PolicyTable((earlier, default)), flow) is default
    assert find_policy(PolicyTable(table.policies[place:]), flow) is table.policies[place]
