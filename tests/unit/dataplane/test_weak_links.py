"""How flows leave links whose signal is weak."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mrouter.dataplane.steering import LinkFacts, Steering, restrict
from mrouter.policy.model import Balance, Bicast, Drop, Match, Policy, PolicyTable, Steer, Tier
from mrouter.policy.resolve import resolve

LTE, WIFI, SAT = "lte", "wifi", "sat"
LINKS = (LTE, WIFI, SAT)
WATCHED = frozenset(LINKS)


def steer(action=None, watched=WATCHED, **terms):
    policy = Policy("call", Match(), action or Steer(LINKS), **terms)
    return Steering(PolicyTable((policy,)), may_weaken=watched)


def see(steering, *up, weak=(), now=0.0):
    return steering.update(LinkFacts(frozenset(up), weak=frozenset(weak)), now)


def links(steering, *up, number=None):
    return steering.list_links(up)[steering.numbers["call"] if number is None else number]


def held(steering, now=0.0):
    return steering.list_held(steering.policies.policies[0], now)


def test_a_weak_link_is_left_and_taken_again():
    steering = steer()
    see(steering, *LINKS)
    assert links(steering, *LINKS) == (LTE,)
    assert see(steering, *LINKS, weak=[LTE])
    assert links(steering, *LINKS) == (WIFI,)
    assert held(steering) == {LTE: "up, but its signal is weak"}
    assert steering.order_links("call") == (WIFI, SAT, LTE)
    assert see(steering, *LINKS)
    assert links(steering, *LINKS) == (LTE,)
    assert held(steering) == {}


def test_a_weak_link_is_used_while_there_is_no_other():
    steering = steer()
    see(steering, LTE, weak=[LTE])
    assert links(steering, LTE) == (LTE,)
    see(steering, LTE, WIFI, weak=[LTE, WIFI])
    assert links(steering, LTE, WIFI) == (LTE,)
    see(steering, LTE, SAT, weak=[LTE])
    assert links(steering, LTE, SAT) == (SAT,)


def test_running_flows_that_stay_leave_a_weak_link_too():
    steering = steer(stay=True)
    see(steering, *LINKS)
    first = steering.numbers["call"]
    see(steering, *LINKS, weak=[LTE])
    assert links(steering, *LINKS, number=first) == (WIFI,)
    see(steering, *LINKS)
    assert links(steering, *LINKS, number=first) == (WIFI,)
    assert links(steering, *LINKS) == (LTE,)


def test_copies_go_by_a_weak_link_rather_than_not_at_all():
    steering = steer(Bicast(LINKS, 2))
    see(steering, *LINKS, weak=[LTE])
    assert links(steering, *LINKS) == (WIFI, SAT)
    see(steering, LTE, WIFI, weak=[LTE])
    assert links(steering, LTE, WIFI) == (LTE, WIFI)
    see(steering, *LINKS, weak=[LTE, WIFI])
    assert links(steering, *LINKS) == (LTE, SAT)


def test_a_weak_link_has_no_share_and_a_weak_tier_is_left():
    steering = steer(Balance((Tier((LTE, WIFI), (3, 1)), Tier((SAT,)))))
    see(steering, *LINKS, weak=[LTE])
    assert links(steering, *LINKS) == (WIFI,)
    see(steering, *LINKS, weak=[LTE, WIFI])
    assert links(steering, *LINKS) == (SAT,)


def test_a_link_that_is_held_down_replaces_no_weak_one():
    steering = steer(hold_down=30.0)
    see(steering, LTE, WIFI)
    see(steering, LTE, now=5.0)
    see(steering, LTE, WIFI, weak=[LTE], now=10.0)
    assert links(steering, LTE, WIFI) == (LTE,)
    assert steering.next_deadline == 40.0
    see(steering, LTE, WIFI, weak=[LTE], now=40.0)
    assert links(steering, LTE, WIFI) == (WIFI,)
    assert steering.next_deadline is None


def test_policies_without_a_watched_link_mean_the_same_at_all_times():
    for steering in (steer(watched=frozenset({"dsl"})), steer(Drop())):
        before = dict(steering.treatments)
        see(steering, *LINKS, weak=[LTE])
        assert steering.treatments == before


actions = st.one_of(
    st.builds(Steer, st.permutations(LINKS).map(tuple)),
    st.builds(Bicast, st.permutations(LINKS).map(tuple), st.integers(2, 3)),
    st.just(Balance((Tier((LTE, WIFI), (3, 1)), Tier((SAT,))))),
)
sets = st.sets(st.sampled_from(LINKS))


@given(
    actions,
    st.sampled_from([0.0, 20.0]),
    st.booleans(),
    st.lists(st.tuples(sets, sets, st.floats(0, 40)), max_size=20),
)
def test_a_flow_has_a_link_whatever_becomes_of_signals(action, hold_down, stay, steps):
    steering = steer(action, hold_down=hold_down, stay=stay)
    now = 0.0
    for up, weak, pause in steps:
        now += pause
        see(steering, *up, weak=weak, now=now)
        for treatment in steering.treatments.values():
            used = set(resolve(treatment.action, restrict(treatment, up)))
            assert bool(used) == bool(up)
            if not hold_down and up - weak and not isinstance(action, Bicast):
                assert not used & weak
        assert steering.next_deadline is None or steering.next_deadline > now
