from ipaddress import IPv6Address, IPv6Network

import pytest

from mrouter.protocol.prefix_table import PrefixTable, permits
from mrouter.protocol.settings import ServedMobileRouter

OURS = ServedMobileRouter(IPv6Address("2001:db8::1"), (IPv6Network("2001:db8:10::/48"),), ())
THEIRS = ServedMobileRouter(
    IPv6Address("2001:db8::2"),
    (IPv6Network("2001:db8:20::/48"), IPv6Network("2001:db8:30:4400::/56")),
    (),
)
TABLE = PrefixTable([OURS, THEIRS])


@pytest.mark.parametrize("prefix", ["2001:db8:10::/48", "2001:db8:10:5::/64"])
def test_own_prefix_or_a_part_of_it_may_be_registered(prefix):
    assert permits(OURS, IPv6Network(prefix))


@pytest.mark.parametrize(
    "prefix",
    ["2001:db8:20::/48", "2001:db8:20:7::/64", "2001:db8:30::/48", "2001:db8::/32", "::/0"],
)
def test_prefix_that_overlaps_anothers_may_not(prefix):
    assert not permits(OURS, IPv6Network(prefix))


@pytest.mark.parametrize(
    "prefix", ["2001:db8:40::/48", "ff00::/8", "fe80::/64", "2001:db8:30::/57"]
)
def test_prefix_that_is_nobodys_may_not(prefix):
    assert not permits(OURS, IPv6Network(prefix))


def test_only_served_home_addresses_are_found():
    assert TABLE.get(OURS.home_address) is OURS
    assert TABLE.get(IPv6Address("2001:db8::3")) is None
