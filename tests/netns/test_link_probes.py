"""Probes of each link through its tunnel: real agents, links that are silent though they are up."""

from __future__ import annotations

import os
import signal
import socket
import time
from ipaddress import IPv6Address

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, AgentLab, count_event, read_samples, wait_until

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
LINKS = tuple(link.name for link in plan.EGRESS_LINKS)
ADDRESSES = {link.name: link.care_of_address for link in plan.EGRESS_LINKS}
ETH_P_ALL, ETH_P_IPV6 = 3, 0x86DD
REQUEST, REPLY = 128, 129
TUNNEL, ICMPV6 = 41, 58


def ask_for_probes(lab, **profiles):
    text = lab.config[MOBILE_ROUTER].read_text()
    for link in plan.EGRESS_LINKS:
        old = f"ifpri = {link.ifpri}\n"
        text = text.replace(old, f'{old}probe = "{profiles.get(link.name, "normal")}"\n')
    lab.config[MOBILE_ROUTER].write_text(text)


def qualities(lab):
    return {name: link["quality"] for name, link in lab.links().items()}


def states(lab):
    return {name: quality["state"] for name, quality in qualities(lab).items()}


def await_answers(lab):
    wait_until(
        lambda: all(quality and quality["rtt_ms"] for quality in qualities(lab).values()),
        what="an answer over every link",
    )


def await_state(lab, link, state):
    wait_until(lambda: states(lab)[link] == state, what=f"{link} to be {state}")


def read_echo(data):
    """Return (tunnelled, outer ends, type, identifier) of an Echo message, tunnelled or not."""
    outer = IPv6Address(data[8:24]), IPv6Address(data[24:40])
    tunnelled = data[6] == TUNNEL
    inner = data[40:] if tunnelled else data
    if inner[6] != ICMPV6 or inner[40] not in (REQUEST, REPLY):
        return None
    return tunnelled, outer, inner[40], int.from_bytes(inner[44:46])


