"""How flows are treated as links come and go."""

from hypothesis import given
from hypothesis import strategies as st

from mrouter.dataplane.steering import LinkFacts, Steering, restrict
from mrouter.policy.model import (
    Balance,
    Bicast,
    Choice,
    Drop,
    Match,
    Policy,
    PolicyTable,
    Steer,
    Tier,
)
from mrouter.policy.resolve import resolve

LTE, WIFI, SAT = "lte", "wifi", "sat"
LINKS = (WIFI, LTE, SAT)
PLAIN = Policy("default", Match(), Steer((LTE, WIFI)))


def steer(action=None, **terms):
    policy = Policy("call", Match(protocols=(17,)), action or Steer(LINKS), **terms)
    return Steering(PolicyTable((policy, PLAIN)))


def see(steering, *up, now=0.0, over_quota=(), **rankings):
    by_choice = {
        Choice[name.upper()]: {link: level for level, link in enumerate(order)}
        for name, order in rankings.items()
    }
    return steering.update(LinkFacts(frozenset(up), frozenset(over_quota), by_choice), now)


def links_of(steering, number, *up):
    return steering.list_links(up)[number]


def new_flow(steering):
    return steering.numbers["call"]


def test_a_policy_without_terms_means_the_same_at_all_times():
    steering = steer()
    before = dict(steering.treatments), dict(steering.numbers)
    assert not see(steering, LTE)
    assert not see(steering, *LINKS, now=5.0, cheapest=(SAT, LTE, WIFI))
    assert (steering.treatments, steering.numbers) == before
    assert steering.next_deadline is None


def test_the_cheapest_link_that_is_up_is_used():
    steering = steer(Steer(LINKS, Choice.CHEAPEST))
    see(steering, *LINKS, cheapest=(SAT, LTE, WIFI))
    assert links_of(steering, new_flow(steering), *LINKS) == (SAT,)
    assert links_of(steering, new_flow(steering), LTE, WIFI) == (LTE,)


def test_copies_go_by_the_best_links():
    steering = steer(Bicast(LINKS, 2, Choice.LOWEST_LATENCY))
    see(steering, *LINKS, lowest_latency=(SAT, WIFI, LTE))
    assert links_of(steering, new_flow(steering), *LINKS) == (SAT, WIFI)


def test_links_that_are_not_measured_come_after_those_that_are():
    steering = steer(Steer(LINKS, Choice.LOWEST_LOSS))
    see(steering, *LINKS, lowest_loss=(SAT,))
    assert steering.order_links("call") == (SAT, WIFI, LTE)


def test_each_tier_has_a_choice_of_its_own():
    tiers = (Tier((WIFI, LTE), choice=Choice.LOWEST_LATENCY), Tier((SAT,)))
    steering = steer(Balance(tiers))
    see(steering, *LINKS, lowest_latency=(SAT, LTE, WIFI))
    assert links_of(steering, new_flow(steering), *LINKS) == (LTE,)
    assert links_of(steering, new_flow(steering), SAT) == (SAT,)


def test_a_better_measure_is_news_and_the_same_is_none():
    steering = steer(Steer(LINKS, Choice.CHEAPEST))
    assert see(steering, *LINKS, cheapest=(SAT, LTE, WIFI))
    assert not see(steering, *LINKS, cheapest=(SAT, LTE, WIFI), now=1.0)
    assert see(steering, *LINKS, cheapest=(LTE, SAT, WIFI), now=2.0)


# --- hold-down ----------------------------------------------------------------------------


def test_a_link_that_comes_back_is_held_down():
    steering = steer(hold_down=30.0)
    see(steering, *LINKS)
    see(steering, LTE, SAT, now=10.0)
    assert links_of(steering, new_flow(steering), LTE, SAT) == (LTE,)
    see(steering, *LINKS, now=20.0)
    assert links_of(steering, new_flow(steering), *LINKS) == (LTE,)
    assert steering.next_deadline == 50.0
    assert steering.list_held(steering.policies.policies[0], 25.0) == {
        WIFI: "held down, 25 s to go"
    }
    assert see(steering, *LINKS, now=50.0)
    assert links_of(steering, new_flow(steering), *LINKS) == (WIFI,)
    assert steering.next_deadline is None


