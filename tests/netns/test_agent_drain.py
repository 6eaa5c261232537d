"""A link is set aside while it works: nothing is lost."""

from __future__ import annotations

import os
import signal

import pytest
from agent_lab import MOBILE_ROUTER, AgentLab, run_cli, wait_until

from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
CARE_OF = {link.name: link.care_of_address for link in plan.EGRESS_LINKS}
POLICY = """\
[default]
links = ["lte", "wifi", "sat"]
"""


@pytest.fixture(scope="module")
def lab():
    with AgentLab() as lab:
        lab.files.policy.write_text(POLICY)
        yield lab.start()


def link(lab, verb, name):
    return run_cli("link", verb, name, "--socket", lab.socket[MOBILE_ROUTER])


def active(lab):
    return lab.mobile_router()["policies"][0]["active"]


def count(lab, name, direction):
    return lab.links()[name][direction]["packets"]


def test_a_drained_link_is_left_in_both_directions_and_nothing_is_lost(lab):
    stream = lab.stream(4.0)
    wait_until(lambda: stream.sent_so_far() > 20, what="a stream")
    assert active(lab) == ["lte"]

    done = link(lab, "drain", "lte")

    assert (done.returncode, done.stdout) == (0, "lte is drained: flows go by sat and wifi\n")
    assert active(lab) == ["wifi"]
    assert set(lab.bindings()) == {CARE_OF["wifi"], CARE_OF["sat"]}
    before = count(lab, "lte", "uplink"), count(lab, "lte", "downlink")
    assert stream.result() == [(0, 0), (0, 0)]
    assert (count(lab, "lte", "uplink"), count(lab, "lte", "downlink")) == before


def test_a_drained_link_stays_so_over_a_restart(lab):
    lab.end(MOBILE_ROUTER, signal.SIGKILL)
    lab.start(MOBILE_ROUTER, bindings=2)
    assert active(lab) == ["wifi"]
    assert lab.mobile_router()["drained"] == ["lte"]


def test_a_drained_link_is_used_while_there_is_no_other(lab):
    for name in ("wifi", "sat"):
        lab.topology.cut(name)
    wait_until(lambda: active(lab) == ["lte"], what="the last link")
    lab.topology.restore("wifi")
    wait_until(lambda: active(lab) == ["wifi"], what="another link")
    lab.topology.restore("sat")
    lab.await_bindings(2)


def test_the_last_link_can_not_be_drained(lab):
    for name in ("wifi", "sat"):
        lab.topology.cut(name)
    wait_until(lambda: active(lab) == ["lte"], what="the last link")
    done = link(lab, "drain", "lte")
    assert (done.returncode, done.stdout) == (
        1,
        "lte is still in use: no other link can be used\n",
    )
    for name in ("wifi", "sat"):
        lab.topology.restore(name)
    lab.await_bindings(2)


def test_an_undrained_link_is_used_again_without_a_loss(lab):
    stream = lab.stream(3.0)
    wait_until(lambda: stream.sent_so_far() > 20, what="a stream")
    done = link(lab, "undrain", "lte")
    assert (done.returncode, done.stdout) == (0, "lte is used again; drained: none\n")
    wait_until(lambda: active(lab) == ["lte"], what="the best link")
    assert stream.result() == [(0, 0), (0, 0)]


def test_a_link_that_is_not_there_is_refused_with_the_names_that_are(lab):
    done = link(lab, "drain", "lta")
    assert done.returncode == 1
    assert 'no link "lta" (did you mean lte?)' in done.stderr
