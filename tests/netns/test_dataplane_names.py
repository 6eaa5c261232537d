"""Sets of domain names' addresses in the kernel, and flows that lose their verdicts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dataplane_world import LTE
from test_dataplane_classify import (
    CN,
    FAR4,
    UDP_NUMBER,
    make_dual_router,
    read_verdicts,
    send_frames,
    source4_of,
    source_of,
)

from mrouter.agent.overtaken import forget_flows_with, forget_overtaken
from mrouter.dataplane.classify import number_policies
from mrouter.dataplane.family import Family
from mrouter.dataplane.name_sets import name_set_of, render_addresses
from mrouter.policy.find import Flow
from mrouter.policy.model import Match, Policy, PolicyTable, Steer

pytestmark = pytest.mark.netns

DOMAINS = ("example.com",)
NAMED = Policy("named", Match(destination_domains=DOMAINS), Steer((LTE,)))
OTHERS = Policy("others", Match(none_of=Match(destination_domains=DOMAINS)), Steer((LTE,)))
DEFAULT = Policy("default", Match(), Steer((LTE,)))
MAC = "02:00:00:00:01:00"
IPV6 = Flow(UDP_NUMBER, source_of(1, 1), CN, 7, 7, source_mac=MAC)
IPV4 = Flow(UDP_NUMBER, source4_of(1, 1), FAR4[0], 7, 7, source_mac=MAC)
FLOWS = (IPV6, IPV4)
ADDRESSES = {IPV6.destination: 60, IPV4.destination: 60}


def apply(world, *policies, known=None):
    """Obey ``policies``; return the numbers that a function takes for them."""
    table = PolicyTable((*policies, DEFAULT))
    view = make_dual_router(table)
    world.apply_mr(replace(view, known_names={DOMAINS: known or {}}))
    return number_policies(table)


def find(world, numbers):
    return {flow: read_verdicts(world, numbers)[flow.source] for flow in FLOWS}


def learn(world):
    for family in Family:
        elements = render_addresses(ADDRESSES, family)
        name = name_set_of(DOMAINS, family)
        world.nodes["mr"](world.planes["mr"].renew_elements, family, name, elements)


def test_flows_to_addresses_that_are_known_from_the_start_meet_the_policy(world):
    numbers = apply(world, NAMED, known=ADDRESSES)
    send_frames(world, FLOWS)
    assert find(world, numbers) == dict.fromkeys(FLOWS, "named")


def test_addresses_that_are_learnt_last_over_changes_of_other_things(world):
    apply(world, NAMED)
    for _ in range(2):
        learn(world)
    numbers = apply(world, Policy("first", Match((99,)), Steer((LTE,))), NAMED)
    send_frames(world, FLOWS)
    assert find(world, numbers) == dict.fromkeys(FLOWS, "named")


@pytest.mark.parametrize(("policy", "before"), [(NAMED, "default"), (OTHERS, "others")])
def test_running_flows_with_an_address_that_is_learnt_are_classified_again(world, policy, before):
    after = "named" if policy is NAMED else "default"
    other = replace(IPV6, source=source_of(1, 2), destination=CN + 1)
    numbers = apply(world, policy)
    send_frames(world, (*FLOWS, other))
    assert find(world, numbers) == dict.fromkeys(FLOWS, before)

    learn(world)
    names = {number: name for name, number in numbers.items()}
    world.nodes["mr"](forget_flows_with, ADDRESSES, names)
    assert find(world, numbers) == dict.fromkeys(FLOWS, None)
    assert read_verdicts(world, numbers)[other.source] == before

    send_frames(world, FLOWS)
    assert find(world, numbers) == dict.fromkeys(FLOWS, after)


@pytest.mark.parametrize("families", [[Family.IPV6], list(Family)])
def test_only_flows_of_families_that_are_ours_lose_their_verdicts(world, families):
    first = Policy("first", Match((UDP_NUMBER,)), Steer((LTE,)))
    table = PolicyTable((first, DEFAULT))
    numbers = apply(world)
    send_frames(world, FLOWS)
    names = {number: name for name, number in numbers.items()}

    world.nodes["mr"](forget_overtaken, families, table, names, {"first"})

    ipv4 = None if Family.IPV4 in families else "default"
    assert find(world, numbers) == {IPV6: None, IPV4: ipv4}


def test_marks_of_others_stay(world):
    numbers = apply(world)
    send_frames(world, FLOWS)
    world.lab.execute("mr", ["conntrack", "-U", "-f", "ipv6", "--mark", "0x7/0xfff"])
    names = {number: name for name, number in numbers.items()}
    world.nodes["mr"](forget_flows_with, ADDRESSES, names)
    listing = world.lab.execute("mr", ["conntrack", "-L", "-f", "ipv6"]).stdout
    assert " mark=7 " in listing
