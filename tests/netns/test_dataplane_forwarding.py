from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from dataplane_world import (
    BICAST_ALL,
    BULK_PORT,
    CALL_PORT,
    CN,
    DROPPED_PORT,
    HA,
    LFN,
    LTE,
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
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6

from mrouter.lab import plan

pytestmark = pytest.mark.netns

FLOWS = {
    "bulk-udp": (udp(LFN, CN, BULK_PORT, b"bulk"), [WIFI]),
    "bulk-tcp": (tcp(LFN, CN, BULK_PORT), [WIFI]),
    "call": (udp(LFN, CN, CALL_PORT, b"call"), [LTE, WIFI]),
    "ping": (echo(LFN, CN), [SAT]),
    "default": (udp(LFN, CN, 9, b"rest"), [LTE]),
    "to-home-agent": (udp(LFN, HA, 9, b"for the home agent itself"), [LTE]),
    "to-a-gateway": (udp(LFN, plan.find_link(WIFI).gateway, 9), [LTE]),
}
EQUAL_TWICE = {
    "udp": udp(LFN, CN, CALL_PORT, b"the same again and again"),
    "udp-7-octets": udp(LFN, CN, CALL_PORT, b"1234567"),
    "udp-empty": udp(LFN, CN, CALL_PORT, b""),
    "echo": echo(LFN, CN),
    "echo-empty": echo(LFN, CN, payload=b""),
    "tcp-syn": tcp(LFN, CN, CALL_PORT),
    "tcp-data": tcp(LFN, CN, CALL_PORT, flags="A", sequence=7, payload=b"segment"),
}


def answer(packet, payload=b"answer"):
    header = packet.payload
    return udp(packet.dst, packet.src, header.sport, payload, sport=header.dport)


@pytest.mark.parametrize(("packet", "links"), FLOWS.values(), ids=FLOWS.keys())
def test_a_flow_takes_its_policys_links_from_their_own_care_of_addresses(world, packet, links):
    (seen,) = world.exchange("lfn", packet, at=["net"])

    assert uplinks(seen) == sorted((link, care_of(link)) for link in links)
    assert {item.packet.dst for item in seen if item.interface in links} == {str(HA)}


def test_what_is_sent_arrives_once_and_unchanged(world):
    packets = [packet for packet, _links in FLOWS.values() if packet.dst == str(CN)]

    (seen,) = world.exchange("lfn", *packets, at=["cn"])

    assert transports(seen, LFN, CN) == strip(*packets)


def test_dropped_flows_are_counted(world):
    (seen,) = world.exchange("lfn", udp(LFN, CN, DROPPED_PORT), at=["net"])

    assert uplinks(seen) == []
    assert world.count("mr", "policy_dropped", 1) == 1


def test_two_care_of_addresses_on_one_interface_each_keep_their_source(world):
    second = IPv6Address("2001:db8:1::3")
    world.lab.execute("mr", ["ip", "addr", "replace", f"{second}/64", "dev", "lte0", "nodad"])
    other = make_path(LTE, link=WIFI, slot=4, care_of_address=second)
    world.apply_mr(make_mobile_router(paths=[make_path(LTE), other]))
    bindings = [make_binding(LTE), make_binding(WIFI, slot=4, care_of_address=second)]
    world.apply_ha(make_home_agent(bindings=bindings))

    there, at_cn = world.exchange(
        "lfn", udp(LFN, CN, 9, b"first"), udp(LFN, CN, BULK_PORT, b"second"), at=["net", "cn"]
    )
    back, at_lfn = world.exchange(
        "cn", udp(CN, LFN, 40000, b"1", sport=9), udp(CN, LFN, 40000, b"2", sport=BULK_PORT),
        at=["net", "lfn"],
    )  # fmt: skip

    assert uplinks(there) == [(LTE, care_of(LTE)), (LTE, second)]
    assert downlinks(back) == [care_of(LTE), second]
    assert len(transports(at_cn, LFN, CN)) == len(transports(at_lfn, CN, LFN)) == 2


def test_of_two_addresses_of_a_link_the_first_usable_one_is_used(world):
    second = IPv6Address("2001:db8:1::3")
    world.lab.execute("mr", ["ip", "addr", "replace", f"{second}/64", "dev", "lte0", "nodad"])
    paths = [make_path(LTE, usable=False), make_path(LTE, slot=4, care_of_address=second)]
    world.apply_mr(make_mobile_router(paths=paths))

    (seen,) = world.exchange("lfn", udp(LFN, CN), at=["net"])

    assert uplinks(seen) == [(LTE, second)]


@pytest.mark.parametrize("name", ["bulk-udp", "call", "default"])
def test_a_flow_comes_back_by_the_links_that_it_went_by(world, name):
    packet, links = FLOWS[name]
    world.exchange("lfn", packet, at=[])

    at_net, at_lfn = world.exchange("cn", answer(packet), at=["net", "lfn"])

    assert downlinks(at_net) == sorted(map(care_of, links))
    assert transports(at_lfn, CN, LFN) == strip(answer(packet))


def test_a_flow_that_the_correspondent_begins_takes_the_lowest_priority_value(world):
    bindings = [make_binding(LTE, ifpri=9), make_binding(WIFI, ifpri=3), make_binding(SAT, ifpri=5)]
    world.apply_ha(make_home_agent(bindings=bindings))

    at_net, at_lfn = world.exchange("cn", udp(CN, LFN, 9, b"hello"), at=["net", "lfn"])

    assert downlinks(at_net) == [care_of(WIFI)]
    assert transports(at_lfn, CN, LFN) == strip(udp(CN, LFN, 9, b"hello"))


def test_an_error_does_not_choose_its_flows_link(world):
    """Here it is the first that the mobile network sends of the flow."""
    question = udp(CN, LFN, 40000, b"?", sport=BULK_PORT)
    world.exchange("cn", question, at=[])
    error = IPv6(src=str(LFN), dst=str(CN)) / ICMPv6PacketTooBig() / question

    before, at_cn = world.exchange("lfn", error, at=["net", "cn"])
    after, _ = world.exchange("lfn", answer(question), at=["net", "cn"])

    assert uplinks(before) == [(LTE, care_of(LTE))]
    assert transports(at_cn, LFN, CN) == strip(error)
    assert uplinks(after) == [(WIFI, care_of(WIFI))]


def test_the_answer_to_a_correspondents_flow_is_steered_by_policy_and_turns_the_flow(world):
    question = udp(CN, LFN, 40000, b"?", sport=BULK_PORT)
    first, _ = world.exchange("cn", question, at=["net", "lfn"])

    answered, _ = world.exchange("lfn", answer(question), at=["net", "cn"])
    second, _ = world.exchange("cn", question, at=["net", "lfn"])

    assert downlinks(first) == [care_of(LTE)]
    assert uplinks(answered) == [(WIFI, care_of(WIFI))]
    assert downlinks(second) == [care_of(WIFI)]


def test_the_downlink_of_a_link_that_has_gone_takes_the_primary_one(world):
    packet, _links = FLOWS["bulk-udp"]
    world.exchange("lfn", packet, at=[])
    world.apply_ha(make_home_agent(links=[LTE, SAT]))

    (at_net,) = world.exchange("cn", answer(packet), at=["net"])

    assert downlinks(at_net) == [care_of(LTE)]


@pytest.mark.parametrize("packet", EQUAL_TWICE.values(), ids=EQUAL_TWICE.keys())
def test_bicast_uplink_delivers_each_of_two_equal_packets_once(world, packet):
    world.apply_mr(make_mobile_router(policies=BICAST_ALL))

    at_net, at_cn = world.exchange("lfn", packet, packet, at=["net", "cn"])

    assert uplinks(at_net) == [(LTE, care_of(LTE))] * 2 + [(WIFI, care_of(WIFI))] * 2
    assert transports(at_cn, LFN, CN) == strip(packet, packet)
    assert world.count("mr", "bicast_copies", 2) == 2
    assert world.count("ha", "duplicates_dropped", 2) == 2


@pytest.mark.parametrize(
    "payload", [b"the same again and again", b"1234567", b""], ids=["long", "short", "empty"]
)
def test_bicast_downlink_delivers_each_of_two_equal_packets_once(world, payload):
    packet, _links = FLOWS["call"]
    world.exchange("lfn", packet, at=[])
    back = answer(packet, payload)

    at_net, at_lfn = world.exchange("cn", back, back, at=["net", "lfn"])

    assert downlinks(at_net) == sorted([care_of(LTE), care_of(WIFI)] * 2)
    assert transports(at_lfn, CN, LFN) == strip(back, back)
    assert world.count("ha", "bicast_copies", 2) == 2
    assert world.count("mr", "duplicates_dropped", 2) == 2


def test_a_bicast_ping_is_answered_once_by_bicast(world):
    world.apply_mr(make_mobile_router(policies=BICAST_ALL))

    at_net, at_lfn = world.exchange("lfn", echo(LFN, CN), at=["net", "lfn"])

    assert downlinks(at_net) == sorted([care_of(LTE), care_of(WIFI)])
    assert len(transports(at_lfn, CN, LFN)) == 1


def test_bicast_to_the_routers_own_address_is_delivered_once(world):
    world.apply_mr(make_mobile_router(policies=BICAST_ALL))
    ping = ["ping", "-6", "-n", "-c", "3", "-i", "0.01", "-W", "1", str(plan.HOME_ADDRESS)]

    output = world.lab.execute("cn", ping).stdout

    # the first is answered by bicast, so that the later ones are bicast too
    assert world.count("ha", "bicast_copies", 2) == 2
    assert world.count("mr", "duplicates_dropped", 2) == 2
    assert "DUP!" not in output


@pytest.mark.parametrize("gone", [LTE, WIFI])
def test_a_bicast_stream_goes_on_over_the_link_that_is_left(world, gone):
    packet, _links = FLOWS["call"]
    world.exchange("lfn", packet, at=[])
    left = [link for link in (LTE, WIFI) if link != gone]
    world.apply_mr(make_mobile_router(links=left))
    world.apply_ha(make_home_agent(links=left))

    at_net, at_cn = world.exchange("lfn", packet, at=["net", "cn"])
    back, at_lfn = world.exchange("cn", answer(packet), at=["net", "lfn"])

    assert uplinks(at_net) == [(left[0], care_of(left[0]))]
    assert transports(at_cn, LFN, CN) == strip(packet)
    assert downlinks(back) == [care_of(left[0])]
    assert transports(at_lfn, CN, LFN) == strip(answer(packet))


@pytest.mark.parametrize("gone", [LTE, WIFI])
def test_a_bicast_stream_survives_that_the_kernel_took_one_links_routes(world, gone):
    """Between a link's fall and the agent's answer to it."""
    packet, _links = FLOWS["call"]
    table = str({LTE: 7701, WIFI: 7702}[gone])
    world.lab.execute("mr", ["ip", "-6", "route", "flush", "table", table])
    left = next(link for link in (LTE, WIFI) if link != gone)

    at_net, at_cn = world.exchange("lfn", packet, at=["net", "cn"])

    assert uplinks(at_net) == [(left, care_of(left))]
    assert transports(at_cn, LFN, CN) == strip(packet)


def test_a_fragmented_packet_goes_through_the_tunnel(world):
    ping = ["ping", "-6", "-n", "-c", "1", "-W", "1", "-s", "3000", str(CN)]

    assert world.lab.execute("lfn", ping, check=False).returncode == 0


@pytest.mark.parametrize(
    ("node", "address"),
    [("cn", plan.HOME_ADDRESS), ("cn", plan.MR_INGRESS_ADDRESS), ("lfn", HA), ("cn", LFN)],
    ids=["home-address", "ingress-address", "home-agent", "fixed-node"],
)
def test_both_ends_of_the_tunnel_answer_for_themselves(world, node, address):
    ping = ["ping", "-6", "-n", "-c", "1", "-W", "1", str(address)]

    assert world.lab.execute(node, ping, check=False).returncode == 0


@pytest.mark.parametrize("length", [48, 49, 55, 56, 57, 60, 61, 63, 64])
def test_prefixes_of_any_length_are_served(world, length):
    prefix = IPv6Network((LFN, length), strict=False)
    outside = IPv6Address(int(prefix.broadcast_address) + 1)
    world.apply_mr(make_mobile_router(prefixes=(prefix,)))
    bindings = [make_binding(LTE, prefixes=(prefix,))]
    world.apply_ha(make_home_agent(bindings=bindings, served=(prefix,)))

    (at_cn,) = world.exchange("lfn", udp(LFN, CN), at=["cn"])
    forged = tunnel(care_of(LTE), HA, udp(outside, CN))
    (none,) = world.exchange("net", forged, at=["cn"])
    at_net, at_lfn = world.exchange("cn", udp(CN, LFN), at=["net", "lfn"])

    assert transports(at_cn, LFN, CN) == strip(udp(LFN, CN))
    assert mentions(none, outside) == []
    assert world.count("ha", "inner_rejected", 1) == 1
    assert downlinks(at_net) == [care_of(LTE)]
    assert transports(at_lfn, CN, LFN) == strip(udp(CN, LFN))


def test_a_home_address_out_of_the_mobile_network_prefix_is_served(world):
    home_address = IPv6Address("2001:db8:a1::100")
    world.apply_mr(make_mobile_router(home_address=home_address))
    bindings = [make_binding(LTE, home_address=home_address)]
    served = (IPv6Network(home_address), plan.MOBILE_NETWORK_PREFIX)
    world.apply_ha(make_home_agent(bindings=bindings, served=served))

    (at_cn,) = world.exchange("lfn", udp(LFN, CN), at=["cn"])

    assert transports(at_cn, LFN, CN) == strip(udp(LFN, CN))


def test_a_tunnel_through_the_tunnel_keeps_its_source(world):
    """LFN may itself be a visiting mobile node, with a home agent elsewhere."""
    nested = udp(LFN, CN, 9, b"deep inside")
    (at_cn,) = world.exchange("lfn", tunnel(LFN, CN, nested), at=["cn"])
    (at_lfn,) = world.exchange("cn", tunnel(CN, LFN, nested), at=["lfn"])

    assert transports(at_cn, LFN, CN) == [bytes(nested)]
    assert transports(at_lfn, CN, LFN) == [bytes(nested)]
