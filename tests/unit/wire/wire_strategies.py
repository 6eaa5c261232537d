"""Values that the tests of the wire codec share, and hypothesis strategies for its model."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from itertools import chain

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mrouter.wire.constants import Dialect
from mrouter.wire.format import WireFormat
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
    find_option,
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
from mrouter.wire.traffic_selectors import TrafficSelector, UnknownSelector

DRAFT = WireFormat()
RFC5648 = WireFormat(Dialect.RFC5648)

COA = IPv6Address("2001:db8:1::2")
HOME = IPv6Address("2001:db8:ffff::10")
HOME_AGENT = IPv6Address("2001:db8:ffff::1")


#: A slow machine is no failure of the codec.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class CountingSigner:
    """Sign with octets that are easy to find, and keep what was signed."""

    def __init__(self, length=12):
        self.length = length
        self.signed = []

    def sign(self, packet, mh_data):
        self.signed.append(mh_data)
        return bytes(range(1, self.length + 1))


formats = st.sampled_from([DRAFT, RFC5648, WireFormat(coainfo_type=201)])
addresses = st.one_of(
    st.integers(0x2000 << 112, (0x4000 << 112) - 1), st.integers(0xFC00 << 112, (0xFE00 << 112) - 1)
).map(IPv6Address)
octets = st.binary(max_size=24)
uint8 = st.integers(0, 0xFF)
uint16 = st.integers(0, 0xFFFF)
positive16 = st.integers(1, 0xFFFF)
seconds = uint16.map(lambda units: units * 4)
networks = st.builds(
    lambda address, length: IPv6Network((int(address), length), strict=False),
    st.integers(0, (1 << 128) - 1).map(IPv6Address),
    st.integers(0, 128),
)
unknown_options = st.builds(UnknownOption, st.sampled_from([7, 8, 11, 34, 36, 199, 255]), octets)
mn_aaa_options = octets.map(lambda data: UnknownOption(9, b"\x02" + data))


def _ranges(bits, make=int):
    ends = st.integers(0, (1 << bits) - 1)
    whole = st.tuples(ends, ends).map(lambda both: (make(min(both)), make(max(both))))
    return st.one_of(st.none(), ends.map(lambda only: (make(only), make(only))), whole)


selectors = st.one_of(
    st.builds(
        TrafficSelector,
        source=_ranges(128, IPv6Address),
        destination=_ranges(128, IPv6Address),
        spi=_ranges(32),
        flow_label=_ranges(20),
        source_ports=_ranges(16),
        destination_ports=_ranges(16),
        traffic_class=_ranges(6).map(lambda both: both and (4 * both[0], 4 * both[1] + 3)),
        next_header=_ranges(8),
    ),
    st.builds(UnknownSelector, st.sampled_from([0, 1, 3, 255]), octets),
)
_flow_parts = {
    "ifids": st.lists(uint16, max_size=5).map(tuple),
    "selector": st.none() | selectors,
}
_refusals = st.integers(1, 0xFF)
flow_identifications = st.one_of(
    st.builds(FlowIdentification, positive16, positive16, **_flow_parts),
    st.builds(FlowIdentification, positive16, uint16, **_flow_parts, status=_refusals),
    st.builds(FlowIdentification, st.just(0), uint16, status=_refusals, malformed=st.just(True)),
)
ipv4_addresses = st.integers(0, (1 << 32) - 1).map(IPv4Address)
ipv4_lengths = st.integers(1, 32)
ipv4_home_addresses = st.builds(IPv4HomeAddress, ipv4_addresses, ipv4_lengths, st.booleans())
ipv4_acknowledgements = st.one_of(
    st.builds(IPv4AddressAcknowledgement, st.integers(0, 127), ipv4_addresses, ipv4_lengths),
    st.builds(IPv4AddressAcknowledgement, st.integers(128, 255), ipv4_addresses),
)
flow_summaries = st.builds(FlowSummary, st.lists(uint16, min_size=1, max_size=9).map(tuple))


def options_like(fmt):
    """Return a strategy for any options that may stand together in ``fmt``."""
    if fmt.dialect is Dialect.DRAFT_01:
        bindings = st.lists(
            st.builds(CareOfAddressInformation, ifid=uint8, ifpri=uint8), max_size=1
        )
    else:
        bindings = st.lists(
            st.builds(
                CareOfAddressInformation,
                ifid=positive16,
                ifpri=st.integers(0, 126),
                status=uint8,
                care_of_address=st.none() | addresses,
                home_and_foreign=st.booleans(),
            ),
            max_size=3,
        )
    parts = [
        bindings,
        st.lists(st.builds(BindingRefreshAdvice, seconds), max_size=1),
        st.lists(st.builds(AlternateCareOfAddress, addresses), max_size=1),
        st.lists(st.builds(NonceIndices, uint16, uint16), max_size=1),
        st.lists(st.builds(MobileNetworkPrefix, networks), max_size=3),
        st.lists(st.builds(ReplayProtection, st.integers(0, (1 << 64) - 1)), max_size=1),
        st.lists(flow_identifications, max_size=2),
        st.lists(flow_summaries, max_size=2),
        st.lists(ipv4_home_addresses, max_size=2),
        st.lists(ipv4_acknowledgements, max_size=2),
        st.lists(unknown_options, max_size=2),
    ]
    anywhere = st.tuples(*parts).map(lambda lists: list(chain(*lists))).flatmap(st.permutations)
    signature = st.builds(
        MnHaAuthentication, st.integers(0, 0xFFFFFFFF), st.binary(min_size=1, max_size=32)
    )
    last = st.one_of(
        st.just([]),
        st.builds(BindingAuthorizationData, st.binary(min_size=12, max_size=12)).map(
            lambda option: [option]
        ),
        signature.map(lambda option: [option]),
        st.tuples(signature, mn_aaa_options).map(list),
    )
    return st.tuples(anywhere, last).map(lambda both: (*both[0], *both[1]))


def messages_like(fmt):
    """Return a strategy for any message of ``fmt``."""
    eight = st.binary(min_size=8, max_size=8)
    options = options_like(fmt)
    any_address = st.integers(0, (1 << 128) - 1).map(IPv6Address)
    update = st.builds(
        BindingUpdate,
        uint16,
        seconds,
        *[st.booleans()] * 7,
        options=options,
    ).map(lambda message: _fit_update(message, fmt))
    return st.one_of(
        st.builds(BindingRefreshRequest, options),
        st.builds(HomeTestInit, eight, options),
        st.builds(CareOfTestInit, eight, options),
        st.builds(HomeTest, uint16, eight, eight, options),
        st.builds(CareOfTest, uint16, eight, eight, options),
        update,
        st.builds(
            BindingAcknowledgement, uint8, uint16, seconds, st.booleans(), st.booleans(), options
        ).map(lambda message: _fit_acknowledgement(message, fmt)),
        st.builds(BindingError, uint8, any_address, options),
    )


def _fit_update(message, fmt):
    if fmt.dialect is Dialect.DRAFT_01:
        return replace(message, overwrite=False)
    named = find_option(message, CareOfAddressInformation) is not None
    return replace(message, multiple=named)


def _fit_acknowledgement(message, fmt):
    bindings = [each for each in message.options if isinstance(each, CareOfAddressInformation)]
    if fmt.dialect is Dialect.DRAFT_01 or not bindings:
        return message
    if len(bindings) == 1 and bindings[0].status:
        return replace(message, status=bindings[0].status)
    return replace(message, status=message.status or 1)


def packets_like(fmt):
    """Return a strategy for any packet of ``fmt``."""
    return st.builds(
        Packet,
        addresses,
        addresses,
        messages_like(fmt),
        st.none() | addresses,
        st.none() | addresses,
    )


formats_and_packets = formats.flatmap(lambda fmt: st.tuples(st.just(fmt), packets_like(fmt)))

FULL_UPDATE = Packet(
    COA,
    HOME_AGENT,
    BindingUpdate(
        sequence=5,
        lifetime=120,
        acknowledge=True,
        home_registration=True,
        mobile_router=True,
        multiple=True,
        options=(
            CareOfAddressInformation(7, 1),
            MobileNetworkPrefix(IPv6Network("2001:db8:f::/48")),
            ReplayProtection(0x0102030405060708),
            MnHaAuthentication(4),
        ),
    ),
    home_address=HOME,
)
