"""Binding Authorization Data on the wire (RFC 6275 §6.2.7)."""

import hashlib
import hmac
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import COA, DRAFT, HOME, CountingSigner, unhurried

from mrouter.protocol.keygen_tokens import (
    AuthorizationSigner,
    BindingAuthorization,
    verify_authorization,
)
from mrouter.wire.messages import BindingUpdate, Packet
from mrouter.wire.options import (
    BindingAuthorizationData,
    CareOfAddressInformation,
    NonceIndices,
)
from mrouter.wire.packet import parse_packet, serialize_packet

CORRESPONDENT = IPv6Address("2001:db8:c::1")
AUTHORIZATION = BindingAuthorization(COA, CORRESPONDENT, b"k" * 20)


def make_packet(sequence=7, authenticator=b""):
    options = (
        CareOfAddressInformation(5, 1),
        NonceIndices(3, 4),
        BindingAuthorizationData(authenticator),
    )
    update = BindingUpdate(sequence, 420, acknowledge=True, multiple=True, options=options)
    return Packet(COA, CORRESPONDENT, update, home_address=HOME)


def test_authenticator_covers_the_mobility_header_up_to_itself_with_a_zero_checksum():
    data = serialize_packet(make_packet(), DRAFT, AuthorizationSigner(AUTHORIZATION))
    header = data[40 + 24 :]
    covered = header[:4] + b"\0\0" + header[6:-12]
    expected = hmac.digest(b"k" * 20, COA.packed + CORRESPONDENT.packed + covered, hashlib.sha1)
    assert header[-12:] == expected[:12]
    assert header[-14:-12] == bytes((5, 12))


def test_authorization_data_ends_the_header_without_padding():
    data = serialize_packet(make_packet(), DRAFT, AuthorizationSigner(AUTHORIZATION))
    header = data[40 + 24 :]
    assert len(header) == 8 * (header[1] + 1)
    assert (len(header) - 14) % 8 == 2  # "an implicit alignment requirement is 8n + 2"


def test_receiver_gets_what_the_signer_has_signed():
    signer = CountingSigner()
    parsed = parse_packet(serialize_packet(make_packet(), DRAFT, signer), DRAFT)
    assert signer.signed == [parsed.signed_part]
    assert parsed.message.options[-1].authenticator == bytes(range(1, 13))


@unhurried
@given(st.integers(0, 65535))
def test_signed_packet_verifies_at_its_receiver(sequence):
    signer = AuthorizationSigner(AUTHORIZATION)
    packet = parse_packet(serialize_packet(make_packet(sequence), DRAFT, signer), DRAFT)
    assert verify_authorization(AUTHORIZATION, packet)


def test_packet_that_has_an_authenticator_is_not_signed_again():
    data = serialize_packet(make_packet(authenticator=b"a" * 12), DRAFT, CountingSigner())
    assert data[-12:] == b"a" * 12


def test_unsigned_authorization_data_cannot_be_written():
    with pytest.raises(ValueError, match="Binding Authorization Data of 0 octets"):
        serialize_packet(make_packet(), DRAFT)
