from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network

import pytest

from mrouter.agent.memory import (
    MemoryFile,
    MobileRouterMemory,
    decode_correspondent_memory,
    decode_home_memory,
    decode_router_memory,
    encode_correspondent_memory,
    encode_home_memory,
    encode_router_memory,
)
from mrouter.protocol.bindings import BindingState, CacheEntry, RouteEntry, UpdateListEntry
from mrouter.protocol.correspondent_memory import CorrespondentNodeMemory
from mrouter.protocol.flow_bindings import FlowBinding
from mrouter.protocol.home_memory import HomeAgentMemory, SavedBinding
from mrouter.wire.traffic_selectors import TrafficSelector

HOME, COA = IPv6Address("2001:db8:f1::100"), IPv6Address("2001:db8:1::2")
CACHE_ENTRY = CacheEntry(
    home_address=HOME,
    ifid=7,
    ifpri=1,
    care_of_address=COA,
    prefixes=(IPv6Network("2001:db8:a1::/64"), IPv6Network("2001:db8:b0::/48")),
    slot=3,
    sequence=65535,
    lifetime=60,
    expires_at=1234.5,
    mobile_router=True,
    ipv4_prefixes=(IPv4Network("192.0.2.0/24"), IPv4Network("10.0.0.0/8")),
)
UPDATE_ENTRY = UpdateListEntry(
    link="lte",
    interface="wwan0",
    care_of_address=COA,
    ifid=7,
    ifpri=0,
    slot=3,
    state=BindingState.REGISTERED,
    sequence=9,
    status=1,
    expires_at=1234.5,
    usable=True,
    ipv4_prefixes=(IPv4Network("192.0.2.0/24"),),
)


def through_json(content):
    return json.loads(json.dumps(content))


def give(content):
    return content


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mr.sock.state"


@pytest.fixture
def memory(tmp_path):
    return MemoryFile(tmp_path / "mr.sock", "me")


def test_a_home_agents_memory_comes_back_as_it_was():
    memory = HomeAgentMemory(
        bindings=(
            SavedBinding(CACHE_ENTRY, COA, 256, 2**63 + 5),
            SavedBinding(replace(CACHE_ENTRY, ifid=None, prefixes=()), HOME, None, None),
        ),
        timestamps=((HOME, 7, 1.8e9 + 0.25), (HOME, None, 1.8e9)),
        flows=(
            FlowBinding(HOME, 1, 10, (7,), TrafficSelector()),
            FlowBinding(
                HOME,
                2,
                20,
                (7, 65535),
                TrafficSelector(
                    source=(COA, IPv6Address("2001:db8:1::ffff")),
                    destination=(HOME, HOME),
                    spi=(1, 2),
                    flow_label=(3, 4),
                    source_ports=(5, 6),
                    destination_ports=(7, 8),
                    traffic_class=(9, 10),
                    next_header=(17, 17),
                ),
            ),
        ),
        flows_taken_at=((HOME, 1.8e9 + 0.25),),
    )
    assert decode_home_memory(through_json(encode_home_memory(memory))) == memory


def test_a_home_agents_memory_from_before_flow_bindings_is_understood():
    memory = HomeAgentMemory(bindings=(SavedBinding(CACHE_ENTRY, COA, 256, 5),))
    content = through_json(encode_home_memory(memory))
    del content["flows"], content["flows_taken_at"]
    assert decode_home_memory(content) == memory


def test_memory_from_before_ipv4_is_understood():
    home = HomeAgentMemory(bindings=(SavedBinding(CACHE_ENTRY, COA, 256, 5),))
    router = MobileRouterMemory(HOME, (UPDATE_ENTRY,))
    contents = [through_json(encode_home_memory(home)), through_json(encode_router_memory(router))]
    for content in contents:
        del content["bindings"][0]["ipv4_prefixes"]
    saved, entry = (
        decode_home_memory(contents[0]).bindings[0],
        decode_router_memory(contents[1]).bindings[0],
    )
    assert saved.entry == replace(CACHE_ENTRY, ipv4_prefixes=())
    assert entry == replace(UPDATE_ENTRY, ipv4_prefixes=())


