"""Mobility Header messages against bytes written by hand from the figures."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from wire_strategies import COA, DRAFT, HOME, RFC5648

from mrouter.errors import ParseError
from mrouter.wire.message_codec import parse_message, serialize_message
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
)
from mrouter.wire.options import (
    BindingRefreshAdvice,
    CareOfAddressInformation,
    MnHaAuthentication,
    NonceIndices,
    UnknownOption,
)
from mrouter.wire.parse_errors import Reason

COOKIE, COOKIE_HEX = bytes(range(0x10, 0x18)), "1011121314151617"
TOKEN, TOKEN_HEX = bytes(range(0x20, 0x28)), "2021222324252627"
HOME_HEX = "20010db8 ffff0000 00000000 00000010"
COAINFO = CareOfAddressInformation(0x2A, 1)

# Payload Proto 59, Header Len, MH Type, reserved, checksum 0; then the message, then options.
VECTORS = {
    # RFC 6275 §6.1.2: reserved.
    "refresh request": (DRAFT, BindingRefreshRequest(), "3b 00 00 00 0000  0000"),
    # The draft §8.5.
    "refresh request for a binding": (
        DRAFT,
        BindingRefreshRequest((COAINFO,)),
        "3b 01 00 00 0000  0000  c0 02 2a 01 0000  01 00",
    ),
    # RFC 6275 §6.1.3: reserved, home init cookie.
    "home test init": (DRAFT, HomeTestInit(COOKIE), "3b 01 01 00 0000  0000" + COOKIE_HEX),
    # RFC 6275 §6.1.4 with CoAINFO, the draft §6.
    "care-of test init": (
        DRAFT,
        CareOfTestInit(COOKIE, (COAINFO,)),
        "3b 02 02 00 0000  0000" + COOKIE_HEX + "c0 02 2a 01 0000  01 00",
    ),
    # RFC 6275 §6.1.5: nonce index, cookie, token.
    "home test": (
        DRAFT,
        HomeTest(0x0102, COOKIE, TOKEN),
        "3b 02 03 00 0000  0102" + COOKIE_HEX + TOKEN_HEX,
    ),
    # RFC 6275 §6.1.6.
    "care-of test": (
        DRAFT,
        CareOfTest(0x0304, COOKIE, TOKEN),
        "3b 02 04 00 0000  0304" + COOKIE_HEX + TOKEN_HEX,
    ),
    # RFC 6275 §6.1.7: sequence, flags, lifetime of 30 units of 4 s; options begin at 8n+4.
    "binding update": (
        DRAFT,
        BindingUpdate(0x0102, 120, acknowledge=True, home_registration=True),
        "3b 01 05 00 0000  0102 c000 001e  01 02 0000",
    ),
    # The draft §5.3.2: R is 0x0800 and M 0x0400.
    "binding update of the draft": (
        DRAFT,
        BindingUpdate(
            1, 0, acknowledge=True, mobile_router=True, multiple=True, options=(COAINFO,)
        ),
        "3b 02 05 00 0000  0001 8c00 0000  c0 02 2a 01 0000  01 04 00000000",
    ),
    # RFC 3963 §4.1: R is 0x0400; the Binding Identifier option says the rest.
    "binding update of rfc5648": (
        RFC5648,
        BindingUpdate(
            1, 262140, acknowledge=True, mobile_router=True, multiple=True, options=(COAINFO,)
        ),
        "3b 02 05 00 0000  0001 8400 ffff  23 04 002a 00 02  01 04 00000000",
    ),
    # RFC 6275 §6.1.8: status, flags, sequence, lifetime.
    "binding acknowledgement": (
        DRAFT,
        BindingAcknowledgement(135, 0x0102, 120),
        "3b 01 06 00 0000  87 00 0102 001e  01 02 0000",
    ),
    "binding acknowledgement with advice": (
        DRAFT,
        BindingAcknowledgement(0, 1, 4, options=(BindingRefreshAdvice(8),)),
        "3b 01 06 00 0000  00 00 0001 0001  02 02 0002",
    ),
    # RFC 6275 §6.1.9: status, reserved, home address.
    "binding error": (
        DRAFT,
        BindingError(1, HOME),
        "3b 02 07 00 0000  01 00" + HOME_HEX,
    ),
    "binding error about no home address": (
        DRAFT,
        BindingError(2, IPv6Address("::")),
        "3b 02 07 00 0000  02 00" + "00" * 16,
    ),
}

# RFC 6275 §6.1.7, RFC 3963 §4.1, RFC 5648 §4.2, the draft §5.3.2.
UPDATE_FLAGS = [
    (DRAFT, "acknowledge", 0x8000),
    (DRAFT, "home_registration", 0x4000),
    (DRAFT, "link_local_compatible", 0x2000),
    (DRAFT, "key_management", 0x1000),
    (DRAFT, "mobile_router", 0x0800),
    (DRAFT, "multiple", 0x0400),
    (RFC5648, "acknowledge", 0x8000),
    (RFC5648, "home_registration", 0x4000),
    (RFC5648, "link_local_compatible", 0x2000),
    (RFC5648, "key_management", 0x1000),
    (RFC5648, "mobile_router", 0x0400),
    (RFC5648, "overwrite", 0x0040),
]


def parse(octets, fmt=DRAFT):
    return parse_message(bytes.fromhex(octets), fmt).message


def refusal(octets):
    with pytest.raises(ParseError) as caught:
        parse(octets)
    return caught.value.reason


@pytest.mark.parametrize(("fmt", "message", "octets"), VECTORS.values(), ids=VECTORS)
def test_message_is_read_from_its_figure(fmt, message, octets):
    assert parse(octets, fmt) == message


@pytest.mark.parametrize(("fmt", "message", "octets"), VECTORS.values(), ids=VECTORS)
def test_message_is_written_as_its_figure(fmt, message, octets):
    assert serialize_message(message, fmt).header.hex() == bytes.fromhex(octets).hex()


@pytest.mark.parametrize(("fmt", "flag", "bit"), UPDATE_FLAGS)
def test_each_flag_of_a_binding_update_has_its_bit(fmt, flag, bit):
    message = BindingUpdate(0, 0, **{flag: True})
    octets = f"3b 01 05 00 0000  0000 {bit:04x} 0000  01 02 0000"
    assert serialize_message(message, fmt).header == bytes.fromhex(octets)
    assert parse(octets, fmt) == message


@pytest.mark.parametrize(("flag", "bit"), [("key_management", 0x80), ("mobile_router", 0x40)])
def test_each_flag_of_a_binding_acknowledgement_has_its_bit(flag, bit):
    message = BindingAcknowledgement(0, 0, 0, **{flag: True})
    octets = f"3b 01 06 00 0000  00 {bit:02x} 0000 0000  01 02 0000"
    assert serialize_message(message, DRAFT).header == bytes.fromhex(octets)
    assert parse(octets) == message


def test_reserved_bits_and_octets_are_ignored():
    assert parse("3b 01 05 ff 0000  0001 03ff 0001  01 02 0000") == BindingUpdate(1, 4)
    assert parse("3b 00 00 ff 0000  ffff") == BindingRefreshRequest()


def test_hmipv6_flag_is_not_taken_for_ours_in_rfc5648():
    assert parse("3b 01 05 00 0000  0001 0800 0001  01 02 0000", RFC5648) == BindingUpdate(1, 4)


def test_multiple_is_what_the_binding_identifier_says_in_rfc5648():
    with_option = parse("3b 02 05 00 0000 0001 0000 0001 23 04 0007 00 01 01 04 00000000", RFC5648)
    assert with_option.multiple
    assert not parse("3b 01 05 00 0000 0001 0000 0001 01 02 0000", RFC5648).multiple


def test_m_without_coainfo_is_left_to_the_receiver_to_drop():
    assert parse("3b 01 05 00 0000  0001 0400 0001  01 02 0000") == BindingUpdate(
        1, 4, multiple=True
    )


@pytest.mark.parametrize("kind", [8, 11, 255])
def test_unknown_type_is_told_before_anything_else(kind):
    assert refusal(f"11 00 {kind:02x} 00 0000 0000") == Reason.UNKNOWN_MH_TYPE


def test_payload_proto_is_told_before_the_length():
    assert refusal("11 00 05 00 0000 0000") == Reason.BAD_PAYLOAD_PROTO


@pytest.mark.parametrize(
    "octets",
    [
        f"3b {length:02x} {kind:02x} 00 0000" + "00" * (2 + 8 * length)
        for kind, length in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 0), (6, 0), (7, 1)]
    ],
)
def test_header_too_short_for_its_type_is_refused(octets):
    assert refusal(octets) == Reason.BAD_HEADER_LENGTH


def test_wrong_option_refuses_the_message():
    assert refusal("3b 01 00 00 0000 0000  03 02 0000 00000000") == Reason.BAD_OPTION_LENGTH


def test_signed_length_counts_from_the_start_of_the_mobility_header():
    # 12 octets of Binding Update, Pad1, type, length, subtype, SPI.
    message = BindingUpdate(1, 4, options=(MnHaAuthentication(3, bytes(12)),))
    header, signed_length = serialize_message(message, DRAFT)
    assert signed_length == 20
    assert parse_message(bytes(header), DRAFT).signed_length == 20


def test_message_without_authentication_has_no_signed_length():
    assert serialize_message(BindingUpdate(1, 4), DRAFT).signed_length == 0


@pytest.mark.parametrize(
    ("message", "fmt"),
    [
        (BindingUpdate(1, 3), DRAFT),
        (BindingUpdate(1, -4), DRAFT),
        (BindingUpdate(1, 262144), DRAFT),
        (BindingUpdate(1, 4, overwrite=True), DRAFT),
        (BindingUpdate(1, 4, multiple=True), RFC5648),
        (BindingAcknowledgement(0, 1, 2), DRAFT),
        (HomeTestInit(b"short"), DRAFT),
        (CareOfTestInit(b"123456789"), DRAFT),
        (HomeTest(1, COOKIE, b"short"), DRAFT),
        (CareOfTest(1, b"short", TOKEN), DRAFT),
        (BindingRefreshRequest((UnknownOption(200, bytes(255)),) * 8), DRAFT),
        (BindingRefreshRequest((NonceIndices(1, 2), NonceIndices(1, 2))), DRAFT),
    ],
)
def test_message_that_could_not_be_read_back_is_not_written(message, fmt):
    with pytest.raises(ValueError, match=r".+"):
        serialize_message(message, fmt)


def test_address_of_a_binding_error_need_not_be_routable():
    octets = "3b 02 07 00 0000  01 00" + COA.packed.hex()
    assert parse(octets) == BindingError(1, COA)
