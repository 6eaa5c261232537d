"""What is measured of links, in steps."""

from hypothesis import given
from hypothesis import strategies as st

from mrouter.policy.levels import level_latencies, level_losses


def test_links_that_measure_about_the_same_are_of_one_level():
    levels = level_latencies().update({"sat": 600.0, "lte": 40.0, "dsl": 44.0, "wifi": 15.0})
    assert levels["wifi"] < levels["lte"] == levels["dsl"] < levels["sat"]


def test_the_smallest_measures_are_alike():
    levels = level_latencies().update({"lte": 0.4, "wifi": 4.9})
    assert levels == {"lte": 0, "wifi": 0}
    assert level_losses().update({"lte": 0.0, "wifi": 0.009}) == {"lte": 0, "wifi": 0}


def test_a_measure_at_the_edge_stays_where_it_was():
    losses = level_losses()
    below = losses.update({"lte": 0.09})["lte"]
    assert losses.update({"lte": 0.11})["lte"] == below
    above = losses.update({"lte": 0.12})["lte"]
    assert above == below + 1
    assert losses.update({"lte": 0.09})["lte"] == above
    assert losses.update({"lte": 0.08})["lte"] == below


def test_a_link_that_is_measured_no_more_is_forgotten():
    losses = level_losses()
    above = losses.update({"lte": 0.105})["lte"]
    assert losses.update({}) == {}
    assert losses.update({"lte": 0.095})["lte"] == above - 1


def test_beyond_the_last_edge_all_is_alike():
    assert level_losses().update({"lte": 0.6, "wifi": 1.0}) == {"lte": 6, "wifi": 6}


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=12))
def test_a_level_is_never_far_from_what_is_measured(measures):
    kept = level_latencies()
    for measure in measures:
        level = kept.update({"lte": measure})["lte"]
        fresh = level_latencies().update({"lte": measure})["lte"]
        assert abs(level - fresh) <= 1


@given(st.floats(0, 5000), st.floats(0, 5000))
def test_what_is_much_better_is_of_a_better_level(one, other):
    levels = level_latencies().update({"one": one, "other": other})
    if one * 1.5 < other and other > 5 and one < 2000:
        assert levels["one"] < levels["other"]
