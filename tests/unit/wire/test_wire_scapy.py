"""scapy as an independent witness for what it knows.

That is: MH types 0 to 7, mobility options 0 to 10, ICMPv6 types 144 to 147. For CoAINFO, Binding
Identifier and the flow options ``test_scapy_layers`` compares with our own layers.
"""

from __future__ import annotations

from ipaddress import IPv6Network

import pytest
from scapy.layers import inet6 as scapy
from wire_strategies import COA, HOME, HOME_AGENT, RFC5648

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
    MnHaAuthentication,
    MobileNetworkPrefix,
    NonceIndices,
    ReplayProtection,
    UnknownOption,
)
from mrouter.wire.packet import parse_packet, serialize_packet

COOKIE, TOKEN = bytes(range(8)), bytes(range(8, 16))
PREFIX = IPv6Network("2001:db8:f::/48")
TWELVE = bytes(range(12))

# scapy takes the wrong default for some lengths and types: those are given.
OPTIONS = {
    "advice": (BindingRefreshAdvice(120), scapy.MIP6OptBRAdvice(rinter=30)),
    "altcoa": (AlternateCareOfAddress(COA), scapy.MIP6OptAltCoA(acoa=str(COA))),
    "nonces": (NonceIndices(1, 2), scapy.MIP6OptNonceIndices(olen=4, hni=1, coni=2)),
    "bad": (
        BindingAuthorizationData(TWELVE),
        scapy.MIP6OptBindingAuthData(olen=12, authenticator=int.from_bytes(TWELVE, "big")),
    ),
    "prefix": (
        MobileNetworkPrefix(PREFIX),
        scapy.MIP6OptMobNetPrefix(plen=48, prefix=str(PREFIX.network_address)),
    ),
    "auth": (MnHaAuthentication(3, TWELVE), scapy.MIP6OptMsgAuth(mspi=3, authdata=TWELVE)),
    "replay": (ReplayProtection(0x0102030405060708), scapy.MIP6OptReplayProtection()),
    "aaa": (
        UnknownOption(9, b"\2\0\0\0\3" + TWELVE),
        scapy.MIP6OptMsgAuth(subtype=2, mspi=3, authdata=TWELVE),
    ),
    "unknown": (UnknownOption(200, b"abc"), scapy.MIP6OptUnknown(otype=200, odata=b"abc")),
}
OPTIONS["replay"][1].timestamp = 0x0102030405060708

MESSAGES = {
    "brr": (BindingRefreshRequest, scapy.MIP6MH_BRR, {}, {}),
    "hoti": (HomeTestInit, scapy.MIP6MH_HoTI, {"cookie": COOKIE}, {"cookie": COOKIE}),
    "coti": (
        CareOfTestInit,
        scapy.MIP6MH_CoTI,
        {"cookie": COOKIE},
        {"cookie": COOKIE, "mhtype": 2},
    ),
    "hot": (
        HomeTest,
        scapy.MIP6MH_HoT,
        {"nonce_index": 7, "cookie": COOKIE, "keygen_token": TOKEN},
        {"index": 7, "cookie": COOKIE, "token": TOKEN},
    ),
    "cot": (
        CareOfTest,
        scapy.MIP6MH_CoT,
        {"nonce_index": 7, "cookie": COOKIE, "keygen_token": TOKEN},
        {"index": 7, "cookie": COOKIE, "token": TOKEN, "mhtype": 4},
    ),
    "bu": (
        BindingUpdate,
        scapy.MIP6MH_BU,
        {
            "sequence": 9,
            "lifetime": 240,
            "acknowledge": True,
            "home_registration": True,
            "mobile_router": True,
        },
        {"seq": 9, "mhtime": 60, "flags": "AHR"},
    ),
    "bu-other-flags": (
        BindingUpdate,
        scapy.MIP6MH_BU,
        {"sequence": 0xFFFF, "lifetime": 262140}
        | {"link_local_compatible": True, "key_management": True},
        {"seq": 0xFFFF, "mhtime": 0xFFFF, "flags": "LK"},
    ),
    "ba": (
        BindingAcknowledgement,
        scapy.MIP6MH_BA,
        {
            "status": 135,
            "sequence": 9,
            "lifetime": 240,
            "key_management": True,
            "mobile_router": True,
        },
        {"status": 135, "seq": 9, "mhtime": 60, "flags": "KR", "res2": 0},
    ),
    "be": (
        BindingError,
        scapy.MIP6MH_BE,
        {"status": 1, "home_address": HOME},
        {"status": 1, "ha": str(HOME)},
    ),
}


