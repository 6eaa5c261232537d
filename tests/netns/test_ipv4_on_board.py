"""IPv4 of the mobile network, over the same IPv6 bindings, and out at the home agent."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

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
    make_binding,
    make_path,
    transports,
    tunnel,
)
from dataplane_world import strip as strip6
from dataplane_world import udp as udp6
from ipv4_world import (
    BOARD,
    CN4,
    EGRESS4,
    HOME4,
    LFN4,
    ROUTER4,
    Ipv4World,
    arrived,
    downlinks4,
    echo4,
    make_home,
    make_router,
    mentions4,
    strip4,
    tcp4,
    udp4,
    uplinks4,
)
from scapy.layers.inet import ICMP, IP, TCP

from mrouter.agent.flows import list_flows
from mrouter.dataplane.classify import number_policies
from mrouter.dataplane.state import IPv4Exit
from mrouter.policy.model import Match, Policy, PolicyTable, Steer

pytestmark = pytest.mark.netns

EVERY_EXIT = pytest.mark.parametrize("way_out", IPv4Exit, ids=lambda way: way.value)
FLOWS = {
    "bulk-udp": (udp4(LFN4, CN4, BULK_PORT, b"bulk"), [WIFI]),
    "bulk-tcp": (tcp4(LFN4, CN4, BULK_PORT), [WIFI]),
    "call": (udp4(LFN4, CN4, CALL_PORT, b"call"), [LTE, WIFI]),
    "ping": (echo4(LFN4, CN4), [LTE]),
    "default": (udp4(LFN4, CN4, 9, b"rest"), [LTE]),
    "to-home-agent": (udp4(LFN4, HOME4, 9, b"for the home agent itself"), [LTE]),
}
EQUAL_TWICE = {
    "udp": udp4(LFN4, CN4, CALL_PORT, b"the same again and again"),
    "udp-7-octets": udp4(LFN4, CN4, CALL_PORT, b"1234567"),
    "udp-empty": udp4(LFN4, CN4, CALL_PORT, b""),
    "echo": echo4(LFN4, CN4),
    "tcp-syn": tcp4(LFN4, CN4, CALL_PORT),
    "tcp-data": tcp4(LFN4, CN4, CALL_PORT, flags="A", payload=b"segment"),
}


@pytest.fixture(scope="module")
def ipv4(shared_world):
    made = Ipv4World(shared_world)
    yield made
    made.close()


@pytest.fixture
def board(ipv4):
    """MR and HA with the three links registered, and IPv4 routed to the home agent."""
    ipv4.reset()
    return ipv4


def answer(packet, payload=b"answer"):
    header = packet.payload
    return udp4(packet.dst, packet.src, header.sport, payload, sport=header.dport)


def ping(board, node, address, *options):
    command = ["ping", "-4", "-n", "-c", "2", "-i", "0.05", "-W", "1", *options, str(address)]
    return board.world.lab.execute(node, command, check=False)


# --- from the vehicle, and back ---------------------------------------------------------


@pytest.mark.parametrize(("packet", "links"), FLOWS.values(), ids=FLOWS.keys())
def test_a_flow_takes_its_policys_links(board, packet, links):
    (seen,) = board.exchange("lfn", packet, at=["tunnels"])

    assert uplinks4(seen) == sorted(links)


def test_what_is_sent_arrives_once_and_unchanged(board):
    packets = [packet for packet, _links in FLOWS.values() if packet.dst == str(CN4)]

    (seen,) = board.exchange("lfn", *packets, at=["cn"])

    assert arrived(seen, LFN4, CN4) == strip4(*packets)


@pytest.mark.parametrize("name", ["bulk-udp", "call", "default"])
def test_a_flow_comes_back_by_the_links_that_it_went_by(board, name):
    packet, links = FLOWS[name]
    board.exchange("lfn", packet, at=[])

    there, at_lfn = board.exchange("cn", answer(packet), at=["tunnels", "lfn"])

    assert downlinks4(there) == sorted(map(care_of, links))
    assert arrived(at_lfn, CN4, LFN4) == strip4(answer(packet))


def test_a_flow_that_the_correspondent_begins_takes_the_lowest_priority_value(board):
    ranks = {LTE: 9, WIFI: 3, SAT: 5}
    bindings = [
        make_binding(link, ifpri=rank, ipv4_prefixes=(BOARD,)) for link, rank in ranks.items()
    ]
    board.world.apply_ha(make_home(bindings=bindings))

    there, at_lfn = board.exchange("cn", udp4(CN4, LFN4, 9, b"hello"), at=["tunnels", "lfn"])

    assert downlinks4(there) == [care_of(WIFI)]
    assert arrived(at_lfn, CN4, LFN4) == strip4(udp4(CN4, LFN4, 9, b"hello"))


def test_policies_with_ipv4_prefixes_steer(board):
    here, there = IPv4Network((LFN4, 32)), IPv4Network((CN4, 32))
    policies = PolicyTable(
        (
            Policy("elsewhere", Match(none_of=Match(destination_prefixes=(there,))), Steer((LTE,))),
            Policy("bulk", Match((6,), source_prefixes=(here,)), Steer((WIFI,))),
            Policy("pings", Match((1,), destination_prefixes=(there,)), Steer((SAT,))),
            Policy("default", Match(), Steer((LTE,))),
        )
    )
    board.world.apply_mr(make_router(policies=policies))

    (seen,) = board.exchange("lfn", tcp4(LFN4, CN4, 7), echo4(LFN4, CN4), at=["tunnels"])

    assert uplinks4(seen) == [SAT, WIFI]


def test_ipv6_goes_on_beside_it(board):
    (seen,) = [board.world.exchange("lfn", udp6(LFN, CN, BULK_PORT, b"six"), at=["cn"])[0]]

    assert transports(seen, LFN, CN) == strip6(udp6(LFN, CN, BULK_PORT, b"six"))


def test_dropped_flows_are_counted(board):
    (seen,) = board.exchange("lfn", udp4(LFN4, CN4, DROPPED_PORT), at=["tunnels"])

    assert uplinks4(seen) == []
    assert board.world.count("mr", "policy_dropped", 1) == 1


def test_counters_are_of_both_families_together(board):
    board.exchange("lfn", udp4(LFN4, CN4, BULK_PORT), at=[])
    board.world.exchange("lfn", udp6(LFN, CN, BULK_PORT), at=["cn"])

    assert board.world.count("mr", f"uplink-{WIFI}", 2) == 2
    plane = board.world.planes["mr"]
    sent = board.world.nodes["mr"](plane.read_map_counters, "actions")
    assert max(packets for packets, _octets in sent.values()) == 2


def test_flows_are_listed_with_those_of_ipv6(board):
    board.exchange("lfn", udp4(LFN4, CN4, BULK_PORT), echo4(LFN4, CN4), at=[])
    board.world.exchange("lfn", udp6(LFN, CN, BULK_PORT), at=["cn"])
    names = {number: name for name, number in number_policies(make_router().policies).items()}

    rows = board.world.nodes["mr"](list_flows, names, {}, ipv4=True)

    found = {(row["protocol"], row["source"], row["destination"], row["policy"]) for row in rows}
    assert found == {
        ("udp", str(LFN4), str(CN4), "bulk"),
        ("icmp", str(LFN4), str(CN4), "default"),
        ("udp", str(LFN), str(CN), "bulk"),
    }


def test_the_class_of_a_packet_is_that_of_its_tunnel_and_ecn_is_not(board):
    (seen,) = board.exchange("lfn", udp4(LFN4, CN4, tos=46 << 2 | 1), at=["tunnels"])

    (outer,) = [item.packet for item in seen if item.packet.nh == socket.IPPROTO_IPIP]
    assert (outer.version, outer.tc) == (6, 46 << 2)


def test_dscp_is_remarked(board):
    default = Policy("default", Match(), Steer((LTE,)), remark=10)
    board.world.apply_mr(make_router(policies=PolicyTable((default,))))

    (seen,) = board.exchange("lfn", udp4(LFN4, CN4), at=["cn"])

    assert [item.packet.tos for item in seen if item.packet.dst == str(CN4)] == [10 << 2]


# --- the two exits ----------------------------------------------------------------------


@EVERY_EXIT
def test_the_correspondent_sees_the_source_that_the_exit_gives(board, way_out):
    board.reset(way_out)

    (seen,) = board.exchange("lfn", udp4(LFN4, CN4, BULK_PORT), at=["cn"])

    source = {IPv4Exit.ROUTE: LFN4, IPv4Exit.NAT: HOME4}[way_out]
    assert [item.packet.src for item in seen if item.packet.dst == str(CN4)] == [str(source)]


@EVERY_EXIT
def test_pings_are_answered(board, way_out):
    board.reset(way_out)

    assert ping(board, "lfn", CN4).returncode == 0


@EVERY_EXIT
def test_tcp_runs_both_ways(board, way_out):
    board.reset(way_out)
    sent = bytes(range(256)) * 4000
    with contextlib.ExitStack() as stack:
        listener = board.world.nodes["cn"](socket.create_server, (str(CN4), BULK_PORT))
        stack.enter_context(listener)
        client = board.world.nodes["lfn"](
            socket.create_connection, (str(CN4), BULK_PORT), timeout=3.0
        )
        stack.enter_context(client)
        server = stack.enter_context(listener.accept()[0])
        server.settimeout(3.0)

        board.world.nodes["lfn"](client.sendall, sent[: 1 << 16])
        assert _read(server, 1 << 16) == sent[: 1 << 16]
        echo = board.world.nodes["cn"]
        echo(server.sendall, sent[1 << 16 : 1 << 17])
        assert _read(client, 1 << 16) == sent[1 << 16 : 1 << 17]


def _read(connection, size):
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return data


def test_a_translated_flow_comes_back_by_the_link_that_it_went_by(board):
    board.reset(IPv4Exit.NAT)
    packet, _links = FLOWS["bulk-udp"]
    (at_cn,) = board.exchange("lfn", packet, at=["cn"])
    (port,) = [item.packet.sport for item in at_cn if item.packet.src == str(HOME4)]

    there, at_lfn = board.exchange(
        "cn", udp4(CN4, HOME4, port, b"answer", sport=BULK_PORT), at=["tunnels", "lfn"]
    )

    assert downlinks4(there) == [care_of(WIFI)]
    assert arrived(at_lfn, CN4, LFN4) == strip4(answer(packet))


def test_an_error_about_a_translated_flow_finds_its_way(board):
    board.reset(IPv4Exit.NAT)
    packet, _links = FLOWS["bulk-udp"]
    (at_cn,) = board.exchange("lfn", packet, at=["cn"])
    (seen,) = [item.packet for item in at_cn if item.packet.src == str(HOME4)]
    error = IP(src=str(CN4), dst=str(HOME4)) / ICMP(type=3, code=1) / IP(bytes(seen))

    (at_lfn,) = board.exchange("cn", error, at=["lfn"])

    (told,) = [item.packet for item in at_lfn if item.packet.src == str(CN4)]
    assert (told[ICMP].type, told[ICMP].payload.src) == (3, str(LFN4))


# --- links come and go ------------------------------------------------------------------


def test_a_link_that_fails_leaves_its_flows_to_the_next(board):
    packet, _links = FLOWS["bulk-udp"]
    before, _ = board.exchange("lfn", packet, at=["tunnels", "cn"])
    left = [LTE, SAT]
    board.world.apply_mr(make_router(links=left))
    board.world.apply_ha(make_home(links=left))

    after, at_cn = board.exchange("lfn", packet, at=["tunnels", "cn"])
    back, at_lfn = board.exchange("cn", answer(packet), at=["tunnels", "lfn"])

    assert (uplinks4(before), uplinks4(after)) == ([WIFI], [LTE])
    assert arrived(at_cn, LFN4, CN4) == strip4(packet)
    assert downlinks4(back) == [care_of(LTE)]
    assert arrived(at_lfn, CN4, LFN4) == strip4(answer(packet))


def test_a_path_that_ipv4_was_not_granted_for_is_passed_over(board):
    paths = [make_path(WIFI), make_path(SAT, ipv4=True)]
    board.world.apply_mr(make_router(paths=paths))

    (seen,) = board.exchange("lfn", FLOWS["bulk-udp"][0], FLOWS["default"][0], at=["tunnels"])

    assert uplinks4(seen) == [SAT]
    assert board.world.count("mr", "no_link_dropped", 1) == 1


def test_the_downlink_of_a_link_that_has_gone_takes_the_primary_one(board):
    packet, _links = FLOWS["bulk-udp"]
    board.exchange("lfn", packet, at=[])
    board.world.apply_ha(make_home(links=[LTE, SAT]))

    (there,) = board.exchange("cn", answer(packet), at=["tunnels"])

    assert downlinks4(there) == [care_of(LTE)]


# --- bicast -----------------------------------------------------------------------------


@pytest.mark.parametrize("packet", EQUAL_TWICE.values(), ids=EQUAL_TWICE.keys())
def test_bicast_uplink_delivers_each_of_two_equal_packets_once(board, packet):
    board.world.apply_mr(make_router(policies=BICAST_ALL))

    there, at_cn = board.exchange("lfn", packet, packet, at=["tunnels", "cn"])

    assert uplinks4(there) == [LTE] * 2 + [WIFI] * 2
    assert arrived(at_cn, LFN4, CN4) == strip4(packet, packet)
    assert board.world.count("mr", "bicast_copies", 2) == 2
    assert board.world.count("ha", "duplicates_dropped", 2) == 2


@pytest.mark.parametrize("payload", [b"the same again and again", b"1234567", b""])
def test_bicast_downlink_delivers_each_of_two_equal_packets_once(board, payload):
    packet, _links = FLOWS["call"]
    board.exchange("lfn", packet, at=[])
    back = answer(packet, payload)

    there, at_lfn = board.exchange("cn", back, back, at=["tunnels", "lfn"])

    assert downlinks4(there) == sorted([care_of(LTE), care_of(WIFI)] * 2)
    assert arrived(at_lfn, CN4, LFN4) == strip4(back, back)
    assert board.world.count("mr", "duplicates_dropped", 2) == 2


# --- nothing leaks, nothing is forged ---------------------------------------------------


def test_with_all_links_down_nothing_leaves(board):
    board.world.apply_mr(make_router(paths=[make_path(LTE, usable=False, ipv4=True)]))
    packets = [packet for packet, _links in FLOWS.values()]

    tunnels, clear = board.exchange("lfn", *packets, at=["tunnels", "net"])

    assert mentions4(tunnels, LFN4) == mentions4(clear, LFN4) == []
    assert board.world.count("mr", "no_link_dropped", len(packets)) == len(packets)


def test_nothing_leaves_in_the_clear_while_the_kernel_has_lost_our_routes(board):
    for table in (7701, 7702, 7703):
        command = ["ip", "route", "flush", "table", str(table)]
        board.world.lab.execute("mr", command)
    packets = [packet for packet, _links in FLOWS.values()]

    tunnels, clear = board.exchange("lfn", *packets, at=["tunnels", "net"])

    assert mentions4(tunnels, LFN4) == mentions4(clear, LFN4) == []


def test_nothing_leaves_in_the_clear_while_the_marks_are_lost(board):
    """As when somebody else's rules overwrite them."""
    board.world.lab.execute(
        "mr",
        ["nft", "-f", "-"],
        input_text="table ip thief { chain c { type filter hook prerouting priority -140;\n"
        " iifname lan0 meta mark set 0\n}\n}",
    )
    try:
        tunnels, clear = board.exchange("lfn", FLOWS["bulk-udp"][0], at=["tunnels", "net"])
    finally:
        board.world.lab.execute("mr", ["nft", "delete", "table", "ip", "thief"])

    assert mentions4(tunnels, LFN4) == mentions4(clear, LFN4) == []
    assert board.world.count("mr", "leaks_prevented", 1) == 1


