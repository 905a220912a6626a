"""The log-spaced histograms: how far off, and that folding loses nothing."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from devmesh.telemetry.histogram import Histogram, add, bucket_of, quantiles, seconds_of

durations = st.floats(min_value=1e-5, max_value=3600.0)


def histogram(values: list[float]) -> Histogram:
    counts: Histogram = {}
    for value in values:
        bucket = bucket_of(value)
        counts[bucket] = counts.get(bucket, 0) + 1
    return counts


@given(durations)
def test_a_bucket_stands_for_its_durations_within_5_percent(value: float) -> None:
    assert abs(seconds_of(bucket_of(value)) - value) <= 0.05 * value


@given(st.lists(durations, min_size=1), st.floats(min_value=0.01, max_value=1.0))
def test_a_quantile_is_one_of_the_values_nearly(values: list[float], share: float) -> None:
    found = quantiles(histogram(values), share)
    assert found is not None
    exact = sorted(values)[math.ceil(share * len(values) - 1e-9) - 1]
    assert abs(found[0] - exact) <= 0.05 * exact


@given(st.lists(st.lists(durations)))
def test_folding_parts_is_counting_the_whole(parts: list[list[float]]) -> None:
    folded: Histogram = {}
    for part in parts:
        add(folded, histogram(part))
    assert folded == histogram([value for part in parts for value in part])


@given(durations, durations)
def test_buckets_keep_the_order(one: float, other: float) -> None:
    assert (bucket_of(one) <= bucket_of(other)) == (one <= other) or bucket_of(one) == bucket_of(other)


def test_nothing_counted_has_no_quantile() -> None:
    assert quantiles({}, 0.5) is None


def test_a_clock_set_back_counts_as_nothing() -> None:
    assert bucket_of(-1.0) == bucket_of(0.0) == 0
