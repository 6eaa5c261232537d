"""draft-wakikawa-mobileip-multiplecoa-01, section 6: the return routability procedure."""

import hashlib
import hmac
from random import Random

import pytest
from protocol_world import LTE, SAT, WIFI, at
from route_world import (
    CORRESPONDENT,
    RouteWorld,
    ask_care_of,
    ask_home,
    make_node,
    make_route_update,
    route_answer_of,
)

from mrouter.protocol.events import Counted, PacketReceived
from mrouter.protocol.node_keys import NodeKeys
from mrouter.wire.messages import CareOfTest, CareOfTestInit, HomeTestInit, find_option
from mrouter.wire.options import CareOfAddressInformation

INFORMATION = CareOfAddressInformation(11, 3)


def secret_of(seed, moment):
    """Return the key and nonce that a correspondent node of this seed uses first."""
    return NodeKeys(Random(seed)).get_current(moment.monotonic)


def test_6_care_of_test_init_carries_ifid_and_ifpri_from_the_care_of_address():
    world = RouteWorld()
    world.connect(LTE, WIFI, SAT)
    world.settle(1)
    inits = world.messages_to_node(CareOfTestInit)
    assert [init.source for init in inits] == [LTE.address, WIFI.address, SAT.address]
    sent = {find_option(init.message, CareOfAddressInformation) for init in inits}
    assert {(i.ifid, i.ifpri) for i in sent} == {(e.ifid, e.ifpri) for e in world.node.entries}


def test_6_home_test_init_carries_none():
    world = RouteWorld()
    world.connect(LTE)
    world.settle(1)
    (init,) = world.messages_to_node(HomeTestInit)
    assert init.message.options == ()


def test_6_care_of_test_goes_back_with_cookie_and_nonce_index():
    answer = ask_care_of(make_node(seed=3), at(0), LTE.address, INFORMATION)
    assert isinstance(answer, CareOfTest)
    assert answer.cookie == b"a cookie"
    assert answer.nonce_index == secret_of(3, at(0)).index


def test_6_care_of_keygen_token_covers_care_of_address_ifid_ifpri_and_nonce():
    answer = ask_care_of(make_node(seed=3), at(0), LTE.address, INFORMATION)
    secret = secret_of(3, at(0))
    data = LTE.address.packed + bytes((11, 3)) + secret.nonce
    assert answer.keygen_token == hmac.digest(secret.key, data, hashlib.sha1)[:8]


@pytest.mark.parametrize(
    "other",
    [CareOfAddressInformation(12, 3), CareOfAddressInformation(11, 4), None],
)
def test_6_other_ifid_ifpri_or_none_makes_another_token(other):
    node = make_node()
    token = ask_care_of(node, at(0), LTE.address, INFORMATION).keygen_token
    assert ask_care_of(node, at(0), LTE.address, other).keygen_token != token


@pytest.mark.parametrize(
    ("asked_for", "used_for"),
    [
        (CareOfAddressInformation(1, 0), {"ifid": 2}),
        (CareOfAddressInformation(1, 0), {"ifid": 1, "ifpri": 1}),
        (CareOfAddressInformation(1, 0), {}),
        (None, {"ifid": 1}),
    ],
)
def test_10_update_with_other_coainfo_than_the_care_of_test_init_changes_nothing(
    asked_for, used_for
):
    node = make_node()
    tokens = (ask_home(node, at(0)), ask_care_of(node, at(0), LTE.address, asked_for))
    update = make_route_update(node, at(0), tokens=tokens, **used_for)
    effects = node.handle(PacketReceived(update), at(0))
    assert effects == [Counted("authentication-failed", "wrong")]
    assert node.entries == ()


def test_6_update_with_the_coainfo_of_the_care_of_test_init_registers_it():
    node = make_node()
    update = make_route_update(node, at(0), ifid=11, ifpri=3)
    assert route_answer_of(node, update, at(0)).message.status == 1
    (entry,) = node.entries
    assert (entry.ifid, entry.ifpri, entry.care_of_address) == (11, 3, LTE.address)


def test_6_both_nonce_indices_are_often_the_same():
    world = RouteWorld()
    world.connect(LTE)
    world.settle(1)
    tests = [packet.message for packet in world.sent if packet.source == CORRESPONDENT]
    assert len({test.nonce_index for test in tests if hasattr(test, "nonce_index")}) == 1