def test_a_source_that_is_not_on_board_is_dropped(board):
    (tunnels,) = board.exchange("lfn", udp4(IPv4Address("10.9.9.9"), CN4), at=["tunnels"])

    assert mentions4(tunnels, CN4) == []
    assert board.world.count("mr", "foreign_source_dropped", 1) == 1


def test_what_comes_in_without_a_tunnel_is_dropped(board):
    board.world.lab.execute("net", ["ip", "route", "replace", str(BOARD), "via", str(EGRESS4)])

    (at_lfn,) = board.exchange("cn", udp4(CN4, LFN4, 9, b"clear"), at=["lfn"])

    assert arrived(at_lfn, CN4, LFN4) == []
    assert board.world.count("mr", "unencapsulated_rejected", 1) == 1


@pytest.mark.parametrize("source", ["203.0.114.1", "192.0.3.10", str(HOME4)])
def test_the_home_agent_takes_no_inner_source_that_is_not_the_bindings(board, source):
    forged = tunnel(care_of(LTE), HA, udp4(source, CN4, 9, b"forged"))

    (at_cn,) = board.world.exchange("net", forged, at=["cn"])
    board.world.send("net", forged)

    assert mentions4(at_cn, CN4) == []
    assert board.world.count("ha", "inner_rejected", 2) == 2


