"""Planning against known truth, in its quick form."""

from __future__ import annotations

import json

import pytest

from benchmarks.capacity_truth import AT_LEAST, AT_MOST, main, missed


def test_the_quick_form_prints_every_number_and_the_search_is_near_the_truth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(AT_LEAST) | set(AT_MOST) <= set(found)
    assert found["objective_within_5pct"] >= 0.75
    assert found["recommendation_above_truth"] <= 0.5
    assert found["p99_ci_coverage"] >= 0.7
    assert found["aa_false_positives"] <= 0.25
    assert found["power_15pct"] >= 0.5


def test_a_bar_that_is_missed_is_named() -> None:
    good: dict[str, object] = {**dict.fromkeys(AT_LEAST, 1.0), **dict.fromkeys(AT_MOST, 0.0)}
    assert missed(good) == []
    assert missed({**good, "power_15pct": 0.5}) == ["power_15pct 0.5 is below 0.8"]
    assert missed({**good, "aa_false_positives": 0.1}) == ["aa_false_positives 0.1 is above 0.05"]
