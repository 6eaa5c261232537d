"""tshark reads every Mobility Header message and option that we write as we meant it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Network
from typing import get_args

import pytest
from expected_dissection import expect_addresses, expect_message, expect_option, forget_misread
from sampling import draw_samples
from tshark_oracle import PADDING, dissect
from wire_strategies import (
    COA,
    DRAFT,
    FULL_UPDATE,
    HOME,
    HOME_AGENT,
    RFC5648,
    formats_and_packets,
)

from mrouter.wire.format import WireFormat
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    Message,
    Packet,
)
from mrouter.wire.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    CareOfAddressInformation,
    FlowIdentification,
    FlowSummary,
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
    MnHaAuthentication,
    MobileNetworkPrefix,
    MobilityOption,
    NonceIndices,
    ReplayProtection,
    UnknownOption,
)
from mrouter.wire.packet import serialize_packet
from mrouter.wire.traffic_selectors import TrafficSelector

pytestmark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="`make test-packages` installs tshark"
)
COOKIE, TOKEN, TWELVE = bytes(range(8)), bytes(range(8, 16)), bytes(range(1, 13))
SIGNED = replace(
    FULL_UPDATE.message,
    options=(*FULL_UPDATE.message.options[:-1], MnHaAuthentication(4, TWELVE)),
)
SAMPLES = 300

MESSAGES = {
    "brr": BindingRefreshRequest(),
    "hoti": HomeTestInit(COOKIE),
    "coti": CareOfTestInit(COOKIE),
    "hot": HomeTest(7, COOKIE, TOKEN),
    "cot": CareOfTest(8, COOKIE, TOKEN),
    "bu": BindingUpdate(0xFFFE, 262140),
    "bu-acknowledge": BindingUpdate(1, 4, acknowledge=True),
    "bu-home": BindingUpdate(1, 4, home_registration=True),
    "bu-link-local": BindingUpdate(1, 4, link_local_compatible=True),
    "bu-key": BindingUpdate(1, 4, key_management=True),
    "bu-router": BindingUpdate(1, 4, mobile_router=True),
    "bu-deregister": BindingUpdate(1, 0),
    "ba": BindingAcknowledgement(1, 0xFFFE, 240),
    "ba-refused": BindingAcknowledgement(135, 1, 0),
    "ba-key": BindingAcknowledgement(0, 1, 4, key_management=True),
    "ba-router": BindingAcknowledgement(0, 1, 4, mobile_router=True),
    "be": BindingError(1, HOME),
    "be-type": BindingError(2, HOME),
}
OPTIONS = {
    "advice": BindingRefreshAdvice(120),
    "altcoa": AlternateCareOfAddress(COA),
    "nonces": NonceIndices(0x0102, 0x0304),
    "bad": BindingAuthorizationData(TWELVE),
    "prefix": MobileNetworkPrefix(IPv6Network("2001:db8:f::/48")),
    "auth": MnHaAuthentication(0x01020304, TWELVE),
    "aaa": UnknownOption(9, b"\2" + bytes(4) + TWELVE),
    "replay": ReplayProtection(0xECD0_0102_0304_0506),
    "binding": CareOfAddressInformation(7, 2),
    "flows": FlowSummary((1, 0x0203)),
    "flow": FlowIdentification(
        1,
        10,
        (3, 4),
        TrafficSelector(source=(COA, HOME), destination_ports=(5004, 5004), next_header=(17, 17)),
    ),
    "flow-refused": FlowIdentification(1, 10, status=131),
    "ipv4": IPv4HomeAddress(IPv4Address("192.0.2.0"), 24, request_prefix=True),
    "ipv4-address": IPv4HomeAddress(IPv4Address("192.0.2.7"), 32),
    "ipv4-accepted": IPv4AddressAcknowledgement(0, IPv4Address("192.0.2.0"), 24),
    "ipv4-refused": IPv4AddressAcknowledgement(133, IPv4Address("192.0.2.0")),
    "unknown": UnknownOption(200, b"abc"),
    "empty": UnknownOption(200, b""),
}
CASES = {
    f"{fmt.dialect.value}-{name}": (fmt, Packet(COA, HOME_AGENT, message))
    for fmt in (DRAFT, RFC5648)
    for name, message in MESSAGES.items()
}
CASES |= {
    f"{fmt.dialect.value}-{message}-{name}": (
        fmt,
        Packet(COA, HOME_AGENT, replace(MESSAGES[message], options=(option,))),
    )
    for fmt in (DRAFT, RFC5648)
    for message in ("coti", "ba", "be")  # their options begin at 16, 12 and 24 octets
    for name, option in OPTIONS.items()
}
CASES |= {
    "draft-01-bu-multiple": (DRAFT, Packet(COA, HOME_AGENT, BindingUpdate(1, 4, multiple=True))),
    "draft-01-bu-all": (DRAFT, replace(FULL_UPDATE, message=SIGNED)),
    "coainfo-201": (
        WireFormat(coainfo_type=201),
        Packet(COA, HOME_AGENT, replace(SIGNED, options=(OPTIONS["binding"],))),
    ),
    "rfc5648-bu-overwrite": (
        RFC5648,
        Packet(COA, HOME_AGENT, BindingUpdate(1, 4, overwrite=True)),
    ),
    "rfc5648-bu-bulk": (
        RFC5648,
        Packet(
            COA,
            HOME_AGENT,
            BindingUpdate(
                1,
                4,
                multiple=True,
                options=(
                    CareOfAddressInformation(0x0102, 0, 164, COA, home_and_foreign=True),
                    CareOfAddressInformation(0x0103, 126, care_of_address=HOME),
                    CareOfAddressInformation(0x0104, 1, home_and_foreign=True),
                ),
            ),
        ),
    ),
    "home-address": (DRAFT, Packet(COA, HOME_AGENT, MESSAGES["bu"], home_address=HOME)),
    "routing-header": (DRAFT, Packet(HOME_AGENT, COA, MESSAGES["ba"], routing_home_address=HOME)),
    "both-headers": (
        DRAFT,
        Packet(HOME_AGENT, COA, MESSAGES["ba"], home_address=HOME_AGENT, routing_home_address=HOME),
    ),
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Return octets and their dissection by the case's name."""
    written = [serialize_packet(packet, fmt) for fmt, packet in CASES.values()]
    read = dissect(written, tmp_path_factory.mktemp("cases"))
    return dict(zip(CASES, zip(written, read, strict=True), strict=True))