def collect_echoes(lab, seconds):
    """Return the Echo messages that come in from the vehicle by each link, and go out to it."""
    kind = socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)
    watcher = lab.open_in("net", socket.AF_PACKET, *kind)
    watcher.settimeout(0.05)
    seen, deadline = set(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            data, address = watcher.recvfrom(65535)
        except TimeoutError:
            continue
        if (
            address[0] in LINKS
            and address[1] == ETH_P_IPV6
            and (echo := read_echo(data)) is not None
        ):
            seen.add((address[0], *echo))
    return seen


def blackhole(lab, link, *, uplink=False, downlink=False):
    """Let ``link`` swallow all in one direction or both, in the Internet's routing."""
    prefix = plan.find_link(link).prefix
    if uplink:
        lab.ip("net", f"rule add pref 5 iif {link} blackhole")
    if downlink:
        lab.ip("net", f"rule add pref 5 to {prefix} blackhole")


def heal(lab):
    shown = lab.topology.execute("net", ["ip", "-6", "rule", "show", "pref", "5"]).stdout
    for _ in shown.splitlines():
        lab.ip("net", "rule del pref 5")


@pytest.fixture(scope="module")
def shared_lab():
    with AgentLab() as lab:
        ask_for_probes(lab)
        yield lab.start()


@pytest.fixture
def lab(shared_lab):
    await_answers(shared_lab)
    yield shared_lab
    heal(shared_lab)
    wait_until(lambda: "down" not in states(shared_lab).values(), timeout=90)
    shared_lab.await_bindings(3)
    shared_lab.await_flow_bindings()


def test_each_link_has_its_round_trip_time_and_loses_nothing(lab):
    for quality in qualities(lab).values():
        assert 0 < quality["rtt_ms"] < 1000
        assert quality["jitter_ms"] >= 0
        assert quality["state"] in ("up", "degraded")


def test_a_probe_and_its_answer_go_by_their_own_links_tunnel_and_no_other(lab):
    seen = collect_echoes(lab, 1.5)
    identifiers = {}
    for link, tunnelled, (source, destination), kind, identifier in seen:
        assert tunnelled
        ends = (source, destination) if kind == REQUEST else (destination, source)
        assert ends == (ADDRESSES[link], plan.HA_ADDRESS)
        identifiers.setdefault(link, set()).add(identifier)
    assert set(identifiers) == set(LINKS)
    assert all(len(each) == 1 for each in identifiers.values())
    assert len(set.union(*identifiers.values())) == len(LINKS)
    for link in LINKS:
        kinds = {kind for each, _, _, kind, _ in seen if each == link}
        assert kinds == {REQUEST, REPLY}


def test_probes_are_no_policys_traffic_and_no_flow(lab):
    before = lab.mobile_router()
    wait_until(
        lambda: (
            lab.links()["lte"]["uplink"]["packets"] > before["links"][0]["uplink"]["packets"] + 5
        )
    )
    after = lab.mobile_router()
    assert after["policy_traffic"] == before["policy_traffic"]
    assert lab.ask(MOBILE_ROUTER, "flows") == []


def test_metrics_tell_of_every_link(lab):
    samples = read_samples(lab.scrape("mr"))
    for link in LINKS:
        assert samples[f'mrouter_link_rtt_seconds_count{{link="{link}"}}'] > 0
        assert samples[f'mrouter_link_state{{link="{link}",state="down"}}'] == 0
        assert samples[f'mrouter_link_loss_ratio{{link="{link}"}}'] < 1


def test_a_ping_of_somebody_else_is_neither_disturbed_nor_counted(lab):
    command = ["ping", "-6", "-n", "-c", "3", "-i", "0.1", str(plan.HA_ADDRESS)]
    assert lab.topology.execute("mr", [*command, "-I", str(plan.HOME_ADDRESS)]).returncode == 0
    assert lab.topology.execute("lfn", command).returncode == 0
    events = lab.mobile_router()["events"]
    assert [event for event in events if event["event"].startswith("probe")] == []


@pytest.mark.parametrize(
    "directions", [("uplink",), ("downlink",), ("uplink", "downlink")], ids=" and ".join
)
def test_a_silent_link_loses_its_flows_to_another_though_its_carrier_stays(lab, directions):
    before = lab.bindings()[ADDRESSES["lte"]]
    blackhole(lab, "lte", **dict.fromkeys(directions, True))
    await_state(lab, "lte", "down")
    lab.await_care_of_addresses([ADDRESSES["wifi"], ADDRESSES["sat"]])

    status = lab.mobile_router()
    assert lab.links()["lte"]["up"]
    active = {policy["name"]: policy["active"] for policy in status["policies"]}
    assert active["default"] == ["wifi"]
    assert active["call"] == ["wifi"]
    assert states(lab)["wifi"] != "down"
    # both ways, what was by lte is by wifi: also what begins at the far end
    assert lab.stream(1.0).result() == [(0, 0), (0, 0)]
    ping = ["ping", "-6", "-n", "-c", "3", "-i", "0.1", "-W", "1"]
    assert lab.topology.execute("cn", [*ping, str(plan.LFN_ADDRESS)]).returncode == 0

    heal(lab)
    wait_until(lambda: states(lab)["lte"] == "up", timeout=90, what="lte to be heard again")
    lab.await_care_of_addresses(ADDRESSES.values())
    wait_until(lambda: lab.mobile_router()["policies"][-1]["active"] == ["lte"])
    assert lab.bindings()[ADDRESSES["lte"]]["ifid"] != before["ifid"]
    assert lab.stream(1.0).result() == [(0, 0), (0, 0)]


def test_a_running_stream_goes_on_over_another_link(lab):
    stream = lab.stream(4.0)
    blackhole(lab, "lte", uplink=True, downlink=True)
    wait_until(lambda: stream.sent_so_far() > 150)
    (lost_up, _), (lost_down, _) = stream.result()
    # 50 packets a second for 4 s: without a move all but a few were lost
    assert lost_up < 100
    assert lost_down < 100


def test_a_dead_link_is_probed_past_its_tunnel(lab):
    blackhole(lab, "lte", downlink=True)
    await_state(lab, "lte", "down")
    lab.await_care_of_addresses([ADDRESSES["wifi"], ADDRESSES["sat"]])
    seen = {echo[1] for echo in collect_echoes(lab, 1.0) if echo[0] == "lte"}
    assert seen == {False}


def test_links_that_are_all_silent_say_that_the_home_agent_is_away_and_stay(lab):
    for link in LINKS:
        blackhole(lab, link, uplink=True)
    wait_until(lambda: all(q["loss"] > 0.5 for q in qualities(lab).values()), timeout=60)
    assert "down" not in states(lab).values()
    assert len(lab.bindings()) == 3
    heal(lab)
    wait_until(lambda: all(q["loss"] < 0.5 for q in qualities(lab).values()), timeout=60)


def test_the_last_link_that_is_left_takes_over_and_gives_back(lab):
    for link in ("lte", "wifi"):
        blackhole(lab, link, uplink=True)
        await_state(lab, link, "down")
    lab.await_care_of_addresses([ADDRESSES["sat"]])
    assert lab.stream(1.0).result() == [(0, 0), (0, 0)]


def test_a_killed_agent_comes_back_and_probes(lab):
    lab.end(MOBILE_ROUTER, signal.SIGKILL)
    lab.start(MOBILE_ROUTER)
    await_answers(lab)
    assert states(lab) == dict.fromkeys(LINKS, "up")


def test_forged_answers_are_counted_and_ignored(lab):
    seen = collect_echoes(lab, 1.0)
    identifier = next(identifier for link, *_, identifier in seen if link == "lte")
    before = qualities(lab)["lte"]
    # as the home agent would send it, but for the cookie
    forge = (
        "import socket, struct\n"
        "s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)\n"
        f"s.bind(('{plan.HA_ADDRESS}', 0))\n"
        f"s.sendto(struct.pack('!BBHHHQ', {REPLY}, 0, 0, {identifier}, 1, 1),"
        f" ('{plan.HOME_ADDRESS}', 0))\n"
    )
    lab.topology.execute("ha", ["python3", "-c", forge])
    wait_until(
        lambda: count_event(lab.mobile_router(), "probe-answer-ignored", "wrong-cookie") == 1
    )
    assert qualities(lab)["lte"]["state"] == before["state"]


def test_a_link_without_a_profile_or_off_is_not_probed():
    with AgentLab() as lab:
        ask_for_probes(lab, wifi="off", sat="off")
        lab.edit(lab.config[MOBILE_ROUTER], 'ifpri = 2\nprobe = "off"\n', "ifpri = 2\n")
        lab.start()
        wait_until(lambda: qualities(lab)["lte"]["rtt_ms"])
        assert {echo[0] for echo in collect_echoes(lab, 1.0)} == {"lte"}
        assert (qualities(lab)["wifi"], qualities(lab)["sat"]) == (None, None)


def test_a_frugal_link_that_carries_nothing_is_left_alone():
    with AgentLab() as lab:
        ask_for_probes(lab, sat="frugal")
        lab.start()
        wait_until(lambda: (qualities(lab)["sat"] or {}).get("rtt_ms"))
        seen = collect_echoes(lab, 12.0)
        assert "sat" not in {echo[0] for echo in seen}
        blackhole(lab, "lte", uplink=True)
        await_state(lab, "lte", "down")


def test_a_home_agent_whose_agent_is_away_answers_probes():
    with AgentLab() as lab:
        ask_for_probes(lab)
        lab.start()
        await_answers(lab)
        lab.end(HOME_AGENT, signal.SIGKILL)
        time.sleep(1.0)
        blackhole(lab, "lte", uplink=True)
        await_state(lab, "lte", "down")
        assert states(lab)["wifi"] == "up"
