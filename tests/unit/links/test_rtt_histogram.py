from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mrouter.links.histogram import RTT_BUCKETS, RttHistogram


@given(st.lists(st.floats(0, 10)))
def test_each_bucket_counts_what_took_no_longer(samples):
    histogram = RttHistogram()
    for sample in samples:
        histogram.add(sample)
    buckets = dict(histogram.list_buckets())
    assert buckets.pop("+Inf") == len(samples)
    assert buckets == {str(end): sum(s <= end for s in samples) for end in RTT_BUCKETS}
    assert histogram.total == sum(samples)
