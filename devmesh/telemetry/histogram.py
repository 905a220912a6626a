"""Log-spaced histograms of durations: sparse, mergeable by addition, within 4.5 % of the truth.

A histogram is a plain dict from bucket to count. Bucket b holds the durations from
2^(b/8) up to 2^((b+1)/8), in microseconds plus one.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log2

Histogram = dict[int, int]

PER_OCTAVE = 8
LAST = 40 * PER_OCTAVE  # 2^40 µs, twelve days


def bucket_of(seconds: float) -> int:
    """Return the bucket of a duration; negative ones, from a clock set back, count as nothing."""
    if seconds <= 0.0:
        return 0
    return min(int(log2(seconds * 1e6 + 1.0) * PER_OCTAVE), LAST)


def seconds_of(bucket: int) -> float:
    """Return the duration that stands for a bucket: its geometric middle."""
    return float(2.0 ** ((bucket + 0.5) / PER_OCTAVE) - 1.0) / 1e6


def add(into: Histogram, other: Mapping[int, int]) -> None:
    """Add the counts of `other`."""
    for bucket, count in other.items():
        into[bucket] = into.get(bucket, 0) + count


def quantiles(histogram: Mapping[int, int], *wanted: float) -> list[float] | None:
    """Return the durations (seconds) below which the `wanted` shares (ascending, 0 to 1) lie.

    None where nothing was counted.
    """
    total = sum(histogram.values())
    if not total:
        return None
    found: list[float] = []
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        while len(found) < len(wanted) and seen >= wanted[len(found)] * total:
            found.append(seconds_of(bucket))
    return found
