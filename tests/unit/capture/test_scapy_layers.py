"""Our scapy layers against ``mrouter.wire``, in both directions and both dialects."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from scapy.layers import inet6

from mrouter import scapy_layers as ours
from mrouter.wire.constants import Dialect
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
    NonceIndices,
    ReplayProtection,
    UnknownOption,
)
from mrouter.wire.packet import parse_packet, serialize_packet
from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector

COA = IPv6Address("2001:db8:1::2")
HOME = IPv6Address("2001:db8:f1::100")
HOME_AGENT = IPv6Address("2001:db8:f0::2")
DRAFT, RFC5648 = WireFormat(), WireFormat(Dialect.RFC5648)
FORMATS = {"draft-01": DRAFT, "rfc5648": RFC5648}
COOKIE, TOKEN, TWELVE = bytes(range(8)), bytes(range(8, 16)), bytes(range(12))
TIMESTAMP = 0xECD0_0000_0000_0000

SELECTOR = TrafficSelector(
    source=(COA, HOME),
    destination=(HOME_AGENT, HOME_AGENT),
    spi=(256, 0xFFFFFFFF),
    flow_label=(1, 0xFFFFF),
    source_ports=(1024, 65535),
    destination_ports=(5004, 5005),
    traffic_class=(184, 187),
    next_header=(6, 17),
)
THEIR_SELECTOR = ours.IPv6TrafficSelector(
    flags="ABCEFGHIJKLMOP",
    start_source=str(COA),
    end_source=str(HOME),
    start_destination=str(HOME_AGENT),
    start_spi=256,
    end_spi=0xFFFFFFFF,
    start_flow_label=1,
    end_flow_label=0xFFFFF,
    start_source_port=1024,
    end_source_port=65535,
    start_destination_port=5004,
    end_destination_port=5005,
    start_traffic_class=184,
    start_next_header=6,
    end_next_header=17,
)
COMMON_OPTIONS = {
    "advice": (BindingRefreshAdvice(120), inet6.MIP6OptBRAdvice(rinter=30)),
    "altcoa": (AlternateCareOfAddress(COA), inet6.MIP6OptAltCoA(acoa=str(COA))),
    "nonces": (NonceIndices(1, 2), ours.MIP6OptNonceIndices(hni=1, coni=2)),
    "bad": (
        BindingAuthorizationData(TWELVE),
        ours.MIP6OptBindingAuthData(authenticator=int.from_bytes(TWELVE, "big")),
    ),
    "prefix": (
        MobileNetworkPrefix(IPv6Network("2001:db8:a1::/64")),
        inet6.MIP6OptMobNetPrefix(plen=64, prefix="2001:db8:a1::"),
    ),
    "auth": (MnHaAuthentication(256, TWELVE), inet6.MIP6OptMsgAuth(mspi=256, authdata=TWELVE)),
    "replay": (ReplayProtection(TIMESTAMP), ours.MIP6OptReplayProtection(timestamp=TIMESTAMP)),
    "unknown": (UnknownOption(200, b"abc"), inet6.MIP6OptUnknown(otype=200, odata=b"abc")),
    "summary": (FlowSummary((1, 0x203)), ours.MIP6OptFlowSummary(fids=[1, 0x203])),
    "flow": (
        FlowIdentification(1, 0x102, (3, 0x405), SELECTOR),
        ours.MIP6OptFlowIdentification(
            fid=1,
            fidpri=0x102,
            suboptions=[
                ours.MIP6FlowTrafficSelector(tsformat=2, selector=THEIR_SELECTOR),
                inet6.Pad1(),
                ours.MIP6FlowBindingReference(bids=[3, 0x405]),
            ],
        ),
    ),
    "flow-ipv4": (
        FlowIdentification(1, 2, selector=UnknownSelector(1, bytes.fromhex("0008000006"))),
        ours.MIP6OptFlowIdentification(
            fid=1,
            fidpri=2,
            suboptions=[
                ours.MIP6FlowTrafficSelector(
                    tsformat=1, selector=ours.IPv4TrafficSelector(flags="M", start_protocol=6)
                )
            ],
        ),
    ),
    "flow-answer": (
        FlowIdentification(7, 0, status=132),
        ours.MIP6OptFlowIdentification(fid=7, fidpri=0, status=132),
    ),
    "ipv4": (
        IPv4HomeAddress(IPv4Address("192.0.2.0"), 24, request_prefix=True),
        ours.MIP6OptIPv4HomeAddress(plen=24, P=1, address="192.0.2.0"),
    ),
    "ipv4-accepted": (
        IPv4AddressAcknowledgement(0, IPv4Address("192.0.2.0"), 24),
        ours.MIP6OptIPv4AddressAck(plen=24, address="192.0.2.0"),
    ),
    "ipv4-refused": (
        IPv4AddressAcknowledgement(133, IPv4Address("192.0.2.0")),
        ours.MIP6OptIPv4AddressAck(status=133, address="192.0.2.0"),
    ),
}
OPTIONS = {
    "draft-01": COMMON_OPTIONS
    | {"coainfo": (CareOfAddressInformation(7, 2), ours.MIP6OptCoAInfo(ifid=7, ifpri=2))},
    "rfc5648": COMMON_OPTIONS
    | {
        "bid": (
            CareOfAddressInformation(700, 2, status=5, home_and_foreign=True),
            ours.MIP6OptBindingIdentifier(bid=700, bidpri=3, status=5, home_and_foreign=1),
        ),
        "bid-coa": (
            CareOfAddressInformation(700, 0, care_of_address=COA),
            ours.MIP6OptBindingIdentifier(bid=700, bidpri=1, coa=str(COA)),
        ),
    },
}

COMMON_MESSAGES = {
    "brr": (BindingRefreshRequest, inet6.MIP6MH_BRR, {}, {}),
    "hoti": (HomeTestInit, inet6.MIP6MH_HoTI, {"cookie": COOKIE}, {"cookie": COOKIE}),
    "coti": (CareOfTestInit, inet6.MIP6MH_CoTI, {"cookie": COOKIE}, {"cookie": COOKIE}),
    "hot": (
        HomeTest,
        inet6.MIP6MH_HoT,
        {"nonce_index": 7, "cookie": COOKIE, "keygen_token": TOKEN},
        {"index": 7, "cookie": COOKIE, "token": TOKEN},
    ),
    "cot": (
        CareOfTest,
        inet6.MIP6MH_CoT,
        {"nonce_index": 7, "cookie": COOKIE, "keygen_token": TOKEN},
        {"index": 7, "cookie": COOKIE, "token": TOKEN},
    ),
    "be": (
        BindingError,
        inet6.MIP6MH_BE,
        {"status": 1, "home_address": HOME},
        {"status": 1, "ha": str(HOME)},
    ),
}
UPDATE = {"sequence": 9, "lifetime": 240, "acknowledge": True, "mobile_router": True}
ANSWER = {"status": 1, "sequence": 9, "lifetime": 240, "mobile_router": True}
MESSAGES = {
    "draft-01": COMMON_MESSAGES
    | {
        "bu": (
            BindingUpdate,
            ours.MIP6MH_BU_Draft01,
            UPDATE | {"multiple": True, "link_local_compatible": True},
            {"seq": 9, "mhtime": 60, "flags": "ALRM"},
        ),
        "ba": (
            BindingAcknowledgement,
            ours.MIP6MH_BA_Draft01,
            ANSWER,
            {"status": 1, "seq": 9, "mhtime": 60, "flags": "R"},
        ),
    },
    "rfc5648": COMMON_MESSAGES
    | {
        "bu": (
            BindingUpdate,
            ours.MIP6MH_BU,
            UPDATE | {"overwrite": True, "key_management": True},
            {"seq": 9, "mhtime": 60, "flags": "AKRO"},
        ),
        "ba": (
            BindingAcknowledgement,
            ours.MIP6MH_BA,
            ANSWER | {"key_management": True},
            {"status": 1, "seq": 9, "mhtime": 60, "flags": "KR"},
        ),
    },
}
CASES = [
    pytest.param(dialect, message, option, id=f"{dialect}-{message}-{option}")
    for dialect in FORMATS
    for message in MESSAGES[dialect]
    for option in OPTIONS[dialect]
]


@pytest.fixture(autouse=True)
def default_dialect():
    yield
    ours.use_dialect()


def build(dialect, message_name, option_name):
    """Return the same message as our octets and as scapy's layers."""
    kind, layer, fields, their_fields = MESSAGES[dialect][message_name]
    option, their_option = OPTIONS[dialect][option_name]
    packet = Packet(COA, HOME_AGENT, kind(**fields, options=(option,)))
    if dialect == "rfc5648" and option_name.startswith("bid") and message_name == "bu":
        packet = Packet(COA, HOME_AGENT, kind(**fields, multiple=True, options=(option,)))
    theirs = layer(**their_fields, options=[their_option.copy()])
    if dialect == "rfc5648" and option_name.startswith("bid") and message_name == "ba":
        # the option's status takes the place of the header's; the draft's 1 is written as 0
        status = option.status
        packet = Packet(COA, HOME_AGENT, replace(packet.message, status=status or 1))
        theirs.status = status
    return packet, inet6.IPv6(src=str(COA), dst=str(HOME_AGENT), hlim=64) / theirs


