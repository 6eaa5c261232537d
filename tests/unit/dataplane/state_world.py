"""Views to build kernel states from, and what every state must keep to."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

from hypothesis import strategies as st
from nft_model import NftModel

from mrouter.dataplane import marks
from mrouter.dataplane.classify import number_policies
from mrouter.dataplane.home_agent import HomeAgentView
from mrouter.dataplane.mobile_router import MobileRouterView, TunnelPath
from mrouter.dataplane.nft import render_table
from mrouter.dataplane.optimized_routes import choose_optimized
from mrouter.dataplane.path_mtu import NarrowPath
from mrouter.dataplane.state import Encapsulation, RouteOptimization
from mrouter.dataplane.steering import treat_plainly
from mrouter.dataplane.transformations import Direction
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
from mrouter.protocol.bindings import (
    MAX_SLOT,
    BindingState,
    CacheEntry,
    RouteEntry,
    UpdateListEntry,
)

HOME_AGENT = IPv6Address("2001:db8:f0::2")
HOME_ADDRESS = IPv6Address("2001:db8:f1::100")
PREFIX = IPv6Network("2001:db8:a1::/64")
SERVED = (IPv6Network(HOME_ADDRESS), PREFIX)
CORRESPONDENTS = (IPv6Address("2001:db8:c::10"), IPv6Address("2001:db8:d::10"))
LINKS = ("lte", "wifi", "sat")
POLICIES = PolicyTable(
    (
        Policy("bulk", Match((6,), (), (PortRange(5001, 5001),)), Steer(("wifi", "lte"))),
        Policy("call", Match((17,), (), (PortRange(5004, 5007),)), Bicast(("lte", "wifi"), 2)),
        Policy("unwanted", Match((17,), (), (PortRange(9, 9),)), Drop()),
        Policy("default", Match(), Steer(LINKS)),
    )
)

_MARK = re.compile(r"meta mark set meta mark & (\w+) \| (\w+)")
_CONNECTION_MARK = re.compile(r"ct mark set ct mark & (\w+) \| (\w+)")


def make_path(link, **changes):
    number = LINKS.index(link) + 1
    path = TunnelPath(
        slot=number,
        link=link,
        interface=f"{link}0",
        care_of_address=IPv6Address(f"2001:db8:{number}::2"),
        gateway=IPv6Address(f"2001:db8:{number}::1"),
        mtu=1500,
        usable=True,
    )
    return replace(path, **changes)


def make_mobile_router(paths=None, **changes):
    policies = changes.get("policies", POLICIES)
    numbers = number_policies(policies)
    view = MobileRouterView(
        encapsulation=Encapsulation.SEG6,
        home_agent=HOME_AGENT,
        home_address=HOME_ADDRESS,
        prefixes=(PREFIX,),
        ingress=("lan0",),
        egress=tuple(f"{link}0" for link in LINKS),
        links=LINKS,
        paths=tuple(map(make_path, LINKS)) if paths is None else tuple(paths),
        local_addresses=(HOME_ADDRESS,),
        device="lan0",
        policies=policies,
        numbers=numbers,
        treatments=treat_plainly(policies, numbers),
    )
    return replace(view, **changes)


def make_binding(link="lte", **changes):
    path = make_path(link)
    binding = CacheEntry(
        home_address=HOME_ADDRESS,
        ifid=path.slot,
        ifpri=path.slot,
        care_of_address=path.care_of_address,
        prefixes=(PREFIX,),
        slot=path.slot,
        sequence=1,
        lifetime=60,
        expires_at=100.0,
        mobile_router=True,
    )
    return replace(binding, **changes)


def make_home_agent(bindings, served=SERVED, **changes):
    view = HomeAgentView(
        encapsulation=Encapsulation.SEG6,
        address=HOME_AGENT,
        local_addresses=(HOME_AGENT,),
        device="wan0",
        served=tuple(served),
        bindings=tuple(bindings),
    )
    return replace(view, **changes)


encapsulations = st.sampled_from(Encapsulation)
optimizations = st.sampled_from(RouteOptimization)
either = st.booleans()
slots = st.integers(1, MAX_SLOT)


@st.composite
def path_lists(draw, usable=either):
    return tuple(
        make_path(
            draw(st.sampled_from(LINKS)),
            slot=slot,
            care_of_address=IPv6Address(f"2001:db8:{slot}::{slot}"),
            gateway=draw(st.sampled_from([None, IPv6Address("fe80::1")])),
            usable=draw(usable),
            mtu=draw(st.integers(1280, 1500)),
            learnt=draw(either),
        )
        for slot in draw(st.lists(slots, unique=True, max_size=5))
    )


def make_balances(links):
    """Return the actions that share flows over the first two of ``links``, before the last one."""
    first, second, last = links
    weights = st.tuples(st.integers(1, 100), st.integers(1, 100))
    tiers = weights.map(lambda pair: (Tier((first, second), pair), Tier((last,))))
    return st.builds(Balance, tiers, either)


@st.composite
def policy_tables(draw):
    links = st.lists(st.sampled_from(LINKS), unique=True, min_size=1).map(tuple)
    pairs = st.lists(st.sampled_from(LINKS), unique=True, min_size=2).map(tuple)
    balances = st.permutations(LINKS).flatmap(make_balances)
    actions = st.just(Drop()) | links.map(Steer) | pairs.map(lambda pair: Bicast(pair, 2))
    actions |= balances
    remarks = st.none() | st.integers(0, 63)
    policies = [
        Policy(
            f"policy-{port}",
            Match((17,), (), (PortRange(port, port),)),
            draw(actions),
            draw(remarks),
        )
        for port in draw(st.lists(st.integers(1, 99), unique=True, max_size=4))
    ]
    return PolicyTable((*policies, Policy("default", Match(), draw(actions))))


def make_route(correspondent, path, **changes):
    """Return a correspondent node's binding of the care-of address of ``path``."""
    binding = UpdateListEntry(
        link=path.link,
        interface=path.interface,
        care_of_address=path.care_of_address,
        ifid=100 + path.slot,
        ifpri=path.slot,
        slot=path.slot,
        state=BindingState.REGISTERED,
        sequence=1,
        status=1,
        expires_at=100.0,
        usable=True,
    )
    return RouteEntry(correspondent, replace(binding, **changes))


