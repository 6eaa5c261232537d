"""``mrouter capture`` on any frame: one printable line, and one line of JSON, in every dialect."""

from __future__ import annotations

import json

from good_packets import (
    CARE_OF_ADDRESS,
    HOME_AGENT,
    SPI,
    serialize_discoveries,
    serialize_signalling,
)
from hostile_packets import ICMPV6, make_raw, mark_seed, read_hostile
from scapy.layers.inet6 import moboptcls

from mrouter.capture import unknown  # noqa: F401 - loaded late, too late to be instrumented
from mrouter.capture.frame import Frame
from mrouter.capture.record import decode
from mrouter.capture.render import render_json, render_line
from mrouter.protocol.settings import Algorithm, SecurityAssociation
from mrouter.scapy_layers import use_dialect

_KEY = SecurityAssociation(SPI, Algorithm.HMAC_SHA256, b"k" * 32)
_TIME = 1_800_000_000.0


def test_one_input(data):
    if not data:
        return
    fmt, packet = read_hostile(data)
    use_dialect(fmt.dialect, fmt.coainfo_type)
    record = decode(Frame(_TIME, "lte0", packet, "in"), fmt, _KEY)
    if record is None:
        return
    line = render_line(record)
    assert line.isprintable(), "octets of a packet that steer the terminal"
    assert isinstance(json.loads(render_json(record)), dict)


def make_seeds():
    signalling = serialize_signalling()
    _, inner = signalling[0]
    tunnelled = inner[:6] + b"\x29" + inner[7:40] + inner
    return [
        *(mark_seed(packet, number) for number, packet in signalling),
        *(mark_seed(_carry(kind)) for kind in sorted(moboptcls)),
        *(mark_seed(packet, protocol=ICMPV6) for packet in serialize_discoveries()),
        b"\0" + tunnelled,
    ]


def _carry(kind):
    """Return a packet with an option of a type that scapy knows, whatever we make of it."""
    return make_raw(CARE_OF_ADDRESS, HOME_AGENT, 0, bytes((0, 0, kind, 12)) + bytes(range(1, 13)))
