"""ICMPv6 messages of home agent and prefix discovery, and how they are told from the others."""

from __future__ import annotations

from good_packets import serialize_discoveries, serialize_signalling
from hostile_packets import ICMPV6, mark_seed, read_hostile

from mrouter.errors import ParseError
from mrouter.wire.home_discovery import is_discovery, parse_discovery, serialize_discovery

#: An option that is skipped (RFC 4861 §4.6.4).
_MTU_OPTION = bytes((5, 1, 0, 0, 0, 0, 5, 220))


def test_one_input(data):
    if not data:
        return
    _, packet = read_hostile(data)
    is_ours = is_discovery(packet)
    try:
        parsed = parse_discovery(packet)
    except ParseError:
        return
    assert is_ours, "read by nobody"
    written = serialize_discovery(parsed)
    assert parse_discovery(written) == parsed
    assert is_discovery(written)


def make_seeds():
    signalling = [packet for _, packet in serialize_signalling()[:2]]
    *others, advertisement = serialize_discoveries()
    packets = (*others, advertisement, advertisement + _MTU_OPTION, *signalling)
    return [mark_seed(packet, protocol=ICMPV6) for packet in packets]
