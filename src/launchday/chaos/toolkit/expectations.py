"""What an experiment expects as probes of Chaos Toolkit with tolerances, as far as they can say it.

Chaos Toolkit sends no load: what is expected of the clients of a scenario is asked with requests of
its own, for paths that stand for the endpoints.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from launchday.chaos.hypothesis import Expectation
from launchday.chaos.toolkit.probes import MEASURES

PROBES = "launchday.chaos.toolkit.probes"
# The highest finite number: JSON has no infinity, and a tolerance needs two ends.
_NO_LIMIT = 1e308
_GOOD_WHEN_HIGH = ("success_share", "good_share", "metric_lowest")
_OF_METRICS = {
    "metric_highest": "metric_value",
    "metric_lowest": "metric_value",
    "metric_per_second": "metric_per_second",
}


def during_all_the_time(expectation: Expectation) -> bool:
    """Whether it may be asked at any time: a bound on harm, which a healthy target keeps as well.

    What only a fault brings about (that a breaker is open, that 503s come), and what needs time to
    notice, is asked at the end of the faults.
    """
    good_when_high = expectation.measure in _GOOD_WHEN_HIGH
    demands_harm = expectation.at_most if good_when_high else expectation.at_least
    return demands_harm is None and expectation.after_seconds == 0


class Translator:
    """Makes the probes; `left_out` collects in sentences what it could not translate."""

    def __init__(
        self,
        paths: Mapping[str, str],
        health_path: str,
        objective_seconds: float,
        patience_seconds: float,
    ) -> None:
        self.left_out: list[str] = []
        self._paths = paths
        self._health_path = health_path
        self._of_clients = {
            "objective_seconds": objective_seconds,
            "patience_seconds": patience_seconds,
        }

    def probes(self, window: str, expectations: Iterable[Expectation]) -> list[dict[str, Any]]:
        """One probe with a tolerance for each that can be asked; `window` goes into the names."""
        made = []
        for expectation in expectations:
            provider = self._provider(window, expectation)
            if provider is None:
                continue
            if expectation.baseline_factor is not None:
                self._leave(window, expectation, "its baseline_factor; the absolute limit stays")
            made.append(
                {
                    "type": "probe",
                    "name": f"{window}: {expectation.title}",
                    "tolerance": {"type": "range", "range": _range(expectation)},
                    "provider": {"type": "python", "module": PROBES, **provider},
                }
            )
        return made

    def _provider(self, window: str, expectation: Expectation) -> dict[str, Any] | None:
        if expectation.of_metrics:
            func = _OF_METRICS.get(expectation.measure)
            if func is None:
                return self._leave(window, expectation, "Chaos Toolkit cannot count over a window")
            metric = {"metric": expectation.metric, "url": "${metrics_url}"}
            return {"func": func, "arguments": metric}
        if expectation.measure not in MEASURES:
            return self._leave(window, expectation, "only a scenario retries")
        paths = self._paths_of(expectation)
        if not paths:
            which = "', '".join(expectation.endpoints)
            return self._leave(
                window, expectation, f"no path is known for '{which}', say --path NAME=/PATH"
            )
        arguments: dict[str, Any] = {"measure": expectation.measure, "url": "${target_url}"}
        # Each path as often as the others.
        arguments |= {"paths": paths, "count": math.ceil(10 / len(paths)) * len(paths)}
        return {"func": "requested", "arguments": arguments | self._of_clients}

    def _paths_of(self, expectation: Expectation) -> list[str]:
        if not expectation.endpoints:
            return list(self._paths.values()) or [self._health_path]
        return [
            path
            for name, path in self._paths.items()
            if any(fnmatchcase(name, endpoint) for endpoint in expectation.endpoints)
        ]

    def _leave(self, window: str, expectation: Expectation, why: str) -> dict[str, Any] | None:
        self.left_out.append(f"{window}: {expectation.title}: {why}")
        return None


def _range(expectation: Expectation) -> list[float]:
    low = -_NO_LIMIT if expectation.of_metrics else 0
    high = 1 if expectation.measure.endswith("_share") else _NO_LIMIT
    return [
        low if expectation.at_least is None else expectation.at_least,
        high if expectation.at_most is None else expectation.at_most,
    ]