def witness(message, headers=(), source=COA, destination=HOME_AGENT):
    stack = scapy.IPv6(src=str(source), dst=str(destination), hlim=64)
    for header in headers:
        stack = stack / header
    return bytes(stack / message)


def build_both(message_name, option_name):
    kind, layer, ours, theirs = MESSAGES[message_name]
    option, witness_option = OPTIONS[option_name]
    message = kind(**ours, options=(option,))
    return Packet(COA, HOME_AGENT, message), layer(**theirs, options=[witness_option.copy()])


@pytest.mark.parametrize("option_name", OPTIONS)
@pytest.mark.parametrize("message_name", MESSAGES)
def test_scapy_writes_the_same_octets(message_name, option_name):
    ours, theirs = build_both(message_name, option_name)
    assert serialize_packet(ours, RFC5648).hex() == witness(theirs).hex()


@pytest.mark.parametrize("option_name", OPTIONS)
@pytest.mark.parametrize("message_name", MESSAGES)
def test_what_scapy_writes_is_read(message_name, option_name):
    ours, theirs = build_both(message_name, option_name)
    assert parse_packet(witness(theirs), RFC5648) == ours


def test_scapy_sums_a_home_address_option_the_same():
    message = BindingUpdate(9, 240, acknowledge=True)
    ours = Packet(COA, HOME_AGENT, message, home_address=HOME)
    header = scapy.IPv6ExtHdrDestOpt(options=[scapy.HAO(hoa=str(HOME))])
    theirs = witness(scapy.MIP6MH_BU(seq=9, mhtime=60, flags="A", options=[]), [header])
    assert serialize_packet(ours, RFC5648).hex() == theirs.hex()


def test_scapy_sums_a_type_2_routing_header_the_same():
    message = BindingAcknowledgement(0, 9, 240)
    ours = Packet(HOME_AGENT, COA, message, routing_home_address=HOME)
    header = scapy.IPv6ExtHdrRouting(type=2, segleft=1, addresses=[str(HOME)])
    layer = scapy.MIP6MH_BA(status=0, seq=9, mhtime=60, flags=0, res2=0, options=[])
    theirs = witness(layer, [header], HOME_AGENT, COA)
    assert serialize_packet(ours, RFC5648).hex() == theirs.hex()


def test_scapy_aligns_several_options_the_same():
    names = ("advice", "prefix", "unknown", "nonces", "altcoa", "replay", "bad")
    options = tuple(OPTIONS[name][0] for name in names)
    theirs = [OPTIONS[name][1].copy() for name in names]
    ours = Packet(COA, HOME_AGENT, BindingRefreshRequest(options))
    layer = scapy.MIP6MH_BRR(options=theirs)
    assert serialize_packet(ours, RFC5648).hex() == witness(layer).hex()


@pytest.mark.parametrize(
    ("message", "layer"),
    [
        (HomeAgentRequest(7), scapy.ICMPv6HAADRequest(id=7, R=0)),
        (HomeAgentRequest(7, mobile_router=True), scapy.ICMPv6HAADRequest(id=7, R=1)),
        (
            HomeAgentReply(7, (HOME_AGENT, HOME), mobile_router=True),
            scapy.ICMPv6HAADReply(id=7, R=1, addresses=[str(HOME_AGENT), str(HOME)]),
        ),
        (PrefixSolicitation(7), scapy.ICMPv6MPSol(id=7)),
        (
            PrefixAdvertisement(7, (HomePrefix(PREFIX, 900, 600),)),
            scapy.ICMPv6MPAdv(id=7, flags=0)
            / scapy.ICMPv6NDOptPrefixInfo(
                prefixlen=48,
                prefix=str(PREFIX.network_address),
                validlifetime=900,
                preferredlifetime=600,
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scapy_writes_the_same_discovery(message, layer):
    packet = DiscoveryPacket(COA, HOME_AGENT, message)
    assert serialize_discovery(packet).hex() == witness(layer).hex()