def test_a_link_that_fails_while_it_is_held_down_begins_anew():
    steering = steer(hold_down=30.0)
    see(steering, *LINKS)
    see(steering, LTE, now=10.0)
    see(steering, WIFI, LTE, now=20.0)
    see(steering, LTE, now=30.0)
    see(steering, WIFI, LTE, now=40.0)
    assert steering.next_deadline == 70.0


def test_a_link_that_is_new_is_not_held_down():
    steering = steer(hold_down=30.0)
    see(steering, LTE)
    see(steering, WIFI, LTE, now=3.0)
    assert links_of(steering, new_flow(steering), WIFI, LTE) == (WIFI,)


def test_a_held_link_is_used_while_there_is_no_other():
    steering = steer(hold_down=30.0)
    see(steering, *LINKS)
    see(steering, now=10.0)
    see(steering, WIFI, now=20.0)
    assert links_of(steering, new_flow(steering), WIFI) == (WIFI,)
    # and stays what it is, when another comes back that is held down as well
    see(steering, WIFI, LTE, now=21.0)
    assert links_of(steering, new_flow(steering), WIFI, LTE) == (WIFI,)


# --- running flows that stay --------------------------------------------------------------


def test_running_flows_stay_when_a_better_link_comes_back():
    steering = steer(stay=True)
    see(steering, *LINKS)
    first = new_flow(steering)
    see(steering, LTE, SAT, now=10.0)
    assert new_flow(steering) == first  # they have moved at once, and new ones go as they do
    assert links_of(steering, first, LTE, SAT) == (LTE,)
    see(steering, *LINKS, now=20.0)
    second = new_flow(steering)
    assert second != first
    assert links_of(steering, second, *LINKS) == (WIFI,)
    assert links_of(steering, first, *LINKS) == (LTE,)


def test_running_flows_move_when_all_that_they_had_has_failed():
    steering = steer(stay=True)
    see(steering, *LINKS)
    first = new_flow(steering)
    see(steering, LTE, now=10.0)
    see(steering, WIFI, LTE, now=20.0)
    see(steering, WIFI, now=30.0)
    assert links_of(steering, first, WIFI) == (WIFI,)
    see(steering, WIFI, LTE, now=40.0)
    assert links_of(steering, first, WIFI, LTE) == (WIFI,)


def test_running_flows_stay_when_another_link_is_measured_better():
    steering = steer(Steer(LINKS, Choice.LOWEST_LATENCY), stay=True)
    see(steering, *LINKS, lowest_latency=(SAT, LTE, WIFI))
    first = new_flow(steering)
    see(steering, *LINKS, lowest_latency=(LTE, SAT, WIFI), now=1.0)
    assert links_of(steering, first, *LINKS) == (SAT,)
    assert links_of(steering, new_flow(steering), *LINKS) == (LTE,)


def test_the_oldest_flows_that_stay_are_looked_at_anew_some_day():
    steering = steer(stay=True)
    numbers = []
    for step in range(30):
        see(steering, *((WIFI, LTE) if step % 2 == 0 else (LTE,)), now=float(step))
        numbers.append(new_flow(steering))
    assert len(set(numbers)) == 15
    known = [number for number, name in steering.names.items() if name == "call"]
    assert len(known) <= 9  # the policy's own number and the latest ones
    assert {numbers[-1], numbers[-3]} <= set(known)


def test_numbers_of_all_policies_differ():
    policies = tuple(
        Policy(f"p{n}", Match(protocols=(n,)), Steer(LINKS), stay=True) for n in range(50)
    )
    steering = Steering(PolicyTable((*policies, PLAIN)))
    for step in range(12):
        see(steering, *((WIFI, LTE) if step % 2 == 0 else (LTE,)), now=float(step))
    assert len(set(steering.numbers.values())) == 51
    assert steering.names.keys() == steering.treatments.keys()
    for name, number in steering.numbers.items():
        assert steering.names[number] == name


# --- quotas -------------------------------------------------------------------------------