@st.composite
def mobile_routers(draw, usable=either):
    policies = draw(policy_tables())
    paths = draw(path_lists(usable))
    known = draw(st.sets(st.sampled_from(CORRESPONDENTS)).map(tuple))
    routes = [make_route(node, path, usable=draw(usable)) for node in known for path in paths]
    return make_mobile_router(
        paths,
        correspondents=known,
        optimized=choose_optimized(routes, paths),
        optimization=draw(optimizations),
        encapsulation=draw(encapsulations),
        policies=policies,
    )


@st.composite
def home_agents(draw):
    homes = [HOME_ADDRESS + step for step in range(3)]
    served = [IPv6Network(home) for home in homes] + [PREFIX]
    bindings = [
        make_binding(
            home_address=homes[owner],
            slot=slot,
            ifid=slot,
            ifpri=draw(st.integers(0, 3)),
            care_of_address=IPv6Address(f"2001:db8:{owner + 1}::{slot}"),
            prefixes=(PREFIX,) if owner == 0 else (),
        )
        for owner in range(3)
        for slot in draw(st.lists(slots, unique=True, max_size=3))
    ]
    narrow = [
        NarrowPath(
            binding.care_of_address,
            draw(st.integers(1280, 1499)),
            draw(st.sampled_from(["", "wan0"])),
        )
        for binding in bindings
        if draw(either)
    ]
    return make_home_agent(
        bindings,
        served,
        encapsulation=draw(encapsulations),
        mtu=draw(st.integers(1280, 1500)),
        narrow=tuple(narrow),
    )


def check_state(state):
    """Check what holds for every state: all numbers are ours, every reference has its object."""
    for family, table in state.tables.items():
        assert table.family is family
        NftModel().run(render_table(table))
    places = [(route.table, route.destination) for route in state.routes]
    assert len(places) == len(set(places))
    assert {table for table, _destination in places} <= set(marks.TABLES)
    assert {rule.table for rule in state.rules} <= set(marks.TABLES)
    for rule in state.rules:
        assert rule.mask & ~marks.FIREWALL_MASK == 0
        assert rule.mark & ~rule.mask == 0
    check_transformations(state.transformations)
    text = "".join(map(render_table, state.tables.values()))
    for pattern, mask in ((_MARK, marks.FIREWALL_MASK), (_CONNECTION_MARK, marks.CONNECTION_MASK)):
        for kept, value in pattern.findall(text):
            assert int(kept, 16) | mask == 0xFFFFFFFF
            assert int(value, 16) & ~mask == 0
    assert text.count("meta mark set") == len(_MARK.findall(text))
    assert text.count("ct mark set") == len(_CONNECTION_MARK.findall(text))


def check_transformations(wanted):
    """Check that each place in the kernel is taken once, by our mark bits alone."""
    for items in (wanted.states, wanted.policies):
        assert len({item.key for item in items}) == len(items)
        for item in items:
            assert item.mask & ~marks.FIREWALL_MASK == 0
            assert item.mark & ~item.mask == 0
    assert {state.output_mark & ~marks.FIREWALL_MASK for state in wanted.states} <= {0}
    ends = {(state.header, state.source, state.destination) for state in wanted.states}
    for policy in wanted.policies:
        if policy.direction is Direction.OUT:
            assert (policy.header, policy.source, policy.destination) in ends


def find_chain(state, name):
    return next(chain.rules for chain in state.table.chains if chain.name == name)


def find_set(state, name):
    return next(item.elements for item in state.table.sets if item.name == name)


def follow_policy(state, view, name):
    """Return the rules of the action that policy ``name`` leads to."""
    mark = f"{marks.mark_policy(view.numbers[name]):#010x}"
    return find_chain(state, find_set(state, "actions")[mark].removeprefix("goto "))
