"""Latency histograms with logarithmic buckets: small, mergeable, at most 1 % off."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_SMALLEST_SECONDS = 1e-6
_GROWTH = 1.02
_LOG_GROWTH = math.log(_GROWTH)


def bucket_of(seconds: float) -> int:
    """The bucket index of a duration: floor(ln(seconds / 1 µs) / ln 1.02), at least 0."""
    if seconds <= _SMALLEST_SECONDS:
        return 0
    return int(math.log(seconds / _SMALLEST_SECONDS) / _LOG_GROWTH)


def buckets_of(durations: Iterable[float]) -> list[int]:
    """`bucket_of` of many durations in seconds, without a call for each."""
    log = math.log
    return [
        int(log(seconds / _SMALLEST_SECONDS) / _LOG_GROWTH) if seconds > _SMALLEST_SECONDS else 0
        for seconds in durations
    ]


def middle_of(bucket: int) -> float:
    """The geometric middle of a bucket in seconds; at most 1 % from any value inside it."""
    return float(_SMALLEST_SECONDS * _GROWTH ** (bucket + 0.5))


@dataclass
class LogHistogram:
    """Counts of durations in log-spaced buckets (ratio 1.02, so quantiles are at most 1 % off).

    Merging adds counts, so it is exact and may happen in any order. The design follows DDSketch
    (Masson, Rim, Lee: VLDB 2019), with a fixed lower bound of 1 µs.
    """

    counts: dict[int, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many durations were recorded."""
        return sum(self.counts.values())

    def record(self, seconds: float, count: int = 1) -> None:
        """Add `count` durations of `seconds`."""
        bucket = bucket_of(seconds)
        self.counts[bucket] = self.counts.get(bucket, 0) + count

    def record_all(self, durations: Iterable[float]) -> None:
        """Add many durations in seconds: cheaper than `record` of each."""
        for bucket, count in Counter(buckets_of(durations)).items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def merge(self, other: LogHistogram) -> None:
        """Add the counts of `other` to this histogram."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def quantile(self, q: float) -> float | None:
        """The duration in seconds that a share `q` of all durations does not exceed; None if empty.

        Nearest rank: the smallest bucket whose cumulated count reaches ceil(q · n).

        Raises:
            ValueError: `q` is not in 0..1.
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"q must be between 0 and 1, got {q!r}")
        rank = max(1, math.ceil(q * self.total))
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= rank:
                return middle_of(bucket)
        return None

    def to_json(self) -> dict[str, int]:
        """Bucket index (as text, since JSON has only text keys) to count."""
        return {str(bucket): count for bucket, count in sorted(self.counts.items())}

    @classmethod
    def from_json(cls, counts: Mapping[str, int]) -> LogHistogram:
        """The inverse of `to_json`."""
        return cls({int(bucket): int(count) for bucket, count in counts.items()})

    @classmethod
    def merged(cls, histograms: Iterable[LogHistogram]) -> LogHistogram:
        """One histogram that holds the counts of all."""
        result = cls()
        for histogram in histograms:
            result.merge(histogram)
        return result
