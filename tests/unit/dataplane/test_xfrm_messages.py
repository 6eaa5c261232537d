from __future__ import annotations

import struct
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrouter.dataplane import marks, xfrm_messages
from mrouter.dataplane.transformations import (
    Direction,
    Header,
    Transformation,
    TransformationPolicy,
)
from mrouter.netlink import HEADER, read_attributes

HOME, CN, CARE_OF = map(IPv6Address, ("2001:db8:f1::100", "2001:db8:c::10", "2001:db8:1::2"))
STATE = Transformation(Header.HOME_ADDRESS_OPTION, HOME, CN, CARE_OF, 0x100000, 0x3F00000)
POLICY = TransformationPolicy(Direction.OUT, Header.HOME_ADDRESS_OPTION, HOME, CN, CARE_OF)
#: sizeof, on machines that align 64 bits by 8 octets (linux/xfrm.h).
STATE_SIZE, STATE_ID_SIZE, POLICY_SIZE, POLICY_ID_SIZE, TEMPLATE_SIZE = 224, 24, 168, 64, 64

addresses = st.integers(0, 2**128 - 1).map(IPv6Address)
bits = st.integers(0, 0xFFF).map(lambda value: value << 20)


def encode(message):
    message.encode()
    return message.data


@st.composite
def marked(draw):
    mask = draw(bits)
    return draw(bits) & mask, mask


@st.composite
def transformations(draw):
    ends = [draw(addresses) for _ in range(3)]
    return Transformation(draw(st.sampled_from(Header)), *ends, *draw(marked()), draw(bits))


@st.composite
def policies(draw):
    ends = [draw(addresses) for _ in range(3)]
    kind = draw(st.sampled_from(Direction)), draw(st.sampled_from(Header))
    return TransformationPolicy(*kind, *ends, *draw(marked()))


@given(transformations())
def test_a_state_is_read_as_it_was_written(state):
    assert xfrm_messages.read_state(encode(xfrm_messages.make_state(state))) == state


@given(policies())
def test_a_policy_is_read_as_it_was_written(policy):
    assert xfrm_messages.read_policy(encode(xfrm_messages.make_policy(policy))) == policy


def test_a_state_of_another_request_is_not_ours():
    data = encode(xfrm_messages.make_state(STATE))
    ours = struct.pack("=I", marks.XFRM_REQUEST)
    assert data.count(ours) == 1
    assert xfrm_messages.read_state(data.replace(ours, struct.pack("=I", 1))) is None


def test_a_policy_of_another_request_or_without_a_template_is_not_ours():
    data = encode(xfrm_messages.make_policy(POLICY))
    ours = struct.pack("=I", marks.XFRM_REQUEST)
    assert data.count(ours) == 1
    assert xfrm_messages.read_policy(data.replace(ours, struct.pack("=I", 1))) is None
    assert xfrm_messages.read_policy(data[: HEADER.size + POLICY_SIZE]) is None


def test_an_esp_state_is_not_ours_whatever_its_request():
    data = bytearray(encode(xfrm_messages.make_state(STATE)))
    protocol = HEADER.size + 56 + 20
    assert data[protocol] == Header.HOME_ADDRESS_OPTION
    data[protocol] = 50
    assert xfrm_messages.read_state(bytes(data)) is None


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (xfrm_messages.make_state(STATE), STATE_SIZE),
        (xfrm_messages.make_state_removal(STATE), STATE_ID_SIZE),
        (xfrm_messages.make_policy(POLICY), POLICY_SIZE),
        (xfrm_messages.make_policy_removal(POLICY), POLICY_ID_SIZE),
    ],
)
def test_attributes_stand_behind_a_structure_of_the_kernels_size(message, size):
    data = encode(message)[HEADER.size :]
    kinds = set(read_attributes(data[size:]))
    assert kinds
    # XFRMA_TMPL, _SRCADDR, _COADDR, _POLICY_TYPE, _MARK
    assert kinds <= {5, 13, 14, 16, 21}


def test_a_template_has_the_kernels_size_and_is_optional_for_what_comes_in():
    inbound = TransformationPolicy(Direction.IN, Header.ROUTING, CN, HOME)
    for policy, optional in ((POLICY, 0), (inbound, 1)):
        data = encode(xfrm_messages.make_policy(policy))[HEADER.size + POLICY_SIZE :]
        template = read_attributes(data)[5]
        assert len(template) == TEMPLATE_SIZE
        assert template[50] == optional