def field_values(layer):
    names = [field.name for field in layer.fields_desc]
    skipped = ("options", "cksum", "len", "olen", "res", "res2")
    return {name: deepen(layer.getfieldval(name)) for name in names if name not in skipped}


def deepen(value):
    if isinstance(value, list):
        return [deepen(part) for part in value]
    return field_values(value) if hasattr(value, "fields_desc") else value


@pytest.mark.parametrize(("dialect", "message", "option"), CASES)
def test_the_layers_write_our_octets(dialect, message, option):
    packet, theirs = build(dialect, message, option)
    assert bytes(theirs).hex() == serialize_packet(packet, FORMATS[dialect]).hex()


@pytest.mark.parametrize(("dialect", "message", "option"), CASES)
def test_we_read_what_the_layers_write(dialect, message, option):
    packet, theirs = build(dialect, message, option)
    assert parse_packet(bytes(theirs), FORMATS[dialect]) == packet


@pytest.mark.parametrize(("dialect", "message", "option"), CASES)
def test_the_layers_read_our_octets(dialect, message, option):
    ours.use_dialect(dialect)
    packet, theirs = build(dialect, message, option)
    read = inet6.IPv6(serialize_packet(packet, FORMATS[dialect]))
    expected = theirs.payload
    assert type(read.payload) is type(expected)
    assert field_values(read.payload) == field_values(expected)
    expected_option = expected.options[0]
    read_option = next(part for part in read.payload.options if type(part) is type(expected_option))
    assert field_values(read_option) == field_values(expected_option)


