"""What holds for every packet, and for every sequence of octets."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wire_strategies import (
    DRAFT,
    FULL_UPDATE,
    RFC5648,
    CountingSigner,
    formats,
    formats_and_packets,
    unhurried,
)

from mrouter.errors import ParseError
from mrouter.wire.checksum import compute_checksum
from mrouter.wire.constants import Dialect
from mrouter.wire.messages import Packet
from mrouter.wire.packet import parse_packet, serialize_packet
from mrouter.wire.parse_errors import Reason

FULL_UPDATE_OCTETS = {
    fmt: serialize_packet(FULL_UPDATE, fmt, CountingSigner(16)) for fmt in (DRAFT, RFC5648)
}

# (x, y) of xn+y by option type, restated from each option's section; others ask for none.
ALIGNMENTS = {2: (2, 0), 3: (8, 6), 4: (2, 0), 5: (8, 2), 6: (8, 4), 9: (4, 1), 10: (8, 2)}
ALIGNMENTS |= {29: (4, 0), 30: (4, 0), 44: (2, 0), 45: (2, 0)}
#: RFC 6088 §3.2: 8n with any of the flags A to D, 4n with E to H, 2n with I to L.
SELECTOR_ALIGNMENTS = {8: 0xF000, 4: 0x0F00, 2: 0x00F0}
OPTIONS_AT = {0: 8, 1: 16, 2: 16, 3: 24, 4: 24, 5: 12, 6: 12, 7: 24}


def parse_or_refuse(octets, fmt):
    """Return the packet, or the refusal; any other exception is a failure."""
    try:
        outcome = parse_packet(octets, fmt)
    except ParseError as error:
        outcome = error
    assert isinstance(outcome, Packet) or outcome.reason in set(Reason)
    return outcome


def find_mobility_header(octets):
    next_header, offset = octets[6], 40
    while next_header != 135:
        next_header, offset = octets[offset], offset + 8 + 8 * octets[offset + 1]
    return octets[offset:]


def walk_options(header):
    offset = OPTIONS_AT[header[2]]
    while offset < len(header):
        if header[offset] == 0:
            offset += 1
            continue
        yield header[offset], offset
        offset += 2 + header[offset + 1]
    assert offset == len(header)


@unhurried
@given(formats_and_packets)
def test_every_packet_is_read_back_as_it_was(case):
    fmt, packet = case
    octets = serialize_packet(packet, fmt)
    assert parse_packet(octets, fmt) == packet
    assert len(octets) % 8 == 0


@unhurried
@given(formats_and_packets)
def test_every_option_is_aligned(case):
    fmt, packet = case
    header = find_mobility_header(serialize_packet(packet, fmt))
    for kind, offset in walk_options(header):
        factor, rest = ALIGNMENTS.get(kind, (1, 0))
        if kind == 35 and fmt.dialect is Dialect.RFC5648:
            factor, rest = (8, 2) if header[offset + 1] == 20 else (2, 0)  # RFC 5648 §4.3
        assert offset % factor == rest
        if kind == 45:
            check_sub_options(header, offset + 8, offset + 2 + header[offset + 1])


def check_sub_options(header, offset, end):
    """RFC 6089 §4.2.1.3 and RFC 6088 §3.2, by the flags that are set."""
    while offset < end:
        kind = header[offset]
        if kind == 2:
            assert offset % 2 == 0
        if kind == 3 and header[offset + 2] == 2:
            flags = int.from_bytes(header[offset + 4 : offset + 6], "big")
            asked = next((n for n, bits in SELECTOR_ALIGNMENTS.items() if flags & bits), 1)
            assert offset % asked == 0
        offset += 1 if kind == 0 else 2 + header[offset + 1]


@unhurried
@given(st.binary(max_size=200), formats)
@example(b"", DRAFT)
def test_arbitrary_octets_are_read_or_refused(octets, fmt):
    parse_or_refuse(octets, fmt)


@unhurried
@given(st.binary(max_size=120), st.sampled_from([135, 60, 43]), formats)
def test_arbitrary_payload_is_read_or_refused(payload, next_header, fmt):
    fixed = FULL_UPDATE_OCTETS[DRAFT]
    head = fixed[:4] + len(payload).to_bytes(2, "big") + bytes((next_header,)) + fixed[7:40]
    parse_or_refuse(head + payload, fmt)


@unhurried
@given(st.integers(0, 255), st.binary(min_size=2, max_size=240), formats)
def test_arbitrary_mobility_header_with_a_right_checksum_is_read_or_refused(kind, body, fmt):
    # The checksum hides the options from fuzzing, unless it is put right.
    body += bytes(-(len(body) + 6) % 8)
    header = bytearray(bytes((59, (len(body) + 6) // 8 - 1, kind % 10, 0, 0, 0)) + body)
    fixed = FULL_UPDATE_OCTETS[DRAFT]
    header[4:6] = compute_checksum(fixed[8:24], fixed[24:40], header).to_bytes(2, "big")
    head = fixed[:4] + len(header).to_bytes(2, "big") + bytes((135,)) + fixed[7:40]
    outcome = parse_or_refuse(head + header, fmt)
    assert isinstance(outcome, Packet) or outcome.reason != Reason.BAD_CHECKSUM


@unhurried
@given(formats_and_packets, st.data())
def test_packet_cut_anywhere_is_refused(case, data):
    fmt, packet = case
    octets = serialize_packet(packet, fmt)
    cut = data.draw(st.integers(0, len(octets) - 1))
    with pytest.raises(ParseError) as caught:
        parse_packet(octets[:cut], fmt)
    assert caught.value.reason == Reason.TRUNCATED


@unhurried
@given(formats_and_packets, st.data())
def test_packet_with_flipped_bits_is_read_or_refused(case, data):
    fmt, packet = case
    octets = bytearray(serialize_packet(packet, fmt))
    for bit in data.draw(st.lists(st.integers(0, 8 * len(octets) - 1), min_size=1, max_size=4)):
        octets[bit // 8] ^= 1 << bit % 8
    parse_or_refuse(bytes(octets), fmt)


@pytest.mark.parametrize("fmt", [DRAFT, RFC5648])
def test_signed_update_with_any_octet_changed_is_read_or_refused(fmt):
    octets = FULL_UPDATE_OCTETS[fmt]
    for offset in range(len(octets)):
        for value in (0, 1, 2, 0x7F, 0x80, 0xFF, octets[offset] ^ 1):
            changed = octets[:offset] + bytes((value,)) + octets[offset + 1 :]
            parse_or_refuse(changed, fmt)
