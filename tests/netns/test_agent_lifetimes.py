"""Short lifetimes and implicit mode: refreshes, expiry, Binding Refresh Requests."""

from __future__ import annotations

import os
import signal
import time

import pytest
from agent_lab import HOME_AGENT, MOBILE_ROUTER, AgentLab, count_signalling, wait_until

from mrouter.lab import plan
from mrouter.wire.messages import BindingRefreshRequest, BindingUpdate, Packet, find_option
from mrouter.wire.options import CareOfAddressInformation, MobileNetworkPrefix

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
LIFETIME = 8
HA, HOME = plan.HA_ADDRESS, plan.HOME_ADDRESS
LTE = plan.find_link("lte").care_of_address
MNP = str(plan.MOBILE_NETWORK_PREFIX)


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        config = lab.files.mobile_router
        lab.edit(config, "lifetime = 60\n", f"lifetime = {LIFETIME}\n")
        lab.edit(config, 'prefix-mode = "explicit"', 'prefix-mode = "implicit"')
        yield lab.start()


def count_sent(status, kind):
    return sum(
        row["count"]
        for row in status["signalling"]
        if (row["direction"], row["type"]) == ("sent", kind)
    )


def ask_for_refresh(lab, binding):
    option = CareOfAddressInformation(binding["ifid"], binding["ifpri"])
    request = BindingRefreshRequest((option,))
    lab.sender("ha").message(Packet(HA, LTE, request, routing_home_address=HOME))


def test_in_implicit_mode_the_home_agent_gives_what_its_table_says(lab):
    sniffer = lab.sniffer("net", "lte")
    time.sleep(1.0)
    ask_for_refresh(lab, lab.bindings()[LTE])

    update = sniffer.find_message(BindingUpdate).message

    assert update.mobile_router
    assert find_option(update, MobileNetworkPrefix) is None
    assert {tuple(b["prefixes"]) for b in lab.bindings().values()} == {(MNP,)}
    stream = lab.stream(1.0)
    assert stream.result() == [(0, 0), (0, 0)]


def test_a_binding_refresh_request_has_the_binding_that_it_names_refreshed(lab):
    wait_until(lambda: lab.bindings()[LTE]["lifetime_left"] < LIFETIME - 1.2)
    before = lab.bindings()
    ask_for_refresh(lab, before[LTE])

    wait_until(lambda: lab.bindings()[LTE]["lifetime_left"] > before[LTE]["lifetime_left"] + 0.5)


def test_lifetimes_are_refreshed_well_before_they_end(lab):
    before = lab.bindings()
    received = count_signalling(lab.home_agent())
    stream = lab.stream(LIFETIME + 1.0)
    left = []
    while stream.sent_so_far() < (LIFETIME + 0.5) * 50:
        left += [binding["lifetime_left"] for binding in lab.bindings().values()]
        time.sleep(0.1)

    assert stream.result() == [(0, 0), (0, 0)]
    # a refresh is due with 3 s left; its own way and a busy machine may take of that
    assert min(left) > 1.0
    assert count_signalling(lab.home_agent()) >= received + 3
    after = lab.bindings()
    assert {a: b["ifid"] for a, b in after.items()} == {a: b["ifid"] for a, b in before.items()}
    assert "binding-expired" not in lab.log(HOME_AGENT)
    assert count_sent(lab.home_agent(), "BindingRefreshRequest") == 0


def test_a_silent_mobile_router_is_asked_to_refresh_then_forgotten_then_taken_back(lab):
    process = lab.process(MOBILE_ROUTER)
    process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: lab.home_agent()["bindings"] == [], timeout=LIFETIME + 5)
        # three requests for each of three bindings (RFC 6275 §9.5.5: at most so many)
        assert count_sent(lab.home_agent(), "BindingRefreshRequest") == 9
        assert lab.log(HOME_AGENT).count("binding-expired") == 3
    finally:
        process.send_signal(signal.SIGCONT)

    lab.await_bindings(3)
    stream = lab.stream(1.0)
    assert stream.result() == [(0, 0), (0, 0)]
