"""The kernel holds what the last state asked for, whatever came before, and nothing else."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from itertools import combinations
from random import Random

import pytest
from dataplane_world import (
    BICAST_ALL,
    BULK_PORT,
    CALL_PORT,
    CN,
    LFN,
    LINKS,
    LTE,
    OTHER_PREFIX,
    POLICIES,
    SAT,
    WIFI,
    care_of,
    make_binding,
    make_home_agent,
    make_mobile_router,
    make_path,
    strip,
    transports,
    udp,
    uplinks,
)

from mrouter.dataplane.home_agent import build_home_agent
from mrouter.dataplane.mobile_router import build_mobile_router
from mrouter.dataplane.nft import Chain
from mrouter.errors import DataplaneError
from mrouter.policy.model import Balance, Bicast, Match, Policy, PolicyTable, PortRange, Steer, Tier

pytestmark = pytest.mark.netns

FOREIGN = """
table inet foreign {
    map named { type ipv6_addr : mark; elements = { 2001:db8:c::10 : 0x77 } }
    chain prerouting {
        type filter hook prerouting priority -160;
        meta mark set meta mark | 0x00012345
        ct mark set ct mark | 0x5
    }
    chain postrouting {
        type filter hook postrouting priority 300;
        meta mark & 0x000fffff == 0x00012345 ct mark & 0xfff == 0x5 counter name whole
    }
    counter whole { }
}
"""
FOREIGN_ROUTING = """\
rule add pref 7700 fwmark 0x1/0xff table 500
rule add pref 100 from 2001:db8:77::/64 table 7701
route add 2001:db8:77::/64 dev lo table 7701
route add unreachable 2001:db8:78::/64 table 500
route add 2001:db8:79::/64 dev lo
"""
FOREIGN_ROUTING_GONE = """\
rule del pref 7700
rule del pref 100
route del 2001:db8:77::/64 dev lo table 7701
route del unreachable 2001:db8:78::/64 table 500
route del 2001:db8:79::/64 dev lo
"""
VOLATILE = {"handle", "packets", "bytes", "expires"}


def dump(world, node):
    """Return all that the kernel holds: nftables, rules and routes, without what counts."""
    rules = world.lab.execute(node, ["ip", "-6", "rule"]).stdout.splitlines()
    routes = world.lab.execute(node, ["ip", "-6", "route", "show", "table", "all"]).stdout
    return [
        *dump_ruleset(world, node),
        *sorted(rules),
        *sorted(re.sub(r"expires \S+|pref \S+", "", line) for line in routes.splitlines()),
    ]


def dump_ruleset(world, node):
    listing = json.loads(world.lab.execute(node, ["nft", "-j", "list", "ruleset"]).stdout)
    return sorted(
        (json.dumps(tidy(item), sort_keys=True) for item in listing["nftables"]), key=sort_key
    )


def tidy(item):
    if isinstance(item, dict):
        if "dynamic" in item.get("flags", ()):
            item = {key: value for key, value in item.items() if key != "elem"}
        if isinstance(item.get("elem"), list):
            item = {**item, "elem": sorted(item["elem"], key=json.dumps)}
        return {key: tidy(value) for key, value in item.items() if key not in VOLATILE}
    if isinstance(item, list):
        return [tidy(value) for value in item]
    return item


def sort_key(text):
    """Keep a chain's rules in their order; all else may stand in any."""
    item = json.loads(text)
    rule = item.get("rule")
    return (1, rule["chain"]) if rule else (0, text)


def random_ports(random):
    first = random.randint(1, 60)
    return PortRange(first, first + random.choice([0, 0, 1, 20]))


def random_action(random):
    links = tuple(random.sample(LINKS, random.randint(1, 3)))
    kind = random.random()
    if len(links) > 1 and kind < 0.3:
        return Bicast(links, 2)
    if len(links) > 1 and kind < 0.6:
        return Balance((Tier(links, tuple(random.randint(1, 9) for _ in links)),))
    return Steer(links)


