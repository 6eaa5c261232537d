"""A signed Binding Update, and files with it."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from mrouter.capture.frame import Frame
from mrouter.capture.pcap import FrameWriter
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