def test_the_home_agent_takes_ipv4_from_no_unknown_care_of_address(board):
    forged = tunnel(care_of(LTE) + 1, HA, udp4(LFN4, CN4, 9, b"forged"))

    with board.world.capture("cn") as six:
        board.world.send("net", forged)
        assert mentions4(six.read(), CN4) == []
    assert board.world.count("ha", "outer_rejected", 1) == 1


def test_a_binding_without_ipv4_lets_none_in(board):
    board.world.apply_ha(make_home(bindings=[make_binding(LTE)]))
    forged = tunnel(care_of(LTE), HA, udp4(LFN4, CN4, 9, b"forged"))

    board.world.send("net", forged)

    assert board.world.count("ha", "inner_rejected", 1) == 1


@pytest.mark.parametrize(
    ("inner", "counter"),
    [
        (udp4(CN4, IPv4Address("10.9.9.9")), "inner_rejected"),
        (udp4(LFN4, LFN4), "inner_rejected"),
    ],
    ids=["not-for-us", "from-ourselves"],
)
def test_the_mobile_router_takes_from_the_tunnel_only_what_is_for_its_network(
    board, inner, counter
):
    board.world.send("net", tunnel(HA, care_of(LTE), inner))

    assert board.world.count("mr", counter, 1) == 1