def random_policies(random):
    policies = []
    for number in range(random.randint(0, 6)):
        match = Match((17,), (), (random_ports(random),))
        if random.random() < 0.3:
            match = replace(match, dscp=(random.randint(0, 63),))
        policies.append(Policy(f"policy-{number}", match, random_action(random)))
    return PolicyTable((*policies, Policy("default", Match(), random_action(random))))


def random_mobile_router(seed):
    random = Random(seed)
    paths = [
        make_path(link, slot=random.choice([slot, slot + 10]), usable=random.random() < 0.7)
        for slot, link in enumerate(random.sample(LINKS, random.randint(0, 3)), 1)
    ]
    return build_mobile_router(make_mobile_router(paths=paths, policies=random_policies(random)))


def random_home_agent(seed):
    random = Random(seed)
    bindings = [
        make_binding(link, slot=random.choice([slot, slot + 10]), ifpri=random.randint(0, 255))
        for slot, link in enumerate(random.sample(LINKS, random.randint(0, 3)), 1)
    ]
    other_home = OTHER_PREFIX[1]
    if random.random() < 0.5:
        care_of_address = f"2001:db8:9::{random.randint(1, 3)}"
        bindings.append(
            make_binding(
                LTE,
                home_address=other_home,
                care_of_address=type(other_home)(care_of_address),
                prefixes=random.choice([(), (OTHER_PREFIX,)]),
            )
        )
    return build_home_agent(make_home_agent(bindings=bindings))


@pytest.fixture(scope="module")
def foreign(shared_world):
    """What somebody else keeps in the same kernels, some of it in our number ranges."""
    lab = shared_world.lab
    for node in ("mr", "ha"):
        lab.execute(node, ["nft", "-f", "-"], input_text=FOREIGN)
        lab.execute(node, ["ip", "-6", "-batch", "-"], input_text=FOREIGN_ROUTING)
    yield
    for node in ("mr", "ha"):
        lab.execute(node, ["nft", "delete", "table", "inet", "foreign"])
        lab.execute(node, ["ip", "-6", "-batch", "-"], input_text=FOREIGN_ROUTING_GONE)


@pytest.mark.parametrize(
    ("node", "make"), [("mr", random_mobile_router), ("ha", random_home_agent)]
)
def test_the_kernel_holds_what_the_last_state_asked_for_whatever_came_before(
    shared_world, foreign, node, make
):
    world = shared_world
    world.clear()
    bare = dump(world, node)
    states = [make(seed) for seed in range(8)]
    wanted = []
    for state in states:
        world.clear()
        world.apply(node, state)
        wanted.append(dump(world, node))
    random = Random(7)
    visits = [random.randrange(len(states)) for _ in range(40)]

    for index in visits:
        if random.random() < 0.15:
            world.restart(node)
        world.apply(node, states[index], verify=random.random() < 0.2)
        assert dump(world, node) == wanted[index]

    world.clear()
    assert dump(world, node) == bare
    for one, other in combinations(range(len(states)), 2):
        assert (wanted[one] == wanted[other]) == (states[one] == states[other])


@pytest.mark.parametrize("node", ["mr", "ha"])
def test_a_second_apply_of_the_same_state_changes_nothing(world, node):
    state = build_mobile_router(make_mobile_router()) if node == "mr" else None
    state = state or build_home_agent(make_home_agent())
    handles = ["nft", "-a", "-s", "list", "table", "ip6", "mrouter"]
    before = world.lab.execute(node, handles).stdout

    world.apply(node, state)
    world.apply(node, state, verify=True)

    assert world.lab.execute(node, handles).stdout == before


