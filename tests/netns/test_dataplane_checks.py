"""What must not pass does not pass, and is counted."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from dataplane_world import (
    BICAST_ALL,
    BULK_PORT,
    CALL_PORT,
    CN,
    HA,
    LFN,
    LINKS,
    LTE,
    OTHER_PREFIX,
    SAT,
    WIFI,
    care_of,
    downlinks,
    echo,
    make_binding,
    make_home_agent,
    make_mobile_router,
    make_path,
    mentions,
    strip,
    tcp,
    transports,
    tunnel,
    udp,
    uplinks,
)
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6Unknown,
    IPv6,
    IPv6ExtHdrDestOpt,
)
from scapy.packet import Raw

from mrouter.lab import plan
from mrouter.policy.model import Drop, Match, Policy, PolicyTable

pytestmark = pytest.mark.netns

STRANGER = IPv6Address("2001:db8:5::5")
OTHER_HOME = IPv6Address("2001:db8:f1::200")
OTHER_NODE = IPv6Address("2001:db8:a2::10")
OTHER_CARE_OF = {LTE: IPv6Address("2001:db8:9:1::2"), SAT: IPv6Address("2001:db8:9:3::2")}
SERVED = (
    IPv6Network(plan.HOME_ADDRESS),
    plan.MOBILE_NETWORK_PREFIX,
    IPv6Network(OTHER_HOME),
    OTHER_PREFIX,
)
DROP_ALL = PolicyTable((Policy("default", Match(), Drop()),))
TRAFFIC = [
    udp(LFN, CN, BULK_PORT),
    udp(LFN, CN, CALL_PORT),
    udp(LFN, CN),
    udp(LFN, HA),
    udp(LFN, plan.find_link(SAT).gateway),
    tcp(LFN, CN, 80),
    echo(LFN, CN),
    tunnel(LFN, HA, udp(LFN, CN)),
    tunnel(LFN, CN, udp(LFN, CN)),
]


def with_other_router(*bindings):
    return make_home_agent(bindings=(*map(make_binding, LINKS), *bindings), served=SERVED)


def other_binding(link, **changes):
    return make_binding(
        link,
        home_address=OTHER_HOME,
        prefixes=(OTHER_PREFIX,),
        care_of_address=OTHER_CARE_OF[link],
        **changes,
    )


@pytest.mark.parametrize(
    ("forged", "counter"),
    [
        (tunnel(STRANGER, HA, udp(LFN, CN)), "outer_rejected"),
        (tunnel(care_of(LTE), HA, udp(STRANGER, CN)), "inner_rejected"),
        (tunnel(care_of(LTE), HA, udp(OTHER_NODE, CN)), "inner_rejected"),
        (tunnel(OTHER_CARE_OF[LTE], HA, udp(LFN, CN)), "inner_rejected"),
        (tunnel(care_of(LTE), HA, udp("fe80::1", CN)), "inner_rejected"),
        (IPv6(src=str(care_of(LTE)), dst=str(HA), nh=41) / Raw(b"short"), "inner_rejected"),
        (tunnel(care_of(LTE), HA, IPv6ExtHdrDestOpt() / udp(LFN, CN)), "outer_rejected"),
    ],
    ids=[
        "unregistered-care-of-address",
        "foreign-inner-source",
        "another-routers-prefix",
        "another-routers-care-of-address",
        "link-local-inner-source",
        "truncated",
        "header-in-between",
    ],
)
def test_the_home_agent_drops_and_counts_what_no_mobile_router_may_send(world, forged, counter):
    world.apply_ha(with_other_router(other_binding(LTE)))

    at_cn, at_net = world.exchange("net", forged, at=["cn", "net"])

    assert transports(at_cn, LFN, CN) == []
    assert mentions(at_cn, CN) == []
    assert world.count("ha", counter, 1) == 1
    assert world.counter("ha", "outer_rejected") + world.counter("ha", "inner_rejected") == 1
    assert [item for item in at_net if item.interface == "ha" and item.packet.nh == 58] == []


def test_what_the_home_agent_accepts_is_counted_by_slot(world):
    inner = udp(LFN, CN, 9, b"genuine")

    (at_cn,) = world.exchange("net", tunnel(care_of(SAT), HA, inner), at=["cn"])

    assert transports(at_cn, LFN, CN) == strip(inner)
    assert [world.counter("ha", f"uplink-{slot}") for slot in (1, 2, 3)] == [0, 0, 1]


@pytest.mark.parametrize(
    ("forged", "counter"),
    [
        (tunnel(STRANGER, care_of(LTE), udp(CN, LFN)), "outer_rejected"),
        (tunnel(plan.HA_GATEWAY, care_of(LTE), udp(CN, LFN)), "outer_rejected"),
        (tunnel(HA, care_of(LTE), IPv6ExtHdrDestOpt() / udp(CN, LFN)), "outer_rejected"),
        (tunnel(HA, care_of(LTE), udp(CN, STRANGER)), "inner_rejected"),
        (tunnel(HA, care_of(LTE), udp(plan.MOBILE_NETWORK_PREFIX[99], LFN)), "inner_rejected"),
        (
            tunnel(HA, care_of(LTE), udp(plan.MOBILE_NETWORK_PREFIX[99], plan.HOME_ADDRESS)),
            "inner_rejected",
        ),
    ],
    ids=[
        "stranger",
        "home-agents-neighbour",
        "header-in-between",
        "not-for-the-mobile-network",
        "source-on-board",
        "source-on-board-for-the-router-itself",
    ],
)
def test_the_mobile_router_drops_and_counts_what_its_home_agent_would_not_send(
    world, forged, counter
):
    at_lfn, at_net = world.exchange("net", forged, at=["lfn", "net"])

    assert mentions(at_lfn, LFN) == []
    assert mentions(at_net, STRANGER) == []
    assert world.count("mr", counter, 1) == 1


def test_an_untunnelled_packet_for_the_mobile_network_is_dropped_and_counted(world):
    target = plan.MOBILE_NETWORK_PREFIX[0x99]
    via = ["via", str(care_of(WIFI))]
    world.lab.execute("net", ["ip", "route", "add", f"{target}/128", *via])
    try:
        (at_lfn,) = world.exchange("net", udp(CN, target), at=["lfn"])
    finally:
        world.lab.execute("net", ["ip", "route", "del", f"{target}/128", *via])

    assert mentions(at_lfn, target) == []
    assert world.count("mr", "unencapsulated_rejected", 1) == 1


@pytest.mark.parametrize(
    "paths",
    [[], [make_path(link, usable=False) for link in LINKS]],
    ids=["no-path", "no-usable-path"],
)
@pytest.mark.parametrize("known", [False, True], ids=["new-flows", "known-flows"])
def test_with_no_usable_link_nothing_from_on_board_leaves(world, paths, known):
    if known:
        world.exchange("lfn", *TRAFFIC, at=[])
    world.apply_mr(make_mobile_router(paths=paths))

    (seen,) = world.exchange("lfn", *TRAFFIC, at=["net"])

    assert mentions(seen, LFN) == []
    assert uplinks(seen) == []
    assert world.count("mr", "no_link_dropped", len(TRAFFIC)) == len(TRAFFIC)


@pytest.mark.parametrize("policies", [BICAST_ALL, None], ids=["bicast", "steer"])
def test_nothing_leaves_in_the_clear_when_the_kernel_has_lost_every_route_of_ours(world, policies):
    """As when all links fall at once, before the agent has answered."""
    if policies is not None:
        world.apply_mr(make_mobile_router(policies=policies))
    world.lab.execute("mr", ["sh", "-c", "for t in 7701 7702 7703 7601 7602 7603; do"
                             " ip -6 route flush table $t; done"])  # fmt: skip

    (seen,) = world.exchange("lfn", *TRAFFIC, at=["net"])

    assert mentions(seen, LFN) == []


@pytest.mark.parametrize("table", ["7601", "7701"])
def test_nothing_leaves_in_the_clear_when_one_table_is_lost(world, table):
    world.lab.execute("mr", ["ip", "-6", "route", "flush", "table", table])

    (seen,) = world.exchange("lfn", udp(LFN, CN), udp(LFN, HA), at=["net"])

    assert mentions(seen, LFN) == []


def test_what_the_rules_did_not_mark_is_not_forwarded_to_an_egress_link(world):
    """Neighbour discovery is never steered; in the clear it must not go either."""
    packets = [
        IPv6(src=str(LFN), dst=str(CN), hlim=255) / message
        for message in (ICMPv6ND_NS(), ICMPv6ND_NA(), ICMPv6ND_RS(), ICMPv6ND_RA())
    ]

    (seen,) = world.exchange("lfn", *packets, at=["net"])

    assert mentions(seen, LFN) == []
    assert world.count("mr", "leaks_prevented", len(packets)) == len(packets)
    assert world.counter("mr", "bicast_copies") == 0


@pytest.mark.parametrize("kind", [130, 131, 132, 133, 134, 135, 136, 137, 143])
def test_neighbour_discovery_and_listener_reports_are_never_steered(world, kind):
    world.apply_mr(make_mobile_router(policies=DROP_ALL))
    message = IPv6(src=str(LFN), dst=str(CN)) / ICMPv6Unknown(type=kind, msgbody=b"\0" * 20)

    world.exchange("lfn", message, at=["net"])

    assert world.counter("mr", "policy_dropped") == 0


def test_neighbours_on_board_find_each_other_under_a_policy_that_drops_all(world):
    world.apply_mr(make_mobile_router(policies=DROP_ALL))
    for node in ("lfn", "mr"):
        world.lab.execute(node, ["ip", "-6", "neigh", "flush", "dev", "lan0"])

    for node, address in (("lfn", plan.MR_INGRESS_ADDRESS), ("mr", LFN)):
        ping = ["ping", "-6", "-n", "-c", "1", "-W", "2", str(address)]
        assert world.lab.execute(node, ping, check=False).returncode == 0


def test_the_home_agent_sends_nothing_in_the_clear_for_a_router_that_is_not_registered(world):
    world.apply_ha(make_home_agent(links=[]))

    (seen,) = world.exchange("cn", udp(CN, LFN), echo(CN, plan.HOME_ADDRESS), at=["net"])

    from_home_agent = [item for item in seen if item.interface == "ha"]
    assert [item for item in from_home_agent if item.packet.src == str(CN)] == []
    assert downlinks(from_home_agent) == []


def test_a_downlink_slot_that_only_another_router_has_takes_the_primary_binding(world):
    world.exchange("lfn", udp(LFN, CN, BULK_PORT), at=[])
    router = make_binding(LTE)
    other = other_binding(SAT, slot=2)
    world.apply_ha(make_home_agent(bindings=(router, other), served=SERVED))

    (seen,) = world.exchange("cn", udp(CN, LFN, 40000, sport=BULK_PORT), at=["net"])

    assert downlinks(seen) == [care_of(LTE)]


def test_two_mobile_routers_share_slots_and_keep_their_packets_apart(world):
    world.apply_ha(with_other_router(other_binding(LTE)))

    (seen,) = world.exchange("cn", udp(CN, LFN), udp(CN, OTHER_NODE), at=["net"])
    inner = udp(OTHER_NODE, CN, 9, b"from the other")
    (at_cn,) = world.exchange("net", tunnel(OTHER_CARE_OF[LTE], HA, inner), at=["cn"])

    to_other = [item for item in seen if item.packet.dst == str(OTHER_CARE_OF[LTE])]
    assert [item.packet.payload.dst for item in to_other] == [str(OTHER_NODE)]
    assert downlinks(seen) == sorted([care_of(LTE), OTHER_CARE_OF[LTE]])
    assert transports(at_cn, OTHER_NODE, CN) == strip(inner)


def test_between_two_mobile_routers_each_direction_follows_its_own_links(world):
    world.apply_ha(with_other_router(other_binding(LTE), other_binding(SAT)))
    there = udp(LFN, OTHER_NODE, BULK_PORT, b"there")
    back = udp(OTHER_NODE, LFN, 40000, b"back", sport=BULK_PORT)

    first, _ = world.exchange("lfn", there, at=["net", "lfn"])
    second, at_lfn = world.exchange("net", tunnel(OTHER_CARE_OF[SAT], HA, back), at=["net", "lfn"])
    third, _ = world.exchange("lfn", there, at=["net", "lfn"])

    assert (uplinks(first), downlinks(first)) == ([(WIFI, care_of(WIFI))], [OTHER_CARE_OF[LTE]])
    assert downlinks(second) == [care_of(WIFI)]
    assert transports(at_lfn, OTHER_NODE, LFN) == strip(back)
    assert (uplinks(third), downlinks(third)) == ([(WIFI, care_of(WIFI))], [OTHER_CARE_OF[SAT]])