def test_the_mobile_router_takes_ipv4_from_no_other_tunnel(board):
    board.world.send("net", tunnel(HA + 1, care_of(LTE), udp4(CN4, LFN4)))

    assert board.world.count("mr", "outer_rejected", 1) == 1


def test_what_is_for_a_vehicle_without_bindings_does_not_leave_the_home_agent(board):
    board.world.apply_ha(make_home(bindings=[]))

    with board.world.capture("net") as six:
        (back,) = board.exchange("cn", udp4(CN4, LFN4, 9, b"away"), at=["cn"])
        assert mentions4(six.read(), LFN4) == []

    assert [item.packet[ICMP].type for item in back if ICMP in item.packet] == [3]


@pytest.mark.parametrize("length", [8, 9, 16, 17, 23, 24, 25, 31, 32])
def test_prefixes_of_any_length_are_served(board, length):
    prefix = IPv4Network((LFN4, length), strict=False)
    outside = prefix.broadcast_address + 1
    changes = {"ipv4_prefixes": (prefix,)}
    board.world.apply_mr(replace(make_router(), **changes))
    home = make_home(bindings=[make_binding(LTE, **changes)])
    board.world.apply_ha(replace(home, served_ipv4=(prefix,)))

    (at_cn,) = board.exchange("lfn", udp4(LFN4, CN4), at=["cn"])
    board.world.send("net", tunnel(care_of(LTE), HA, udp4(outside, CN4)))
    there, at_lfn = board.exchange("cn", udp4(CN4, LFN4), at=["tunnels", "lfn"])

    assert arrived(at_cn, LFN4, CN4) == strip4(udp4(LFN4, CN4))
    assert board.world.count("ha", "inner_rejected", 1) == 1
    assert downlinks4(there) == [care_of(LTE)]
    assert arrived(at_lfn, CN4, LFN4) == strip4(udp4(CN4, LFN4))