def test_foreign_mark_bits_stay_as_they_are(world, foreign):
    count = ["nft", "-j", "list", "counter", "inet", "foreign", "whole"]

    def counted(node):
        listing = json.loads(world.lab.execute(node, count).stdout)["nftables"]
        return next(item["counter"]["packets"] for item in listing if "counter" in item)

    before = {node: counted(node) for node in ("mr", "ha")}
    for port in (BULK_PORT, CALL_PORT):
        there = udp(LFN, CN, port)
        back = udp(CN, LFN, 40000, sport=port)
        (at_cn,) = world.exchange("lfn", there, at=["cn"])
        (at_lfn,) = world.exchange("cn", back, at=["lfn"])
        assert (transports(at_cn, LFN, CN), transports(at_lfn, CN, LFN)) == (
            strip(there),
            strip(back),
        )

    # at least once for each of the four packets, as it goes into the tunnel or comes out of it
    assert all(counted(node) - before[node] >= 4 for node in ("mr", "ha"))


def test_without_a_binding_the_dump_has_no_care_of_address(shared_world):
    world = shared_world
    world.clear()
    world.apply_ha(make_home_agent(links=[]))

    assert [line for line in dump(world, "ha") if str(care_of(LTE)) in line] == []


class Stream:
    """Numbered packets from ``node``, sent in the background until ``end``."""

    def __init__(self, world, node, make_packet, interval=0.001):
        self._world, self._node, self._make, self._interval = world, node, make_packet, interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self.end()

    def go_on(self, packets):
        """Wait until so many more have been sent."""
        target = self.sent + packets
        self._world.wait_for(lambda: self.sent >= target)

    def end(self):
        self._ended.set()
        self._thread.join()

    def _run(self):
        while not self._ended.wait(self._interval):
            self._world.send(self._node, self._make(self.sent))
            self.sent += 1


def numbered(port):
    return lambda number: udp(LFN, CN, port, number.to_bytes(4, "big") * 4)


@pytest.mark.parametrize("port", [BULK_PORT, CALL_PORT], ids=["steered", "bicast"])
def test_a_restart_of_either_end_interrupts_no_stream(world, port):
    """The kernel may lose the one packet that is within a table as it is replaced; no more."""
    with world.capture("cn") as capture, Stream(world, "lfn", numbered(port)) as stream:
        for _ in range(5):
            for node, apply, view in (
                ("mr", world.apply_mr, make_mobile_router()),
                ("ha", world.apply_ha, make_home_agent()),
            ):
                stream.go_on(20)
                world.restart(node)
                apply(view)
        stream.end()
        arrived = transports(capture.read(), LFN, CN)

    lost = stream.sent - len({packet[8:] for packet in arrived})
    assert stream.sent > 100
    assert lost <= 2


def test_changes_of_policy_and_links_lose_no_packet_and_double_none(world):
    views = [
        make_mobile_router(),
        make_mobile_router(links=[LTE, SAT]),
        make_mobile_router(policies=BICAST_ALL),
        make_mobile_router(links=[WIFI]),
    ]
    with world.capture("cn") as capture, Stream(world, "lfn", numbered(BULK_PORT)) as stream:
        for view in views * 4:
            stream.go_on(10)
            world.apply_mr(view)
        stream.end()
        arrived = transports(capture.read(), LFN, CN)

    assert stream.sent > 50
    assert sorted(packet[8:12] for packet in arrived) == [
        number.to_bytes(4, "big") for number in range(stream.sent)
    ]


def test_routes_that_fell_with_their_link_come_back_with_verify(world):
    def down_and_up(interface):
        world.lab.execute("mr", ["ip", "link", "set", interface, "down"])
        world.lab.execute("mr", ["ip", "link", "set", interface, "up"])
        show = ["ip", "-o", "link", "show", interface]
        world.wait_for(lambda: "state UP" in world.lab.execute("mr", show).stdout)

    before = dump(world, "mr")
    for interface in ("wifi0", "lan0"):
        down_and_up(interface)
    assert dump(world, "mr") != before
    world.lab.execute(
        "mr", ["ip", "route", "replace", "default", "via", "2001:db8:2::1", "metric", "200"]
    )

    world.apply_mr(make_mobile_router(), verify=True)

    assert [line for line in before if "7702" in line or "7690" in line] == [
        line for line in dump(world, "mr") if "7702" in line or "7690" in line
    ]
    ping = ["ping", "-6", "-n", "-c", "1", "-W", "2", "2001:db8:2::1"]
    world.lab.execute("mr", ping)
    at_net, at_cn = world.exchange("lfn", udp(LFN, CN, BULK_PORT), at=["net", "cn"])
    assert uplinks(at_net) == [(WIFI, care_of(WIFI))]
    assert transports(at_cn, LFN, CN) == strip(udp(LFN, CN, BULK_PORT))


