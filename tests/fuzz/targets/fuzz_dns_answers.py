"""DNS answers that pass a mobile router: whatever a server or a device on board makes of them."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from mrouter.errors import ParseError
from mrouter.wire.dns_answers import parse_dns_answer, parse_dns_packet

_ADDRESS = IPv6Address("2001:db8::1")
_MOST_NAME = 4 * 255


def test_one_input(data):
    if not data:
        return
    read = parse_dns_packet if data[0] & 1 else parse_dns_answer
    try:
        found = read(data[1:])
    except ParseError:
        return
    for each in found:
        assert 0 <= each.lifetime < 2**31
        assert each.address.packed in data
        assert len(set(each.names)) == len(each.names) > 0
        for name in each.names:
            assert name == name.lower()
            assert len(name) <= _MOST_NAME
            assert name.isascii()
            assert name.isprintable()


def make_seeds():
    question = b"\3www\7example\3com\0" + struct.pack("!HH", 28, 1)
    alias = b"\xc0\x0c" + struct.pack("!HHiH", 5, 1, 300, 6) + b"\3cdn\xc0\x10"
    address = b"\xc0\x2d" + struct.pack("!HHiH", 28, 1, 60, 16) + _ADDRESS.packed
    message = struct.pack("!HHHHHH", 7, 0x8180, 1, 2, 0, 0) + question + alias + address
    (found,) = parse_dns_answer(message)
    assert found.names == ("www.example.com", "cdn.example.com")
    udp = struct.pack("!HHHH", 53, 40000, 8 + len(message), 0) + message
    header = b"\x60\0\0\0" + struct.pack("!HBB", len(udp), 17, 64) + 2 * _ADDRESS.packed
    return [b"\0" + message, b"\1" + header + udp]
