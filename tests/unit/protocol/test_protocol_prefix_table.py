from ipaddress import IPv6Address, IPv6Network

import pytest

from mrouter.protocol.prefix_table import PrefixTable
from mrouter.protocol.settings import ServedMobileRouter
from mrouter.wire.constants import BindingStatus

OURS = ServedMobileRouter(IPv6Address("2001:db8::1"), (IPv6Network("2001:db8:10::/48"),), ())
THEIRS = ServedMobileRouter(
    IPv6Address("2001:db8::2"),
    (IPv6Network("2001:db8:20::/48"), IPv6Network("2001:db8:30:4400::/56")),
    (),
)
TABLE = PrefixTable([OURS, THEIRS])


@pytest.mark.parametrize("prefix", ["2001:db8:10::/48", "2001:db8:10:5::/64"])
def test_own_prefix_or_a_part_of_it_may_be_registered(prefix):
    assert TABLE.check(OURS, IPv6Network(prefix)) is None


@pytest.mark.parametrize(
    "prefix",
    ["2001:db8:20::/48", "2001:db8:20:7::/64", "2001:db8:30::/48", "2001:db8::/32", "::/0"],
)
def test_prefix_that_overlaps_anothers_is_not_authorized(prefix):
    status = TABLE.check(OURS, IPv6Network(prefix))
    assert status is BindingStatus.NOT_AUTHORIZED_FOR_PREFIX


@pytest.mark.parametrize(
    "prefix", ["2001:db8:40::/48", "ff00::/8", "fe80::/64", "2001:db8:30::/57"]
)
def test_prefix_that_is_nobodys_is_invalid(prefix):
    assert TABLE.check(OURS, IPv6Network(prefix)) is BindingStatus.INVALID_PREFIX


def test_only_served_home_addresses_are_found():
    assert TABLE.get(OURS.home_address) is OURS
    assert TABLE.get(IPv6Address("2001:db8::3")) is None
