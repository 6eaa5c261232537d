from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.errors import PolicyError
from mrouter.policy.find import Flow, find_policy
from mrouter.policy.flow_sizes import find_turning_sizes
from mrouter.policy.load import load_policies
from mrouter.policy.model import Match, Policy, PolicyTable, SizeRange, Steer
from mrouter.policy.shadow import find_shadowed
from mrouter.policy.size_ranges import LARGEST_FLOW, LARGEST_PACKET, format_size, format_sizes
from mrouter.policy.size_values import parse_flow_sizes, parse_packet_sizes

FILE = '[[policy]]\nname = "p"\nlinks = ["lte"]\nmatch = { %s }\n[default]\nlinks = ["lte"]\n'


@pytest.fixture
def load(tmp_path):
    def load(match):
        path = tmp_path / "p.toml"
        path.write_text(FILE % match)
        return load_policies(path, ["lte"], ["lan0"])

    return load


@pytest.mark.parametrize(
    ("match", "met", "missed"),
    [
        ('packet-size = "0-200"', [0, 200], [201, None]),
        ('packet-size = "1000-"', [1000, 65535, 200000], [999]),
        ('packet-size = [100, "300-301"]', [100, 300, 301], [99, 101, 302]),
        ('packet-size = ["0-100", "50-200"]', [150, 200], [201]),
        ('not-packet-size = "0-200"', [201, None], [200]),
    ],
)
def test_a_policy_is_met_by_packets_of_its_sizes(load, match, met, missed):
    table = load(match)
    for size in (*met, *missed):
        flow = Flow(17, None, None, packet_size=size)
        assert (find_policy(table, flow).name == "p") == (size in met)


@pytest.mark.parametrize(
    ("match", "problem"),
    [
        ('packet-size = "200-0"', 'packet-size: the range 200-0 is reversed (write "0-200")'),
        ("packet-size = 65536", "packet-size: a packet has 0 to 65535 bytes, this is 65536"),
        ('packet-size = "0-65536"', "packet-size: a packet has 0 to 65535 bytes"),
        ('packet-size = ["small"]', 'packet-size[0]: "small" is no size of packets'
         ' (as in "0-200" or "1000-")'),
        ("packet-size = true", "packet-size: true is no size of packets"),
        ('not-packet-size = "-5"', 'not-packet-size: "-5" is no size of packets'),
        ("packet-size = []", "packet-size: the list is empty"),
    ],
)  # fmt: skip
def test_a_wrong_size_is_refused_with_what_to_write(load, match, problem):
    with pytest.raises(PolicyError) as caught:
        load(match)
    assert f"p.toml:4: policy[0].match.{problem}" in str(caught.value)


@given(st.integers(0, 10**15), st.integers(0, 10**15) | st.just(LARGEST_FLOW))
def test_a_range_of_flow_sizes_is_read_as_it_is_written(first, last):
    if last >= first:
        sizes = SizeRange(first, last)
        assert (
            parse_flow_sizes(format_sizes(sizes) + ("" if last > first else "-" + str(last)))
            == sizes
        )


@given(st.integers(0, 65535), st.integers(0, 65535) | st.just(LARGEST_PACKET))
def test_a_range_of_packet_sizes_is_read_as_it_is_written(first, last):
    if last >= first:
        sizes = SizeRange(first, last)
        assert parse_packet_sizes(format_sizes(sizes)) == sizes


def test_only_large_sizes_are_written_with_a_unit():
    assert list(map(format_size, (0, 1000, 500_000, 10**7, 10**7 + 1))) == [
        "0", "1000", "500kB", "10MB", "10000001",
    ]  # fmt: skip


def test_a_policy_inside_the_sizes_of_an_earlier_one_is_never_reached():
    small, smaller = (
        Policy(f"to {last}", Match(packet_sizes=(SizeRange(0, last),)), Steer(("lte",)))
        for last in (200, 100)
    )
    default = Policy("default", Match(), Steer(("lte",)))
    assert [each.by for each in find_shadowed(PolicyTable((small, smaller, default)))] == [(0,)]
    assert not list(find_shadowed(PolicyTable((smaller, small, default))))


