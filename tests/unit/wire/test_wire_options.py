"""Mobility options against bytes written by hand from the RFCs' and the draft's figures."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from wire_strategies import COA, DRAFT, RFC5648

from mrouter.errors import ParseError
from mrouter.wire.constants import Dialect
from mrouter.wire.format import WireFormat
from mrouter.wire.option_codec import parse_options, serialize_options
from mrouter.wire.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    CareOfAddressInformation,
    MnHaAuthentication,
    MobileNetworkPrefix,
    NonceIndices,
    ReplayProtection,
    UnknownOption,
)
from mrouter.wire.parse_errors import Reason

COA_HEX = "20010db8 00010000 00000000 00000002"
TWELVE = bytes(range(0xA0, 0xAC))
TWELVE_HEX = "a0a1a2a3 a4a5a6a7 a8a9aaab"

# Each begins at a multiple of 8 octets, and is padded to the next.
VECTORS = {
    # RFC 6275 §6.2.4, 2n: 30 units of 4 s.
    "refresh advice": (DRAFT, BindingRefreshAdvice(120), "02 02 001e  01 02 0000"),
    # RFC 6275 §6.2.5, 8n+6.
    "alternate care-of address": (
        DRAFT,
        AlternateCareOfAddress(COA),
        "01 04 00000000  03 10" + COA_HEX,
    ),
    # RFC 6275 §6.2.6, 2n.
    "nonce indices": (DRAFT, NonceIndices(0x0102, 0x0304), "04 04 0102 0304  01 00"),
    # RFC 6275 §6.2.7, 8n+2.
    "binding authorization data": (
        DRAFT,
        BindingAuthorizationData(TWELVE),
        "01 00  05 0c" + TWELVE_HEX,
    ),
    # RFC 3963 §4.3, 8n+4: reserved, prefix length, prefix.
    "mobile network prefix": (
        DRAFT,
        MobileNetworkPrefix(IPv6Network("2001:db8:f::/48")),
        "01 02 0000  06 12 00 30 20010db8 000f0000 00000000 00000000",
    ),
    # RFC 4285 §5, 4n+1: subtype 1, SPI, authenticator.
    "mn-ha authentication": (
        DRAFT,
        MnHaAuthentication(3, TWELVE),
        "00  09 11 01 00000003" + TWELVE_HEX + "01 02 0000",
    ),
    # RFC 4285 §6, 8n+2.
    "replay protection": (
        DRAFT,
        ReplayProtection(0xE3C3D4A5_80000000),
        "01 00  0a 08 e3c3d4a5 80000000  01 02 0000",
    ),
    # The draft §5.3.1: Length 2, then IFID, IFPRI and 16 reserved bits.
    "coainfo": (DRAFT, CareOfAddressInformation(0x2A, 1), "c0 02 2a 01 0000  01 00"),
    "coainfo of a configured type": (
        WireFormat(coainfo_type=35),
        CareOfAddressInformation(0xFF, 0xFE),
        "23 02 ff fe 0000  01 00",
    ),
    # RFC 5648 §4.3, 2n, or 8n+2 with an address: BID, status, H and RFC 6089's BID-PRI, where
    # IFPRI 0 is priority 1.
    "binding identifier": (
        RFC5648,
        CareOfAddressInformation(0x0102, 0),
        "23 04 0102 00 01  01 00",
    ),
    "binding identifier in full": (
        RFC5648,
        CareOfAddressInformation(0xFFFF, 126, 164, COA, home_and_foreign=True),
        "01 00  23 14 ffff a4 ff" + COA_HEX,
    ),
    # RFC 6275 §6.2.1: skipped by its length.
    "unknown": (DRAFT, UnknownOption(200, b"\xaa\xbb\xcc"), "c8 03 aabbcc  01 01 00"),
    # RFC 4285 §5: subtype 2 is MN-AAA, 4n+1.
    "mn-aaa authentication": (
        DRAFT,
        UnknownOption(9, b"\x02\x00\x00\x00\x05\xdd"),
        "00  09 06 02 00000005 dd  01 05 0000000000",
    ),
}
BEFORE = bytes(8)


def parse(octets, fmt=DRAFT):
    return parse_options(BEFORE + bytes.fromhex(octets), len(BEFORE), fmt).options


def serialize(options, fmt=DRAFT, authenticator_length=0):
    header = bytearray(BEFORE)
    serialize_options(header, options, fmt, authenticator_length)
    return bytes(header[len(BEFORE) :])


def refusal(octets, fmt=DRAFT):
    with pytest.raises(ParseError) as caught:
        parse(octets, fmt)
    return caught.value.reason


@pytest.mark.parametrize(("fmt", "option", "octets"), VECTORS.values(), ids=VECTORS)
def test_option_is_read_from_its_figure(fmt, option, octets):
    assert parse(octets, fmt) == (option,)


@pytest.mark.parametrize(("fmt", "option", "octets"), VECTORS.values(), ids=VECTORS)
def test_option_is_written_as_its_figure(fmt, option, octets):
    assert serialize((option,), fmt).hex() == bytes.fromhex(octets).hex()


@pytest.mark.parametrize(
    "octets",
    [
        "02 01 00 01 01 00 00 00",
        "02 03 000000 00 00 00",
        "03 0f" + "00" * 15,
        "04 06" + "00" * 6,
        "05 0a" + "00" * 10,
        "06 11" + "00" * 17,
        "09 05 01 00000003 00",
        "09 00",
        "0a 04 00000000",
    ],
)
def test_wrong_length_of_a_known_option_is_refused(octets):
    assert refusal(octets) == Reason.BAD_OPTION_LENGTH


@pytest.mark.parametrize("octets", ["02", "02 02 00", "01 04 000000", "c8 ff" + "00" * 20])
def test_option_past_the_end_is_truncated(octets):
    assert refusal(octets) == Reason.TRUNCATED


def test_several_options_are_read_in_the_order_of_the_wire():
    octets = "c0 02 07 00 0000  0a 08 0000000000000001  04 04 0001 0002"
    assert parse(octets) == (
        CareOfAddressInformation(7, 0),
        ReplayProtection(1),
        NonceIndices(1, 2),
    )


def test_padding_may_hold_anything():
    assert parse("00 01 03 dddddd 00 00") == ()


def test_signed_part_ends_with_the_spi():
    octets = BEFORE + bytes.fromhex("00  09 11 01 00000003" + TWELVE_HEX + "01 02 0000")
    assert parse_options(octets, 8, DRAFT).signed_length == 8 + 1 + 2 + 1 + 4


# --- CoAINFO: accepted as the draft draws it, and nothing looser ----------------------------


@pytest.mark.parametrize("octets", ["c0 04 2a 01 0000 01 00", "c0 00 00 00", "c0 01 2a 00"])
def test_coainfo_of_another_length_is_refused(octets):
    assert refusal(octets) == Reason.BAD_OPTION_LENGTH


@pytest.mark.parametrize("reserved", ["0001", "0100", "0102"])
def test_coainfo_followed_by_anything_but_two_zero_octets_is_refused(reserved):
    assert refusal("c0 02 2a 01" + reserved + "01 00") == Reason.BAD_OPTION_VALUE


@pytest.mark.parametrize("rest", ["", "00"])
def test_coainfo_without_its_reserved_octets_is_truncated(rest):
    assert refusal("c0 02 2a 01" + rest) == Reason.TRUNCATED


def test_reader_that_skips_by_length_meets_two_pad1():
    as_unknown = WireFormat(coainfo_type=193)
    assert parse("c0 02 2a 01 0000 01 00", as_unknown) == (UnknownOption(0xC0, b"\x2a\x01"),)


def test_each_dialect_skips_the_other_ones_option():
    assert parse("c0 02 2a 01 0000 01 00", RFC5648) == (UnknownOption(0xC0, b"\x2a\x01"),)
    assert parse("23 04 0102 00 01 01 00", DRAFT) == (UnknownOption(35, b"\x01\x02\x00\x01"),)


@pytest.mark.parametrize("kind", [0, 1, 3, 9, 44, 45, -1, 256])
def test_coainfo_type_that_is_taken_cannot_be_configured(kind):
    with pytest.raises(ValueError, match="option type"):
        WireFormat(Dialect.DRAFT_01, coainfo_type=kind)


# --- the Binding Identifier option ----------------------------------------------------------


def test_priority_zero_of_a_peer_that_knows_rfc5648_alone_is_the_best():
    assert parse("23 04 0102 00 00 01 00", RFC5648) == (CareOfAddressInformation(0x0102, 0),)


def test_bid_0_is_refused():
    assert refusal("23 04 0000 00 01 01 00", RFC5648) == Reason.BAD_OPTION_VALUE


def test_bid_0_is_not_written():
    with pytest.raises(ValueError, match="IFID 0"):
        serialize((CareOfAddressInformation(0, 1),), RFC5648)


def test_ifid_0_has_a_place_in_coainfo():
    assert parse("c0 02 00 01 0000 01 00") == (CareOfAddressInformation(0, 1),)


@pytest.mark.parametrize(
    "octets",
    [
        "23 08 0102 00 01 c0000201 01 02 0000",  # an IPv4 care-of address
        "23 05 0102 00 01 00  00",
        "23 13 0102 00 01" + "20" * 15 + "01 01 00",
    ],
)
def test_binding_identifier_of_a_wrong_length_is_left_to_an_answer_of_status_164(octets):
    assert parse(octets, RFC5648) == (CareOfAddressInformation(0x0102, 0, malformed=True),)


@pytest.mark.parametrize("octets", ["23 00", "23 03 0102 00 01 00"])
def test_binding_identifier_without_its_fixed_fields_is_refused(octets):
    assert refusal(octets, RFC5648) == Reason.BAD_OPTION_LENGTH


@pytest.mark.parametrize("address", ["::", "::1", "ff02::1", "fe80::1", "::ffff:192.0.2.1"])
def test_bid_with_an_address_that_is_not_routable_is_left_to_an_answer_of_status_164(address):
    octets = "23 14 0001 00 01" + IPv6Address(address).packed.hex() + "01 00"
    assert parse(octets, RFC5648) == (CareOfAddressInformation(1, 0, malformed=True),)


def test_malformed_bid_is_not_written():
    with pytest.raises(ValueError, match="malformed"):
        serialize((CareOfAddressInformation(1, 1, malformed=True),), RFC5648)


def test_several_bindings_go_together_in_rfc5648():
    octets = "23 04 0001 00 01  23 04 0002 00 02  01 02 0000"
    assert parse(octets, RFC5648) == (
        CareOfAddressInformation(1, 0),
        CareOfAddressInformation(2, 1),
    )


@pytest.mark.parametrize("ifpri", [-1, 127, 255])
def test_priority_that_has_no_place_is_not_written(ifpri):
    with pytest.raises(ValueError, match=f"IFPRI {ifpri}"):
        serialize((CareOfAddressInformation(1, ifpri),), RFC5648)


# --- values -------------------------------------------------------------------------------


def test_bits_past_the_prefix_length_are_ignored():
    octets = "01 02 0000  06 12 00 30 20010db8 000fffff ffffffff ffffffff"
    assert parse(octets) == (MobileNetworkPrefix(IPv6Network("2001:db8:f::/48")),)


def test_prefix_longer_than_an_address_is_refused():
    octets = "01 02 0000  06 12 00 81 20010db8 000f0000 00000000 00000000"
    assert refusal(octets) == Reason.BAD_OPTION_VALUE


@pytest.mark.parametrize("address", ["::", "::1", "ff02::1", "fe80::1", "::ffff:192.0.2.1"])
def test_care_of_address_that_is_not_routable_is_refused(address):
    packed = IPv6Address(address).packed.hex()
    assert refusal("01 04 00000000 03 10" + packed) == Reason.BAD_ADDRESS


# --- which options go together --------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        "02 02 0001 02 02 0001",
        ("03 10" + COA_HEX) * 2,
        "04 04 00010002 04 04 00010002",
        ("0a 08" + "00" * 8) * 2,
        ("09 06 01 00000003 dd") * 2,
        "c0 02 2a 01 0000 c0 02 2b 02 0000",
    ],
)
def test_repeated_option_is_refused(octets):
    assert refusal(octets) == Reason.DUPLICATE_OPTION


def test_several_prefixes_go_together():
    one = "06 12 00 40 20010db8 000f0001 00000000 00000000"
    two = "06 12 00 40 20010db8 000f0002 00000000 00000000"
    assert len(parse(one + two)) == 2


@pytest.mark.parametrize("last", ["05 0c" + TWELVE_HEX, "09 11 01 00000003" + TWELVE_HEX])
def test_option_after_the_authenticator_is_refused(last):
    assert refusal(last + "02 02 0001") == Reason.BAD_OPTION_ORDER


def test_padding_after_binding_authorization_data_is_refused():
    assert refusal("05 0c" + TWELVE_HEX + "01 00") == Reason.BAD_OPTION_ORDER


def test_mn_aaa_authentication_may_follow_mn_ha():
    octets = "09 06 01 00000003 dd  09 06 02 00000004 ee"
    assert parse(octets) == (
        MnHaAuthentication(3, b"\xdd"),
        UnknownOption(9, bytes.fromhex("0200000004ee")),
    )


def test_mn_ha_authentication_behind_mn_aaa_is_refused():
    octets = "09 06 02 00000004 ee  09 06 01 00000003 dd"
    assert refusal(octets) == Reason.BAD_OPTION_ORDER


# --- what cannot be written -----------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        (MnHaAuthentication(3, b"x"), NonceIndices(1, 2)),
        (NonceIndices(1, 2), NonceIndices(1, 2)),
        (BindingAuthorizationData(b"short"),),
        (BindingRefreshAdvice(6),),
        (BindingRefreshAdvice(262144),),
        (MnHaAuthentication(3),),
        (MnHaAuthentication(3, bytes(251)),),
        (UnknownOption(200, bytes(256)),),
        (UnknownOption(1, b""),),
        (UnknownOption(3, b""),),
        (UnknownOption(192, b""),),
        (UnknownOption(44, b""),),
        (UnknownOption(45, b""),),
        (UnknownOption(9, b"\x01\x00"),),
    ],
)
def test_options_that_could_not_be_read_back_are_not_written(options):
    with pytest.raises(ValueError, match=r".+"):
        serialize(options)


def test_unsigned_authentication_leaves_room_for_the_authenticator():
    assert serialize((MnHaAuthentication(3),), authenticator_length=12) == serialize(
        (MnHaAuthentication(3, bytes(12)),)
    )
