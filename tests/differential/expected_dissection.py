"""What tshark has to read in our packets: written from its field names and the RFCs' drawings."""

from __future__ import annotations

from struct import pack

from tshark_oracle import DissectedOption

from mrouter.wire.constants import Dialect
from mrouter.wire.home_discovery import (
    HomeAgentReply,
    HomeAgentRequest,
    PrefixAdvertisement,
    PrefixSolicitation,
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
from mrouter.wire.traffic_selectors import UnknownSelector


def _octet(value):
    return f"{value:02x}"


def _half(value):
    return f"{value:04x}"


def _word(value):
    return f"{value:08x}"


# --- IPv6 -----------------------------------------------------------------------------------


def expect_addresses(packet):
    """Return the fields of the IPv6 header and its extension headers that say who talks."""
    fields = {"ipv6.src": packet.source.packed.hex(), "ipv6.dst": packet.destination.packed.hex()}
    if packet.home_address is not None:
        fields["ipv6.opt.mipv6.home_address"] = packet.home_address.packed.hex()
    if packet.routing_home_address is not None:
        fields |= {
            "ipv6.routing.type": "02",
            "ipv6.routing.segleft": "01",
            "ipv6.routing.mipv6.home_address": packet.routing_home_address.packed.hex(),
        }
    return {name: [value] for name, value in fields.items()}


# --- Mobility Headers -----------------------------------------------------------------------


def expect_message(message, fmt):
    """Return the fields of a Mobility Header, without length, checksum and options."""
    kind, describe = _MESSAGES[type(message)]
    fields = {"mip6.proto": "3b", "mip6.mhtype": _octet(kind), "mip6.reserved": "00"}
    fields |= describe(message, fmt)
    return {name: [value] for name, value in fields.items()}


def _expect_update(message, fmt):
    draft = fmt.dialect is Dialect.DRAFT_01
    flags = {
        "a": message.acknowledge,
        "h": message.home_registration,
        "l": message.link_local_compatible,
        "k": message.key_management,
        # tshark knows RFC 5648's bits; the draft's R is where its M is, and M where its R is.
        "m": draft and message.mobile_router,
        "p": False,
        "f": False,
        "t": False,
        # RFC 5648's O; RFC 6602 took the same bit for B.
        "b": message.overwrite,
    }
    fields = {f"mip6.bu.{name}_flag": str(int(value)) for name, value in flags.items()}
    router = message.multiple if draft else message.mobile_router
    return fields | {
        "mip6.nemo.bu.r_flag": str(int(router)),
        "mip6.bu.seqnr": _half(message.sequence),
        "mip6.bu.lifetime": _half(message.lifetime // 4),
    }


def _expect_acknowledgement(message, fmt):
    status = message.status
    named = any(isinstance(option, CareOfAddressInformation) for option in message.options)
    if fmt.dialect is Dialect.RFC5648 and named and status == 1:
        status = 0  # the draft's 1 has no number of its own there
    return {
        "mip6.ba.status": _octet(status),
        "mip6.ba.k_flag": str(int(message.key_management)),
        "mip6.nemo.ba.r_flag": str(int(message.mobile_router)),
        "mip6.ba.p_flag": "0",
        "mip6.ba.t_flag": "0",
        "mip6.ba.b_flag": "0",
        "mip6.ba.seqnr": _half(message.sequence),
        "mip6.ba.lifetime": _half(message.lifetime // 4),
    }


def _expect_test(name):
    return lambda message, fmt: {
        f"mip6.{name}.nindex": _half(message.nonce_index),
        f"mip6.{name}.cookie": message.cookie.hex(),
        # tshark has one field for both tokens
        "mip6.hot.token": message.keygen_token.hex(),
    }


_MESSAGES = {
    BindingRefreshRequest: (0, lambda message, fmt: {"mip6.binding_refresh_request": "0000"}),
    HomeTestInit: (1, lambda message, fmt: {"mip6.hoti.cookie": message.cookie.hex()}),
    CareOfTestInit: (2, lambda message, fmt: {"mip6.coti.cookie": message.cookie.hex()}),
    HomeTest: (3, _expect_test("hot")),
    CareOfTest: (4, _expect_test("cot")),
    BindingUpdate: (5, _expect_update),
    BindingAcknowledgement: (6, _expect_acknowledgement),
    BindingError: (
        7,
        lambda message, fmt: {
            "mip6.be.status": _octet(message.status),
            "mip6.be.haddr": message.home_address.packed.hex(),
        },
    ),
}


# --- mobility options -----------------------------------------------------------------------


def expect_option(option, fmt):
    """Return ``option`` as tshark has to read it."""
    return _OPTIONS[type(option)](option, fmt)


def _expect_binding(option, fmt):
    if fmt.dialect is Dialect.DRAFT_01:
        # the draft §5.3.1: the reserved octets behind it are not in its Length of 2
        return _skipped(fmt.coainfo_type, bytes((option.ifid, option.ifpri)))
    flags = option.home_and_foreign << 7 | option.ifpri + 1  # RFC 6089 §4.1: 0 is reserved
    body = pack("!HBB", option.ifid, option.status, flags)
    fields = {
        "mip6.bi.bid": _half(option.ifid),
        "mip6.bi.status": _octet(option.status),
        "mip6.bi.h_flag": str(int(option.home_and_foreign)),
    }
    if option.care_of_address is not None:
        body += option.care_of_address.packed
        fields["mip6.bi.coa_ipv6"] = option.care_of_address.packed.hex()
    return _known(35, "bi", body, fields)


def _expect_authentication(body):
    # tshark counts Authentication Data two octets short, so that only the octets show them.
    return _known(
        9,
        "auth",
        body,
        {"mip6.auth.subtype": body[:1].hex(), "mip6.auth.mobility_spi": body[1:5].hex()},
    )


def _expect_flow(option, fmt):
    body = pack("!HHBB", option.fid, option.priority, 0, option.status)  # RFC 6089 §4.2
    if option.selector is not None:
        kind, selector = _draw_selector(option.selector)
        body += bytes((3, 2 + len(selector), kind, 0)) + selector
    if option.ifids:
        body += bytes(len(body) % 2)  # Pad1: a Binding Reference stands at 2n (RFC 6089 §4.2.1.3)
        count = len(option.ifids)
        body += pack(f"!BB{count}H", 2, 2 * count, *option.ifids)
    return _skipped(45, body)


#: The ranges of RFC 6088 §3.2 in their order, with the octets of each end.
_RANGES = {
    "source": 16,
    "destination": 16,
    "spi": 4,
    "flow_label": 4,
    "source_ports": 2,
    "destination_ports": 2,
    "traffic_class": 1,
    "next_header": 1,
}


def _draw_selector(selector):
    if isinstance(selector, UnknownSelector):
        return selector.format, selector.data
    flags, ends = "", b""
    for name, octets in _RANGES.items():
        drawn = getattr(selector, name) or ()
        if name == "traffic_class":  # the two lowest bits do not count, and are zeros
            drawn = tuple(end & 0xFC for end in drawn)
        if len(set(drawn)) == 1:
            drawn = drawn[:1]
        flags += ("00", "10", "11")[len(drawn)]
        ends += b"".join(int(end).to_bytes(octets, "big") for end in drawn)
    return 2, pack("!HH", int(flags, 2), 0) + ends


def _expect_ipv4(option, fmt):
    octet = option.prefix_length << 2 | option.request_prefix << 1  # RFC 5555 §3.1.1
    return _known(
        29,
        "ipv4ha",
        bytes((octet, 0)) + option.address.packed,
        {
            "mip6.ipv4ha.preflen": f"{option.prefix_length:X}",
            "mip6.ipv4ha.p_flag": str(int(option.request_prefix)),
            "mip6.ipv4ha.ha": option.address.packed.hex(),
        },
    )


def _expect_ipv4_acknowledgement(option, fmt):
    return _known(
        30,
        "ipv4aa",
        bytes((option.status, option.prefix_length << 2)) + option.address.packed,
        {
            "mip6.ipv4aa.sts": _octet(option.status),
            "mip6.ipv4ha.preflen": f"{option.prefix_length:X}",
            "mip6.ipv4ha.ha": option.address.packed.hex(),
        },
    )


def _expect_unknown(option, fmt):
    if option.type == 9:
        return _expect_authentication(option.data)
    return _skipped(option.type, option.data)


def _known(kind, name, body, fields):
    octets = bytes((kind, len(body))) + body
    return DissectedOption(f"mip6.options.{name}", octets.hex(), fields)


def _skipped(kind, body):
    """Return an option that tshark passes over by its length."""
    fields = {"mip6.mobility_opt": _octet(kind), "mip6.ie_not_dissected": ""}
    return DissectedOption("", (bytes((kind, len(body))) + body).hex(), fields)


#: Fields in which tshark errs: the length of an option that it does not know is read at another
#: place, and see ``_expect_authentication``. ``DissectedOption.octets`` has both.
_MISREAD = ("mip6.mobility_opt.len", "mip6.auth.auth_data")


def forget_misread(option):
    """Return the dissected ``option`` without the fields in which tshark errs."""
    fields = {name: value for name, value in option.fields.items() if name not in _MISREAD}
    return DissectedOption(option.name, option.octets, fields)


_OPTIONS = {
    BindingRefreshAdvice: lambda option, fmt: _known(
        2,
        "bra",
        pack("!H", option.interval // 4),
        {"mip6.bra.interval": _half(option.interval // 4)},
    ),
    AlternateCareOfAddress: lambda option, fmt: _known(
        3, "acoa", option.address.packed, {"mip6.acoa.acoa": option.address.packed.hex()}
    ),
    NonceIndices: lambda option, fmt: _known(
        4,
        "ni",
        pack("!HH", option.home, option.care_of),
        {"mip6.ni.hni": _half(option.home), "mip6.ni.cni": _half(option.care_of)},
    ),
    BindingAuthorizationData: lambda option, fmt: _known(
        5, "bad_auth", option.authenticator, {"mip6.bad.auth": option.authenticator.hex()}
    ),
    MobileNetworkPrefix: lambda option, fmt: _known(
        6,
        "mnp",
        pack("!BB", 0, option.prefix.prefixlen) + option.prefix.network_address.packed,
        {
            "mip6.nemo.mnp.pfl": _octet(option.prefix.prefixlen),
            "mip6.nemo.mnp.mnp": option.prefix.network_address.packed.hex(),
        },
    ),
    MnHaAuthentication: lambda option, fmt: _expect_authentication(
        pack("!BI", 1, option.spi) + option.authenticator
    ),
    ReplayProtection: lambda option, fmt: _known(
        10,
        "mseg_id",
        pack("!Q", option.timestamp),
        {"mip6.mseg_id.timestamp": f"{option.timestamp:016x}"},
    ),
    CareOfAddressInformation: _expect_binding,
    # RFC 6089's options, of which tshark knows the names alone
    FlowSummary: lambda option, fmt: _skipped(44, pack(f"!{len(option.fids)}H", *option.fids)),
    FlowIdentification: _expect_flow,
    IPv4HomeAddress: _expect_ipv4,
    IPv4AddressAcknowledgement: _expect_ipv4_acknowledgement,
    UnknownOption: _expect_unknown,
}


# --- ICMPv6 ---------------------------------------------------------------------------------


def expect_discovery(message):
    """Return the fields of an ICMPv6 message, without the checksum's value."""
    fields = {
        "icmpv6.code": ["00"],
        "icmpv6.checksum.status": ["1"],  # good
        "icmpv6.mip6.identifier": [_half(message.identifier)],
    }
    if isinstance(message, HomeAgentRequest | HomeAgentReply):
        # RFC 3963 §7.1: R is the first of the reserved bits, which is all that tshark knows
        fields["icmpv6.reserved"] = ["8000" if message.mobile_router else "0000"]
    if isinstance(message, HomeAgentRequest):
        return fields | {"icmpv6.type": [_octet(144)]}
    if isinstance(message, HomeAgentReply):
        return (
            fields
            | {"icmpv6.type": [_octet(145)]}
            | _list_fields(
                message.addresses,
                lambda address: {"icmpv6.mip6.home_agent_address": address.packed.hex()},
            )
        )
    if isinstance(message, PrefixSolicitation):
        return fields | {"icmpv6.type": [_octet(146)], "icmpv6.reserved": ["0000"]}
    assert isinstance(message, PrefixAdvertisement)
    return (
        fields
        | {
            "icmpv6.type": [_octet(147)],
            "icmpv6.mip6.flag": ["0000"],
            "icmpv6.mip6.flag.m": ["0"],
            "icmpv6.mip6.flag.o": ["0"],
            "icmpv6.mip6.flag.rsv": ["0"],
        }
        | _list_fields(message.prefixes, _expect_prefix)
    )


def _expect_prefix(prefix):
    return {
        "icmpv6.opt.type": "03",
        "icmpv6.opt.length": "04",
        "icmpv6.opt.prefix": prefix.prefix.network_address.packed.hex(),
        "icmpv6.opt.prefix.length": _octet(prefix.prefix.prefixlen),
        "icmpv6.opt.prefix.flag": "c0",
        "icmpv6.opt.prefix.flag.l": "1",
        "icmpv6.opt.prefix.flag.a": "1",
        "icmpv6.opt.prefix.flag.r": "0",
        "icmpv6.opt.prefix.flag.reserved": "0",
        "icmpv6.opt.prefix.valid_lifetime": _word(prefix.valid_lifetime),
        "icmpv6.opt.prefix.preferred_lifetime": _word(prefix.preferred_lifetime),
    }


def _list_fields(parts, describe):
    """Return by name what ``describe`` says of each of ``parts``, in their order."""
    fields = {}
    for part in parts:
        for name, value in describe(part).items():
            fields.setdefault(name, []).append(value)
    return fields