@pytest.mark.parametrize(
    ("match", "met", "missed"),
    [
        ('flow-bytes = "10MB-"', [10**7, 10**12], [10**7 - 1, 0, None]),
        ('flow-bytes = "0-500 kB"', [0, None, 500_000], [500_001]),
        ('flow-bytes = ["0-1MB", "5MB-"]', [10**6, 5 * 10**6], [10**6 + 1]),
        ('not-flow-bytes = "10MB-"', [0, None, 10**7 - 1], [10**7]),
    ],
)
def test_a_policy_is_met_while_its_flow_has_the_size(load, match, met, missed):
    table = load(match)
    for size in (*met, *missed):
        flow = Flow(17, None, None, flow_size=size)
        assert (find_policy(table, flow).name == "p") == (size in met)


@pytest.mark.parametrize(
    ("match", "problem"),
    [
        ('flow-bytes = "10MB"', 'flow-bytes: 10MB is hardly ever met exactly (write "10MB-" for'
         ' "or more")'),
        ('flow-bytes = "1000000"', 'flow-bytes: 1MB is hardly ever met exactly (write "1MB-"'),
        ("flow-bytes = 1000000", "flow-bytes: 1000000 is no range of sizes"),
        ("flow-bytes = true", 'flow-bytes: true is no range of sizes (as in "10MB-" or "0-500kB")'),
        ('flow-bytes = "10Mb-"', 'flow-bytes: "10Mb" has no known unit'
         " (known: B, kB, MB, GB, TB)"),
        ('flow-bytes = ["much"]', 'flow-bytes[0]: "much" is not a size'),
        ('not-flow-bytes = "2MB-1MB"', "not-flow-bytes: the range 2MB-1MB is reversed"
         ' (write "1MB-2MB")'),
        ('flow-bytes = "9999999999TB-"', "flow-bytes: must be from 1 byte to 1000000 TB"),
    ],
)  # fmt: skip
def test_a_wrong_flow_size_is_refused_with_what_to_write(load, match, problem):
    with pytest.raises(PolicyError) as caught:
        load(match)
    assert f"p.toml:4: policy[0].match.{problem}" in str(caught.value)


def test_too_many_flow_sizes_in_one_file_are_refused(load):
    sizes = ", ".join(f'"{number}0MB-{number}5MB"' for number in range(1, 5))
    assert load(f"flow-bytes = [{sizes}]")
    with pytest.raises(PolicyError) as caught:
        load(f'flow-bytes = [{sizes}], not-flow-bytes = "90MB-"')
    assert (
        "p.toml:4: policy[0].match: flow-bytes names 9 sizes so far: flows would be looked at too"
        " often (use at most 8 different sizes in a file)"
    ) in str(caught.value)


def from_size(size):
    return (SizeRange(size, LARGEST_FLOW),)


def find_turning(*matches):
    policies = [Policy(f"p{n}", match, Steer(("lte",))) for n, match in enumerate(matches)]
    return find_turning_sizes(PolicyTable(tuple(policies)))


def test_a_policy_behind_one_by_size_is_looked_at_again_and_none_before():
    assert find_turning(Match((6,)), Match(flow_sizes=from_size(100)), Match((17,))) == {
        "p1": (100,), "p2": (100,),
    }  # fmt: skip


def test_a_policy_of_other_protocols_than_the_one_by_size_is_not():
    bulk = Match((6,), flow_sizes=from_size(100))
    assert find_turning(bulk, Match((17, 132)), Match((17, 6))) == {"p0": (100,), "p2": (100,)}


def test_sizes_of_all_policies_before_count_and_those_that_end_too():
    between = (SizeRange(50, 99),)
    assert find_turning(
        Match(none_of=Match(flow_sizes=between)), Match(flow_sizes=from_size(70)), Match()
    ) == {"p0": (50, 100), "p1": (50, 70, 100), "p2": (50, 70, 100)}
