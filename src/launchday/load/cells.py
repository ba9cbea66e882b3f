"""What clients saw, counted by second, endpoint, class and outcome until it is written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from launchday.counts import Cell, CellKey
from launchday.histogram import LogHistogram, bucket_of, buckets_of
from launchday.outcomes import Outcome

_OK, _SLOW = Outcome.OK.value, Outcome.SLOW.value
UNCLASSIFIED = "unclassified"
"""The class of an endpoint that the scenario gives none."""

Launched = tuple[float, float, Mapping[str, str]]
"""Of a request of an arrival: when it was meant to start (seconds since the start of the
schedule), how much later it started (seconds), and the classes of the scenario's endpoints."""

Row = tuple[str, str, float, int, float, bool, Launched | None]
"""A request that went well: name, method, service time (seconds), bytes of the body, when it ended
(perf_counter), whether it was a retry, and whose it was if an arrival made it."""


class _Tally:
    """A `Cell` in the making: plain dictionaries, since every request goes through it."""

    __slots__ = (
        "answers_503", "corrected", "count", "response_bytes", "retries", "retry_after", "service",
    )  # fmt: skip

    def __init__(self) -> None:
        self.count = self.answers_503 = self.retry_after = self.response_bytes = self.retries = 0
        self.corrected: Counter[int] = Counter()
        self.service: Counter[int] = Counter()

    def cell(self) -> Cell:
        return Cell(
            count=self.count,
            answers_503=self.answers_503,
            retry_after=self.retry_after,
            response_bytes=self.response_bytes,
            retries=self.retries,
            corrected=LogHistogram(dict(self.corrected)),
            service=LogHistogram(dict(self.service)),
        )


class CellBook:
    """Counts finished requests under the second in which they were meant to start."""

    def __init__(self) -> None:
        self._tallies: defaultdict[CellKey, _Tally] = defaultdict(_Tally)

    def request(
        self,
        meant_seconds: float,
        endpoint: str,
        criticality: str,
        outcome: Outcome,
        *,
        corrected_seconds: float,
        service_seconds: float,
        answered_503: bool = False,
        retry_after: bool = False,
        response_bytes: int = 0,
        retry: bool = False,
    ) -> None:
        """Count one request.

        `corrected_seconds` is the latency since the intended start, `service_seconds` since the
        actual one; `retry` says that it repeated one that was refused.
        """
        tally = self._tallies[int(meant_seconds), endpoint, criticality, outcome.value]
        tally.count += 1
        tally.response_bytes += response_bytes
        bucket = bucket_of(service_seconds)
        tally.service[bucket] += 1
        if corrected_seconds != service_seconds:
            bucket = bucket_of(corrected_seconds)
        tally.corrected[bucket] += 1
        if retry:
            tally.retries += 1
        if answered_503:
            tally.answers_503 += 1
            tally.retry_after += retry_after

    def went_well(self, rows: Iterable[Row], objective_seconds: float) -> None:
        """Count many requests that were answered 2xx, as `request` would each of them."""
        groups: defaultdict[CellKey, list[tuple[Row, float]]] = defaultdict(list)
        for row in rows:
            name, _, service_seconds, _, _, _, launched = row
            if launched is not None:
                meant_seconds, lateness_seconds, classes = launched
                corrected_seconds = service_seconds + lateness_seconds
                outcome = _OK if corrected_seconds <= objective_seconds else _SLOW
                key = (int(meant_seconds), name, classes.get(name, UNCLASSIFIED), outcome)
                groups[key].append((row, corrected_seconds))
        for key, group in groups.items():
            tally = self._tallies[key]
            tally.count += len(group)
            tally.response_bytes += sum([row[3] for row, _ in group])
            tally.retries += sum([row[5] for row, _ in group])
            service = [row[2] for row, _ in group]
            corrected = [each for _, each in group]
            buckets = Counter(buckets_of(service))
            tally.service.update(buckets)
            # The same for all requests of a journey but the first.
            tally.corrected.update(
                buckets if corrected == service else Counter(buckets_of(corrected))
            )

    def take(self) -> dict[CellKey, Cell]:
        """What was counted since it was last taken."""
        tallies, self._tallies = self._tallies, defaultdict(_Tally)
        return {key: tally.cell() for key, tally in tallies.items()}
