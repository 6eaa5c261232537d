import hashlib
import hmac
from ipaddress import IPv6Address

import pytest

from mrouter.protocol.keys import (
    PacketSigner,
    compute_authenticator,
    find_signed_addresses,
    from_ntp_timestamp,
    to_ntp_timestamp,
    verify_authenticator,
)
from mrouter.protocol.settings import Algorithm, SecurityAssociation
from mrouter.wire.messages import BindingAcknowledgement, BindingUpdate, Packet
from mrouter.wire.options import AlternateCareOfAddress, MnHaAuthentication

COA = IPv6Address("2001:db8:1::10")
OTHER_COA = IPv6Address("2001:db8:2::10")
HOME = IPv6Address("2001:db8:aaaa::100")
AGENT = IPv6Address("2001:db8:aaaa::1")
SHA1 = SecurityAssociation(3, Algorithm.HMAC_SHA1, b"key of 16 octets")
SHA256 = SecurityAssociation(300, Algorithm.HMAC_SHA256, b"k" * 32)


def update(*options, home_address=HOME):
    message = BindingUpdate(sequence=1, lifetime=60, options=options)
    return Packet(COA, AGENT, message, home_address=home_address, signed_part=b"header")


@pytest.mark.parametrize(
    ("sa", "digest", "length"), [(SHA1, hashlib.sha1, 12), (SHA256, hashlib.sha256, 16)]
)
def test_authenticator_is_the_cut_hmac_of_addresses_and_header(sa, digest, length):
    expected = hmac.new(sa.key, COA.packed + HOME.packed + b"header", digest).digest()[:length]
    assert compute_authenticator(sa, COA, HOME, b"header") == expected
    assert PacketSigner(sa).length == length
    assert PacketSigner(sa).sign(update(), b"header") == expected


def test_alternate_care_of_address_is_signed_instead_of_the_source():
    packet = update(AlternateCareOfAddress(OTHER_COA))
    assert find_signed_addresses(packet) == (OTHER_COA, HOME)


def test_update_from_home_signs_its_source_twice():
    assert find_signed_addresses(update(home_address=None)) == (COA, COA)


def test_acknowledgement_signs_its_destination_and_routing_header():
    message = BindingAcknowledgement(status=0, sequence=1, lifetime=60)
    packet = Packet(AGENT, COA, message, routing_home_address=HOME)
    assert find_signed_addresses(packet) == (COA, HOME)
    at_home = Packet(AGENT, HOME, message)
    assert find_signed_addresses(at_home) == (HOME, HOME)


def test_right_authenticator_is_verified():
    mac = compute_authenticator(SHA256, COA, HOME, b"header")
    assert verify_authenticator(SHA256, update(MnHaAuthentication(300, mac)))


def test_authenticator_that_is_not_the_last_option_is_not_accepted():
    mac = compute_authenticator(SHA256, OTHER_COA, HOME, b"header")
    packet = update(MnHaAuthentication(300, mac), AlternateCareOfAddress(OTHER_COA))
    assert not verify_authenticator(SHA256, packet)


@pytest.mark.parametrize(
    "option",
    [
        MnHaAuthentication(300, b""),
        MnHaAuthentication(300, bytes(16)),
        MnHaAuthentication(301, compute_authenticator(SHA256, COA, HOME, b"header")),
        MnHaAuthentication(300, compute_authenticator(SHA256, COA, HOME, b"header")[:12]),
    ],
)
def test_wrong_authenticator_is_not_verified(option):
    assert not verify_authenticator(SHA256, update(option))


def test_message_without_options_is_not_verified():
    assert not verify_authenticator(SHA256, update())


def test_key_is_not_in_the_repr():
    assert "kkkk" not in repr(SHA256)


def test_unix_epoch_in_ntp_format():
    assert to_ntp_timestamp(0.5) == (2_208_988_800 << 32) + (1 << 31)


@pytest.mark.parametrize("unix", [0.0, 1_800_000_000.25, 2_085_978_496.0, 2_500_000_000.5])
def test_timestamps_come_back_also_after_the_era_of_2036(unix):
    assert from_ntp_timestamp(to_ntp_timestamp(unix)) == unix
