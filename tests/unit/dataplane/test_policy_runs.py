from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mrouter.dataplane import policy_runs
from mrouter.dataplane.classify import compile_classification, number_policies
from mrouter.dataplane.family import Family
from mrouter.dataplane.policy_runs import LEAST_RUN, flatten_claims
from mrouter.policy.model import Match, Policy, PolicyTable, PortRange, Steer
from mrouter.policy.prefix_sets import make_prefix_set
from mrouter.policy.ranges import join_ranges

TOP = 40
STEER = Steer(("lte",))
PLENTY = 10_000

ranges = st.tuples(st.integers(0, TOP), st.integers(0, 15)).map(
    lambda each: (each[0], min(each[0] + each[1], TOP))
)
claims = st.lists(
    st.tuples(st.lists(ranges, min_size=1, max_size=3).map(join_ranges), st.booleans()),
    max_size=12,
)


def flatten(claims, most=PLENTY):
    return flatten_claims([each for each, _ in claims], [alone for _, alone in claims], most)


def list_owners(claims, number):
    """Return who asks for ``number``, up to the first that asks nothing else; by plain reading."""
    owners = []
    for owner, (ranges, takes_all) in enumerate(claims):
        if any(first <= number <= last for first, last in ranges):
            owners.append(owner)
            if takes_all:
                break
    return tuple(owners)


@given(claims)
def test_pieces_have_the_owners_of_each_number_in_their_order(claims):
    pieces = flatten(claims)

    for number in range(TOP + 2):
        found = [piece.owners for piece in pieces if piece.first <= number <= piece.last]
        assert found == [owners for owners in [list_owners(claims, number)] if owners]


@given(claims)
def test_pieces_are_sorted_disjoint_and_joined(claims):
    for one, other in pairwise(flatten(claims)):
        assert one.first <= one.last < other.first
        assert one.last + 1 < other.first or one.owners != other.owners


@given(claims)
def test_pieces_that_have_too_many_owners_are_given_up(claims):
    # before any are joined
    count = sum(
        len(list_owners(claims, first)) for first in {
            point for ranges, _ in claims for first, last in ranges for point in (first, last + 1)
        }
    )  # fmt: skip
    assert flatten(claims, count) is not None
    assert count == 0 or flatten(claims, count - 1) is None


def compile_table(*matches, family=Family.IPV6):
    """Return the chains' rules and the maps' elements by name, and the policies' numbers."""
    policies = [Policy(f"p{at}", match, STEER) for at, match in enumerate(matches)]
    table = PolicyTable((*policies, Policy("default", Match(), STEER)))
    numbers = number_policies(table)
    compiled = compile_classification(table, numbers, family)
    chains = {chain.name: chain.rules for chain in compiled.chains}
    return chains, {item.name: item for item in compiled.sets}, numbers


def to_port(port, **more):
    return Match((17,), (), (PortRange(port, port),), **more)


def to_net(number, length=48, **more):
    prefix = IPv6Network(f"2001:db8:{number:x}::/{length}")
    return Match(destination_prefixes=(prefix,), **more)


def test_a_short_run_is_rules():
    chains, maps, _ = compile_table(*(to_net(number) for number in range(LEAST_RUN - 1)))
    assert len(chains["classify"]) == LEAST_RUN
    assert not maps


def test_a_long_run_of_prefixes_is_one_look_up():
    chains, maps, numbers = compile_table(*(to_net(number) for number in range(1000)))
    (name,) = maps
    assert chains["classify"] == (f"ip6 daddr vmap @{name}", f"goto policy_{numbers['default']}")
    assert len(maps[name].elements) == 1000
    assert maps[name].declaration == "type ipv6_addr : verdict; flags interval;"
    first = "2001:db8::-2001:db8:0:ffff:ffff:ffff:ffff:ffff"
    assert maps[name].elements[first] == f"goto policy_{numbers['p0']}"


def test_single_addresses_are_a_hash():
    sources = (IPv4Network(f"192.0.2.{number}/32") for number in range(0, 100, 2))
    matches = [Match(source_prefixes=(each,)) for each in sources]
    chains, maps, _ = compile_table(*matches, family=Family.IPV4)
    (name,) = maps
    assert maps[name].declaration == "type ipv4_addr : verdict;"
    assert chains["classify"][0] == f"ip saddr vmap @{name}"


