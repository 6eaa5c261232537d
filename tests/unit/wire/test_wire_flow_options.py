"""Flow Identification and Flow Summary against bytes written by hand from RFC 6089 §4."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import DRAFT, RFC5648, unhurried

from mrouter.errors import ParseError
from mrouter.wire.option_codec import parse_options, serialize_options
from mrouter.wire.options import FlowIdentification, FlowSummary
from mrouter.wire.parse_errors import Reason
from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector

SOURCE = IPv6Address("2001:db8:a1::1")
UDP = TrafficSelector(next_header=(17, 17))
UDP_HEX = "03 07 02 00 0002 0000 11"  # Traffic Selector of format 2: O, UDP

# Each begins at a multiple of 8 octets, and is padded to the next.
VECTORS = {
    # §4.2: FID, FID-PRI, reserved, status.
    "flow identification": (FlowIdentification(0x102, 0x304), "2d 06 0102 0304 00 00"),
    "an answer": (
        FlowIdentification(0x102, 0, status=132),
        "2d 06 0102 0000 00 84",
    ),
    # §4.2.1.3: BIDs of 16 bits.
    "bid reference": (
        FlowIdentification(1, 2, (3, 0x405)),
        "2d 0c 0001 0002 00 00  02 04 0003 0405  01 00",
    ),
    # §4.2.1.4: TS Format, reserved, then RFC 6088's selector.
    "traffic selector": (
        FlowIdentification(1, 2, selector=UDP),
        "2d 0f 0001 0002 00 00" + UDP_HEX + "01 05 0000000000",
    ),
    "both sub-options": (
        FlowIdentification(1, 2, (3,), TrafficSelector(source=(SOURCE, SOURCE))),
        "2d 22 0001 0002 00 00  03 16 02 00 8000 0000 20010db8 00a10000 00000000 00000001"
        "02 02 0003  01 02 0000",
    ),
    # §4.2.1.1: Pad1 before the Binding Reference, whose alignment is 2n.
    "padding between sub-options": (
        FlowIdentification(1, 2, (3,), UDP),
        "2d 14 0001 0002 00 00" + UDP_HEX + "00 02 02 0003  01 00",
    ),
    "selector of another format": (
        FlowIdentification(1, 2, selector=UnknownSelector(1, b"\0\0\0\0")),
        "2d 0e 0001 0002 00 00  03 06 01 00 00000000",
    ),
    "malformed one's answer": (
        FlowIdentification(0, 9, status=130, malformed=True),
        "2d 06 0000 0009 00 82",
    ),
    # §4.2.2: FIDs of 16 bits.
    "flow summary": (FlowSummary((1, 0x203)), "2c 04 0001 0203  01 00"),
}
BEFORE = bytes(8)


def parse(octets, fmt=DRAFT):
    return parse_options(BEFORE + bytes.fromhex(octets), len(BEFORE), fmt).options


def serialize(*options, fmt=DRAFT):
    header = bytearray(BEFORE)
    serialize_options(header, options, fmt)
    return bytes(header[len(BEFORE) :])


def parse_with(sub_options, fixed="0001 0002 00 00"):
    data = bytes.fromhex(fixed + sub_options)
    (option,) = parse(bytes((45, len(data))).hex() + data.hex())
    return option


def refusal(octets):
    with pytest.raises(ParseError) as caught:
        parse(octets)
    return caught.value.reason


@pytest.mark.parametrize("fmt", [DRAFT, RFC5648])
@pytest.mark.parametrize(("option", "octets"), VECTORS.values(), ids=VECTORS)
def test_flow_option_is_read_from_its_figure(option, octets, fmt):
    assert parse(octets, fmt) == (option,)


@pytest.mark.parametrize("fmt", [DRAFT, RFC5648])
@pytest.mark.parametrize(("option", "octets"), VECTORS.values(), ids=VECTORS)
def test_flow_option_is_written_as_its_figure(option, octets, fmt):
    assert serialize(option, fmt=fmt).hex() == bytes.fromhex(octets).hex()


@pytest.mark.parametrize("fmt", [DRAFT, RFC5648])
def test_several_flow_options_go_together(fmt):
    options = (
        FlowSummary((1,)),
        FlowSummary((2,)),
        FlowIdentification(3, 1, (1,)),
        FlowIdentification(4, 2, (1,)),
    )
    assert parse(serialize(*options, fmt=fmt).hex(), fmt) == options


def test_sub_options_may_be_padded_and_in_any_order():
    padded = "00 01 02 dddd" + UDP_HEX + "00 02 02 0003 01 00 00"
    assert parse_with(padded) == FlowIdentification(1, 2, (3,), UDP)


def test_unknown_sub_option_is_skipped():
    assert parse_with("fb 03 aabbcc 02 02 0003") == FlowIdentification(1, 2, (3,))


def test_reserved_octets_are_ignored():
    option = parse_with("03 07 02 ff 0002 0000 11", fixed="0001 0002 ff 00")
    assert option == FlowIdentification(1, 2, selector=UDP)


@pytest.mark.parametrize(
    "sub_options",
    [
        "02 02 0003 02 02 0004",
        UDP_HEX + UDP_HEX,
        "02 00",
        "02 03 000300",
        "02 04 0003",
        "02",
        "03 01 02",
        "03 00",
        "03 07 02 00 0001 0000 11",
        "03 08 02 00 0003 0000 11 06",
        "03 08 02 00 0002 0000 11 00",
        "03 06 02 00 0002 0000",
        "02 02 0003 03 07 02 00 0001 0000 11",
    ],
    ids=[
        "two BID References",
        "two Traffic Selectors",
        "no BID",
        "half a BID",
        "sub-option after the end",
        "no length",
        "no reserved octet",
        "no format",
        "end alone",
        "end before start",
        "octets after the selector",
        "selector cut",
        "BID Reference before a wrong selector",
    ],
)
def test_unreadable_sub_options_are_left_to_an_answer_of_status_130(sub_options):
    assert parse_with(sub_options) == FlowIdentification(1, 2, malformed=True)


@pytest.mark.parametrize(
    ("fixed", "option"),
    [
        ("0000 0002 00 00", FlowIdentification(0, 2, malformed=True)),
        ("0001 0000 00 00", FlowIdentification(1, 0, malformed=True)),
    ],
)
def test_reserved_fid_and_priority_are_malformed(fixed, option):
    assert parse_with("02 02 0003", fixed) == option


@pytest.mark.parametrize("octets", ["2d 05 0001 0002 00", "2d 00"])
def test_flow_identification_without_its_fixed_fields_is_refused(octets):
    assert refusal(octets) == Reason.BAD_OPTION_LENGTH


@pytest.mark.parametrize("octets", ["2c 00", "2c 01 00", "2c 03 0001 00"])
def test_flow_summary_without_whole_fids_is_refused(octets):
    assert refusal(octets) == Reason.BAD_OPTION_LENGTH


@pytest.mark.parametrize(
    "option",
    [
        FlowIdentification(0, 1),
        FlowIdentification(1, 0),
        FlowIdentification(1, 1, malformed=True),
        FlowIdentification(0, 1, (3,), status=130),
        FlowIdentification(1, 1, selector=UDP, status=130, malformed=True),
        FlowIdentification(1, 1, tuple(range(125))),
        FlowIdentification(1, 1, selector=UnknownSelector(1, bytes(246))),
        FlowSummary(()),
        FlowSummary(tuple(range(128))),
    ],
)
def test_flow_option_that_could_not_be_read_back_is_not_written(option):
    with pytest.raises(ValueError, match=r".+"):
        serialize(option)


@pytest.mark.parametrize("fid", [0, 7])
def test_malformed_one_is_answered_by_its_fid_alone(fid):
    answer = FlowIdentification(fid, 0, status=130)
    assert serialize(answer) == serialize(FlowIdentification(fid, 0, status=130, malformed=True))


def test_fullest_flow_options_are_read_back():
    options = (
        FlowSummary(tuple(range(127))),
        FlowIdentification(1, 1, tuple(range(123)), status=1),
    )
    assert parse(serialize(*options).hex()) == options


@unhurried
@given(st.integers(1, 0xFFFF), st.binary(max_size=60))
def test_arbitrary_sub_options_are_read_or_malformed(fid, sub_options):
    option = parse_with(sub_options.hex(), f"{fid:04x} 0001 00 00")
    assert (option.fid, option.priority) == (fid, 1)
    if option.malformed:
        assert option.ifids == ()
        assert option.selector is None
    else:
        assert parse(serialize(option).hex()) == (option,)
