"""A third agent, the correspondent node: proofs, bindings, and traffic past the home agent."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import time
from ipaddress import IPv6Address, IPv6Network

import pytest
from agent_lab import (
    CORRESPONDENT_NODE,
    ETH_P_IPV6,
    FORMAT,
    HOME_AGENT,
    MOBILE_ROUTER,
    PACKET_OUTGOING,
    AgentLab,
    count_event,
    read_samples,
    run_cli,
    wait_until,
)
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6

from mrouter.lab import plan
from mrouter.lab.traffic import ping_command
from mrouter.wire.messages import (
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    Packet,
)
from mrouter.wire.options import (
    BindingAuthorizationData,
    CareOfAddressInformation,
    NonceIndices,
)
from mrouter.wire.packet import parse_packet, serialize_packet

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
CN, HOME, HA = plan.CN_ADDRESS, plan.HOME_ADDRESS, plan.HA_ADDRESS
STRANGER = plan.CN_GATEWAY
CARE_OF = {link.name: link.care_of_address for link in plan.EGRESS_LINKS}
IPV6, MOBILITY = 41, 135


def make_lab(cn_lines=""):
    lab = AgentLab()
    lab.__enter__()
    ingress = 'ingress = ["lan0"]\n'
    lab.edit(lab.files.mobile_router, ingress, f'{ingress}correspondents = ["{CN}"]\n')
    address = f'address = "{CN}"\n'
    lab.edit(lab.files.correspondent_node, address, address + cn_lines)
    lab.ip("cn", "link set eth0 mtu 1500")
    return lab


@pytest.fixture(scope="module")
def opening():
    """The lab, and what was on the wire when its mobile router began."""
    lab = make_lab()
    try:
        lab.start(CORRESPONDENT_NODE, HOME_AGENT)
        with Wire(lab) as wire:
            lab.start(MOBILE_ROUTER)
            await_routes(lab)
            yield lab, wire.read()
    finally:
        lab.__exit__(None, None, None)


@pytest.fixture(scope="module")
def lab(opening):
    return opening[0]


@pytest.fixture
def whole_lab(lab):
    """The lab, and afterwards all three bindings in use again."""
    yield lab
    await_routes(lab)


def correspondent(lab):
    return lab.ask(CORRESPONDENT_NODE)


def await_routes(lab, names=("lte", "wifi", "sat")):
    expected = {str(CARE_OF[name]) for name in names}

    def stand():
        bound = {b["care_of_address"] for b in correspondent(lab)["bindings"]}
        usable = {r["care_of_address"] for r in lab.mobile_router()["routes"] if r["usable"]}
        return bound == usable == expected

    wait_until(stand, what=f"optimized routes by {names}")


def counter(lab, role, name):
    return lab.ask(role)["dataplane"]["counters"][name]["packets"]


class Wire:
    """What comes to the Internet from any side while it is open."""

    def __init__(self, lab):
        self._lab = lab

    def __enter__(self):
        kind = socket.SOCK_DGRAM, socket.htons(ETH_P_IPV6)
        self._socket = self._lab.open_in("net", socket.AF_PACKET, *kind)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        return self

    def __exit__(self, *reason):
        self._socket.close()

    def read(self, quiet=0.2):
        """Return (interface, packet) of each packet so far, once none has come for a while."""
        found = []
        while select.select([self._socket], [], [], quiet)[0]:
            data, address = self._socket.recvfrom(65535)
            if address[2] != PACKET_OUTGOING:
                found.append((address[0], data))
        return found


def addresses(data):
    return IPv6Address(data[8:24]), IPv6Address(data[24:40])


def messages(seen, kind):
    """Return (interface, outer addresses or None, packet) of each message of ``kind``."""
    found = []
    for interface, data in seen:
        outer = addresses(data) if data[6] == IPV6 else None
        inner = data if outer is None else data[40:]
        # behind a routing header, or destination options
        if inner[6] == MOBILITY or (inner[6] in (43, 60) and inner[40] == MOBILITY):
            packet = parse_packet(inner, FORMAT)
            if isinstance(packet.message, kind):
                found.append((interface, outer, packet))
    return found


def ways(seen, one, other):
    """Return (interface, outer addresses or None) of all echoes between two addresses."""
    found = set()
    for interface, data in seen:
        outer = addresses(data) if data[6] == IPV6 else None
        inner = data if outer is None else data[40:]
        if set(addresses(inner)) == {one, other} and inner[40] in (128, 129):
            found.add((interface, outer))
    return found


def direct(*names):
    """Return the ways of a flow in both directions straight by links ``names``."""
    return {
        way for name in names for way in ((name, (CARE_OF[name], CN)), ("cn", (CN, CARE_OF[name])))
    }


def ping(lab, node, destination, *options, count=5):
    command = ["ping", "-6", "-n", "-c", str(count), "-i", "0.05", "-W", "1"]
    done = lab.topology.execute(node, [*command, *options, str(destination)], check=False)
    return int(re.search(r"(\d+) received", done.stdout)[1])


def ping_home(lab, **options):
    return ping(lab, "cn", HOME, **options)


# --- proofs and bindings ------------------------------------------------------------------


def test_a_home_test_goes_through_the_home_agent_both_ways(opening):
    _lab, seen = opening
    inits = messages(seen, HomeTestInit)
    # tunnelled to the home agent, and in the clear from there on
    assert [(i, o and o[1], p.source, p.destination) for i, o, p in inits] == [
        (inits[0][0], HA, HOME, CN),
        ("ha", None, HOME, CN),
    ]
    assert inits[0][0] in CARE_OF
    assert [(i, o and o[0], p.destination) for i, o, p in messages(seen, HomeTest)] == [
        ("cn", None, HOME),
        ("ha", HA, HOME),
    ]


def test_each_care_of_test_goes_straight_by_its_own_link(opening):
    _lab, seen = opening
    inits = messages(seen, CareOfTestInit)
    assert all(outer is None for _interface, outer, _packet in inits)
    assert {(i, p.source, p.destination) for i, _outer, p in inits} == {
        (name, address, CN) for name, address in CARE_OF.items()
    }


def test_the_primary_care_of_address_is_registered_first(opening):
    _lab, seen = opening
    updates = [p for _i, _o, p in messages(seen, BindingUpdate) if p.destination == CN]
    assert updates[0].source == CARE_OF["lte"]
    assert {update.source for update in updates} == set(CARE_OF.values())


def test_a_binding_has_another_ifid_than_at_the_home_agent(lab):
    there = {IPv6Address(b["care_of_address"]): b for b in correspondent(lab)["bindings"]}
    home = lab.bindings()
    assert there.keys() == home.keys() == set(CARE_OF.values())
    assert all(there[address]["ifid"] != home[address]["ifid"] for address in there)
    assert [there[address]["ifpri"] for address in CARE_OF.values()] == [0, 1, 2]
    assert [there[address]["in_use"] for address in CARE_OF.values()] == [True, False, False]


# --- traffic ------------------------------------------------------------------------------


def test_the_mobile_routers_own_packets_go_straight_both_ways(lab):
    with Wire(lab) as wire:
        assert ping(lab, "mr", CN, "-I", str(HOME)) == 5
        assert ways(wire.read(), HOME, CN) == direct("lte")


def test_the_correspondent_nodes_packets_go_straight_both_ways(lab):
    before = counter(lab, CORRESPONDENT_NODE, "optimized_sent")
    with Wire(lab) as wire:
        assert ping_home(lab) == 5
        assert ways(wire.read(), HOME, CN) == direct("lte")
    assert counter(lab, CORRESPONDENT_NODE, "optimized_sent") == before + 5


@pytest.mark.parametrize("size", [1300, 1412, 1452, 4000])
def test_packets_of_any_size_arrive(lab, size):
    assert ping(lab, "cn", HOME, "-s", str(size)) == 5
    assert ping(lab, "mr", CN, "-I", str(HOME), "-s", str(size)) == 5


@pytest.mark.parametrize("mtu", [1400, 1280])
def test_packets_of_any_size_arrive_by_a_path_that_takes_less(lab, mtu):
    places = [
        f"{IPv6Network((address, 64), strict=False)} dev {device} proto kernel metric 256"
        for device, address in {"cn": CN, **CARE_OF}.items()
    ]
    for place in places:
        lab.ip("net", f"route replace {place} mtu lock {mtu}")
    try:
        for node, to, source in (("cn", HOME, ()), ("mr", CN, ("-I", str(HOME)))):
            for size in (1192, 1232, 1300, 1412, 1452, 4000):
                # the first may be lost, each way
                assert ping(lab, node, to, *source, "-s", str(size)) >= 3, (node, size)
    finally:
        for place in places:
            lab.ip("net", f"route replace {place}")


def test_the_mobile_networks_packets_go_through_the_home_agent(lab):
    with Wire(lab) as wire:
        assert ping(lab, "lfn", CN) == 5
        seen = ways(wire.read(), plan.LFN_ADDRESS, CN)
    # the lab's policy has pings go by satellite
    tunnelled = {("sat", (CARE_OF["sat"], HA)), ("ha", (HA, CARE_OF["sat"]))}
    assert seen == tunnelled | {("ha", None), ("cn", None)}


def test_the_correspondent_nodes_other_addresses_go_through_the_home_agent(lab):
    other = IPv6Address("2001:db8:c::11")
    lab.ip("cn", f"addr add {other}/64 dev eth0 nodad")
    with Wire(lab) as wire:
        assert ping(lab, "cn", HOME, "-I", str(other)) == 5
        seen = wire.read()
    lab.ip("cn", f"addr del {other}/64 dev eth0")
    assert {interface for interface, _outer in ways(seen, HOME, other)} >= {"ha", "cn"}
    assert not any(outer and CN in outer for _interface, outer in ways(seen, HOME, other))


def test_a_cut_link_moves_the_flow_to_the_next_care_of_address(whole_lab):
    lab = whole_lab
    command = ping_command(str(HOME), start_at=time.monotonic() + 0.3, duration=2.0, interval=0.02)
    label = f"pings-{time.monotonic()}"
    program = lab.topology.run_in("cn", command, label=label)
    time.sleep(1.0)
    lab.topology.cut("lte")
    wait_until(lambda: lab.mobile_router()["routes"], what="an answer")
    time.sleep(0.3)
    with Wire(lab) as wire:
        time.sleep(0.4)
        seen = wire.read(quiet=0)
    assert program.wait(timeout=10) == 0
    lost = re.search(r'"sent": (\d+).*"received": (\d+)', last_line(lab, label))
    lab.topology.restore("lte")

    assert ways(seen, HOME, CN) == direct("wifi")
    assert int(lost[1]) == 100
    assert int(lost[2]) >= 75  # a quarter of a second of a loaded machine


def last_line(lab, label):
    return lab.topology.output_path(label).read_text().splitlines()[-1]


@contextlib.contextmanager
def unreachable_from_correspondent(lab, *names):
    """Have the Internet answer "unreachable" to what CN sends to some care-of addresses."""
    rules = [f"from {CN} to {CARE_OF[name]} unreachable" for name in names]
    for rule in rules:
        lab.ip("net", f"rule add {rule}")
    yield
    for rule in rules:
        lab.ip("net", f"rule del {rule}")


def revive(lab):
    """Have all care-of addresses registered anew, which takes back what was said of them."""
    for role in (CORRESPONDENT_NODE, MOBILE_ROUTER):
        lab.end(role)
        lab.start(role)
    await_routes(lab)


def test_an_unreachable_care_of_address_makes_room_for_the_next(lab):
    with unreachable_from_correspondent(lab, "lte"):
        ping_home(lab, count=2)
        wait_until(lambda: in_use(lab) == [CARE_OF["wifi"]], what="another care-of address")
        with Wire(lab) as wire:
            assert ping_home(lab) == 5
            assert ("cn", (CN, CARE_OF["wifi"])) in ways(wire.read(), HOME, CN)
    revive(lab)


def in_use(lab):
    rows = correspondent(lab)["bindings"]
    return [IPv6Address(row["care_of_address"]) for row in rows if row["in_use"]]


@pytest.mark.parametrize("way", [(CN, CARE_OF["lte"]), (CARE_OF["lte"], CN)])
def test_a_care_of_address_whose_packets_are_lost_makes_room_for_the_next(lab, way):
    """No link is down, and nobody says that a packet is lost on its ``way``."""

    def has_moved():
        ping_home(lab, count=1)
        return in_use(lab) == [CARE_OF["wifi"]]

    assert ping_home(lab) == 5
    rule = "from {} to {} blackhole".format(*way)
    lab.ip("net", f"rule add {rule}")
    try:
        with Wire(lab) as wire:
            wait_until(has_moved, timeout=30, what="another care-of address")
            wire.read()
            ping_home(lab)
            assert ("cn", (CN, CARE_OF["wifi"])) in ways(wire.read(), HOME, CN)
    finally:
        lab.ip("net", f"rule del {rule}")
    revive(lab)


def test_without_any_care_of_address_left_the_home_agent_is_the_way(lab):
    with unreachable_from_correspondent(lab, *CARE_OF):
        wait_until(lambda: ping_home(lab, count=1) and not in_use(lab), what="the way back home")
        with Wire(lab) as wire:
            assert ping_home(lab) == 5
            seen = ways(wire.read(), HOME, CN)
    assert ("cn", None) in seen
    assert any(outer and outer[0] == HA for _interface, outer in seen)
    # the mobile router goes on as it may: its tunnel is accepted
    assert ("lte", (CARE_OF["lte"], CN)) in seen
    revive(lab)


def test_a_correspondent_node_that_has_lost_its_bindings_says_so_and_gets_them_again(lab):
    lab.end(CORRESPONDENT_NODE, signal.SIGKILL)
    (lab.directory / "cn.sock.state").unlink()
    lab.start(CORRESPONDENT_NODE)
    assert correspondent(lab)["bindings"] == []
    with Wire(lab) as wire:
        ping(lab, "mr", CN, "-I", str(HOME), count=2)
        errors = messages(wire.read(), BindingError)
    assert [(p.source, p.destination, p.message.status) for _i, _o, p in errors][:1] == [
        (CN, CARE_OF["lte"], 1)
    ]
    # a mobile router believes a Binding Error once a second at most
    wait_until(lambda: ping(lab, "mr", CN, "-I", str(HOME), count=1), what="an answer")
    assert in_use(lab) == [CARE_OF["lte"]]
    with Wire(lab) as wire:
        assert ping(lab, "mr", CN, "-I", str(HOME)) == 5
        assert ways(wire.read(), HOME, CN) == direct("lte")
    revive(lab)


def test_a_correspondent_node_that_is_killed_goes_on_with_its_bindings(lab):
    before = describe(lab)
    assert before
    lab.end(CORRESPONDENT_NODE, signal.SIGKILL)
    with Wire(lab) as wire:
        assert ping(lab, "mr", CN, "-I", str(HOME)) == 5  # the kernel goes on
        assert ways(wire.read(), HOME, CN) == direct("lte")
    lab.start(CORRESPONDENT_NODE)
    assert describe(lab) == before
    with Wire(lab) as wire:
        assert ping(lab, "mr", CN, "-I", str(HOME)) == 5
        assert ways(wire.read(), HOME, CN) == direct("lte")
        assert messages(wire.read(), BindingError) == []


def test_a_mobile_router_that_is_killed_goes_on_with_its_routes(lab):
    before = describe(lab)
    lab.end(MOBILE_ROUTER, signal.SIGKILL)
    lab.start(MOBILE_ROUTER)
    routes = lab.mobile_router()["routes"]
    assert [route["usable"] for route in routes] == [True] * len(before)
    with Wire(lab) as wire:
        assert ping(lab, "mr", CN, "-I", str(HOME)) == 5
        assert ways(wire.read(), HOME, CN) == direct("lte")
    assert describe(lab) == before


# --- what must change nothing -------------------------------------------------------------


def describe(lab):
    rows = correspondent(lab)["bindings"]
    return [{k: row[k] for k in ("care_of_address", "ifid", "ifpri", "in_use")} for row in rows]


def count_refused(lab):
    """Return how many updates had guessed tokens, or a nonce that is not known."""
    rows = correspondent(lab)["events"]
    kinds = ("authentication-failed", "binding-refused")
    return sum(row["count"] for row in rows if row["event"] in kinds)


def test_a_forged_binding_update_changes_nothing(lab):
    before = describe(lab)
    refused = count_refused(lab)
    update = BindingUpdate(
        sequence=1,
        lifetime=60,
        acknowledge=True,
        multiple=True,
        options=(
            CareOfAddressInformation(9, 0),
            NonceIndices(1, 1),
            BindingAuthorizationData(bytes(12)),
        ),
    )
    lab.sender("net").message(Packet(STRANGER, CN, update, home_address=HOME))
    wait_until(lambda: count_refused(lab) == refused + 1, what="the refusal")
    assert describe(lab) == before
    assert ping_home(lab) == 5


def tunnel(source, destination, inner_source, inner_destination, payload=None):
    inner = IPv6(src=str(inner_source), dst=str(inner_destination)) / (
        payload or ICMPv6EchoRequest(id=77, data=b"forged")
    )
    return bytes(IPv6(src=str(source), dst=str(destination), nh=IPV6) / inner)


@pytest.mark.parametrize(
    ("role", "node", "packet", "reason"),
    [
        (CORRESPONDENT_NODE, "net", (STRANGER, CN, HOME, CN), "outer_rejected"),
        (CORRESPONDENT_NODE, "mr", (CARE_OF["lte"], CN, plan.LFN_ADDRESS, CN), "inner_rejected"),
        (CORRESPONDENT_NODE, "mr", (CARE_OF["lte"], CN, HOME, HA), "inner_rejected"),
        (MOBILE_ROUTER, "net", (STRANGER, CARE_OF["lte"], CN, HOME), "outer_rejected"),
        (MOBILE_ROUTER, "cn", (CN, CARE_OF["lte"], STRANGER, HOME), "inner_rejected"),
        (MOBILE_ROUTER, "cn", (CN, CARE_OF["lte"], CN, plan.LFN_ADDRESS), "inner_rejected"),
    ],
)
def test_a_tunnelled_packet_of_a_wrong_source_or_destination_is_dropped(
    lab, role, node, packet, reason
):
    before = counter(lab, role, reason)
    received = count_answers(lab)
    lab.sender(node)(tunnel(*packet))
    wait_until(lambda: counter(lab, role, reason) == before + 1, what="the drop")
    assert count_answers(lab) == received
    assert len(correspondent(lab)["bindings"]) == 3


def count_answers(lab):
    """Return how many echo requests the two ends have let in."""
    text = "".join(
        lab.topology.execute(node, ["cat", "/proc/net/snmp6"]).stdout
        for node in ("mr", "cn", "lfn")
    )
    return sum(map(int, re.findall(r"Icmp6InEchos\s+(\d+)", text)))


def test_a_home_test_by_the_correspondent_nodes_own_tunnel_proves_nothing(lab):
    before = count_event(lab.mobile_router(), "signalling-dropped", "not-through-home-agent")
    test = serialize_packet(Packet(CN, HOME, HomeTest(1, bytes(8), bytes(8))), FORMAT)
    outer = bytes(IPv6(src=str(CN), dst=str(CARE_OF["lte"]), nh=IPV6, plen=len(test)))
    lab.sender("cn")(outer + test)
    wait_until(
        lambda: (
            count_event(lab.mobile_router(), "signalling-dropped", "not-through-home-agent")
            == before + 1
        ),
        what="the drop",
    )


def test_a_home_test_goes_to_the_home_address_while_a_binding_stands(lab):
    before = count_event(lab.mobile_router(), "signalling-dropped", "unexpected-test")
    with Wire(lab) as wire:
        lab.sender("mr").message(Packet(HOME, CN, HomeTestInit(bytes(8))))
        seen = wire.read()
    assert [(i, o) for i, o, _p in messages(seen, HomeTest)] == [
        ("cn", None),
        ("ha", (HA, CARE_OF["lte"])),
    ]
    # nobody has asked for it, but it came as it must
    now = count_event(lab.mobile_router(), "signalling-dropped", "unexpected-test")
    assert now == before + 1


# --- what an operator sees ----------------------------------------------------------------


def test_status_shows_bindings_and_routes(lab):
    environment = {**os.environ, "COLUMNS": "160"}
    for role in (CORRESPONDENT_NODE, MOBILE_ROUTER):
        shown = run_cli("status", "--socket", lab.socket[role], env=environment)
        assert shown.returncode == 0
        assert all(str(address) in shown.stdout for address in CARE_OF.values())
    assert "Optimized routes" in shown.stdout
    assert str(CN) in shown.stdout


def test_metrics_tell_of_bindings_by_ifpri_and_of_routes(lab):
    text = lab.scrape("cn")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    samples = read_samples(text)
    assert [samples[f'mrouter_bindings_by_ifpri{{ifpri="{n}"}}'] for n in range(3)] == [1, 1, 1]
    assert any('type="CareOfTestInit"' in name for name in samples)
    routes = read_samples(lab.scrape("mr"))
    assert routes[f'mrouter_optimized_routes{{correspondent="{CN}"}}'] == 3


def test_a_correspondent_node_does_not_begin_to_forward(lab):
    read = ["cat", "/proc/sys/net/ipv6/conf/all/forwarding"]
    assert lab.topology.execute("cn", read).stdout.strip() == "0"


# --- the end ------------------------------------------------------------------------------


@pytest.fixture
def short_lab():
    """A lab whose correspondent node binds for 8 seconds at most."""
    lab = make_lab("max-lifetime = 8\n")
    try:
        lab.start(CORRESPONDENT_NODE, HOME_AGENT, MOBILE_ROUTER)
        await_routes(lab)
        yield lab
    finally:
        lab.__exit__(None, None, None)


def make_deaf(lab):
    """Let no signalling come to the correspondent node; the mobile router's home agent hears it."""
    lab.topology.execute(
        "net",
        ["nft", "-f", "-"],
        input_text="add table ip6 deaf\n"
        "add chain ip6 deaf c { type filter hook forward priority 0; }\n"
        f"add rule ip6 deaf c meta l4proto 135 ip6 daddr {CN} drop\n",
    )