def test_coainfo_may_have_another_type():
    ours.use_dialect("draft-01", 201)
    fmt = WireFormat(coainfo_type=201)
    update = BindingUpdate(9, 240, multiple=True, options=(CareOfAddressInformation(7, 2),))
    read = inet6.IPv6(serialize_packet(Packet(COA, HOME_AGENT, update), fmt))
    assert read[ours.MIP6OptCoAInfo].ifid == 7
    assert 192 not in inet6.moboptcls


def test_an_unknown_dialect_is_refused():
    with pytest.raises(ValueError, match="draft-99"):
        ours.use_dialect("draft-99")


def test_a_binding_identifier_may_have_an_ipv4_care_of_address():
    octets = bytes.fromhex("2308 0003 00 01 c0000201")
    assert bytes(ours.MIP6OptBindingIdentifier(bid=3, coa="192.0.2.1")) == octets
    assert ours.MIP6OptBindingIdentifier(octets).coa == "192.0.2.1"


# --- flow bindings, octets drawn by hand from RFC 6089 §4.2 and RFC 6088 §3 ------------------

FLOW = bytes.fromhex(
    "2d 38 0001 000a 00 00"  # Flow Identification, 56 octets: FID 1, FID-PRI 10, status 0
    "02 04 0003 0004"  # BID Reference: 3, 4
    "03 29 02 00"  # Traffic Selector, 41 octets: format 2
    "a0 22 0000"  # A, C; K; O
    "20010db800a100000000000000000000"
    "20010db8000c00000000000000000010"
    "138c"
    "11"
    "00"  # Pad1
)