# --- what is left alone -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("0.0.0.0", "255.255.255.255"),  # a host's words before it has an address
        (str(LFN4), str(BOARD.broadcast_address)),
        ("10.9.9.9", "224.0.0.251"),
    ],
)
def test_broadcast_and_multicast_are_left_alone(board, source, destination):
    packet = udp4(source, destination, 67, b"DHCP", sport=68)
    with contextlib.closing(_hear(board)) as server:
        frame = board.world.nodes["lfn"](socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        with contextlib.closing(frame):
            frame.sendto(bytes(packet), ("lan0", 0x0800, 0, 0, b"\xff" * 6))
        if destination != "224.0.0.251":
            assert server.recv(100) == b"DHCP"
    assert board.world.counter("mr", "foreign_source_dropped") == 0


def _hear(board):
    server = board.world.nodes["mr"](socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", 67))
    server.settimeout(2.0)
    return server


def test_what_stays_on_board_is_left_alone(board):
    (tunnels,) = board.exchange("lfn", udp4(LFN4, BOARD[77], 9), at=["tunnels"])

    assert uplinks4(tunnels) == []
    assert ping(board, "lfn", ROUTER4).returncode == 0


def test_what_the_router_sends_by_its_egress_address_is_its_own_affair(board):
    (clear,) = board.exchange("mr", udp4(EGRESS4, CN4, 9, b"mine"), at=["cn"])

    assert arrived(clear, EGRESS4, CN4) == strip4(udp4(EGRESS4, CN4, 9, b"mine"))


# --- both ends themselves, and the kernel's switches ------------------------------------


@pytest.mark.parametrize("has_default_route", [True, False])
def test_both_ends_of_the_tunnel_answer_for_themselves(board, has_default_route):
    route = ["ip", "route", "replace" if has_default_route else "delete", "default"]
    board.world.lab.execute("mr", [*route, "via", "10.1.0.1"])
    try:
        for node, address in (("cn", ROUTER4), ("lfn", HOME4), ("ha", LFN4), ("mr", CN4)):
            options = ["-I", str(ROUTER4)] if node == "mr" else []
            assert ping(board, node, address, *options).returncode == 0, (node, address)
    finally:
        board.world.lab.execute("mr", ["ip", "route", "replace", "default", "via", "10.1.0.1"])


@pytest.mark.parametrize(("everywhere", "wifi"), [(0, 1), (0, 2), (1, 0)])
def test_packets_pass_where_the_kernel_looks_at_the_way_back_to_sources(board, everywhere, wifi):
    if everywhere:  # then an interface needs an IPv4 address
        board.world.lab.execute("mr", ["ip", "addr", "replace", "10.2.0.2/24", "dev", "wifi0"])
    for node, interface in (("mr", "wifi0"), ("ha", "wan0")):
        board.set_switch(node, f"conf.{interface}.rp_filter", wifi)
        board.set_switch(node, "conf.all.rp_filter", everywhere)
    try:
        board.world.apply_mr(make_router(links=[WIFI]))
        board.world.apply_ha(make_home(links=[WIFI]))

        assert ping(board, "lfn", CN4).returncode == 0
    finally:
        for node in ("mr", "ha"):
            board.set_switch(node, "conf.all.rp_filter", 0)
        board.world.lab.execute("mr", ["ip", "-4", "addr", "flush", "dev", "wifi0"])


def test_an_egress_interface_may_lose_its_ipv4_address(board):
    board.world.lab.execute("mr", ["ip", "-4", "addr", "flush", "dev", "lte0"])
    try:
        assert ping(board, "lfn", CN4).returncode == 0
    finally:
        board.world.lab.execute("mr", ["ip", "addr", "add", f"{EGRESS4}/24", "dev", "lte0"])
        board.world.lab.execute("mr", ["ip", "route", "replace", "default", "via", "10.1.0.1"])


# --- sizes ------------------------------------------------------------------------------


def test_what_may_not_be_fragmented_and_is_too_big_is_answered_with_what_fits(board):
    paths = [make_path(LTE, mtu=1400, ipv4=True), make_path(WIFI, mtu=1300, ipv4=True)]
    board.world.apply_mr(make_router(paths=paths))
    for port, mtu in ((9, 1360), (BULK_PORT, 1260), (CALL_PORT, 1260)):
        big, fits = (udp4(LFN4, CN4, port, bytes(size - 28), flags="DF") for size in (mtu + 1, mtu))

        at_lfn, at_cn = board.exchange("lfn", big, fits, at=["lfn", "cn"])

        # others may be about what an earlier test has sent to nobody
        told = [
            item.packet for item in at_lfn if ICMP in item.packet and item.packet[ICMP].code == 4
        ]
        assert [(each.src, each[ICMP].nexthopmtu) for each in told] == [(str(ROUTER4), mtu)]
        assert arrived(at_cn, LFN4, CN4) == strip4(fits)


def test_what_is_too_big_on_the_way_to_the_vehicle_is_answered_too(board):
    board.world.apply_ha(make_home(mtu=1400))
    big, fits = (udp4(CN4, LFN4, 9, bytes(size - 28), flags="DF") for size in (1361, 1360))

    at_cn, at_lfn = board.exchange("cn", big, fits, at=["cn", "lfn"])

    told = [item.packet for item in at_cn if ICMP in item.packet and item.packet[ICMP].code == 4]
    assert [(each.src, each[ICMP].nexthopmtu) for each in told] == [(str(HOME4), 1360)]
    assert arrived(at_lfn, CN4, LFN4) == strip4(fits)


def test_fragments_go_through_the_tunnel(board):
    assert ping(board, "lfn", CN4, "-s", "3000", "-M", "dont").returncode == 0


def test_tcp_is_clamped_to_what_fits_both_ways(board):
    syn = tcp4(LFN4, CN4, 7, options=[("MSS", 1460)])
    back = tcp4(CN4, LFN4, 40000, sport=7, flags="SA", options=[("MSS", 1460)])

    (at_cn,) = board.exchange("lfn", syn, at=["cn"])
    (at_lfn,) = board.exchange("cn", back, at=["lfn"])

    for seen in (at_cn, at_lfn):
        assert [dict(item.packet[TCP].options)["MSS"] for item in seen] == [1420]


# --- in and out of the kernel -----------------------------------------------------------


def test_without_ipv4_on_board_nothing_of_it_is_in_the_kernel(board):
    board.world.apply_mr(replace(make_router(), ipv4_prefixes=()))
    board.world.apply_ha(replace(make_home(), served_ipv4=()))

    assert [_list_ours(board, node) for node in ("mr", "ha")] == [[], []]


@pytest.mark.parametrize("restarted", [False, True])
def test_removal_leaves_nothing(board, restarted):
    for node in ("mr", "ha"):
        if restarted:
            board.world.restart(node)
        assert _list_ours(board, node) != []
        board.world.nodes[node](board.world.planes[node].remove)
        assert _list_ours(board, node) == []


def test_a_restart_takes_up_what_stands(board):
    packet, _links = FLOWS["bulk-udp"]
    board.exchange("lfn", packet, at=[])
    before = [_list_ours(board, node) for node in ("mr", "ha")]
    for node in ("mr", "ha"):
        board.world.restart(node)
    board.world.apply_mr(make_router())
    board.world.apply_ha(make_home())

    (at_lfn,) = board.exchange("cn", answer(packet), at=["lfn"])

    assert [_list_ours(board, node) for node in ("mr", "ha")] == before
    assert arrived(at_lfn, CN4, LFN4) == strip4(answer(packet))


def test_what_others_have_flushed_is_put_back(board):
    before = [_list_ours(board, node) for node in ("mr", "ha")]
    for node in ("mr", "ha"):
        board.world.lab.execute(node, ["nft", "delete", "table", "ip", "mrouter"])
        board.world.lab.execute(node, ["ip", "-4", "rule", "del", "pref", "7780"])
        board.world.lab.execute(node, ["ip", "-4", "route", "flush", "table", "7701"])

    board.world.apply_mr(make_router(), verify=True)
    board.world.apply_ha(make_home(), verify=True)

    assert [_list_ours(board, node) for node in ("mr", "ha")] == before
    assert ping(board, "lfn", CN4).returncode == 0


def _list_ours(board, node):
    """Return our IPv4 rules, routes and chains."""
    listed = [
        board.world.lab.execute(node, command).stdout.splitlines()
        for command in (
            ["ip", "-4", "rule", "show"],
            ["ip", "-4", "route", "show", "table", "all", "proto", "77"],
            ["nft", "list", "chains", "ip"],
        )
    ]
    rules, routes, chains = listed
    ours = [line for line in rules if line.endswith("proto 77")]
    return sorted([*ours, *routes, *(line for line in chains if "mrouter" in line)])
