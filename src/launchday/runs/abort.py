"""When an experiment must end early: pure functions of what was counted so far, once a second."""

from __future__ import annotations

from dataclasses import dataclass, field

from launchday import timeline
from launchday.chaos.hypothesis import Abort
from launchday.outcomes import ERRORS, Outcome
from launchday.record import Record

_CRITICAL = frozenset({"critical_plus", "critical"})
_SERVED = frozenset({Outcome.OK, Outcome.SLOW})


def decide(abort: Abort, record: Record, *, breaks: tuple[str, ...], seconds: range) -> str | None:
    """Why an experiment must end, or None: judged over its complete `seconds` until now.

    `breaks` are beginnings of names of endpoints that must fail, and so do not count. The floor is
    about the last `for_seconds` of `seconds`, and nothing before them: each second in which there
    were such requests must be below it. The budget is about the whole run until now, against the
    requests that the whole schedule is expected to make.
    """
    counted = _counted(record, breaks)
    reason = _below_floor(abort, counted, seconds)
    return reason or _budget_spent(abort, record, counted)


@dataclass
class AbortWatch:
    """Asks `decide` once for each new complete second, since asking costs more than a tick."""

    abort: Abort
    breaks: tuple[str, ...]
    start_seconds: float
    _asked_until: int = field(default=0, init=False)

    def reason(self, record: Record, elapsed_seconds: float) -> str | None:
        """Why the experiment must end, `elapsed_seconds` into the schedule; None: it goes on."""
        until = timeline.last_complete_second(record, elapsed_seconds)
        if until <= self._asked_until:
            return None
        self._asked_until = until
        seconds = range(int(self.start_seconds), until)
        return decide(self.abort, record, breaks=self.breaks, seconds=seconds)


_Counted = dict[int, tuple[int, int, int]]


def _counted(record: Record, breaks: tuple[str, ...]) -> _Counted:
    """Of each second the critical requests, those of them that were served, and what failed."""
    critical = any(criticality in _CRITICAL for _, _, criticality, _ in record.cells)
    result: _Counted = {}
    for (second, endpoint, criticality, outcome), cell in record.cells.items():
        if breaks and endpoint.startswith(breaks):
            continue
        offered, served, failed = result.get(second, (0, 0, 0))
        if criticality in _CRITICAL or not critical:
            offered += cell.count
            served += cell.count if outcome in _SERVED else 0
        failed += cell.count if outcome in ERRORS else 0
        result[second] = (offered, served, failed)
    return result


def _below_floor(abort: Abort, counted: _Counted, seconds: range) -> str | None:
    wanted = max(1, round(abort.for_seconds))
    if len(seconds) < wanted:
        return None
    last = [counted.get(second, (0, 0, 0)) for second in seconds[-wanted:]]
    asked = [(offered, served) for offered, served, _ in last if offered]
    if not asked or any(served >= abort.success_floor * offered for offered, served in asked):
        return None
    share = sum(served for _, served in asked) / sum(offered for offered, _ in asked)
    return (
        f"only {share:.0%} of the critical requests succeeded for {wanted} s, below the floor of "
        f"{abort.success_floor:.0%} in every second"
    )


def _budget_spent(abort: Abort, record: Record, counted: _Counted) -> str | None:
    if abort.error_budget_share is None:
        return None
    started = sum(arrivals.started for arrivals in record.arrivals.values())
    requests = sum(cell.count for cell in record.cells.values())
    if not started or not requests:
        return None
    expected = max(requests, timeline.expected_arrivals(record) * requests / started)
    failed = sum(each for _, _, each in counted.values())
    if failed <= abort.error_budget_share * expected:
        return None
    return (
        f"{failed} requests failed, more than the error budget of the run: "
        f"{abort.error_budget_share:.2%} of about {expected:.0f}"
    )
