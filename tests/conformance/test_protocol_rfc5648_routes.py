"""RFC 5648 between a mobile router and a correspondent node."""

import pytest
from protocol_world import HOME, LTE, SAT, WIFI, at, counts, make_router
from route_world import (
    CORRESPONDENT,
    PLAIN,
    RouteWorld,
    make_node,
    make_route_update,
    route_answer_of,
    sends,
    sign_and_pass,
)

from mrouter.protocol.events import PacketReceived
from mrouter.wire.constants import BindingStatus
from mrouter.wire.messages import BindingUpdate, find_option
from mrouter.wire.options import AlternateCareOfAddress, CareOfAddressInformation


class StrictRouteWorld(RouteWorld):
    """All three as dialect rfc5648 configures them; every packet passes in its bytes."""

    def __init__(self):
        router = make_router(correspondents=(CORRESPONDENT,), follow_rfc5648=True)
        super().__init__(router, node=make_strict_node())

    def _book(self, effects):
        for effect in sends(effects):
            packet = sign_and_pass(effect, PLAIN, written=PLAIN)
            self.sent.append(packet)
            self.on_path.append((packet, effect.via_home_agent))


def make_strict_node(**changes):
    return make_node(require_addresses=True, **changes)


@pytest.fixture
def world():
    world = StrictRouteWorld()
    world.connect(LTE, WIFI, SAT)
    world.settle(3)
    return world


def held(update):
    return find_option(update.message, CareOfAddressInformation).care_of_address


def test_5_2_option_for_a_correspondent_node_holds_the_care_of_address(world):
    updates = world.messages_to_node(BindingUpdate)
    assert len(updates) == 3
    assert all(held(update) == update.source for update in updates)
    assert all(find_option(update.message, AlternateCareOfAddress) is None for update in updates)
    assert world.node_view() == world.router_view()
    assert {address for _ifid, address, _ifpri in world.node_view()} == {
        link.address for link in (LTE, WIFI, SAT)
    }


def test_5_2_option_of_a_deregistration_names_the_address_of_the_link_that_is_lost(world):
    world.messages_to_node()
    world.connect(LTE, WIFI)
    world.settle(3)
    (ending,) = world.messages_to_node(BindingUpdate)
    assert (ending.message.lifetime, held(ending)) == (0, SAT.address)
    assert find_option(ending.message, AlternateCareOfAddress) is None
    assert world.node_view() == world.router_view()
    assert len(world.node_view()) == 2


def test_6_2_address_in_the_option_takes_the_place_of_the_packets_at_a_correspondent_node():
    node = make_strict_node()
    update = make_route_update(node, at(0), ifid=1, named=LTE.address, source=WIFI.address)
    answer = route_answer_of(node, update, at(0))
    assert answer.message.status == BindingStatus.ACCEPTED_NP_COA
    assert answer.destination == WIFI.address
    assert [entry.care_of_address for entry in node.entries] == [LTE.address]


def test_6_2_address_in_the_option_is_the_one_that_must_have_been_tested():
    node = make_strict_node()
    update = make_route_update(
        node, at(0), ifid=1, named=LTE.address, source=WIFI.address, signed_for=WIFI.address
    )
    effects = node.handle(PacketReceived(update), at(0))
    assert counts(effects) == [("authentication-failed", "wrong")]
    assert node.entries == ()


def test_6_2_167_for_an_unknown_bid_without_an_address_at_a_correspondent_node():
    node = make_strict_node()
    answer = route_answer_of(node, make_route_update(node, at(0), ifid=1), at(0))
    assert answer.message.status == BindingStatus.MCOA_UNKNOWN_COA
    assert node.entries == ()


def test_6_2_known_bid_without_an_address_keeps_its_own_at_a_correspondent_node():
    node = make_strict_node()
    first = make_route_update(node, at(0), ifid=1, named=LTE.address)
    route_answer_of(node, first, at(0))
    again = make_route_update(
        node, at(9), ifid=1, ifpri=3, sequence=2, source=WIFI.address, of=LTE.address
    )
    answer = route_answer_of(node, again, at(9))
    assert answer.message.status == BindingStatus.ACCEPTED_NP_COA
    assert [(e.care_of_address, e.ifpri) for e in node.entries] == [(LTE.address, 3)]


def test_6_2_deregistration_needs_no_address_at_a_correspondent_node():
    node = make_strict_node()
    route_answer_of(node, make_route_update(node, at(0), ifid=1, named=LTE.address), at(0))
    ending = make_route_update(node, at(9), ifid=1, sequence=2, lifetime=0)
    assert route_answer_of(node, ending, at(9)).message.status < 128
    assert node.entries == ()


def test_6_2_plain_update_needs_no_option_at_a_correspondent_node():
    node = make_strict_node()
    answer = route_answer_of(node, make_route_update(node, at(0)), at(0))
    assert answer.message.status == BindingStatus.ACCEPTED
    assert [(e.home_address, e.care_of_address) for e in node.entries] == [(HOME, LTE.address)]
