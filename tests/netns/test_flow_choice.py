"""Flow bindings in a real kernel: what the home agent does with flows that begin at the far end."""

from __future__ import annotations

from dataclasses import fields
from ipaddress import IPv6Address
from random import Random

import pytest
from dataplane_world import (
    BULK_PORT,
    CN,
    LFN,
    LTE,
    OTHER_PREFIX,
    SAT,
    WIFI,
    care_of,
    downlinks,
    echo,
    make_binding,
    make_flow,
    make_home_agent,
    make_mobile_router,
    strip,
    tcp,
    transports,
    udp,
)
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP
from scapy.packet import Raw

from mrouter.lab import plan
from mrouter.wire.traffic_selectors import TrafficSelector

pytestmark = pytest.mark.netns

ANY = TrafficSelector()
FROM_BULK = TrafficSelector(source_ports=(BULK_PORT, BULK_PORT), next_header=(17, 17))
OTHER_HOME = plan.HOME_ADDRESS + 1


def down(payload=b"down", *, sport=7777, port=9):
    return udp(CN, LFN, port, payload, sport=sport)


def links_of(world, *packets):
    """Return the links by which ``packets``, sent by the correspondent node, come down."""
    (seen,) = world.exchange("cn", *packets, at=["net"])
    by_address = {care_of(link): link for link in (LTE, WIFI, SAT)}
    return [by_address[address] for address in downlinks(seen)]


def test_a_flow_that_begins_at_the_far_end_goes_by_its_flow_binding(world):
    flows = [make_flow(1, FROM_BULK, SAT), make_flow(2, ANY, WIFI)]
    world.apply_ha(make_home_agent(flows=flows))

    assert links_of(world, down(sport=BULK_PORT)) == [SAT]
    assert links_of(world, down(sport=BULK_PORT + 1)) == [WIFI]
    assert links_of(world, tcp(CN, LFN, 9, sport=BULK_PORT)) == [WIFI]


def test_what_no_flow_binding_matches_goes_by_the_primary_care_of_address(world):
    world.apply_ha(make_home_agent(flows=[make_flow(1, FROM_BULK, SAT)]))
    assert links_of(world, down()) == [LTE]


def test_a_flow_binding_of_two_bindings_makes_copies_and_one_arrives(world):
    world.apply_ha(make_home_agent(flows=[make_flow(1, ANY, WIFI, SAT)]))
    packet = down(b"twice by air, once to the node behind")

    seen, at_lfn = world.exchange("cn", packet, at=["net", "lfn"])

    assert downlinks(seen) == sorted([care_of(WIFI), care_of(SAT)])
    assert transports(at_lfn, CN, LFN) == strip(packet)


def test_an_inactive_flow_binding_is_passed_over(world):
    flows = [make_flow(1, FROM_BULK, WIFI), make_flow(2, ANY, SAT)]
    world.apply_ha(make_home_agent(links=[LTE, SAT], flows=flows))
    assert links_of(world, down(sport=BULK_PORT)) == [SAT]


def test_a_flow_binding_goes_by_those_of_its_bindings_that_stand(world):
    flows = [make_flow(1, ANY, WIFI, SAT)]
    world.apply_ha(make_home_agent(links=[LTE, SAT], flows=flows))
    assert links_of(world, down()) == [SAT]


def test_the_way_that_a_flow_came_by_goes_before_its_flow_binding(world):
    world.apply_ha(make_home_agent(flows=[make_flow(1, ANY, SAT)]))
    world.exchange("lfn", udp(LFN, CN, BULK_PORT), at=["cn"])  # policy "bulk": wifi
    assert links_of(world, down(sport=BULK_PORT, port=40000)) == [WIFI]


@pytest.mark.parametrize("others", [False, True])
def test_a_flow_whose_way_has_gone_obeys_its_flow_binding(world, others):
    flows = [make_flow(1, ANY, SAT)]
    world.apply_ha(make_home_agent(flows=flows))
    world.exchange("lfn", udp(LFN, CN, BULK_PORT), at=["cn"])

    bindings = [make_binding(LTE), make_binding(SAT)]
    if others:  # another mobile router has the slot that this one has lost
        bindings.append(make_binding(WIFI, home_address=OTHER_HOME, prefixes=(OTHER_PREFIX,)))
    world.apply_ha(make_home_agent(bindings=bindings, flows=flows))

    assert links_of(world, down(sport=BULK_PORT, port=40000)) == [SAT]


