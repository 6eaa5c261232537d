"""Link weather in the kernel: real agents, streams both ways, and what the agents hold in the end.

Run by ``make soak``: `MINUTES` and `SEED` are of the environment.
"""

from __future__ import annotations

import os
import time
from random import SystemRandom

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, NODES, AgentLab
from soak_measures import find_unexcused, list_gaps, measure
from test_link_probes import ask_for_probes
from weather_driver import WeatherDriver, forecast

from mrouter.lab.configs import CALL_PORT
from mrouter.lab.traffic import read_events

pytestmark = [
    pytest.mark.netns,
    pytest.mark.weather,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
#: The ports of streams, each of another policy. Every one takes all links: a link that has been
#: silent again and again is held down while there is another, be it one that a policy doesn't take.
STREAMS = (CALL_PORT, 6000, 6001)
POLICIES = """
[[policy]]
name = "far"
match = { protocol = "udp", destination-port = 6001 }
links = ["sat", "wifi", "lte"]
hold-down = 3

[default]"""
#: Seconds for which a stream may be without a packet though one link is good all the while; most of
#: it is a busy machine's.
PATIENCE = 5.0
#: KiB that an agent may have grown by since the weather had gone on for a while.
GROWTH = 4096
#: Seconds of weather before the first look at what the agents hold.
WARM_UP = 60.0


def read_seed():
    return int(os.environ.get("SEED") or SystemRandom().randrange(1_000_000))


def run_weather(driver, changes, duration):
    """Let all ``changes`` happen in their time."""
    start = time.monotonic()
    for change in changes:
        time.sleep(max(0.0, start + change.at - time.monotonic()))
        driver.make(change)
    time.sleep(max(0.0, start + duration - time.monotonic()))


def settle(lab):
    lab.await_bindings(3)
    lab.await_flow_bindings()
    time.sleep(4.0)  # no link is held down any more


def look(lab):
    return {role: measure(lab, role, NODES[role]) for role in (HOME_AGENT, MOBILE_ROUTER)}


def test_every_stream_is_served_by_its_good_links_and_nothing_grows():
    seconds, seed = 60.0 * float(os.environ.get("MINUTES") or 3), read_seed()
    print(f"to play it again: make soak MINUTES={seconds / 60:g} SEED={seed}")
    with AgentLab() as lab:
        ask_for_probes(lab)
        lab.edit(lab.files.policy, "\n[default]", POLICIES)
        lab.edit(
            lab.files.policy,
            'bicast = ["lte", "wifi"]',
            'bicast = ["lte", "wifi", "sat"]\ncopies = 2',
        )
        lab.start()
        driver = WeatherDriver(lab)
        warm_up = min(WARM_UP, seconds / 2)
        run_weather(driver, forecast(seed, warm_up), warm_up)
        settle(lab)
        before = look(lab)

        streams = {port: lab.stream(seconds, port=port) for port in STREAMS}
        run_weather(driver, forecast(seed + 1, seconds), seconds)
        settle(lab)
        after = look(lab)

        unserved = []
        for port, stream in streams.items():
            stream.result()
            for output, way in zip(stream.outputs, ("down", "up"), strict=True):
                gaps = list_gaps(read_events(output))
                found = find_unexcused(gaps, driver.good, PATIENCE)
                unserved += [(port, way, *each) for each in found]
        story = "\n".join(driver.log)
        said = f"seed {seed}, MINUTES={seconds / 60:g}\n{story}\n{lab.log(MOBILE_ROUTER)}"
        assert not unserved, f"{unserved}\n{said}"
        for role, then in before.items():
            now = after[role]
            assert now.kernel == then.kernel, f"{role}, {said}"
            assert now.descriptors == then.descriptors, f"{role}, {said}"
            assert now.resident_kib - then.resident_kib < GROWTH, f"{role}, {said}"


@pytest.mark.parametrize(
    ("received", "unserved"),
    [((0, 5, 5, 9), []), ((0, 5, 5, 5, 5, 9), ["lte"]), ((0, 5, 5, 5, 5, 5), ["lte"])],
)
def test_gap_is_unexcused_only_while_one_link_is_good(received, unserved):
    events = [
        {"event": "progress", "at": 2.0 * number, "received": count}
        for number, count in enumerate(received)
    ]
    good = {"lte": [(1.0, 20.0)], "wifi": [(0.0, 4.0), (5.0, 20.0)]}
    found = find_unexcused(list_gaps(events), good, PATIENCE)
    assert [link for _, link in found] == unserved
