"""Boards, rules, docs and code name the same metrics: those of the catalogue."""

import re
import subprocess
from pathlib import Path
from typing import Any

from dashboards.metrics_page import page
from launchday.metric_names import ALL, Kind
from tests.dashboards.promql import ELSEWHERE, grouped_by, labels_of, selectors, series

ROOT = Path(__file__).resolve().parents[2]
# Exported, and on no board: each with the reason.
ON_NO_BOARD = {
    "shed_inflight": "a scrape itself makes requests wait; boards count seconds of service",
    "shed_queue_length": "as shed_inflight; boards count seconds of waiting",
    "car_slots_busy": "as shed_inflight; boards count seconds of use",
}


def used(expressions: list[str]) -> set[str]:
    return {selector.metric for expression in expressions for selector in selectors(expression)}


def test_whatever_a_board_or_a_rule_asks_for_is_in_the_catalogue(
    all_expressions: list[str], rules: list[dict[str, Any]]
) -> None:
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert used(all_expressions) - series().keys() - recorded == set(ELSEWHERE)


def test_every_metric_of_the_catalogue_is_on_a_board_or_says_why_not(
    all_expressions: list[str],
) -> None:
    shown = {series()[name].name for name in used(all_expressions) & series().keys()}
    names = {metric.name for metric in ALL}
    assert names - shown == set(ON_NO_BOARD)


def test_every_recorded_series_is_read_and_every_read_one_recorded(
    all_expressions: list[str], rules: list[dict[str, Any]]
) -> None:
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert {name for name in used(all_expressions) if name.startswith("job:")} == recorded


def test_every_label_belongs_to_its_metric(all_expressions: list[str]) -> None:
    for expression in all_expressions:
        if expression.startswith("label_values("):
            continue
        found = list(selectors(expression))
        assert found, expression
        for selector in found:
            assert selector.labels <= labels_of(selector.metric), expression
        known: set[str] = set().union(*(labels_of(selector.metric) for selector in found))
        assert grouped_by(expression) <= known, expression


def test_the_catalogue_keeps_the_rules_of_prometheus_names() -> None:
    names = [metric.name for metric in ALL]
    assert len(names) == len(set(names))
    for metric in ALL:
        assert re.fullmatch(r"(shed|car|launchday|chaos)_[a-z][a-z0-9_]*[a-z0-9]", metric.name)
        assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total"), metric.name
        assert (metric.kind is Kind.HISTOGRAM) == bool(metric.buckets), metric.name
        assert list(metric.buckets) == sorted(metric.buckets), metric.name
        assert metric.help.endswith("."), metric.name
        if metric.kind is Kind.HISTOGRAM:
            assert metric.name.endswith("_seconds"), metric.name


def test_the_page_of_metrics_is_what_the_catalogue_says() -> None:
    written = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert written == page(), "docs/metrics.md is stale: run python dashboards/build.py"
    for metric in ALL:
        assert f"| `{metric.name}` |" in written


def test_documents_name_no_metric_that_does_not_exist() -> None:
    known = series().keys() | set(ELSEWHERE) | {metric.name for metric in ALL}
    tracked = subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    for name in tracked:
        text = (ROOT / name).read_text(encoding="utf-8")
        for word in re.findall(r"`((?:shed|car|chaos|launchday)_[a-z0-9_]+)(?:\{[^`]*\})?`", text):
            if re.search(r"_(total|seconds|bucket|count|ratio)$", word):
                assert word in known, f"{name}: {word}"