def test_flow_identification_is_written():
    selector = ours.IPv6TrafficSelector(
        flags="ACKO",
        start_source="2001:db8:a1::",
        start_destination="2001:db8:c::10",
        start_destination_port=5004,
        start_next_header=17,
    )
    option = ours.MIP6OptFlowIdentification(
        fid=1,
        fidpri=10,
        suboptions=[
            ours.MIP6FlowBindingReference(bids=[3, 4]),
            ours.MIP6FlowTrafficSelector(tsformat=2, selector=selector),
            inet6.Pad1(),
        ],
    )
    assert bytes(option).hex() == FLOW.hex()


def test_flow_identification_is_read():
    option = ours.MIP6OptFlowIdentification(FLOW)
    reference, selector, pad = option.suboptions
    assert (option.fid, option.fidpri, option.status) == (1, 10, 0)
    assert reference.bids == [3, 4]
    assert selector.selector.start_source == "2001:db8:a1::"
    assert selector.selector.end_source is None
    assert selector.selector.start_destination_port == 5004
    assert selector.selector.start_next_header == 17
    assert isinstance(pad, inet6.Pad1)


def test_a_flow_summary_is_written_and_read():
    octets = bytes.fromhex("2c04 0001 0203")
    assert bytes(ours.MIP6OptFlowSummary(fids=[1, 0x203])) == octets
    assert ours.MIP6OptFlowSummary(octets).fids == [1, 0x203]


def test_an_ipv4_selector_is_written_and_read():
    octets = bytes.fromhex("03 0f 01 00 a0080000 c0000201 c6336401 06")
    selector = ours.IPv4TrafficSelector(
        flags="ACM", start_source="192.0.2.1", start_destination="198.51.100.1", start_protocol=6
    )
    built = bytes(ours.MIP6FlowTrafficSelector(tsformat=1, selector=selector))
    read = ours.MIP6FlowTrafficSelector(built).selector
    assert built.hex() == octets.hex()
    assert (read.start_source, read.start_destination, read.start_protocol) == (
        "192.0.2.1",
        "198.51.100.1",
        6,
    )


def test_a_selector_of_an_unknown_format_stays_as_octets():
    option = ours.MIP6FlowTrafficSelector(bytes.fromhex("03 05 63 00 010203"))
    assert bytes(option.selector) == b"\1\2\3"


def test_a_sub_option_of_an_unknown_type_is_kept():
    option = ours.MIP6OptFlowIdentification(bytes.fromhex("2d0a 0001 0002 0000 fb02 abcd"))
    assert option.suboptions[0].odata == b"\xab\xcd"


# --- repairs of scapy ----------------------------------------------------------------------


@pytest.mark.parametrize("answer", [ours.MIP6MH_BA, ours.MIP6MH_BA_Draft01])
def test_an_acknowledgement_answers_an_update_with_the_a_flag(answer):
    assert answer(seq=9).answers(ours.MIP6MH_BU_Draft01(seq=9, flags="A"))
    assert not answer(seq=9).answers(ours.MIP6MH_BU_Draft01(seq=9, flags="H"))
    assert not answer(seq=9).answers(ours.MIP6MH_BU_Draft01(seq=8, flags="A"))


def test_a_message_of_an_unknown_type_is_read_whole():
    octets = bytes(inet6.IPv6() / ours.MIP6MH_Generic(mhtype=20, msg=bytes(10)))
    message = inet6.IPv6(octets).payload
    assert message.msg == bytes(10)
    assert not message.payload


def test_a_timestamp_is_shown_right():
    shown = ours.MIP6OptReplayProtection(timestamp=TIMESTAMP).sprintf(
        "%MIP6OptReplayProtection.timestamp%"
    )
    assert shown.startswith("2025-11-25T10:14:24+00:00")
