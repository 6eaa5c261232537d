"""Whole packets: headers, addresses, checksum, signature."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from wire_strategies import (
    COA,
    DRAFT,
    FULL_UPDATE,
    HOME,
    HOME_AGENT,
    RFC5648,
    CountingSigner,
)

from mrouter.errors import ParseError
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingRefreshRequest,
    BindingUpdate,
    HomeTestInit,
    Packet,
)
from mrouter.wire.options import CareOfAddressInformation, MnHaAuthentication
from mrouter.wire.packet import parse_packet, serialize_packet
from mrouter.wire.parse_errors import ParameterProblem, Reason, UnknownMessageType

COA_HEX = "20010db8 00010000 00000000 00000002"
HOME_HEX = "20010db8 ffff0000 00000000 00000010"
HOME_AGENT_HEX = "20010db8 ffff0000 00000000 00000001"

# Binding Update of the draft from a mobile router: Home Address option, A, H, R, M, CoAINFO.
UPDATE = Packet(
    COA,
    HOME_AGENT,
    BindingUpdate(
        sequence=5,
        lifetime=120,
        acknowledge=True,
        home_registration=True,
        mobile_router=True,
        multiple=True,
        options=(CareOfAddressInformation(7, 1),),
    ),
    home_address=HOME,
)
UPDATE_HEX = (
    "60000000 0030 3c 40"
    + COA_HEX
    + HOME_AGENT_HEX
    # Destination Options: next header 135, 24 octets, PadN of 4, Home Address at 8n+6.
    + "87 02 01 02 0000 c9 10"
    + HOME_HEX
    # Mobility Header. By hand: the pseudo-header (home address, home agent, 24, 135) sums up to
    # 0x5c22, the header without its checksum to 0xd42d, both to 0x3050: the checksum is 0xcfaf.
    + "3b 02 05 00 cfaf 0005 cc00 001e c0 02 07 01 0000 01 04 00000000"
)

# Its acknowledgement: type 2 routing header.
ACKNOWLEDGEMENT = Packet(
    HOME_AGENT,
    COA,
    BindingAcknowledgement(1, 5, 120, mobile_router=True),
    routing_home_address=HOME,
)
ACKNOWLEDGEMENT_HEX = (
    "60000000 0028 2b 40"
    + HOME_AGENT_HEX
    + COA_HEX
    # Routing header: next header 135, 24 octets, type 2, one segment left, reserved.
    + "87 02 02 01 00000000"
    + HOME_HEX
    + "3b 01 06 00 607f 01 40 0005 001e 01 02 0000"
)


UPDATE_OCTETS = bytes.fromhex(UPDATE_HEX)
ACKNOWLEDGEMENT_OCTETS = bytes.fromhex(ACKNOWLEDGEMENT_HEX)


def sum_words(octets):
    """Sum 16-bit words as RFC 1071 says, one by one."""
    total = 0
    for high, low in zip(octets[::2], octets[1::2], strict=True):
        total += high << 8 | low
        total = (total & 0xFFFF) + (total >> 16)
    return total


def compute_reference_checksum(source, destination, header):
    pseudo_header = source + destination + len(header).to_bytes(4, "big") + bytes((0, 0, 0, 135))
    return 0xFFFF - sum_words(pseudo_header + header[:4] + b"\0\0" + header[6:])


def patch(octets, offset, new):
    return octets[:offset] + new + octets[offset + len(new) :]


def resum(octets, start):
    """Give a packet without home addresses a right checksum again."""
    checksum = compute_reference_checksum(octets[8:24], octets[24:40], octets[start:])
    return patch(octets, start + 4, checksum.to_bytes(2, "big"))


def refuse(octets):
    with pytest.raises(ParseError) as caught:
        parse_packet(octets, DRAFT)
    return caught.value


PLAIN = Packet(COA, HOME_AGENT, HomeTestInit(bytes(8)))
PLAIN_OCTETS = serialize_packet(PLAIN, DRAFT)


# --- both ways ------------------------------------------------------------------------------


def test_binding_update_with_home_address_option_is_read():
    assert parse_packet(UPDATE_OCTETS, DRAFT) == UPDATE


def test_binding_update_with_home_address_option_is_written():
    assert serialize_packet(UPDATE, DRAFT).hex() == UPDATE_OCTETS.hex()


def test_acknowledgement_with_type_2_routing_header_is_read():
    assert parse_packet(ACKNOWLEDGEMENT_OCTETS, DRAFT) == ACKNOWLEDGEMENT


def test_acknowledgement_with_type_2_routing_header_is_written():
    assert serialize_packet(ACKNOWLEDGEMENT, DRAFT).hex() == ACKNOWLEDGEMENT_OCTETS.hex()


def test_routing_header_stands_before_destination_options():
    both = replace(UPDATE, routing_home_address=HOME)
    octets = serialize_packet(both, DRAFT)
    assert (octets[6], octets[40], octets[64]) == (43, 60, 135)
    assert parse_packet(octets, DRAFT) == both


def test_hop_limit_is_written_and_ignored():
    octets = serialize_packet(UPDATE, DRAFT, hop_limit=1)
    assert octets == patch(UPDATE_OCTETS, 7, b"\x01")
    assert parse_packet(octets, DRAFT) == UPDATE


def test_octets_past_the_payload_are_ignored():
    assert parse_packet(UPDATE_OCTETS + b"trailer of the link", DRAFT) == UPDATE


def test_octets_past_the_mobility_header_are_ignored():
    # RFC 8200 §4.7: what follows a header whose Next Header is 59 "must be ignored".
    longer = patch(UPDATE_OCTETS, 4, (0x30 + 4).to_bytes(2, "big"))
    assert parse_packet(longer + b"rest", DRAFT) == UPDATE


def test_skippable_destination_option_is_skipped():
    # Tunnel Encapsulation Limit (RFC 2473 §4.1.1) in the place of the padding.
    octets = patch(UPDATE_OCTETS, 42, bytes.fromhex("04 01 05 00"))
    assert parse_packet(octets, DRAFT) == UPDATE


def test_destination_options_without_home_address_are_none():
    header = bytes.fromhex("87 00 00 01 03 000000")
    octets = patch(PLAIN_OCTETS, 4, bytes((0, 16 + 8, 60)))
    assert parse_packet(octets[:40] + header + octets[40:], DRAFT) == PLAIN


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(len(UPDATE_OCTETS)))
def test_packet_cut_anywhere_is_truncated(length):
    assert refuse(UPDATE_OCTETS[:length]).reason == Reason.TRUNCATED


@pytest.mark.parametrize("octets", [UPDATE_OCTETS, ACKNOWLEDGEMENT_OCTETS])
def test_payload_cut_anywhere_is_truncated(octets):
    for length in range(len(octets) - 40):
        shorter = patch(octets, 4, length.to_bytes(2, "big"))
        assert refuse(shorter).reason == Reason.TRUNCATED


def test_ipv4_is_refused():
    assert refuse(patch(UPDATE_OCTETS, 0, b"\x45")).reason == Reason.NOT_IPV6


@pytest.mark.parametrize("next_header", [0, 6, 17, 44, 50, 58, 59])
def test_other_protocols_are_refused(next_header):
    octets = patch(PLAIN_OCTETS, 6, bytes((next_header,)))
    assert refuse(octets).reason == Reason.NOT_MOBILITY_HEADER


def test_extension_headers_are_walked_once_each():
    # Destination Options that name themselves as the next header.
    assert refuse(patch(UPDATE_OCTETS, 40, b"\x3c")).reason == Reason.NOT_MOBILITY_HEADER
    assert refuse(patch(ACKNOWLEDGEMENT_OCTETS, 40, b"\x2b")).reason == Reason.NOT_MOBILITY_HEADER


@pytest.mark.parametrize(
    ("offset", "octets"),
    [(42, b"\x00"), (42, b"\x04"), (43, b"\x00"), (43, b"\x02"), (41, b"\x01")],
)
def test_routing_header_must_be_type_2_with_one_segment_left(offset, octets):
    refused = refuse(patch(ACKNOWLEDGEMENT_OCTETS, offset, octets))
    assert refused.reason == Reason.BAD_EXTENSION_HEADER


@pytest.mark.parametrize(
    ("offset", "octets"),
    [
        (46, b"\xc9\x0f"),  # Home Address option of length 15
        (42, bytes.fromhex("c9 02")),  # a second Home Address option, of length 2
        (46, b"\x8a"),  # an option that is not to be skipped
        (46, b"\x4a"),
    ],
)
def test_destination_options_are_strict(offset, octets):
    refused = refuse(patch(UPDATE_OCTETS, offset, octets))
    assert refused.reason == Reason.BAD_EXTENSION_HEADER


def test_home_address_option_past_its_header_is_truncated():
    assert refuse(patch(UPDATE_OCTETS, 47, b"\x11")).reason == Reason.TRUNCATED


def test_second_home_address_option_is_refused():
    one = bytes.fromhex("c9 10" + HOME_HEX)
    header = bytes.fromhex("87 04") + one + one + bytes(2)
    octets = patch(UPDATE_OCTETS, 4, (24 + 40).to_bytes(2, "big"))
    assert refuse(octets[:40] + header + octets[64:]).reason == Reason.BAD_EXTENSION_HEADER


@pytest.mark.parametrize("address", ["::", "::1", "fe80::10", "ff02::1", "::ffff:192.0.2.1"])
@pytest.mark.parametrize("field", ["home_address", "routing_home_address"])
def test_home_address_must_be_unicast_routable(field, address):
    octets = serialize_packet(replace(UPDATE, **{field: IPv6Address(address)}), DRAFT)
    assert refuse(octets).reason == Reason.BAD_ADDRESS


@pytest.mark.parametrize("address", ["::", "ff02::1"])
@pytest.mark.parametrize("field", ["source", "destination"])
def test_ends_of_a_packet_must_be_unicast(field, address):
    octets = serialize_packet(replace(PLAIN, **{field: IPv6Address(address)}), DRAFT)
    assert refuse(octets).reason == Reason.BAD_ADDRESS


def test_link_local_source_is_accepted():
    packet = replace(PLAIN, source=IPv6Address("fe80::1"))
    assert parse_packet(serialize_packet(packet, DRAFT), DRAFT) == packet


# --- checksum -------------------------------------------------------------------------------


def test_checksum_is_the_one_that_rfc1071_sums_up():
    octets = serialize_packet(FULL_UPDATE, DRAFT, CountingSigner(16))
    reference = compute_reference_checksum(HOME.packed, HOME_AGENT.packed, octets[64:])
    assert int.from_bytes(octets[68:70], "big") == reference


@pytest.mark.parametrize("bit", range(8 * len(UPDATE_OCTETS[64:])))
def test_any_flipped_bit_of_the_mobility_header_is_noticed(bit):
    octets = bytearray(UPDATE_OCTETS)
    octets[64 + bit // 8] ^= 1 << bit % 8
    # A Header Len that reaches past the packet is noticed before the sum.
    assert refuse(bytes(octets)).reason in (Reason.BAD_CHECKSUM, Reason.TRUNCATED)


def test_checksum_covers_the_home_address_and_not_the_care_of_address():
    other_home = patch(UPDATE_OCTETS, 63, b"\x11")
    assert refuse(other_home).reason == Reason.BAD_CHECKSUM
    other_source = patch(UPDATE_OCTETS, 23, b"\x03")
    assert parse_packet(other_source, DRAFT).source == IPv6Address("2001:db8:1::3")


def test_checksum_covers_the_routing_headers_home_address():
    assert refuse(patch(ACKNOWLEDGEMENT_OCTETS, 63, b"\x11")).reason == Reason.BAD_CHECKSUM
    other_destination = patch(ACKNOWLEDGEMENT_OCTETS, 39, b"\x03")
    assert parse_packet(other_destination, DRAFT).destination == IPv6Address("2001:db8:1::3")


def test_checksum_of_a_sum_of_all_ones_is_zero():
    # The cookie that brings the sum to 0xffff is what the checksum of an empty one was.
    cookie = PLAIN_OCTETS[44:46] + bytes(6)
    octets = serialize_packet(replace(PLAIN, message=HomeTestInit(cookie)), DRAFT)
    assert octets[44:46] == b"\x00\x00"
    assert parse_packet(octets, DRAFT).message == HomeTestInit(cookie)


# --- what asks for an answer ----------------------------------------------------------------


def test_unknown_type_says_whom_to_send_the_binding_error():
    octets = resum(patch(PLAIN_OCTETS, 42, b"\x0b"), 40)
    refused = refuse(octets)
    assert isinstance(refused, UnknownMessageType)
    assert refused.reason == Reason.UNKNOWN_MH_TYPE
    assert (refused.source, refused.destination) == (COA, HOME_AGENT)
    assert (refused.home_address, refused.mh_type) == (None, 11)


def test_unknown_type_carries_the_home_address():
    octets = patch(UPDATE_OCTETS, 66, b"\x0b")
    checksum = int.from_bytes(octets[68:70], "big") + 0x0500 - 0x0B00
    refused = refuse(patch(octets, 68, checksum.to_bytes(2, "big")))
    assert isinstance(refused, UnknownMessageType)
    assert refused.home_address == HOME


def test_unknown_type_with_a_wrong_checksum_asks_for_nothing():
    refused = refuse(patch(PLAIN_OCTETS, 42, b"\x0b"))
    assert refused.reason == Reason.BAD_CHECKSUM
    assert not isinstance(refused, UnknownMessageType)


def test_payload_proto_is_pointed_at():
    refused = refuse(resum(patch(PLAIN_OCTETS, 40, b"\x11"), 40))
    assert isinstance(refused, ParameterProblem)
    assert (refused.reason, refused.pointer) == (Reason.BAD_PAYLOAD_PROTO, 40)
    assert (refused.source, refused.destination) == (COA, HOME_AGENT)


def test_short_header_is_pointed_at():
    # A Binding Refresh Request says that it is a Home Test Init.
    octets = serialize_packet(replace(PLAIN, message=BindingRefreshRequest()), DRAFT)
    refused = refuse(resum(patch(octets, 42, b"\x01"), 40))
    assert isinstance(refused, ParameterProblem)
    assert (refused.reason, refused.pointer) == (Reason.BAD_HEADER_LENGTH, 41)


def test_wrong_option_asks_for_nothing():
    octets = serialize_packet(replace(PLAIN, message=BindingRefreshRequest()), DRAFT)
    octets = patch(octets, 4, b"\x00\x10") + bytes.fromhex("02 01 00 00 00 00 00 00")
    refused = refuse(resum(patch(octets, 41, b"\x01"), 40))
    assert refused.reason == Reason.BAD_OPTION_LENGTH
    assert not isinstance(refused, ParameterProblem)


# --- signature ------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", [DRAFT, RFC5648])
def test_signer_signs_exactly_what_the_parser_hands_out(fmt):
    signer = CountingSigner(16)
    octets = serialize_packet(FULL_UPDATE, fmt, signer)
    parsed = parse_packet(octets, fmt)
    assert [parsed.signed_part] == signer.signed
    assert parsed.message.options[-1] == MnHaAuthentication(4, bytes(range(1, 17)))


def test_signed_part_is_the_mobility_header_up_to_the_spi_with_a_zero_checksum():
    octets = serialize_packet(FULL_UPDATE, DRAFT, CountingSigner(12))
    signed = parse_packet(octets, DRAFT).signed_part
    header = octets[64:]
    assert header[4:6] != b"\x00\x00"
    assert signed == header[:4] + b"\x00\x00" + header[6 : len(signed)]
    assert signed[-4:] == bytes((0, 0, 0, 4))
    assert header[len(signed) : len(signed) + 12] == bytes(range(1, 13))


def test_message_that_is_signed_already_is_written_as_it_is():
    signer = CountingSigner()
    parsed = parse_packet(serialize_packet(FULL_UPDATE, DRAFT, signer), DRAFT)
    other = CountingSigner()
    again = serialize_packet(parsed, DRAFT, other)
    assert again == serialize_packet(FULL_UPDATE, DRAFT, signer)
    assert other.signed == []


def test_packet_without_authentication_has_no_signed_part():
    assert parse_packet(UPDATE_OCTETS, DRAFT).signed_part == b""


def test_unsigned_message_without_a_signer_is_not_written():
    with pytest.raises(ValueError, match="no signer"):
        serialize_packet(FULL_UPDATE, DRAFT)


def test_signer_that_breaks_its_word_is_noticed():
    signer = CountingSigner()
    signer.sign = lambda packet, mh_data: b"short"
    with pytest.raises(ValueError, match="authenticator of 5 octets"):
        serialize_packet(FULL_UPDATE, DRAFT, signer)


@pytest.mark.parametrize(
    "message",
    [
        BindingUpdate(65536, 4),
        BindingUpdate(-1, 4),
        BindingAcknowledgement(256, 1, 4),
        BindingRefreshRequest((CareOfAddressInformation(256, 0),)),
        BindingRefreshRequest((CareOfAddressInformation(0, 256),)),
        BindingRefreshRequest((MnHaAuthentication(1 << 32, b"x"),)),
    ],
)
def test_number_that_its_field_cannot_hold_is_a_value_error(message):
    with pytest.raises(ValueError, match=type(message).__name__):
        serialize_packet(replace(PLAIN, message=message), DRAFT)
