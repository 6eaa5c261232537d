"""What others say on the home link about who has an address."""

from __future__ import annotations

from ipaddress import IPv6Address

from good_packets import HOME, HOME_AGENT

from mrouter.wire.neighbour_discovery import (
    find_claim,
    serialize_advertisement,
    serialize_duplicate_probe,
)

_IPV6_HEADER = 40


def test_one_input(data):
    if len(data) < 17:
        return
    hop_limit, source, message = data[0], IPv6Address(data[1:17]), data[17:]
    claim = find_claim(source, hop_limit, message)
    if claim is not None:
        assert hop_limit == 255, "from beyond the link"
        assert claim.packed == message[8:24]


def make_seeds():
    packets = (
        serialize_duplicate_probe(HOME),
        serialize_advertisement(HOME_AGENT, HOME, b"\2\0\0\0\0\1"),
    )
    return [b"\xff" + packet[8:24] + packet[_IPV6_HEADER:] for packet in packets]
