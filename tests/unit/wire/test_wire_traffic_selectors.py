"""Traffic selectors against bytes written by hand from RFC 6088 §3.2."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import selectors, unhurried

from mrouter.errors import ParseError
from mrouter.wire.traffic_selector_codec import parse_selector, serialize_selector
from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector

LOW, HIGH = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::ff")
LOW_HEX, HIGH_HEX = "20010db8 00000000 00000000 00000001", "20010db8 00000000 00000000 000000ff"

# Flags A to P from the highest bit, 16 reserved bits, then the values in the order of the flags.
VECTORS = {
    "anything": (TrafficSelector(), "0000 0000"),
    "A: a source address": (TrafficSelector(source=(LOW, LOW)), "8000 0000" + LOW_HEX),
    "A, B: source addresses": (
        TrafficSelector(source=(LOW, HIGH)),
        "c000 0000" + LOW_HEX + HIGH_HEX,
    ),
    "C: a destination address": (TrafficSelector(destination=(LOW, LOW)), "2000 0000" + LOW_HEX),
    "C, D: destination addresses": (
        TrafficSelector(destination=(LOW, HIGH)),
        "3000 0000" + LOW_HEX + HIGH_HEX,
    ),
    "E: an SPI": (TrafficSelector(spi=(256, 256)), "0800 0000 00000100"),
    "E, F: SPIs": (TrafficSelector(spi=(1, 0xFFFFFFFF)), "0c00 0000 00000001 ffffffff"),
    "G: a flow label": (TrafficSelector(flow_label=(7, 7)), "0200 0000 00000007"),
    "G, H: flow labels": (TrafficSelector(flow_label=(0, 0xFFFFF)), "0300 0000 00000000 000fffff"),
    "I: a source port": (TrafficSelector(source_ports=(80, 80)), "0080 0000 0050"),
    "I, J: source ports": (TrafficSelector(source_ports=(80, 443)), "00c0 0000 0050 01bb"),
    "K: a destination port": (TrafficSelector(destination_ports=(80, 80)), "0020 0000 0050"),
    "K, L: destination ports": (
        TrafficSelector(destination_ports=(0, 0xFFFF)),
        "0030 0000 0000 ffff",
    ),
    "M: a traffic class": (TrafficSelector(traffic_class=(184, 187)), "0008 0000 b8"),
    "M, N: traffic classes": (TrafficSelector(traffic_class=(8, 187)), "000c 0000 08 b8"),
    "O: a next header": (TrafficSelector(next_header=(17, 17)), "0002 0000 11"),
    "O, P: next headers": (TrafficSelector(next_header=(6, 17)), "0003 0000 06 11"),
    "everything": (
        TrafficSelector(
            source=(LOW, HIGH),
            destination=(HIGH, HIGH),
            spi=(1, 2),
            flow_label=(3, 3),
            source_ports=(4, 5),
            destination_ports=(6, 6),
            traffic_class=(4, 11),
            next_header=(9, 9),
        ),
        "eeee 0000" + LOW_HEX + HIGH_HEX + HIGH_HEX
        + "00000001 00000002 00000003 0004 0005 0006 04 08 09",
    ),
}  # fmt: skip


def parse(octets):
    return parse_selector(2, bytes.fromhex(octets))


@pytest.mark.parametrize(("selector", "octets"), VECTORS.values(), ids=VECTORS)
def test_selector_is_read_from_its_figure(selector, octets):
    assert parse(octets) == selector


@pytest.mark.parametrize(("selector", "octets"), VECTORS.values(), ids=VECTORS)
def test_selector_is_written_as_its_figure(selector, octets):
    assert serialize_selector(selector) == (2, bytes.fromhex(octets))


def test_end_equal_to_its_start_is_read_as_one_value():
    assert parse("00c0 0000 0050 0050") == TrafficSelector(source_ports=(80, 80))


def test_reserved_bits_are_ignored():
    assert parse("0002 ffff 11") == TrafficSelector(next_header=(17, 17))


@pytest.mark.parametrize(
    "octets",
    [
        "4000 0000" + LOW_HEX,
        "1000 0000" + LOW_HEX,
        "0400 0000 00000001",
        "0100 0000 00000001",
        "0040 0000 0050",
        "0010 0000 0050",
        "0004 0000 b8",
        "0001 0000 11",
    ],
)
def test_end_without_its_start_is_refused(octets):
    with pytest.raises(ParseError, match="end alone"):
        parse(octets)


@pytest.mark.parametrize(
    "octets",
    [
        "c000 0000" + HIGH_HEX + LOW_HEX,
        "0c00 0000 00000002 00000001",
        "00c0 0000 0051 0050",
        "0003 0000 11 06",
    ],
)
def test_end_before_its_start_is_refused(octets):
    with pytest.raises(ParseError, match="from"):
        parse(octets)


@pytest.mark.parametrize("octets", ["0008 0000 bb", "000c 0000 b9 ba", "000c 0000 bb b8"])
def test_two_lowest_bits_of_a_traffic_class_do_not_count(octets):
    assert parse(octets) == TrafficSelector(traffic_class=(184, 187))


@pytest.mark.parametrize("octets", ["0200 0000 ff000007", "0300 0000 12000007 34000007"])
def test_first_eight_bits_of_a_flow_label_do_not_count(octets):
    assert parse(octets) == TrafficSelector(flow_label=(7, 7))


@pytest.mark.parametrize("octets", ["0200 0000 00100000", "0300 0000 00000000 00100000"])
def test_flow_label_of_more_than_20_bits_is_refused(octets):
    with pytest.raises(ParseError, match="flow_label"):
        parse(octets)


def test_octets_after_the_selector_are_refused():
    with pytest.raises(ParseError, match="after"):
        parse("0002 0000 11 00")


@pytest.mark.parametrize("octets", ["", "0000", "0000 00"])
def test_selector_without_all_its_flags_is_refused(octets):
    with pytest.raises(ParseError, match="without flags"):
        parse(octets)


def test_selector_cut_anywhere_is_refused():
    whole = bytes.fromhex(VECTORS["everything"][1])
    for cut in range(len(whole)):
        with pytest.raises(ParseError):
            parse_selector(2, whole[:cut])


@pytest.mark.parametrize("kind", [0, 1, 3, 255])
def test_other_format_is_kept_as_it_is(kind):
    assert parse_selector(kind, b"\1\2\3") == UnknownSelector(kind, b"\1\2\3")
    assert serialize_selector(UnknownSelector(kind, b"\1\2\3")) == (kind, b"\1\2\3")


@pytest.mark.parametrize(
    "selector",
    [
        TrafficSelector(source=(HIGH, LOW)),
        TrafficSelector(source_ports=(2, 1)),
        TrafficSelector(source_ports=(0, 0x10000)),
        TrafficSelector(next_header=(-1, 6)),
        TrafficSelector(flow_label=(0, 0x100000)),
        TrafficSelector(traffic_class=(184, 184)),
        TrafficSelector(traffic_class=(185, 187)),
        UnknownSelector(2, b"\0\0\0\0"),
    ],
)
def test_selector_that_could_not_be_read_back_is_not_written(selector):
    with pytest.raises(ValueError, match="selector"):
        serialize_selector(selector)


@unhurried
@given(selectors)
def test_every_selector_is_read_back_as_it_was(selector):
    assert parse_selector(*serialize_selector(selector)) == selector


@unhurried
@given(st.binary(max_size=110))
def test_arbitrary_selector_is_refused_or_written_alike(octets):
    try:
        selector = parse_selector(2, octets)
    except ParseError:
        return
    assert parse_selector(*serialize_selector(selector)) == selector
