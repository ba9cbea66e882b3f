"""One clock for all processes of a test: the master's, as each worker sees it."""

from __future__ import annotations

from collections import deque

_EXCHANGES = 16


class CommonClock:
    """Translates the master's time to this process's time.perf_counter().

    Each exchange (asked at s, answered with the master's time m, heard at r) says m ≈ (s + r)/2,
    wrong by (r - s)/2 at most; of the last ones the quickest counts (Cristian: Distributed
    Computing 3, 1989). Both times are monotonic clocks, so that no step of the wall clock moves a
    test; until the first exchange they are taken for the same, as on one machine they are.
    """

    def __init__(self) -> None:
        self._offset_seconds = 0.0
        self._exchanges: deque[tuple[float, float]] = deque(maxlen=_EXCHANGES)

    def heard(self, asked: float, heard: float, master_seconds: float) -> None:
        """Note one exchange: `asked` and `heard` on this perf_counter, the master's answer."""
        self._exchanges.append((heard - asked, master_seconds - (asked + heard) / 2))
        _, self._offset_seconds = min(self._exchanges)

    @property
    def error_seconds(self) -> float | None:
        """How wrong it can be; None before the first exchange."""
        return min(self._exchanges)[0] / 2 if self._exchanges else None

    def here(self, master_seconds: float) -> float:
        """The master's time on this perf_counter."""
        return master_seconds - self._offset_seconds