def check(packet, fmt, data, dissection):
    assert dissection.complaints == []
    header = expect_addresses(packet) | expect_message(packet.message, fmt)
    assert {
        name: values
        for name, values in dissection.fields.items()
        if name in header or (name.startswith("mip6.") and name not in ("mip6.hlen", "mip6.csum"))
    } == header
    options = [option for option in dissection.options if option.name not in PADDING]
    assert [forget_misread(option) for option in options] == [
        expect_option(option, fmt) for option in packet.message.options
    ]
    check_checksum(data, dissection.fields)


def check_checksum(data, fields):
    """Sum up as RFC 6275 §6.1.1 says; tshark does not look at a Mobility Header's checksum."""
    (length,) = fields["mip6.hlen"]
    header = data[-8 * (int(length, 16) + 1) :]
    (source,) = fields.get("ipv6.opt.mipv6.home_address", fields["ipv6.src"])
    (destination,) = fields.get("ipv6.routing.mipv6.home_address", fields["ipv6.dst"])
    pseudo_header = bytes.fromhex(source + destination) + bytes((0, 0, *divmod(len(header), 256)))
    summed = pseudo_header + bytes((0, 0, 0, 135)) + header
    total = sum(summed[at] << 8 | summed[at + 1] for at in range(0, len(summed), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


def test_every_message_and_option_has_a_case():
    messages = {type(packet.message) for _, packet in CASES.values()}
    options = {type(option) for _, packet in CASES.values() for option in packet.message.options}
    assert messages == set(get_args(Message))
    assert options == set(get_args(MobilityOption))


@pytest.mark.parametrize("name", CASES)
def test_tshark_reads_the_message(cases, name):
    fmt, packet = CASES[name]
    check(packet, fmt, *cases[name])


@pytest.mark.parametrize("name", ["draft-01-coti-binding", "coainfo-201"])
def test_tshark_skips_coainfo_and_takes_its_reserved_octets_for_padding(cases, name):
    _, dissection = cases[name]
    names = [option.name for option in dissection.options]
    assert names[:3] == ["", "mip6.options.pad1", "mip6.options.pad1"]


def readable(packet):
    """Return ``packet`` with options that we skip as tshark can: of types that nobody has.

    What there is under 7, 8, 11 and so on has a form, which arbitrary octets do not have; so has
    the MN-AAA option: subtype, SPI, authenticator (RFC 4285 §5.2).
    """
    options = []
    for option in packet.message.options:
        if isinstance(option, UnknownOption):
            kind, data = option.type | 0x80, option.data
            if option.type == 9:
                kind, data = 9, data.ljust(17, b"\xaa")
            option = UnknownOption(kind, data)
        options.append(option)
    return replace(packet, message=replace(packet.message, options=tuple(options)))


def test_tshark_reads_arbitrary_messages(tmp_path):
    samples = [
        (fmt, readable(packet)) for fmt, packet in draw_samples(formats_and_packets, SAMPLES)
    ]
    written = [serialize_packet(packet, fmt) for fmt, packet in samples]
    for (fmt, packet), data, read in zip(samples, written, dissect(written, tmp_path), strict=True):
        check(packet, fmt, data, read)
