"""Keygen tokens and Kbm against their formulas (RFC 6275 §5.2.5, the draft §6)."""

import hashlib
import hmac
from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from mrouter.protocol.keygen_tokens import (
    BindingAuthorization,
    compute_binding_key,
    compute_care_of_keygen_token,
    compute_home_keygen_token,
)
from mrouter.wire.options import CareOfAddressInformation

KCN = bytes(range(20))
NONCE = b"nonce..."
ADDRESS = IPv6Address("2001:db8:1::10")
octet = st.integers(0, 255)


def first_64(data):
    return hmac.digest(KCN, data, hashlib.sha1)[:8]


def test_home_keygen_token_ends_with_octet_0():
    token = compute_home_keygen_token(KCN, ADDRESS, NONCE)
    assert token == first_64(ADDRESS.packed + NONCE + b"\0")


def test_care_of_keygen_token_without_coainfo_ends_with_octet_1():
    token = compute_care_of_keygen_token(KCN, ADDRESS, NONCE, None)
    assert token == first_64(ADDRESS.packed + NONCE + b"\1")


@given(octet, octet)
def test_care_of_keygen_token_with_coainfo_is_the_drafts(ifid, ifpri):
    information = CareOfAddressInformation(ifid, ifpri)
    token = compute_care_of_keygen_token(KCN, ADDRESS, NONCE, information)
    assert token == first_64(ADDRESS.packed + bytes((ifid, ifpri)) + NONCE)


def test_wide_binding_identifier_has_two_octets():
    information = CareOfAddressInformation(0x1234, 5)
    token = compute_care_of_keygen_token(KCN, ADDRESS, NONCE, information)
    assert token == first_64(ADDRESS.packed + b"\x12\x34\x05" + NONCE)


def test_binding_key_is_sha1_of_both_tokens_or_of_the_home_one():
    home, care_of = b"homehome", b"careofco"
    assert compute_binding_key(home, care_of) == hashlib.sha1(home + care_of).digest()
    assert compute_binding_key(home, None) == hashlib.sha1(home).digest()


def test_key_does_not_show():
    assert "secret" not in repr(BindingAuthorization(ADDRESS, ADDRESS, b"secret"))
