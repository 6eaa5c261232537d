from __future__ import annotations

import pickle
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.policy.find import Flow, find_policy
from mrouter.policy.load import load_policies
from mrouter.policy.model import Match, PortRange
from mrouter.policy.prefix_sets import contains, list_ranges, make_prefix_set

FIRST = int(IPv6Address("2001:db8::"))
DEFAULT = '[default]\nlinks = ["lte"]\n'


def load_match(directory, sets, match):
    text = f'{sets}\n[[policy]]\nname = "p"\nmatch = {match}\ndrop = true\n{DEFAULT}'
    path = directory / "p.toml"
    path.write_text(text)
    return load_policies(path, ["lte"], ["lan0"]).policies[0].match


def networks(*texts):
    return tuple(map(IPv6Network, texts))


def test_a_set_stands_in_a_list_with_prefixes(tmp_path):
    sets = """\
[set.office]
prefixes = ["2001:db8:2::/48", "2001:db8:1::/48"]
[set.depot]
prefixes = "2001:db8:3::1"
"""
    match = load_match(
        tmp_path, sets, '{ source = "@depot", destination = ["@office", "2001:db8:9::/48"] }'
    )
    assert match == Match(
        source_sets=(make_prefix_set("depot", networks("2001:db8:3::1")),),
        destination_prefixes=networks("2001:db8:9::/48"),
        destination_sets=(
            make_prefix_set("office", networks("2001:db8:1::/48", "2001:db8:2::/48")),
        ),
    )
    assert tuple(match.source_sets[0].prefixes) == networks("2001:db8:3::1/128")


def test_a_file_of_prefixes_may_have_comments_and_empty_lines_and_be_nested(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/tv.txt").write_text(
        "# television\n\n2001:db8:8::/45\r\n  2001:db8:a::/48 # within the former\n\t2001:DB8::1\n"
    )
    sets = '[set.tv]\nfile = "lists/tv.txt"\nprefixes = ["2001:db8:1::/48"]\n'

    (tv,) = load_match(tmp_path, sets, '{ destination = "@tv" }').destination_sets

    assert tuple(tv.prefixes) == networks("2001:db8::1/128", "2001:db8:1::/48", "2001:db8:8::/45")


def test_the_same_prefixes_in_another_order_are_the_same_set(tmp_path):
    (tmp_path / "one.txt").write_text("2001:db8:1::/48\n2001:db8:2::/48")
    sets = '[set.x]\nfile = "one.txt"\n'
    (one,) = load_match(tmp_path, sets, '{ source = "@x" }').source_sets
    (tmp_path / "one.txt").write_text("2001:db8:2::/48\n2001:db8:1::/48\n")
    (other,) = load_match(tmp_path, sets, '{ source = "@x" }').source_sets
    assert one == other

    (tmp_path / "one.txt").write_text("2001:db8:2::/48\n2001:db8:1::/49\n")
    (changed,) = load_match(tmp_path, sets, '{ source = "@x" }').source_sets
    assert one != changed


def test_a_set_that_no_policy_names_is_accepted(tmp_path):
    assert load_match(tmp_path, '[set.x]\nprefixes = "2001:db8::/32"\n', "{ }") == Match()


def test_types_and_devices_are_read(tmp_path):
    match = load_match(
        tmp_path, "", '{ icmpv6-type = ["Echo-Request", 139], source-mac = "02:00:00:00:00:0A" }'
    )
    assert match == Match(icmpv6_types=(128, 139), source_macs=("02:00:00:00:00:0a",))


def test_an_icmpv6_type_may_stand_beside_its_protocol(tmp_path):
    match = load_match(tmp_path, "", '{ protocol = "icmpv6", not-icmpv6-type = 129 }')
    assert match == Match(protocols=(58,), none_of=Match(icmpv6_types=(129,)))


