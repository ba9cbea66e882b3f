"""Whether retries can hold the target down: V by load, for each policy."""

from __future__ import annotations

import math

from launchday.capacity.answer import Plan
from launchday.capacity.plots.picture import Dots, Ink, Line, Picture, Rule, nothing
from launchday.capacity.plots.scale import linear
from launchday.capacity.plots.utilisation_picture import LOOKS
from launchday.capacity.results import RetryVerdict
from launchday.capacity.wording import joined, number

_LARGEST_SURGE = 4.0
_HIGHEST_V = 4.0


def retry_picture(plan: Plan) -> Picture:
    """V v surge per policy: above 1 a state exists that the target does not leave by itself.

    V = ρ · max_p[...] grows in proportion to ρ (reference, 3.4), so each policy is a straight
    line through what was judged at the forecast.
    """
    title = "Retries: can the target be held down?"
    verdicts = [v for v in plan.retry if math.isfinite(v.vulnerability)]
    if not verdicts:
        return nothing("retries", title, "No rate was proved, so no retry policy was judged.")
    groups = _groups(verdicts)
    highest = min(max(value for value, _ in groups) * _LARGEST_SURGE, _HIGHEST_V)
    top = max(highest, 1.2)
    return Picture(
        "retries",
        title,
        _facts(verdicts, assumed=plan.request.shedding and verdicts[0].ratio is None),
        linear("load, times what is planned", [_LARGEST_SURGE]),
        linear("V, the work that retries keep up", [top]),
        rules=(Rule(1.0, "stuck above", Ink.RED),),
        lines=tuple(
            Line(_straight(value, top), ink, f"{names}: V = {number(value)}", dash)
            for (value, names), (ink, dash, _) in zip(groups, LOOKS, strict=False)
        ),
        dots=tuple(
            Dots(((1.0, value),), ink, "", mark)
            for (value, _), (ink, _, mark) in zip(groups, LOOKS, strict=False)
            if value <= top
        ),
    )


def _groups(verdicts: list[RetryVerdict]) -> list[tuple[float, str]]:
    """Policies with the same V are one line; the worst first."""
    by_value: dict[str, list[RetryVerdict]] = {}
    for verdict in sorted(verdicts, key=lambda v: -v.vulnerability):
        by_value.setdefault(f"{verdict.vulnerability:.3g}", []).append(verdict)
    return [
        (group[0].vulnerability, joined([_plain(verdict) for verdict in group]))
        for group in by_value.values()
    ]


def _plain(verdict: RetryVerdict) -> str:
    return verdict.policy.replace("_", " ")


def _straight(value: float, top: float) -> tuple[tuple[float, float], ...]:
    end = min(_LARGEST_SURGE, top / value) if value > 0 else _LARGEST_SURGE
    return ((0.0, 0.0), (end, end * value))


def _facts(verdicts: list[RetryVerdict], *, assumed: bool) -> str:
    stuck = [_plain(verdict) for verdict in verdicts if verdict.stuck]
    if not stuck:
        words = "With no policy can retries hold the target down at the planned load."
    else:
        words = f"At the planned load retries can hold the target down with: {joined(stuck)}."
    doubt = " That it refuses what is too much, at little cost, is assumed, not measured."
    return f"{words}{doubt if assumed else ''}"
