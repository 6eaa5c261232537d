"""Killed, restarted and stopped agents: the last good forwarding stays."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from agent_lab import (
    HOME_AGENT,
    MOBILE_ROUTER,
    AgentLab,
    count_signalling,
    describe_bindings,
    wait_until,
)

from mrouter.lab import plan
from mrouter.lab.configs import CALL_PORT

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
DEAD = 0.6
LTE, WIFI, SAT = plan.EGRESS_LINKS


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        yield lab.start()


def describe_both(lab):
    return describe_bindings(lab.home_agent()), describe_bindings(lab.mobile_router())


@pytest.mark.parametrize("role", [MOBILE_ROUTER, HOME_AGENT])
def test_a_stream_loses_nothing_while_an_agent_is_dead_and_when_it_starts_again(lab, role):
    before = describe_both(lab)
    stream = lab.stream(3.0)

    lab.end(role, signal.SIGKILL)
    time.sleep(DEAD)
    lab.start(role)

    assert describe_both(lab) == before
    assert stream.result() == [(0, 0), (0, 0)]


def test_both_agents_killed_at_once_come_back_with_the_same_bindings(lab):
    before = describe_both(lab)
    stream = lab.stream(4.0)

    for role in (MOBILE_ROUTER, HOME_AGENT):
        lab.end(role, signal.SIGKILL)
    lab.start(HOME_AGENT, MOBILE_ROUTER)

    assert describe_both(lab) == before
    assert stream.result() == [(0, 0), (0, 0)]


def test_a_bicast_call_loses_nothing_over_a_restart_of_both_agents(lab):
    stream = lab.stream(4.0, port=CALL_PORT)

    for role in (HOME_AGENT, MOBILE_ROUTER):
        lab.end(role, signal.SIGKILL)
        lab.start(role)

    assert [lost for lost, _ in stream.result()] == [0, 0]


def test_a_restarted_mobile_router_registers_at_once(lab):
    before = lab.bindings()[LTE.care_of_address]
    time.sleep(1.0)
    lab.end(MOBILE_ROUTER, signal.SIGKILL)
    lab.start(MOBILE_ROUTER)

    after = wait_until(
        lambda: (
            lab.bindings()[LTE.care_of_address]["lifetime_left"] > 58
            and lab.bindings()[LTE.care_of_address]
        )
    )
    assert after["ifid"] == before["ifid"]


def test_a_link_that_went_while_the_mobile_router_was_dead_is_deregistered(lab):
    lab.end(MOBILE_ROUTER, signal.SIGKILL)
    lab.topology.cut("wifi")
    lab.start(MOBILE_ROUTER, bindings=2)

    lab.await_care_of_addresses([LTE.care_of_address, SAT.care_of_address])

    lab.topology.restore("wifi")
    lab.await_bindings(3)


def test_without_the_wish_to_deregister_bindings_and_forwarding_outlive_a_stop(lab):
    before = describe_bindings(lab.home_agent())
    stream = lab.stream(2.5)

    assert lab.end(MOBILE_ROUTER) == 0
    time.sleep(DEAD)

    assert describe_bindings(lab.home_agent()) == before
    lab.start(MOBILE_ROUTER)
    assert describe_bindings(lab.home_agent()) == before
    assert stream.result() == [(0, 0), (0, 0)]


def test_a_mobile_router_that_lost_its_memory_takes_its_old_bindings_place(lab):
    state = lab.directory / "mr.sock.state"
    before = lab.bindings()
    lab.end(MOBILE_ROUTER)
    state.write_text('{"version": 1')

    lab.start(MOBILE_ROUTER)

    assert "state-ignored" in lab.log(MOBILE_ROUTER)
    wait_until(
        lambda: (
            {str(a): b["ifid"] for a, b in lab.bindings().items()}
            == {b["care_of_address"]: b["ifid"] for b in lab.mobile_router()["bindings"]}
        )
    )
    after = lab.bindings()
    assert [after[a]["slot"] for a in before] == [before[a]["slot"] for a in before]


def test_a_state_file_that_others_could_have_written_is_ignored(lab):
    state = lab.directory / "ha.sock.state"
    lab.end(HOME_AGENT)
    state.chmod(0o666)
    lab.start(HOME_AGENT)

    assert lab.home_agent()["bindings"] == []
    assert "could have been written by others" in lab.log(HOME_AGENT)

    lab.end(MOBILE_ROUTER)
    lab.start(MOBILE_ROUTER)  # registers at once, and all is well again


def test_bindings_of_another_boot_are_no_use(lab):
    state = lab.directory / "ha.sock.state"
    lab.end(HOME_AGENT)
    content = json.loads(state.read_text())
    assert len(content["content"]["bindings"]) == 3
    state.write_text(json.dumps({**content, "boot": "another"}))
    lab.start(HOME_AGENT)

    assert lab.home_agent()["bindings"] == []


def test_a_home_agent_that_reboots_has_its_bindings_back_at_once(lab):
    before = {b["care_of_address"]: b["ifid"] for b in lab.mobile_router()["bindings"]}
    lab.end(HOME_AGENT)
    (lab.directory / "ha.sock.state").unlink()
    lab.topology.execute("ha", ["nft", "delete", "table", "ip6", "mrouter"])
    lab.start(HOME_AGENT)
    assert lab.bindings() == {}

    lab.stream(1.0).result()

    wait_until(lambda: {str(a): b["ifid"] for a, b in lab.bindings().items()} == before)
    lab.await_flow_bindings()
    assert lab.stream(1.0).result() == [(0, 0), (0, 0)]


def test_a_mobile_router_that_is_no_longer_served_is_not_restored(lab):
    lab.end(MOBILE_ROUTER)
    lab.start(MOBILE_ROUTER)
    lab.end(HOME_AGENT)
    old = lab.files.home_agent.read_text()
    lab.files.home_agent.write_text(old.replace(str(plan.HOME_ADDRESS), "2001:db8:f1::99"))
    lab.start(HOME_AGENT)

    assert lab.home_agent()["bindings"] == []
    lab.files.home_agent.write_text(old)


def test_state_files_are_for_their_owner_alone_and_hold_no_key(lab):
    key = (lab.directory / "mr.key").read_text().strip()
    for name in ("mr.sock.state", "ha.sock.state"):
        state = lab.directory / name
        assert state.stat().st_mode & 0o777 == 0o600
        assert key not in state.read_text()
    assert sorted(path.name for path in lab.directory.glob("*.new")) == []


def test_bindings_are_taken_back_on_a_stop_where_that_is_asked_for():
    with AgentLab() as lab:
        lab.edit(
            lab.files.mobile_router, "lifetime = 60\n", "lifetime = 60\nderegister-on-stop = true\n"
        )
        lab.start()
        received = count_signalling(lab.home_agent())

        assert lab.end(MOBILE_ROUTER) == 0

        wait_until(lambda: lab.home_agent()["bindings"] == [])
        assert count_signalling(lab.home_agent()) == received + 3
        saved = json.loads((lab.directory / "mr.sock.state").read_text())["content"]
        assert saved["bindings"] == saved["routes"] == []