def test_a_mobile_routers_memory_comes_back_as_it_was():
    entries = (UPDATE_ENTRY, replace(UPDATE_ENTRY, slot=4, ifid=8, plain=True))
    memory = MobileRouterMemory(
        HOME, entries, (RouteEntry(COA, UPDATE_ENTRY),), (("example.com", COA, 1.5),)
    )
    assert decode_router_memory(through_json(encode_router_memory(memory))) == memory


def test_a_binding_that_is_being_refreshed_comes_back_as_registered():
    refreshing = replace(UPDATE_ENTRY, state=BindingState.REFRESHING)
    memory = MobileRouterMemory(HOME, (refreshing,), (RouteEntry(COA, refreshing),))
    found = decode_router_memory(encode_router_memory(memory))
    assert found.bindings == (UPDATE_ENTRY,)
    assert found.routes == (RouteEntry(COA, UPDATE_ENTRY),)


def test_a_correspondent_nodes_memory_comes_back_as_it_was():
    plain = replace(CACHE_ENTRY, ifid=None, prefixes=(), mobile_router=False)
    memory = CorrespondentNodeMemory(
        (replace(CACHE_ENTRY, prefixes=()), plain), ((HOME, 7, 3, 99.5), (HOME, None, 4, 100.0))
    )
    assert decode_correspondent_memory(through_json(encode_correspondent_memory(memory))) == memory


def test_what_carries_no_traffic_is_not_kept():
    waiting = replace(
        UPDATE_ENTRY, state=BindingState.REGISTERING, usable=False, expires_at=None, status=None
    )
    content = encode_router_memory(
        MobileRouterMemory(HOME, (waiting,), (RouteEntry(COA, waiting),))
    )
    assert content["bindings"] == content["routes"] == []


def test_what_was_saved_is_loaded(memory, tmp_path):
    memory.save([1, 2])
    assert MemoryFile(tmp_path / "mr.sock", "me").load(give) == [1, 2]


def test_nothing_saved_is_nothing_loaded(memory):
    assert memory.load(give) is None


def test_the_file_is_for_its_owner_alone_whatever_the_mask(memory, path):
    old = os.umask(0)
    try:
        memory.save([1])
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_has_not_changed_is_not_written_again(memory, path):
    memory.save([1])
    path.unlink()
    memory.save([1])
    assert not path.exists()


def test_a_file_is_replaced_as_a_whole(memory, path):
    memory.save([1])
    before = path.stat().st_ino
    memory.save([2])
    assert path.stat().st_ino != before
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_what_a_crash_left_half_written_is_in_nobodys_way(memory, path):
    path.with_name(f"{path.name}.new").write_text("{")
    memory.save([1])
    assert memory.load(give) == [1]


@pytest.mark.parametrize(
    "change", [{"version": 0}, {"boot": "another"}, {"owner": "somebody else"}]
)
def test_another_version_boot_or_owner_is_not_loaded(memory, path, change):
    memory.save([1])
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert memory.load(give) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}"])
def test_rubbish_is_not_loaded(memory, path, content):
    path.write_bytes(content)
    assert memory.load(give) is None


@pytest.mark.parametrize(
    "decode", [decode_home_memory, decode_router_memory, decode_correspondent_memory]
)
@pytest.mark.parametrize("content", [[{}], [1], {"bindings": [{}]}, 5, None, {"bindings": 1}])
def test_content_of_another_shape_is_not_loaded(memory, decode, content):
    memory.save(content)
    assert memory.load(decode) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_loaded(memory, path, mode):
    memory.save([1])
    path.chmod(mode)
    assert memory.load(give) is None


def test_a_symbolic_link_is_not_followed(memory, path, tmp_path):
    memory.save([1])
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert memory.load(give) is None


def test_a_disk_that_cannot_be_written_is_logged_once_and_tried_again(tmp_path, caplog):
    memory = MemoryFile(tmp_path / "away" / "mr.sock", "me")
    with caplog.at_level(logging.ERROR, logger="mrouter"):
        memory.save([1])
        memory.save([2])
    assert [record.getMessage().split()[0] for record in caplog.records] == ["state-not-saved"]

    (tmp_path / "away").mkdir()
    memory.save([2])
    assert memory.load(give) == [2]
