"""What holds of an experiment's steady state while it runs, for the dashboards."""

from __future__ import annotations

from dataclasses import dataclass, field

from launchday import timeline
from launchday.chaos.hypothesis import Hypothesis
from launchday.record import Record
from launchday.runs.hypotheses import Judged, steady_by_now


@dataclass
class SteadyWatch:
    """Judges what has to hold before the faults over the last seconds, once for each new second.

    Nothing is decided by it: during the faults some of it may break, as the hypothesis allows.
    """

    hypothesis: Hypothesis
    _seen_until: int = field(default=0, init=False)

    def judged(self, record: Record, elapsed_seconds: float) -> list[Judged]:
        """What there is to say of the last complete second; nothing if that was said before."""
        until = timeline.last_complete_second(record, elapsed_seconds)
        if until <= self._seen_until:
            return []
        self._seen_until = until
        return steady_by_now(record, self.hypothesis, elapsed_seconds)