def test_devices_that_are_neighbours_are_a_hash_too():
    macs = [f"02:00:00:00:00:{number:02x}" for number in range(20)]
    pairs = zip(macs[::2], macs[1::2], strict=True)
    _, maps, _ = compile_table(*(Match(source_macs=pair) for pair in pairs))
    (made,) = maps.values()
    assert set(made.elements) == set(macs)
    assert "interval" not in made.declaration


def test_ports_of_one_policy_that_touch_are_one_range():
    matches = [Match((6,), (), (PortRange(10 * n, 10 * n), PortRange(10 * n + 1, 10 * n + 1)))
               for n in range(LEAST_RUN)]  # fmt: skip
    _, maps, _ = compile_table(*matches)
    (made,) = maps.values()
    assert list(made.elements)[1] == "6 . 10-11"


def test_what_is_left_to_ask_is_asked_behind_the_map_and_then_the_policies_behind_the_run():
    matches = [to_net(number, dscp=(46,)) for number in range(LEAST_RUN)]
    chains, maps, numbers = compile_table(*matches)
    (made,) = maps.values()
    assert chains["classify"] == (
        "ct mark set ct mark & 0x00000fff | 0x00000000",
        f"ip6 daddr vmap @{made.name}",
        "ct mark & 0xfffff000 != 0 return",
        f"goto policy_{numbers['default']}",
    )
    verbs = {element.partition(" ")[0] for element in made.elements.values()}
    assert verbs == {"jump"}
    rest = next(iter(made.elements.values())).partition(" ")[2]
    assert chains[rest] == (f"ip6 dscp 46 goto policy_{numbers['p0']}",)


def test_a_prefix_inside_another_asks_both_policies_in_the_order_of_the_file():
    matches = [to_net(number, dscp=(46,)) for number in range(LEAST_RUN)]
    chains, maps, numbers = compile_table(*matches, to_net(0, 32))
    (made,) = maps.values()
    first = made.elements["2001:db8::-2001:db8:0:ffff:ffff:ffff:ffff:ffff"]
    verb, _, rest = first.partition(" ")
    assert verb == "goto"
    assert chains[rest] == (
        f"ip6 dscp 46 goto policy_{numbers['p0']}",
        f"goto policy_{numbers[f'p{LEAST_RUN}']}",
    )


def test_many_policies_of_one_prefix_are_told_apart_by_another_map():
    matches = [
        Match((17,), (), (PortRange(port, port),), (), to_net(port % 2).destination_prefixes)
        for port in range(1, 400)
    ]
    chains, maps, _ = compile_table(*matches)
    assert all(len(rules) <= 4 for rules in chains.values())
    assert sorted(len(each.elements) for each in maps.values()) == [2, 199, 200]
    assert len([name for name in chains if name.startswith("rest_")]) == 2


def test_a_run_whose_keys_overlap_too_much_is_cut_in_parts():
    wide = [to_net(0, 32, dscp=(number % 64,), ingress=(f"lan{number}",)) for number in range(300)]
    narrow = [to_net(number, dscp=(46,)) for number in range(300)]
    chains, maps, _ = compile_table(*wide, *narrow)
    rules = sum(map(len, chains.values()))
    assert rules < policy_runs.MOST_GROWTH * len(wide + narrow)
    assert len(maps) > 1


def test_prefixes_beside_a_set_are_no_keys(monkeypatch):
    monkeypatch.setattr(policy_runs, "LEAST_RUN", 2)
    there = make_prefix_set("there", to_net(7).destination_prefixes)
    _, maps, _ = compile_table(*(to_net(n, destination_sets=(there,)) for n in range(4)))
    assert [item.kind for item in maps.values()] == ["set"]


def test_a_change_of_one_policy_leaves_the_chains_and_maps_before_it():
    before = [to_port(port, dscp=(46,)) for port in range(1, 300)]
    after = [*before[:-1], to_port(999, dscp=(46,))]
    old_chains, old_maps, _ = compile_table(*before)
    new_chains, new_maps, _ = compile_table(*after)
    assert old_maps.keys() == new_maps.keys()
    (old,), (new,) = old_maps.values(), new_maps.values()
    assert len(set(old.elements.items()) ^ set(new.elements.items())) == 2
    # the policy, and the default behind it, with what leads to them
    assert len(set(old_chains.items()) ^ set(new_chains.items())) == 2 * 4