def test_every_key_can_be_negated(tmp_path):
    text = """{ protocol = "udp", dscp = 1, not-protocol = [6], not-source-port = "1-2", \
not-destination-port = 3, not-source = "2001:db8::/64", \
not-destination = ["@x", "2001:db8:2::/48"], not-dscp = "ef", not-ingress = "lan0", \
not-source-mac = "02:00:00:00:00:01" }"""
    sets = '[set.x]\nprefixes = ["2001:db8:1::/48"]\n'
    assert load_match(tmp_path, sets, text) == Match(
        protocols=(17,),
        dscp=(1,),
        none_of=Match(
            protocols=(6,),
            source_ports=(PortRange(1, 2),),
            destination_ports=(PortRange(3, 3),),
            source_prefixes=networks("2001:db8::/64"),
            destination_prefixes=networks("2001:db8:2::/48"),
            destination_sets=(make_prefix_set("x", networks("2001:db8:1::/48")),),
            dscp=(46,),
            ingress=("lan0",),
            source_macs=("02:00:00:00:00:01",),
        ),
    )


prefix_lists = st.lists(
    st.builds(
        lambda place, length: IPv6Network((FIRST + place, length), strict=False),
        st.integers(0, 63),
        st.integers(122, 128),
    ),
    max_size=12,
)


@given(prefix_lists)
def test_a_set_holds_the_addresses_of_its_prefixes_and_no_others(prefixes):
    made = make_prefix_set("x", prefixes)
    for address in map(IPv6Address, range(FIRST - 1, FIRST + 65)):
        assert contains(made, address) == any(address in prefix for prefix in prefixes)


@given(prefix_lists)
def test_ranges_are_sorted_with_gaps_between_them(prefixes):
    firsts, lasts = list_ranges(make_prefix_set("x", prefixes))
    assert all(first <= last for first, last in zip(firsts, lasts, strict=True))
    assert all(last + 1 < first for last, first in zip(lasts, firsts[1:], strict=False))


@given(prefix_lists)
def test_a_set_is_the_same_after_its_way_from_process_to_process(prefixes):
    made = make_prefix_set("x", prefixes)
    received = pickle.loads(pickle.dumps(made))
    assert received == made
    assert received.packed == made.packed


POLICIES, PREFIXES, SETS = 10_000, 100_000, 10


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A file with many policies over large sets: policy n is for port n + 1 and set n % 10."""
    directory = tmp_path_factory.mktemp("fleet")
    text = ""
    for number in range(SETS):
        places = range(number, PREFIXES, SETS)
        lines = [f"2001:{0xD00 + (place >> 16):x}:{place & 0xFFFF:x}::/48\n" for place in places]
        (directory / f"{number}.txt").write_text("".join(lines))
        text += f'[set.s{number}]\nfile = "{number}.txt"\n'
    for number in range(POLICIES):
        text += (
            f'[[policy]]\nname = "p{number}"\nlinks = ["lte"]\nmatch = {{ protocol = "udp",'
            f' destination-port = {number + 1}, destination = "@s{number % SETS}" }}\n'
        )
    (directory / "p.toml").write_text(text + DEFAULT)
    return load_policies(directory / "p.toml", ["lte"], ["lan0"])


def test_ten_thousand_policies_over_a_hundred_thousand_prefixes_load(fleet):
    assert len(fleet.policies) == POLICIES + 1
    sets = {each for policy in fleet.policies for each in policy.match.destination_sets}
    assert sum(len(each.packed) for each in sets) == PREFIXES


@pytest.mark.parametrize(
    ("number", "destination", "name"),
    [
        (0, "2001:d00:a::1", "p0"),
        (9_999, "2001:d01:8695::1", "p9999"),
        (9_999, "2001:d01:8696::1", "default"),
        (5_003, "2001:d00:d::ffff", "p5003"),
        (5_003, "2001:d00:e::ffff", "default"),
        (5_003, "2001:d02::", "default"),
    ],
)
def test_a_policy_among_them_is_found(fleet, number, destination, name):
    flow = Flow(
        17, IPv6Address("2001:db8:a1::5"), IPv6Address(destination), 1, number + 1, ingress="lan0"
    )
    assert find_policy(fleet, flow).name == name
