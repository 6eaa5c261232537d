"""Good messages of every kind, as bytes: what fuzzing begins with."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network

from hostile_packets import FORMATS

from mrouter.wire.home_discovery import (
    DiscoveryPacket,
    HomeAgentReply,
    HomeAgentRequest,
    HomePrefix,
    PrefixAdvertisement,
    PrefixSolicitation,
    serialize_discovery,
)
from mrouter.wire.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTest,
    CareOfTestInit,
    HomeTest,
    HomeTestInit,
    Packet,
)
from mrouter.wire.options import (
    AlternateCareOfAddress,
    BindingAuthorizationData,
    BindingRefreshAdvice,
    CareOfAddressInformation,
    FlowIdentification,
    FlowSummary,
    IPv4AddressAcknowledgement,
    IPv4HomeAddress,
    MnHaAuthentication,
    MobileNetworkPrefix,
    NonceIndices,
    ReplayProtection,
    UnknownOption,
)
from mrouter.wire.packet import serialize_packet
from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector

HOME_AGENT = IPv6Address("2001:db8:aaaa::1")
HOME = IPv6Address("2001:db8:aaaa::100")
CARE_OF_ADDRESS = IPv6Address("2001:db8:1::10")
CORRESPONDENT = IPv6Address("2001:db8:dddd::1")
PREFIX = IPv6Network("2001:db8:bbbb::/56")
NETWORK = IPv4Address("192.0.2.0")
SPI = 256

_COOKIE = b"a cookie"
_INFORMATION = CareOfAddressInformation(7, 1)
_TOKEN = b"a token!"

_FLOWS = (
    FlowSummary((1, 2)),
    FlowIdentification(
        3,
        30,
        (7, 9),
        TrafficSelector(
            source=(CARE_OF_ADDRESS, CARE_OF_ADDRESS),
            destination=(PREFIX[1], PREFIX[9]),
            source_ports=(5004, 5007),
            next_header=(17, 17),
        ),
    ),
    FlowIdentification(4, 40, selector=UnknownSelector(1, b"IPv4's")),
)

_SIGNED = (ReplayProtection(0xECD0_0000_0000_0000), MnHaAuthentication(SPI, bytes(range(16))))
_AUTHORIZED = (NonceIndices(1, 2), BindingAuthorizationData(bytes(range(12))))

PACKETS = (
    Packet(
        CARE_OF_ADDRESS,
        HOME_AGENT,
        BindingUpdate(
            1,
            120,
            acknowledge=True,
            home_registration=True,
            mobile_router=True,
            multiple=True,
            options=(
                _INFORMATION,
                MobileNetworkPrefix(PREFIX),
                IPv4HomeAddress(NETWORK, 24, request_prefix=True),
                *_SIGNED,
            ),
        ),
        home_address=HOME,
    ),
    Packet(
        CARE_OF_ADDRESS,
        CORRESPONDENT,
        BindingUpdate(2, 400, multiple=True, options=(_INFORMATION, *_AUTHORIZED)),
        home_address=HOME,
    ),
    Packet(
        HOME,
        CORRESPONDENT,
        BindingUpdate(3, 0, options=(AlternateCareOfAddress(HOME), *_AUTHORIZED)),
    ),
    Packet(
        HOME_AGENT,
        CARE_OF_ADDRESS,
        BindingAcknowledgement(
            1,
            4711,
            120,
            mobile_router=True,
            options=(
                BindingRefreshAdvice(60),
                IPv4AddressAcknowledgement(0, NETWORK, 24),
                IPv4AddressAcknowledgement(129, NETWORK),
                _INFORMATION,
                *_SIGNED,
                UnknownOption(9, b"\x02any AAA's authenticator"),
            ),
        ),
        routing_home_address=HOME,
    ),
    Packet(
        CARE_OF_ADDRESS,
        HOME_AGENT,
        BindingUpdate(
            9, 120, home_registration=True, multiple=True, options=(_INFORMATION, *_FLOWS)
        ),
        home_address=HOME,
    ),
    Packet(HOME_AGENT, CARE_OF_ADDRESS, BindingRefreshRequest((_INFORMATION,))),
    Packet(HOME, CORRESPONDENT, HomeTestInit(_COOKIE)),
    Packet(CARE_OF_ADDRESS, CORRESPONDENT, CareOfTestInit(_COOKIE, (_INFORMATION,))),
    Packet(CORRESPONDENT, HOME, HomeTest(1, _COOKIE, _TOKEN)),
    Packet(CORRESPONDENT, CARE_OF_ADDRESS, CareOfTest(2, _COOKIE, _TOKEN)),
    Packet(
        CORRESPONDENT,
        CARE_OF_ADDRESS,
        BindingError(1, HOME, (UnknownOption(200, b"unknown"), AlternateCareOfAddress(HOME))),
    ),
)

DISCOVERIES = (
    DiscoveryPacket(CARE_OF_ADDRESS, HOME_AGENT, HomeAgentRequest(1, mobile_router=True)),
    DiscoveryPacket(HOME_AGENT, CARE_OF_ADDRESS, HomeAgentReply(1, (HOME_AGENT, HOME))),
    DiscoveryPacket(CARE_OF_ADDRESS, HOME_AGENT, PrefixSolicitation(2), home_address=HOME),
    DiscoveryPacket(
        HOME_AGENT,
        CARE_OF_ADDRESS,
        PrefixAdvertisement(2, (HomePrefix(IPv6Network("2001:db8:aaaa::/64"), 86400, 3600),)),
        routing_home_address=HOME,
    ),
)


def serialize_signalling():
    """Return (number of the format, bytes) of every packet in every dialect."""
    return [
        (number, serialize_packet(packet, fmt))
        for number, fmt in enumerate(FORMATS)
        for packet in PACKETS
    ]


def serialize_discoveries():
    """Return the bytes of every discovery message."""
    return [serialize_discovery(packet) for packet in DISCOVERIES]
