"""RFC 5555's two options against bytes written by hand from its figures."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from wire_strategies import DRAFT, RFC5648

from mrouter.errors import ParseError
from mrouter.wire.option_codec import parse_options, serialize_options
from mrouter.wire.options import (
    CareOfAddressInformation,
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
    ReplayProtection,
)
from mrouter.wire.parse_errors import Reason

BEFORE = bytes(8)
NETWORK, HOST = IPv4Address("192.0.2.0"), IPv4Address("192.0.2.7")

# Type, length 6, prefix length (6 bits), P, reserved (9 bits); or status, prefix length, reserved.
VECTORS = {
    "prefix": (IPv4HomeAddress(NETWORK, 24, request_prefix=True), "1d 06 6200 c0000200"),
    "address": (IPv4HomeAddress(HOST, 32), "1d 06 8000 c0000207"),
    "address in a prefix": (IPv4HomeAddress(HOST, 24), "1d 06 6000 c0000207"),
    "any prefix": (IPv4HomeAddress(IPv4Address(0), 1, request_prefix=True), "1d 06 0600 00000000"),
    "accepted": (IPv4AddressAcknowledgement(0, NETWORK, 24), "1e 06 00 60 c0000200"),
    "highest success": (IPv4AddressAcknowledgement(127, HOST, 32), "1e 06 7f 80 c0000207"),
    "refused": (IPv4AddressAcknowledgement(128, NETWORK), "1e 06 80 00 c0000200"),
    "refused otherwise": (IPv4AddressAcknowledgement(255, NETWORK), "1e 06 ff 00 c0000200"),
}


def parse(octets, fmt=DRAFT):
    return parse_options(BEFORE + bytes.fromhex(octets), len(BEFORE), fmt).options


def serialize(*options, fmt=DRAFT):
    header = bytearray(BEFORE)
    serialize_options(header, options, fmt)
    return bytes(header[len(BEFORE) :])


@pytest.mark.parametrize("fmt", [DRAFT, RFC5648])
@pytest.mark.parametrize(("option", "octets"), VECTORS.values(), ids=VECTORS)
def test_ipv4_option_is_read_from_its_figure(option, octets, fmt):
    assert parse(octets, fmt) == (option,)


@pytest.mark.parametrize("fmt", [DRAFT, RFC5648])
@pytest.mark.parametrize(("option", "octets"), VECTORS.values(), ids=VECTORS)
def test_ipv4_option_is_written_as_its_figure(option, octets, fmt):
    assert serialize(option, fmt=fmt).hex() == bytes.fromhex(octets).hex()


@pytest.mark.parametrize("kind", ["1d", "1e"])
@pytest.mark.parametrize("length", [0, 4, 5, 7, 8])
def test_ipv4_option_of_another_length_than_6_is_refused(kind, length):
    with pytest.raises(ParseError) as caught:
        parse(f"{kind} {length:02x}" + "60" * length)
    assert caught.value.reason == Reason.BAD_OPTION_LENGTH


@pytest.mark.parametrize(
    "octets",
    [
        "1d 06 0000 c0000200",
        "1d 06 0200 c0000200",
        "1d 06 8400 c0000200",
        "1d 06 fe00 c0000200",
        "1e 06 00 00 c0000200",
        "1e 06 00 84 c0000200",
        "1e 06 7f fc c0000200",
    ],
)
def test_prefix_length_that_no_ipv4_prefix_has_is_refused(octets):
    with pytest.raises(ParseError) as caught:
        parse(octets)
    assert caught.value.reason == Reason.BAD_OPTION_VALUE


def test_reserved_bits_are_ignored():
    assert parse("1d 06 61ff c0000200") == (IPv4HomeAddress(NETWORK, 24),)
    assert parse("1e 06 00 63 c0000200") == (IPv4AddressAcknowledgement(0, NETWORK, 24),)


def test_prefix_length_of_a_refusal_is_ignored():
    assert parse("1e 06 81 60 c0000200") == (IPv4AddressAcknowledgement(129, NETWORK),)


@pytest.mark.parametrize(
    "option",
    [
        IPv4HomeAddress(NETWORK, 0),
        IPv4HomeAddress(NETWORK, 33),
        IPv4HomeAddress(NETWORK, -1),
        IPv4AddressAcknowledgement(0, NETWORK),
        IPv4AddressAcknowledgement(0, NETWORK, 33),
        IPv4AddressAcknowledgement(129, NETWORK, 24),
        IPv4AddressAcknowledgement(256, NETWORK),
    ],
)
def test_ipv4_option_that_could_not_be_read_back_is_not_written(option):
    with pytest.raises(ValueError, match=r"IPv4|range\(0, 256\)"):
        serialize(option)


def test_options_for_several_networks_stand_side_by_side():
    options = (
        CareOfAddressInformation(7, 0),
        IPv4HomeAddress(NETWORK, 24, request_prefix=True),
        IPv4HomeAddress(IPv4Address("198.51.100.0"), 25, request_prefix=True),
        ReplayProtection(1),
    )
    octets = serialize(*options)
    assert parse(octets.hex()) == options
    # CoAINFO's six octets and two of padding: 4n (RFC 5555 §3.1.1)
    assert octets[8:24].hex() == "1d066200c0000200" + "1d066600c6336400"


def test_network_is_the_one_that_the_address_is_in():
    assert IPv4HomeAddress(HOST, 24).network == IPv4Network("192.0.2.0/24")
