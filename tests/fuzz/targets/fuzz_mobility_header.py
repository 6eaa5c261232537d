"""Mobility Header packets in every dialect: what parses is written and read again as the same."""

from __future__ import annotations

from good_packets import serialize_signalling
from hostile_packets import SURE_TO_FIT, mark_seed, read_hostile

from mrouter.errors import ParseError
from mrouter.wire.options import CareOfAddressInformation, FlowIdentification
from mrouter.wire.packet import parse_packet, serialize_packet


def test_one_input(data):
    if not data:
        return
    fmt, packet = read_hostile(data)
    try:
        parsed = parse_packet(packet, fmt)
    except ParseError:
        return
    bindings = (CareOfAddressInformation, FlowIdentification)
    if any(isinstance(o, bindings) and o.malformed for o in parsed.message.options):
        return  # what was wrong with it is not kept
    try:
        written = serialize_packet(parsed, fmt)
    except ValueError:
        assert len(packet) > SURE_TO_FIT, "what was parsed cannot be written"
        return
    again = parse_packet(written, fmt)
    assert again == parsed
    assert serialize_packet(again, fmt) == written


def make_seeds():
    return [mark_seed(packet, number) for number, packet in serialize_signalling()]
