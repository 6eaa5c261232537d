from dataclasses import replace
from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from mrouter.protocol.answers import ReplyPath
from mrouter.protocol.binding_cache import BindingCache
from mrouter.protocol.bindings import CacheEntry

HOME = IPv6Address("2001:db8::100")
OTHER = IPv6Address("2001:db8::99")
COA = IPv6Address("2001:db8:1::10")
PATH = ReplyPath(COA, None, None)
ENTRY = CacheEntry(HOME, 5, 0, COA, (), 1, 10, 100, 100.0, True)


def drain(cache, now):
    return [(entry.ifid, is_over) for entry, is_over in cache.take_due(now)]


def test_entries_are_sorted_by_home_address_and_ifid_with_the_plain_one_first():
    cache = BindingCache()
    for home, ifid in [(HOME, 7), (OTHER, 3), (HOME, None), (HOME, 2)]:
        cache.put(replace(ENTRY, home_address=home, ifid=ifid), PATH)
    keys = [(entry.home_address, entry.ifid) for entry in cache.entries]
    assert keys == [(OTHER, 3), (HOME, None), (HOME, 2), (HOME, 7)]


def test_snapshot_is_one_object_until_something_changes():
    cache = BindingCache()
    cache.put(ENTRY, PATH)
    snapshot = cache.entries
    assert cache.entries is snapshot
    cache.remove(HOME, 5)
    assert cache.entries == ()
    assert snapshot == (ENTRY,)


def test_pure_refresh_is_no_change():
    cache = BindingCache()
    assert cache.put(ENTRY, PATH)
    assert not cache.put(replace(ENTRY, sequence=11, expires_at=150.0), PATH)
    assert cache.put(replace(ENTRY, ifpri=3), PATH)


def test_refresh_is_asked_for_three_times_then_the_binding_ends():
    cache = BindingCache()
    cache.put(ENTRY, PATH)
    seen = []
    while (deadline := cache.next_deadline()) is not None:
        seen += [(deadline, *row) for row in drain(cache, deadline)]
    assert seen == [(85.0, 5, False), (90.0, 5, False), (95.0, 5, False), (100.0, 5, True)]
    assert cache.entries == ()


def test_late_timer_asks_only_once():
    cache = BindingCache()
    cache.put(ENTRY, PATH)
    assert drain(cache, 96.0) == [(5, False)]
    assert cache.next_deadline() == 100.0


def test_refreshed_binding_does_not_end_at_its_old_deadline():
    cache = BindingCache()
    cache.put(ENTRY, PATH)
    cache.put(replace(ENTRY, expires_at=180.0), PATH)
    assert drain(cache, 100.0) == []
    assert cache.next_deadline() == 165.0


def test_refreshed_binding_is_asked_again_as_often_as_before():
    cache = BindingCache()
    cache.put(ENTRY, PATH)
    assert drain(cache, 90.0) == [(5, False)]
    cache.put(replace(ENTRY, expires_at=180.0), PATH)
    assert [drain(cache, now) for now in (164.0, 165.0, 170.0)] == [[], [(5, False)], [(5, False)]]


def test_shorter_lifetime_takes_effect():
    cache = BindingCache()
    cache.put(ENTRY, PATH)
    cache.put(replace(ENTRY, lifetime=20, expires_at=20.0), PATH)
    assert drain(cache, 20.0) == [(5, True)]


def test_binding_that_came_back_is_not_ended_by_its_first_life():
    cache = BindingCache()
    cache.put(ENTRY, PATH)
    cache.remove(HOME, 5)
    cache.put(replace(ENTRY, expires_at=500.0), PATH)
    assert drain(cache, 101.0) == []
    assert len(cache.entries) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "remove"]), st.integers(1, 4), st.integers(4, 60)),
        max_size=40,
    )
)
def test_bindings_end_exactly_when_their_lifetime_runs_out(steps):
    cache = BindingCache()
    alive = {}
    for second, (what, ifid, lifetime) in enumerate(steps):
        now = float(second)
        for _ in cache.take_due(now):
            pass
        alive = {key: end for key, end in alive.items() if end > now}
        assert {entry.ifid for entry in cache.entries} == set(alive)
        if what == "put":
            end = now + lifetime
            cache.put(replace(ENTRY, ifid=ifid, lifetime=lifetime, expires_at=end), PATH)
            alive[ifid] = end
        else:
            cache.remove(HOME, ifid)
            alive.pop(ifid, None)
        deadline = cache.next_deadline()
        assert not alive or (deadline is not None and deadline <= min(alive.values()))
