"""Echo Requests and Replies; scapy is the oracle."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest

from mrouter.errors import ParseError
from mrouter.wire.echo import Echo, parse_echo_reply, serialize_echo_request

ECHOES = st.builds(Echo, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=64))


@given(ECHOES)
def test_a_request_is_what_scapy_reads_it_as(echo):
    read = ICMPv6EchoRequest(serialize_echo_request(echo))
    assert (read.type, read.code, read.id, read.seq, bytes(read.data)) == (
        128, 0, echo.identifier, echo.sequence, echo.data,
    )  # fmt: skip


@given(ECHOES)
def test_a_reply_is_read_as_scapy_wrote_it(echo):
    reply = ICMPv6EchoReply(id=echo.identifier, seq=echo.sequence, data=echo.data, cksum=0)
    assert parse_echo_reply(bytes(reply)) == echo


@pytest.mark.parametrize(
    "message", [b"", bytes([129, 0, 0, 0, 1, 2, 3]), bytes([128, *bytes(7)]), bytes([129, 1] * 4)]
)
def test_what_is_no_echo_reply_is_refused(message):
    with pytest.raises(ParseError):
        parse_echo_reply(message)


@given(st.binary(max_size=32))
def test_nothing_else_than_a_parse_error_comes_of_arbitrary_octets(data):
    with contextlib.suppress(ParseError):
        assert len(parse_echo_reply(data).data) == len(data) - 8
