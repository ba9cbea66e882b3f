"""Folds batches of requests into Locust's statistics, as if each had been logged by itself."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from launchday.load.cells import Row


def into_statistics(stats: Any, rows: Sequence[Row], second: int, unix_offset: float) -> None:
    """What Locust's `stats.log_request` would have done for each row, all of the same second.

    The source is `StatsEntry.log` of Locust 2.47.0. The entries are looked up each time: Locust
    replaces them when a test starts.
    """
    # Looked up each time as well: users may replace it.
    bucket = sys.modules[type(stats.total).__module__].bucket_response_time
    groups: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[0], row[1]].append(row)
    for key, group in groups.items():
        times = [row[2] * 1000 for row in group]
        counts = Counter(map(bucket, times))
        size = sum([row[3] for row in group])
        last = group[-1][4] + unix_offset
        known, first = key in stats.entries, group[0][4] + unix_offset
        entry = stats.entries[key]
        entry.start_time = min(entry.start_time, first)
        if not known and entry.use_response_times_cache:
            # As if it had been made when its first request ended, and not now.
            entry.response_times_cache.clear()
            entry._cache_response_times(second)
        for each in (stats.total, entry):
            _add(each, times, counts, size, second, last)


def _add(
    entry: Any, times: list[float], counts: Counter[int], size: int, second: int, last: float
) -> None:
    before = entry.last_request_timestamp
    if entry.use_response_times_cache and before and second > int(before):
        entry._cache_response_times(second - 1)
    entry.num_requests += len(times)
    entry.num_reqs_per_sec[second] += len(times)
    entry.last_request_timestamp = last if before is None else max(before, last)
    entry.total_response_time = sum(times, entry.total_response_time)
    least = min(times)
    known = entry.min_response_time
    entry.min_response_time = least if known is None else min(known, least)
    entry.max_response_time = max(entry.max_response_time, *times)
    response_times = entry.response_times
    for each, count in counts.items():
        response_times[each] += count
    entry.total_content_length += size
