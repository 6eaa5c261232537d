"""A link is left while its modem's signal is weak, with running agents: nothing is lost."""

from __future__ import annotations

import json
import os

import pytest
from agent_lab import MOBILE_ROUTER, AgentLab, read_samples, run_cli, wait_until
from modem_bus import ADDRESS, ModemBus

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
LTE = plan.find_link("lte")
CARE_OF = {link.name: link.care_of_address for link in plan.EGRESS_LINKS}
POLICY = """\
[default]
links = ["lte", "wifi", "sat"]
"""
#: The daemon, the service and the agent's thread all take their time on a busy machine.
NEWS = 30.0


@pytest.fixture(scope="module")
def bus():
    with ModemBus() as bus:
        yield bus


@pytest.fixture(scope="module")
def lab(bus):
    with pytest.MonkeyPatch.context() as environment, AgentLab() as lab:
        environment.setenv(ADDRESS, bus.address)
        lab.edit(
            lab.files.mobile_router,
            f'interface = "{LTE.interface}"\n',
            f'interface = "{LTE.interface}"\nradio = "modem"\nleast-signal = 20\n',
        )
        lab.edit(
            lab.files.mobile_router,
            f'interface = "{plan.find_link("wifi").interface}"\n',
            f'interface = "{plan.find_link("wifi").interface}"\nradio = "wifi"\n',
        )
        lab.files.policy.write_text(POLICY)
        bus.start_service()
        bus.tell("add", modem=0, interface=LTE.interface)
        lab.start()
        await_signal(lab, 80)
        yield lab


def radio(lab, link="lte"):
    return lab.links()[link]["radio"]


def await_signal(lab, percent):
    what = f"a signal of {percent} %"
    wait_until(lambda: radio(lab)["signal_percent"] == percent, NEWS, what)


def policy(lab):
    return lab.mobile_router()["policies"][0]


def await_link(lab, name):
    """Wait until new flows go by the link in both directions."""
    wait_until(lambda: policy(lab)["active"] == [name], NEWS, name)
    wait_until(lambda: policy(lab)["downlink"] == "accepted", NEWS, "the home agent's answer")


def count(lab, name):
    return tuple(lab.links()[name][way]["packets"] for way in ("uplink", "downlink"))


def explain(lab):
    arguments = ("--socket", lab.socket[MOBILE_ROUTER], "--protocol", "udp", "--json")
    done = run_cli("policy", "explain", *arguments)
    assert done.returncode == 0, done.stderr
    return {each["link"]: each["reason"] for each in json.loads(done.stdout)["links"]}


def test_the_radio_is_shown_by_status_and_metrics(lab):
    assert radio(lab)["operator"] == "Example Mobile"
    assert radio(lab)["technology"] == "lte"
    assert radio(lab, "sat") is None
    samples = read_samples(lab.scrape("mr"))
    assert samples['mrouter_link_signal_ratio{link="lte"}'] == 0.8
    assert samples['mrouter_link_signal_dbm{link="lte"}'] == -95
    assert samples['mrouter_link_weak{link="lte"}'] == 0
    labels = 'link="lte",operator="Example Mobile",operator_code="00101",registration="home"'
    name = f'mrouter_link_radio_info{{kind="modem",{labels},ssid="",technology="lte"}}'
    assert samples[name] == 1
    wide = {**os.environ, "COLUMNS": "160"}
    shown = run_cli("status", "--socket", lab.socket[MOBILE_ROUTER], env=wide).stdout
    assert "Example Mobile, home" in shown


def test_of_an_interface_that_is_no_wifi_nothing_is_known(lab):
    assert radio(lab, "wifi")["kind"] == "wifi"
    assert radio(lab, "wifi")["signal_percent"] is None
    assert not radio(lab, "wifi")["weak"]


def test_flows_leave_a_link_whose_signal_falls_and_nothing_is_lost(lab, bus):
    stream = lab.stream(10.0)
    wait_until(lambda: stream.sent_so_far() > 20, what="a stream")
    assert policy(lab)["active"] == ["lte"]

    bus.set_signal(0, 12)
    await_link(lab, "wifi")

    assert policy(lab)["held"] == {"lte": "up, but its signal is weak"}
    assert set(lab.bindings()) == set(CARE_OF.values())  # its binding stays
    before = count(lab, "wifi")
    wait_until(lambda: all(a > b + 20 for a, b in zip(count(lab, "wifi"), before, strict=True)))
    assert stream.result() == [(0, 0), (0, 0)]
    assert "WARNING signal-weak link=lte percent=12 least=20" in lab.log(MOBILE_ROUTER)


def test_explain_says_why_the_link_is_left(lab):
    reasons = explain(lab)
    assert reasons["lte"] == "up, but its signal is weak"
    assert reasons["wifi"] == "up"
    assert read_samples(lab.scrape("mr"))['mrouter_link_weak{link="lte"}'] == 1


def test_a_weak_link_is_used_while_there_is_no_other(lab):
    for name in ("wifi", "sat"):
        lab.topology.cut(name)
    await_link(lab, "lte")
    for name in ("wifi", "sat"):
        lab.topology.restore(name)
    await_link(lab, "wifi")
    lab.await_bindings(3)


def test_a_signal_that_is_a_little_better_is_weak_still(lab, bus):
    bus.set_signal(0, 25)
    await_signal(lab, 25)
    assert policy(lab)["active"] == ["wifi"]


def test_flows_return_to_a_signal_that_is_good_again_and_nothing_is_lost(lab, bus):
    stream = lab.stream(10.0)
    wait_until(lambda: stream.sent_so_far() > 20, what="a stream")
    bus.set_signal(0, 60)
    await_link(lab, "lte")
    assert stream.result() == [(0, 0), (0, 0)]


def test_the_agent_goes_on_when_the_bus_is_lost(lab, bus):
    bus.set_signal(0, 10)
    await_link(lab, "wifi")
    bus.stop_service()
    bus.stop_bus()
    await_link(lab, "lte")  # what is not known is not weak
    events = {row["event"]: row["count"] for row in lab.mobile_router()["events"]}
    assert "internal-error" not in events
    bus.start_bus()
    bus.start_service()
    bus.tell("add", modem=0, interface=LTE.interface)
    await_signal(lab, 80)
    assert lab.end(MOBILE_ROUTER) == 0
