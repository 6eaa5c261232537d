"""RFC 3963 where it speaks of packets: sections 5.6 and 9 at the mobile router."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from dataplane_world import CN, LFN, LTE, care_of, make_mobile_router, udp, uplinks

from mrouter.lab import plan

pytestmark = pytest.mark.netns

STRANGER = IPv6Address("2001:db8:5::5")
EGRESS = plan.find_link(LTE).interface


@pytest.mark.parametrize(
    "source",
    [STRANGER, care_of(LTE), plan.HOME_ADDRESS, plan.MR_INGRESS_ADDRESS],
    ids=["stranger", "care-of-address", "home-address", "ingress-address"],
)
def test_9_packet_from_on_board_with_a_foreign_source_is_dropped(world, source):
    (seen,) = world.exchange("lfn", udp(source, CN), udp(LFN, CN), at=["net"])

    assert len(uplinks(seen)) == 1
    assert world.count("mr", "foreign_source_dropped", 1) == 1


@pytest.fixture
def heeding(world):
    """The world, whose MR heeds Router Advertisements on LTE as a host does."""
    path = f"net.ipv6.conf.{EGRESS}.accept_ra"
    before = world.lab.execute("mr", ["sysctl", "-n", path]).stdout.strip()
    world.lab.execute("mr", ["sysctl", "-qw", f"{path}=1"])
    yield world
    world.lab.execute("mr", ["sysctl", "-qw", f"{path}={before}"])


def test_5_6_router_advertisements_on_egress_interfaces_are_not_ignored(heeding):
    heeding.apply_mr(make_mobile_router(), verify=True)

    setting = heeding.lab.execute("mr", ["sysctl", "-n", f"net.ipv6.conf.{EGRESS}.accept_ra"])
    # "accept even if forwarding is enabled"
    assert setting.stdout.strip() == "2"
