"""Everything the shedder counts, as plain numbers: an increment must cost next to nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from launchday.admission.refusal import Refusal
from launchday.metric_names import (
    CRITICALITIES,
    LATENCY_BUCKETS_SECONDS,
    RETRY_AFTER_BUCKETS_SECONDS,
    SHED_DECISION,
    WAIT_BUCKETS_SECONDS,
)


class Distribution:
    """A histogram: how many values fell into each bucket, the last one without an edge."""

    __slots__ = ("counts", "edges", "total")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value; an edge belongs to the bucket below it."""
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value


class ClassTally:
    """What is counted for one criticality."""

    __slots__ = (
        "admitted", "admitted_wait", "cancelled", "cancelled_wait", "exempt", "inflight", "queued",
        "rejected", "rejected_wait", "rejections", "service", "would_reject",
    )  # fmt: skip

    def __init__(self) -> None:
        self.admitted = self.rejected = self.exempt = self.cancelled = 0
        self.inflight = self.queued = 0
        self.admitted_wait = Distribution(WAIT_BUCKETS_SECONDS)
        self.rejected_wait = Distribution(WAIT_BUCKETS_SECONDS)
        self.cancelled_wait = Distribution(WAIT_BUCKETS_SECONDS)
        self.service = Distribution(LATENCY_BUCKETS_SECONDS)
        # By `Refusal.number`.
        self.rejections = [0] * len(Refusal)
        self.would_reject = [0] * len(Refusal)


class Tally:
    """All counts of one shedder."""

    def __init__(self) -> None:
        self.by_class = {name: ClassTally() for name in CRITICALITIES}
        self.retry_after = Distribution(RETRY_AFTER_BUCKETS_SECONDS)
        self.decision = Distribution(SHED_DECISION.buckets)
        self.limit_changes: Counter[tuple[str, str]] = Counter()
        self.websocket_rejections = dict.fromkeys(Refusal, 0)
        self.discarded_bytes = 0
