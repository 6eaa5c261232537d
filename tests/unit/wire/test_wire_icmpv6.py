"""Parameter Problems about our own Mobility Headers; scapy makes the packets."""

from __future__ import annotations

import contextlib
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    HAO,
    MIP6MH_BU,
    ICMPv6DestUnreach,
    ICMPv6ParamProblem,
    IPv6,
    IPv6ExtHdrDestOpt,
    MIP6MH_HoTI,
)

from mrouter.errors import ParseError
from mrouter.wire.icmpv6 import (
    UnrecognizedMobilityHeader,
    parse_unrecognized_mobility_header,
    serialize_parameter_problem,
)

SOURCE, DESTINATION, HOME = "2001:db8::1", "2001:db8::2", "2001:db8::3"
EXPECTED = UnrecognizedMobilityHeader(IPv6Address(SOURCE), IPv6Address(DESTINATION))
BASE = IPv6(src=SOURCE, dst=DESTINATION)
INIT = bytes(BASE / MIP6MH_HoTI())
UPDATE = bytes(BASE / IPv6ExtHdrDestOpt(options=[HAO(hoa=HOME)]) / MIP6MH_BU())


def problem(pointer, invoking, code=1):
    return bytes(ICMPv6ParamProblem(code=code, ptr=pointer)) + invoking


@pytest.mark.parametrize("message", [problem(6, INIT), problem(40, UPDATE), problem(6, INIT[:48])])
def test_an_unrecognized_mobility_header_tells_whose_packet_it_was(message):
    assert parse_unrecognized_mobility_header(message) == EXPECTED


@pytest.mark.parametrize(
    "message",
    [
        b"",
        problem(6, INIT[:40]),
        problem(6, INIT, code=0),
        problem(6, INIT, code=2),
        bytes(ICMPv6DestUnreach(code=1)) + INIT,
        # another header than the Mobility Header was not recognized
        problem(40, INIT),
        problem(6, UPDATE),
        problem(6, bytes(BASE / IPv6ExtHdrDestOpt(options=[HAO(hoa=HOME)]))),
        problem(6, bytes(IPv6(src=SOURCE, dst=DESTINATION, nh=253)) + bytes(16)),
        problem(1 << 31, INIT),
    ],
)
def test_what_is_about_something_else_is_refused(message):
    with pytest.raises(ParseError):
        parse_unrecognized_mobility_header(message)


def test_our_own_problem_of_code_0_says_nothing_of_the_kind():
    packet = serialize_parameter_problem(IPv6Address(DESTINATION), IPv6Address(SOURCE), 6, INIT)
    with pytest.raises(ParseError):
        parse_unrecognized_mobility_header(packet[40:])


@given(st.binary(max_size=120))
def test_any_octets_are_read_or_refused_as_a_problem(data):
    with contextlib.suppress(ParseError):
        assert isinstance(parse_unrecognized_mobility_header(data), UnrecognizedMobilityHeader)