def test_a_table_that_somebody_flushed_comes_back_with_verify(world):
    before = dump_ruleset(world, "mr")
    world.lab.execute("mr", ["nft", "delete", "table", "ip6", "mrouter"])

    world.apply_mr(make_mobile_router(), verify=True)

    assert dump_ruleset(world, "mr") == before


def test_an_unknown_interface_is_refused_and_the_former_state_goes_on(world):
    before = dump(world, "mr")
    paths = [make_path(WIFI), make_path(SAT, interface="nowhere0")]

    with pytest.raises(DataplaneError, match="no interface nowhere0"):
        world.apply_mr(make_mobile_router(paths=paths))

    assert dump(world, "mr") == before
    (seen,) = world.exchange("lfn", udp(LFN, CN), at=["net"])
    assert uplinks(seen) == [(LTE, care_of(LTE))]
    world.apply_mr(make_mobile_router(links=[WIFI]))
    (seen,) = world.exchange("lfn", udp(LFN, CN), at=["net"])
    assert uplinks(seen) == [(WIFI, care_of(WIFI))]


def test_a_ruleset_that_the_kernel_refuses_leaves_the_former_one_in_force(world):
    state = build_mobile_router(make_mobile_router(links=[SAT]))
    chains = (*state.table.chains, Chain("bad", ("goto nowhere",)))
    refused = replace(state, table=replace(state.table, chains=chains))

    with pytest.raises(DataplaneError, match="load nftables rules"):
        world.apply("mr", refused)

    (seen,) = world.exchange("lfn", udp(LFN, CN), at=["net"])
    assert uplinks(seen) == [(LTE, care_of(LTE))]
    world.apply("mr", state)
    (seen,) = world.exchange("lfn", udp(LFN, CN), at=["net"])
    assert uplinks(seen) == [(SAT, care_of(SAT))]


def test_a_link_that_is_down_is_refused_with_the_kernels_word(world):
    world.lab.execute("mr", ["ip", "link", "set", "sat0", "down"])
    try:
        with pytest.raises(DataplaneError, match=r"add route: .*Nexthop device is not up"):
            world.apply_mr(make_mobile_router(), verify=True)
    finally:
        world.lab.execute("mr", ["ip", "link", "set", "sat0", "up"])
        world.lab.execute(
            "mr", ["ip", "route", "replace", "default", "via", "2001:db8:3::1", "metric", "300"]
        )


def test_counters_count_on_over_changes(world):
    world.exchange("lfn", udp(LFN, CN), at=[])

    world.apply_mr(make_mobile_router(links=[LTE, SAT]))
    world.exchange("lfn", udp(LFN, CN), at=[])

    assert world.count("mr", "uplink-lte", 2) == 2


def test_what_a_policy_sent_and_received_is_counted(world):
    from mrouter.dataplane import marks
    from mrouter.dataplane.classify import number_policies

    world.exchange("lfn", udp(LFN, CN, BULK_PORT), udp(LFN, CN, BULK_PORT), at=[])
    world.exchange("cn", udp(CN, LFN, 40000, sport=BULK_PORT), at=[])

    plane = world.planes["mr"]
    number = number_policies(POLICIES)["bulk"]
    sent = world.nodes["mr"](plane.read_map_counters, "actions")
    received = world.nodes["mr"](plane.read_set_counters, "received")
    assert sent[marks.mark_policy(number)][0] == 2
    assert {
        (marks.policy_of_mark(connection), marks.slot_of_mark(mark)): packets
        for (connection, mark), (packets, _bytes) in received.items()
    } == {(number, 2): 1}
