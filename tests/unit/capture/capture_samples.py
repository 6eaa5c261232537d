"""A signed Binding Update, files with packets, and what the command shows of them."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from mrouter.capture.frame import Frame
from mrouter.capture.pcap import FrameWriter
from mrouter.capture.run import CaptureOptions, run_capture
from mrouter.protocol.keys import PacketSigner
from mrouter.protocol.settings import Algorithm, SecurityAssociation
from mrouter.wire.constants import Dialect
from mrouter.wire.format import WireFormat
from mrouter.wire.messages import (
    BindingUpdate,
    Packet,
)
from mrouter.wire.options import (
    CareOfAddressInformation,
    MnHaAuthentication,
    MobileNetworkPrefix,
    ReplayProtection,
)
from mrouter.wire.packet import serialize_packet

COA = IPv6Address("2001:db8:1::2")
HOME = IPv6Address("2001:db8:f1::100")
HOME_AGENT = IPv6Address("2001:db8:f0::2")
DRAFT, RFC5648 = WireFormat(), WireFormat(Dialect.RFC5648)
TIME = 1_763_985_601.25
KEY = bytes(range(32))
ASSOCIATION = SecurityAssociation(256, Algorithm.HMAC_SHA256, KEY)

UPDATE = Packet(
    COA,
    HOME_AGENT,
    BindingUpdate(
        sequence=4711,
        lifetime=60,
        acknowledge=True,
        home_registration=True,
        mobile_router=True,
        multiple=True,
        options=(
            CareOfAddressInformation(13, 1),
            MobileNetworkPrefix(IPv6Network("2001:db8:a1::/64")),
            ReplayProtection(0xECD0_0000_0000_0000),
            MnHaAuthentication(256),
        ),
    ),
    home_address=HOME,
)
SIGNED = serialize_packet(UPDATE, DRAFT, PacketSigner(ASSOCIATION))


def write_frames(path, *octets):
    with FrameWriter(path) as writer:
        for data in octets:
            writer.write(Frame(TIME, "lte0", data))
    return path


def tunnel(data, source="2001:db8:9::1", destination="2001:db8:9::2"):
    head = bytes.fromhex("60000000") + len(data).to_bytes(2, "big") + bytes((41, 64))
    return head + IPv6Address(source).packed + IPv6Address(destination).packed + data


def show(packet, tmp_path, fmt=DRAFT, association=None, **options):
    """Return what is shown of one packet, without the time and the link."""
    octets = packet if isinstance(packet, bytes) else serialize_packet(packet, fmt)
    path = write_frames(tmp_path / "made.pcap", octets)
    lines = []
    run_capture(CaptureOptions(read=path, **options), fmt, association, lines.append)
    assert len(lines) == 1
    return lines[0]