def test_each_mobile_router_has_flow_bindings_of_its_own(world):
    other = make_binding(WIFI, home_address=OTHER_HOME, prefixes=(OTHER_PREFIX,), slot=1)
    served = (*make_home_agent().served, OTHER_PREFIX)
    world.apply_ha(
        make_home_agent(
            bindings=[make_binding(LTE), make_binding(SAT), other],
            served=served,
            flows=[make_flow(1, ANY, SAT)],
        )
    )

    inside = OTHER_PREFIX.network_address + 1
    assert links_of(world, udp(CN, inside)) == [WIFI]
    assert links_of(world, down()) == [SAT]


def test_flow_bindings_come_and_go_without_a_trace(world):
    for flows in ([make_flow(1, ANY, SAT)], [make_flow(1, ANY, WIFI, SAT)], []):
        world.apply_ha(make_home_agent(flows=flows), verify=True)
        assert (SAT in links_of(world, down())) == bool(flows)
        world.forget_flows("ha")


# --- every part of a traffic selector, against plain reading --------------------------------

SOURCES = [CN, CN + 1, CN + 2, CN + 3]
#: Nobody has them: an answer would teach the home agent a way back.
TARGETS = [LFN + 1, LFN + 2, LFN + 3]
PORTS = range(1, 20)


def random_range(random, values):
    """Return both ends of a narrow range: the first selectors shall not take it all."""
    first = random.randrange(len(values))
    return values[first], values[min(first + random.randrange(3), len(values) - 1)]


def random_selector(random):
    def maybe(value, chance=0.35):
        return value if random.random() < chance else None

    selector = TrafficSelector(
        source=maybe(random_range(random, SOURCES)),
        destination=maybe(random_range(random, TARGETS)),
        spi=maybe(random_range(random, range(256, 262)), 0.2),
        flow_label=maybe(random_range(random, range(6)), 0.2),
        source_ports=maybe(random_range(random, PORTS)),
        destination_ports=maybe(random_range(random, PORTS)),
        traffic_class=maybe(random_range(random, range(8)), 0.2),
        next_header=maybe(random.choice([(6, 6), (6, 17), (17, 50), (50, 50)])),
    )
    looks_at = sum(getattr(selector, each.name) is not None for each in fields(selector))
    return selector if looks_at > 1 else random_selector(random)


def random_packet(random):
    header = IPv6(
        src=str(random.choice(SOURCES)),
        dst=str(random.choice(TARGETS)),
        tc=random.randrange(8),
        fl=random.randrange(6),
    )
    ports = {"sport": random.choice(PORTS), "dport": random.choice(PORTS)}
    inner = random.choice(
        [
            UDP(**ports) / Raw(b"payload"),
            TCP(**ports, flags="S"),
            ESP(spi=random.randrange(256, 262), seq=1, data=bytes(24)),
        ]
    )
    return header / inner


def is_matched(selector, packet):
    """Read ``selector`` plainly (RFC 6088)."""

    def within(both_ends, value):
        if both_ends is None:
            return True
        return value is not None and both_ends[0] <= value <= both_ends[1]

    inner = packet.payload
    return (
        within(selector.source, IPv6Address(packet.src))
        and within(selector.destination, IPv6Address(packet.dst))
        and within(selector.spi, getattr(inner, "spi", None))
        and within(selector.flow_label, packet.fl)
        and within(selector.source_ports, getattr(inner, "sport", None))
        and within(selector.destination_ports, getattr(inner, "dport", None))
        and within(selector.traffic_class, packet.tc)
        and within(selector.next_header, IPv6(bytes(packet)).nh)
    )


def describe(packet):
    return packet.src, packet.dst, packet.tc, packet.fl, packet.nh, bytes(packet.payload)


@pytest.mark.parametrize("seed", range(5))
def test_the_kernel_finds_the_flow_binding_that_plain_reading_finds(world, seed):
    random = Random(seed)
    flows = [
        make_flow(number, random_selector(random), random.choice([WIFI, SAT]))
        for number in range(1, 20)
    ]
    world.apply_mr(make_mobile_router())
    world.apply_ha(make_home_agent(flows=flows))
    packets = [random_packet(random) for _ in range(40)]

    wanted, found = [], set()
    for packet in packets:
        first = next((flow for flow in flows if is_matched(flow.selector, packet)), None)
        found.add(first)
        link = LTE if first is None else WIFI if first.ifids == (12,) else SAT
        wanted.append((care_of(link), describe(IPv6(bytes(packet)))))
    (seen,) = world.exchange("cn", *packets, at=["net"])

    tunnelled = [item.packet for item in seen if item.interface == "ha" and item.packet.nh == 41]
    assert sorted((IPv6Address(each.dst), describe(each.payload)) for each in tunnelled) == sorted(
        wanted
    )
    assert len(found) > 4


def test_an_error_about_a_steered_flow_is_not_lost(world):
    world.apply_ha(make_home_agent(flows=[make_flow(1, ANY, SAT)]))
    assert links_of(world, echo(CN, LFN)) == [SAT]
