"""Inputs that fuzzing once found something with."""

from __future__ import annotations

from mrouter.wire.home_discovery import PrefixSolicitation, is_discovery, parse_discovery
from mrouter.wire.tunnelled import has_home_address

#: A Mobile Prefix Solicitation, which has a Home Address option (RFC 6275 §6.7).
SOLICITATION = bytes.fromhex(
    "6000000000203c40"
    "20010db8000100000000000000000010"
    "20010db8aaaa00000000000000000001"
    "3a0201020000c910"
    "20010db8aaaa00000000000000000100"
    "9200bbf200020000"
)


def test_a_prefix_solicitation_is_not_taken_for_data_with_a_home_address_option():
    assert is_discovery(SOLICITATION)
    assert isinstance(parse_discovery(SOLICITATION).message, PrefixSolicitation)
    assert not has_home_address(SOLICITATION)