def test_a_link_over_its_quota_is_left_by_those_who_ask_for_that():
    steering = steer(under_quota=True)
    see(steering, *LINKS, over_quota=(WIFI,))
    assert links_of(steering, new_flow(steering), *LINKS) == (LTE,)
    assert steering.list_held(steering.policies.policies[0], 0.0) == {WIFI: "over its quota"}
    default = steering.numbers["default"]
    see(steering, *LINKS, over_quota=(LTE,), now=1.0)
    assert links_of(steering, default, *LINKS) == (LTE,)


def test_without_a_link_under_quota_there_is_none():
    steering = steer(under_quota=True)
    see(steering, *LINKS, over_quota=LINKS)
    assert links_of(steering, new_flow(steering), *LINKS) == ()


# --- a reload -----------------------------------------------------------------------------


def test_a_reload_keeps_what_is_known_of_policies_that_stay_as_they_are():
    steering = steer(hold_down=30.0)
    see(steering, *LINKS)
    see(steering, LTE, SAT, now=10.0)
    see(steering, *LINKS, now=20.0)
    call, default = steering.policies.policies
    fresh = Policy("fresh", Match(protocols=(6,)), Drop())
    reloaded = Steering(PolicyTable((call, fresh, default)), steering)
    see(reloaded, *LINKS, now=21.0)
    assert links_of(reloaded, new_flow(reloaded), *LINKS) == (LTE,)
    assert reloaded.next_deadline == 50.0


def test_a_reload_does_not_forget_that_a_link_has_come_back():
    steering = steer()
    see(steering, *LINKS)
    see(steering, LTE, SAT, now=10.0)
    see(steering, *LINKS, now=20.0)
    call, default = steering.policies.policies
    reloaded = Steering(
        PolicyTable((Policy("call", call.match, call.action, hold_down=60.0), default)), steering
    )
    see(reloaded, *LINKS, now=21.0)
    assert links_of(reloaded, new_flow(reloaded), *LINKS) == (LTE,)


# --- whatever happens ---------------------------------------------------------------------

actions = st.one_of(
    st.builds(Steer, st.permutations(LINKS).map(tuple), st.sampled_from(Choice)),
    st.builds(
        Bicast, st.permutations(LINKS).map(tuple), st.integers(2, 3), st.sampled_from(Choice)
    ),
    st.just(Balance((Tier((LTE, WIFI), (3, 1)), Tier((SAT,))))),
)
steps = st.lists(
    st.tuples(
        st.sets(st.sampled_from(LINKS)),
        st.sets(st.sampled_from(LINKS)),
        st.permutations(LINKS),
        st.floats(0, 40),
    ),
    max_size=20,
)


@given(actions, st.sampled_from([0.0, 10.0, 30.0]), st.booleans(), st.booleans(), steps)
def test_a_flow_has_a_link_whenever_its_policy_may_use_one(
    action, hold_down, stay, under_quota, steps
):
    steering = steer(action, hold_down=hold_down, stay=stay, under_quota=under_quota)
    now, begun = 0.0, set()
    for up, over, order, pause in steps:
        now += pause
        ranked = {name.name.lower(): order for name in Choice if name is not Choice.FAILOVER}
        see(steering, *up, now=now, over_quota=over, **ranked)
        begun.add(new_flow(steering))
        usable = up - over if under_quota else up
        for number, treatment in steering.treatments.items():
            if steering.names[number] != "call":
                continue
            links = resolve(treatment.action, restrict(treatment, up))
            assert set(links) <= usable
            assert bool(links) == bool(usable)
            assert resolve(treatment.action, up) if up else links == ()
        assert steering.next_deadline is None or steering.next_deadline > now


@given(steps)
def test_flows_that_stay_leave_a_link_only_if_it_fails(steps):
    steering = steer(stay=True)
    see(steering, *LINKS)
    now, had, before = 0.0, {}, set(LINKS)
    for up, _over, _order, pause in steps:
        now += pause
        see(steering, *up, now=now)
        for number, link in had.items():
            if number in steering.treatments and link and link[0] in up and link[0] in before:
                assert links_of(steering, number, *up) == link
        had = {
            number: links
            for number, links in steering.list_links(up).items()
            if steering.names[number] == "call"
        }
        before = up
