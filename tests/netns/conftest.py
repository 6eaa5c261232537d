from __future__ import annotations

import os

import pytest

from mrouter.lab import plan
from mrouter.lab.topology import Topology


@pytest.fixture(scope="session")
def needs_root():
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")


@pytest.fixture(scope="module")
def plain_lab(needs_root):
    """The lab's network without rates, one for the module; every neighbour is known."""
    with Topology(shaped=False) as lab:
        hops = [("lfn", plan.MR_INGRESS_ADDRESS), ("ha", plan.HA_GATEWAY), ("cn", plan.CN_GATEWAY)]
        hops += [("mr", link.gateway) for link in plan.EGRESS_LINKS]
        for node, gateway in hops:
            lab.execute(node, ["ping", "-6", "-n", "-c", "1", "-W", "2", str(gateway)])
        yield lab


@pytest.fixture(scope="module")
def shared_world(plain_lab):
    from dataplane_world import World

    world = World(plain_lab)
    yield world
    world.close()


@pytest.fixture(scope="module")
def shared_agent_lab(needs_root):
    from agent_lab import AgentLab

    with AgentLab() as lab:
        yield lab.start()


@pytest.fixture
def lab_of_three_links(shared_agent_lab):
    """The agents with all three links registered, as they are again afterwards."""
    yield shared_agent_lab
    shared_agent_lab.await_care_of_addresses([link.care_of_address for link in plan.EGRESS_LINKS])
    shared_agent_lab.await_bindings(3)


@pytest.fixture
def world(shared_world):
    """MR and HA with the three links registered, no flow known."""
    shared_world.reset()
    return shared_world
