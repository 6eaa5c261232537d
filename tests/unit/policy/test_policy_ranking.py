"""Links in order of what is measured of them."""

from hypothesis import given
from hypothesis import strategies as st

from mrouter.policy.ranking import rank_latencies, rank_losses


def test_the_lowest_comes_first():
    ranking = rank_latencies()
    assert ranking.update({"sat": 600.0, "lte": 40.0, "wifi": 15.0})
    assert ranking.order == ("wifi", "lte", "sat")


def test_about_the_same_changes_nothing():
    ranking = rank_latencies()
    ranking.update({"lte": 40.0, "wifi": 45.0})
    assert not ranking.update({"lte": 45.0, "wifi": 40.0})
    assert not ranking.update({"lte": 45.0, "wifi": 36.5})
    assert ranking.update({"lte": 45.0, "wifi": 35.0})
    assert ranking.order == ("wifi", "lte")


def test_a_small_number_is_not_beaten_by_a_smaller_one():
    ranking = rank_latencies()
    ranking.update({"lte": 4.0, "wifi": 5.0})
    assert not ranking.update({"lte": 4.0, "wifi": 1.0})


def test_a_loss_counts_from_a_hundredth():
    ranking = rank_losses()
    ranking.update({"lte": 0.0, "wifi": 0.0})
    assert not ranking.update({"lte": 0.009, "wifi": 0.0})
    assert ranking.update({"lte": 0.02, "wifi": 0.0})
    assert ranking.order == ("wifi", "lte")


def test_a_link_that_is_measured_no_more_leaves():
    ranking = rank_latencies()
    ranking.update({"lte": 4.0, "wifi": 50.0})
    assert ranking.update({"wifi": 50.0})
    assert ranking.order == ("wifi",)


def test_one_that_is_new_overtakes_all_that_are_clearly_worse():
    ranking = rank_latencies()
    ranking.update({"sat": 600.0, "lte": 100.0})
    ranking.update({"sat": 600.0, "lte": 100.0, "wifi": 10.0})
    assert ranking.order == ("wifi", "lte", "sat")


measures = st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1000), max_size=6)


@given(st.lists(measures, max_size=8))
def test_of_neighbours_none_is_clearly_better_than_the_one_before(steps):
    ranking = rank_latencies()
    for step in steps:
        before = ranking.order
        assert ranking.update(step) == (ranking.order != before)
        assert sorted(ranking.order) == sorted(step)
        for first, second in zip(ranking.order, ranking.order[1:], strict=False):
            assert not (step[second] < step[first] * 0.8 and step[second] <= step[first] - 5)
        assert not ranking.update(step)
