"""A control for Chaos Toolkit that leaves no failure unnoticed; the only module that needs it.

Chaos Toolkit 1.19 alone ends with exit code 0 when an action failed, when a probe in the method
missed its tolerance, when the hypothesis did not hold before or during the method, or when a
rollback failed. With this control each of them is an exit code of 1, and what fails in the method
ends the experiment at once; the rollbacks run (strategy `always`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from chaoslib.exceptions import InterruptExecution
from chaoslib.exit import exit_gracefully
from chaoslib.hypothesis import within_tolerance

_log = logging.getLogger("chaostoolkit")


class _Abort:
    """When an experiment ends early: its settings, whether its method runs, and the low success."""

    success_floor = 0.0
    for_seconds = 10.0
    method_runs = False
    below_since: float | None = None


def configure_control(success_floor: float = 0.0, for_seconds: float = 10.0) -> None:
    """Abort when, during the method, success is below `success_floor` for `for_seconds`.

    What is watched are the probes of the hypothesis that measure success_share. A floor of 0 (the
    default): never.
    """
    _Abort.success_floor, _Abort.for_seconds = success_floor, for_seconds


# Chaos Toolkit gives every function the arguments of the control.
def before_method_control(context: Mapping[str, Any], **arguments: object) -> None:
    """The faults begin."""
    _Abort.method_runs, _Abort.below_since = True, None


def after_method_control(context: Mapping[str, Any], **arguments: object) -> None:
    """The faults have ended, or shall."""
    _Abort.method_runs = False


def after_activity_control(
    context: Mapping[str, Any],
    state: Mapping[str, Any] | None,
    experiment: Mapping[str, Any],
    **arguments: object,
) -> None:
    """End the experiment when an activity of its method failed or missed its tolerance."""
    in_method = any(context is activity for activity in experiment.get("method", ()))
    if not in_method or state is None or experiment.get("dry"):
        return
    what = f"{context['type']} {context['name']!r}"
    if state["status"] != "succeeded":
        raise InterruptExecution(f"{what} failed: {_last_line(state)}")
    if "tolerance" in context and not within_tolerance(context["tolerance"], state["output"]):
        raise InterruptExecution(
            f"{what} is {state['output']!r}, not within {context['tolerance']!r}"
        )


def after_hypothesis_control(
    context: Mapping[str, Any], state: Mapping[str, Any] | None, **arguments: object
) -> None:
    """Abort when success has been too low for too long."""
    if not _Abort.method_runs or state is None:
        return
    low = [share for share in _success(state) if share < _Abort.success_floor]
    if not low:
        _Abort.below_since = None
        return
    now = time.monotonic()
    _Abort.below_since = _Abort.below_since or now
    if now - _Abort.below_since >= _Abort.for_seconds:
        _Abort.method_runs = False
        _log.critical(
            "success is %.0f %%, below %.0f %% for %g s: the experiment is aborted",
            *(min(low) * 100, _Abort.success_floor * 100, _Abort.for_seconds),
        )
        # It interrupts the pause that the main thread is in.
        exit_gracefully()


def after_experiment_control(
    context: Mapping[str, Any], state: dict[str, Any], **arguments: object
) -> None:
    """Make the journal, and so the exit code, tell what happened."""
    states = state["steady_states"]
    if _unmet(states["before"]):
        state["status"] = "failed"
    if any(_unmet(during) for during in states["during"]):
        state["deviated"] = True
    failed = [run for run in state["run"] + state["rollbacks"] if run.get("status") == "failed"]
    if failed and state["status"] == "completed":
        state["status"] = "failed"


def _unmet(state: Mapping[str, Any] | None) -> bool:
    return state is not None and not state["steady_state_met"]


def _success(state: Mapping[str, Any]) -> list[float]:
    return [
        run["output"]
        for run in state["probes"]
        if run["activity"]["provider"].get("arguments", {}).get("measure") == "success_share"
        and isinstance(run["output"], int | float)
    ]


def _last_line(state: Mapping[str, Any]) -> str:
    lines = state.get("exception") or ["?"]
    return str(lines[-1]).strip()
