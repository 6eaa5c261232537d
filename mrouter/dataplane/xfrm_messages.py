"""XFRM states and policies to and from netlink messages (linux/xfrm.h)."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

from mrouter.dataplane import marks
from mrouter.dataplane.transformations import (
    Direction,
    Header,
    Transformation,
    TransformationPolicy,
)
from mrouter.netlink import HEADER, RawMessage, make_attribute, read_attributes

NETLINK_XFRM = 6

_NEW_STATE, _DELETE_STATE, GET_STATES = 0x10, 0x11, 0x12
_NEW_POLICY, _DELETE_POLICY, GET_POLICIES = 0x13, 0x14, 0x15
_UPDATE_POLICY, _UPDATE_STATE = 0x19, 0x1A

_TEMPLATE = 5
_SOURCE_ADDRESS = 13
_CARE_OF_ADDRESS = 14
_POLICY_TYPE = 16
_MARK = 21
_SET_MARK = 29
_SET_MARK_MASK = 30

_ROUTE_OPTIMIZATION = 2
#: Sub policies are combined with the main ones: an IPsec policy for the same packets holds on.
_SUB_POLICY = 1
_EVERY_ALGORITHM = 0xFFFFFFFF

#: struct xfrm_selector, _id, _lifetime_cfg, _usersa_info, _usersa_id.
_SELECTOR = struct.Struct("=16s16sHHHHHBBBxxxiI")
_ID = struct.Struct("=16s4sBxxx")
_LIMITS = struct.pack("=8Q", *[2**64 - 1] * 4, *[0] * 4)
_NO_LIFETIME = bytes(32)
_NO_STATISTICS = bytes(12)
_STATE_END = struct.Struct("=16s64s32s12sIIHBBBxxxxxxx")
_STATE_ID = struct.Struct("=16sIHBx")
#: struct xfrm_userpolicy_info behind its selector, _userpolicy_id, _userpolicy_type, _user_tmpl.
_POLICY_END = struct.Struct("=64s32sIIBBBBxxxx")
_POLICY_ID_END = struct.Struct("=IBxxx")
_TYPE = struct.Struct("=BxHBx")
_TEMPLATE_END = struct.Struct("=Hxx16sIBBBxIII")
_MARK_PAIR = struct.Struct("=II")
_WORD = struct.Struct("=I")
_NO_SPI = bytes(4)


def make_state(state: Transformation, *, replace: bool = False) -> RawMessage:
    """Return the message that adds ``state``, or puts it in the place of the one of its key."""
    body = (
        bytes(_SELECTOR.size)
        + _ID.pack(state.destination.packed, _NO_SPI, state.header)
        + _STATE_END.pack(
            state.source.packed,
            _LIMITS,
            _NO_LIFETIME,
            _NO_STATISTICS,
            0,
            marks.XFRM_REQUEST,
            socket.AF_INET6,
            _ROUTE_OPTIMIZATION,
            0,
            0,
        )
        + make_attribute(_CARE_OF_ADDRESS, state.care_of_address.packed)
        + _make_mark(state.mark, state.mask)
    )
    if state.output_mark:
        body += make_attribute(_SET_MARK, _WORD.pack(state.output_mark))
        body += make_attribute(_SET_MARK_MASK, _WORD.pack(marks.FIREWALL_MASK))
    return RawMessage(_UPDATE_STATE if replace else _NEW_STATE, 0, body)


def make_state_removal(state: Transformation) -> RawMessage:
    """Return the message that deletes ``state``."""
    body = (
        _STATE_ID.pack(state.destination.packed, 0, socket.AF_INET6, state.header)
        + make_attribute(_SOURCE_ADDRESS, state.source.packed)
        + _make_mark(state.mark, state.mask)
    )
    return RawMessage(_DELETE_STATE, 0, body)


def make_policy(policy: TransformationPolicy, *, replace: bool = False) -> RawMessage:
    """Return the message that adds ``policy``, or puts it in the place of the one of its key."""
    outbound = policy.direction is Direction.OUT
    template = _ID.pack(
        policy.destination.packed if outbound else bytes(16), _NO_SPI, policy.header
    ) + _TEMPLATE_END.pack(
        socket.AF_INET6,
        policy.care_of_address.packed,
        marks.XFRM_REQUEST,
        _ROUTE_OPTIMIZATION,
        0,
        # what comes through the home agent has no such header, and is welcome
        0 if outbound else 1,
        *[_EVERY_ALGORITHM] * 3,
    )
    body = (
        _make_selector(policy)
        + _POLICY_END.pack(_LIMITS, _NO_LIFETIME, marks.XFRM_PRIORITY, 0, policy.direction, 0, 0, 0)
        + make_attribute(_TEMPLATE, template)
        + make_attribute(_POLICY_TYPE, _TYPE.pack(_SUB_POLICY, 0, 0))
        + _make_mark(policy.mark, policy.mask)
    )
    return RawMessage(_UPDATE_POLICY if replace else _NEW_POLICY, 0, body)


def make_policy_removal(policy: TransformationPolicy) -> RawMessage:
    """Return the message that deletes ``policy``."""
    body = (
        _make_selector(policy)
        + _POLICY_ID_END.pack(0, policy.direction)
        + make_attribute(_POLICY_TYPE, _TYPE.pack(_SUB_POLICY, 0, 0))
        + _make_mark(policy.mark, policy.mask)
    )
    return RawMessage(_DELETE_POLICY, 0, body)


def make_dump() -> RawMessage:
    """Return the message that asks for all states, or for all policies."""
    return RawMessage(0, 0, b"")


def read_state(message: bytes) -> Transformation | None:
    """Return the dumped state if it is ours."""
    offset = HEADER.size + _SELECTOR.size
    destination, _spi, header = _ID.unpack_from(message, offset)
    source, _limits, _lifetime, _statistics, _sequence, request, *_rest = _STATE_END.unpack_from(
        message, offset + _ID.size
    )
    if request != marks.XFRM_REQUEST or header not in list(Header):
        return None
    attributes = read_attributes(message[offset + _ID.size + _STATE_END.size :])
    return Transformation(
        Header(header),
        IPv6Address(source),
        IPv6Address(destination),
        IPv6Address(attributes[_CARE_OF_ADDRESS][:16]),
        *_read_mark(attributes),
        _WORD.unpack(attributes.get(_SET_MARK, bytes(4)))[0],
    )


def read_policy(message: bytes) -> TransformationPolicy | None:
    """Return the dumped policy if it is ours."""
    offset = HEADER.size + _SELECTOR.size
    destination, source, *_rest = _SELECTOR.unpack_from(message, HEADER.size)
    _limits, _lifetime, _priority, _index, direction, *_rest = _POLICY_END.unpack_from(
        message, offset
    )
    attributes = read_attributes(message[offset + _POLICY_END.size :])
    template = attributes.get(_TEMPLATE, b"")
    if len(template) != _ID.size + _TEMPLATE_END.size:
        return None
    _destination, _spi, header = _ID.unpack_from(template)
    _family, care_of_address, request, *_rest = _TEMPLATE_END.unpack_from(template, _ID.size)
    if request != marks.XFRM_REQUEST or header not in list(Header):
        return None
    return TransformationPolicy(
        Direction(direction),
        Header(header),
        IPv6Address(source),
        IPv6Address(destination),
        IPv6Address(care_of_address),
        *_read_mark(attributes),
    )


def _make_selector(policy: TransformationPolicy) -> bytes:
    ends = policy.destination.packed, policy.source.packed
    return _SELECTOR.pack(*ends, 0, 0, 0, 0, socket.AF_INET6, 128, 128, 0, 0, 0)


def _make_mark(mark: int, mask: int) -> bytes:
    return make_attribute(_MARK, _MARK_PAIR.pack(mark, mask)) if mask else b""


def _read_mark(attributes: dict[int, bytes]) -> tuple[int, int]:
    mark, mask = _MARK_PAIR.unpack(attributes.get(_MARK, bytes(8)))
    return mark, mask
