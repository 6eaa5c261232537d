"""XFRM's policies in a real kernel; its states need ``mip6``: see ``tests/kernels``."""

from __future__ import annotations

import os
from ipaddress import IPv6Address

import pytest
from agent_lab import CORRESPONDENT_NODE, AgentLab
from dataplane_world import NodeThread

from mrouter.dataplane.state import RouteOptimization
from mrouter.dataplane.transformations import (
    Direction,
    Header,
    TransformationPolicy,
    Transformations,
)
from mrouter.dataplane.xfrm import XfrmTables, require_mip6
from mrouter.errors import DataplaneError
from mrouter.lab import plan

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]
HOME, CN = plan.HOME_ADDRESS, plan.CN_ADDRESS
LTE, WIFI = IPv6Address("2001:db8:1::2"), IPv6Address("2001:db8:2::2")
IN = TransformationPolicy(Direction.IN, Header.ROUTING, CN, HOME)
OPTION = Header.HOME_ADDRESS_OPTION
MARKS = 0x4100000, 0x87F00000
OUT_LTE = TransformationPolicy(Direction.OUT, OPTION, HOME, CN, LTE, *MARKS)
OUT_WIFI = TransformationPolicy(Direction.OUT, OPTION, HOME, CN, WIFI, *MARKS)
FOREIGN = f"src {HOME}/128 dst {CN}/128 dir out"


@pytest.fixture
def mr(plain_lab):
    node = NodeThread(plain_lab.namespace("mr"))
    yield node
    node.close()


@pytest.fixture
def tables(mr):
    tables = XfrmTables()
    yield tables
    mr(tables.add, Transformations())
    mr(tables.delete_stale, Transformations())
    tables.close()


def change(mr, tables, *policies):
    wanted = Transformations(policies=frozenset(policies))
    mr(tables.add, wanted)
    mr(tables.delete_stale, wanted)


def show(lab):
    return lab.execute("mr", ["ip", "xfrm", "policy"]).stdout


def test_policies_are_added_changed_in_place_and_deleted(plain_lab, mr, tables):
    change(mr, tables, IN, OUT_LTE)
    assert show(plain_lab).count("ptype sub") == 2
    assert f"tmpl src {LTE} dst {CN}" in show(plain_lab)

    change(mr, tables, IN, OUT_WIFI)
    assert show(plain_lab).count("ptype sub") == 2
    assert f"tmpl src {WIFI} dst {CN}" in show(plain_lab)

    change(mr, tables)
    assert show(plain_lab) == ""


def test_a_successor_knows_what_stands_and_deletes_what_is_not_wanted(plain_lab, mr, tables):
    change(mr, tables, IN, OUT_LTE)
    successor = XfrmTables()
    change(mr, successor, OUT_LTE)
    successor.close()

    assert f"tmpl src {LTE} dst {CN}" in show(plain_lab)
    assert "dir in" not in show(plain_lab)
    tables.forget()


def test_anothers_policy_for_the_same_packets_is_left_alone(plain_lab, mr, tables):
    esp = f"{FOREIGN} tmpl proto esp reqid 1 mode transport"
    plain_lab.execute("mr", ["ip", "xfrm", "policy", "add", *esp.split()])
    before = show(plain_lab)
    change(mr, tables, OUT_LTE)
    change(mr, tables)

    assert show(plain_lab) == before
    plain_lab.execute("mr", ["ip", "xfrm", "policy", "delete", *FOREIGN.split()])


def test_anothers_policy_in_the_place_of_ours_is_told_and_not_replaced(plain_lab, mr, tables):
    taken = f"{FOREIGN} ptype sub mark {MARKS[0]} mask {MARKS[1]}"
    plain_lab.execute("mr", ["ip", "xfrm", "policy", "add", *taken.split()])
    before = show(plain_lab)

    with pytest.raises(DataplaneError, match="somebody else's stands for the same addresses"):
        change(mr, tables, OUT_LTE)

    assert show(plain_lab) == before
    plain_lab.execute("mr", ["ip", "xfrm", "policy", "delete", *taken.split()])
    tables.forget()


def has_mip6(mr):
    try:
        mr(require_mip6, RouteOptimization.MIP6)
    except DataplaneError:
        return False
    return True


def test_an_agent_that_needs_mip6_says_what_the_kernel_lacks(plain_lab, mr):
    if has_mip6(mr):
        pytest.skip("this kernel has mip6")
    with AgentLab() as lab:
        file = lab.config[CORRESPONDENT_NODE]
        file.write_text(f'{file.read_text()}\n[dataplane]\nroute-optimization = "mip6"\n')
        lab.launch(CORRESPONDENT_NODE)

        assert lab.process(CORRESPONDENT_NODE).wait(timeout=15) != 0
        said = lab.log(CORRESPONDENT_NODE)
    assert "this kernel has no mip6" in said
    assert 'route-optimization = "tunnel"' in said
    assert "Traceback" not in said
    # what was tried is not left behind
    assert show(plain_lab) == ""