@pytest.mark.parametrize("used", [True, False])
def test_a_binding_in_use_that_is_not_refreshed_is_asked_for(short_lab, used):
    lab = short_lab
    make_deaf(lab)
    with Wire(lab) as wire:
        deadline = time.monotonic() + 8.5
        while time.monotonic() < deadline:
            if used:
                ping_home(lab, count=1)
            time.sleep(0.1)
        requests = messages(wire.read(), BindingRefreshRequest)
    preferred = [p for i, _outer, p in requests if i == "cn"]
    assert bool(preferred) == used
    assert {(p.source, p.destination) for p in preferred} == ({(CN, HOME)} if used else set())


def test_what_is_not_refreshed_ends_at_both_ends_and_all_agents_stop_cleanly(short_lab):
    lab = short_lab
    make_deaf(lab)
    wait_until(lambda: correspondent(lab)["bindings"] == [], what="the bindings' end")
    wait_until(
        lambda: not any(route["usable"] for route in lab.mobile_router()["routes"]),
        what="the routes' end",
    )
    with Wire(lab) as wire:
        assert ping_home(lab) == 5
        assert ping(lab, "mr", CN, "-I", str(HOME)) == 5
        seen = ways(wire.read(), HOME, CN)
    assert {("cn", None), ("ha", None)} <= seen
    assert not any(outer and CN in outer for _interface, outer in seen)

    ends = {role: lab.end(role) for role in (MOBILE_ROUTER, CORRESPONDENT_NODE, HOME_AGENT)}
    assert set(ends.values()) == {0}
    assert "Traceback" not in "".join(map(lab.log, ends))
    assert lab.topology.execute("cn", ["nft", "list", "tables"]).stdout == ""
    assert "proto 77" not in lab.topology.execute("cn", ["ip", "-6", "rule"]).stdout
