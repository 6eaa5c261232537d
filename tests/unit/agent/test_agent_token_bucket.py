from __future__ import annotations

from mrouter.agent.token_bucket import TokenBucket


def test_a_burst_passes_and_then_the_rate():
    bucket = TokenBucket(rate=2.0, burst=3.0)

    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(at) for at in (100.4, 100.5, 100.9, 101.0)] == [False, True, False, True]


def test_no_more_than_a_burst_is_saved_up():
    bucket = TokenBucket(rate=2.0, burst=3.0)
    bucket.take(0.0)

    assert [bucket.take(1e6) for _ in range(4)] == [True, True, True, False]
