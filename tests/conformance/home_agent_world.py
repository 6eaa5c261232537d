"""Binding Updates with several bindings and flow bindings, as messages; no bytes unless signed."""

from __future__ import annotations

from dataclasses import replace

from protocol_world import (
    HOME,
    HOME_AGENT,
    KEY,
    LTE,
    at,
    make_agent,
    only,
    packets,
    send,
    without_keys,
)

from mrouter.protocol.keys import PacketSigner, to_ntp_timestamp
from mrouter.wire.constants import Dialect
from mrouter.wire.format import WireFormat
from mrouter.wire.messages import BindingAcknowledgement, BindingUpdate, Packet
from mrouter.wire.options import (
    AlternateCareOfAddress,
    CareOfAddressInformation,
    FlowIdentification,
    MnHaAuthentication,
    ReplayProtection,
)
from mrouter.wire.packet import parse_packet, serialize_packet

RFC5648 = WireFormat(Dialect.RFC5648)


def make_open_agent(**changes):
    """Return a home agent whose signalling IPsec protects."""
    return make_agent(**{**without_keys(), **changes})


def bid(ifid, link=None, ifpri=0, **how):
    """Return the option for a binding, with the care-of address of ``link``."""
    address = None if link is None else link.address
    return CareOfAddressInformation(ifid, ifpri, care_of_address=address, **how)


def make_message(
    *options,
    sequence=1,
    lifetime=120,
    source=LTE.address,
    home=HOME,
    alternate=None,
    timestamp=None,
    **flags,
):
    """Return a packet with a Binding Update of a mobile router; ``timestamp`` in test seconds."""
    more = []
    if alternate is not None:
        more.append(AlternateCareOfAddress(alternate))
    if timestamp is not None:
        more.append(ReplayProtection(to_ntp_timestamp(at(timestamp).unix)))
    usual = {"acknowledge": True, "home_registration": True, "mobile_router": True}
    multiple = any(isinstance(option, CareOfAddressInformation) for option in options)
    message = BindingUpdate(
        sequence=sequence,
        lifetime=lifetime,
        options=(*options, *more),
        **{**usual, "multiple": multiple, **flags},
    )
    return Packet(source, HOME_AGENT, message, home_address=home)


def update(agent, *options, seconds=0.0, **how):
    """Send such a Binding Update; return the Binding Acknowledgement."""
    effects = send(agent, make_message(*options, **how), at(seconds))
    return only(packets(effects, BindingAcknowledgement)).message


def sign(packet):
    """Return ``packet`` as its receiver parses it in dialect rfc5648, under ``KEY``."""
    signed = (*packet.message.options, MnHaAuthentication(KEY.spi))
    packet = replace(packet, message=replace(packet.message, options=signed))
    return parse_packet(serialize_packet(packet, RFC5648, PacketSigner(KEY)), RFC5648)


def bids(answer):
    """Return the answer's bindings, as (BID, own status)."""
    return [
        (option.ifid, option.status)
        for option in answer.options
        if isinstance(option, CareOfAddressInformation)
    ]


def flow_statuses(answer):
    """Return the answer's flow bindings, as (FID, status)."""
    return [
        (option.fid, option.status)
        for option in answer.options
        if isinstance(option, FlowIdentification)
    ]


def keys(agent):
    return [(entry.ifid, entry.care_of_address) for entry in agent.entries]
