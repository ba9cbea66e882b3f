"""Locust's history: plateaus of users are loads, its totals give exact rates and means."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from launchday.capacity.importers import read_table
from launchday.capacity.steps import Objective
from launchday.errors import RecordError
from tests.capacity.import_files import EXAMPLES, P99, mutations, read_text, refusal_of

HEADER = (
    "Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,"
    "99.99%,100%,Total Request Count,Total Failure Count,Total Median Response Time,Total Average "
    "Response Time,Total Min Response Time,Total Max Response Time,Total Average Content Size\n"
)
STAGES = ((2, 40, 20, 10), (4, 40, 40, 12), (8, 80, 70, 20), (16, 5, 80, 30))
"""Users, seconds, requests/s, mean in ms; a hundredth of all fails, p99 is five times the mean."""


def history(stages: tuple[tuple[int, int, int, int], ...] = STAGES, reset_at: int = -1) -> str:
    """A history as Locust writes it, a row a second and another for an endpoint."""
    lines, time, requests, busy_ms = [HEADER], 1_700_000_000, 0, 0
    for users, seconds, rate, mean in stages:
        for _ in range(seconds):
            if time == reset_at:
                requests, busy_ms = 0, 0
            requests, busy_ms = requests + rate, busy_ms + rate * mean
            quantiles = ",".join(["N/A" if time == 1_700_000_000 else str(5 * mean)] * 11)
            totals = f"{requests},{requests // 100},{mean},{busy_ms / requests},1,99,2.0"
            lines.append(f"{time},{users},GET,/state,{rate},0,{quantiles},{totals}\n")
            lines.append(f"{time},{users},,Aggregated,{rate},0,{quantiles},{totals}\n")
            time += 1
    return "".join(lines)


def test_users_that_were_held_are_loads(tmp_path: Path) -> None:
    measured = read_text(tmp_path, history(), "locust")
    assert [step.throughput_rps for step in measured.steps] == [20, 40, 70]
    means = [step.mean_seconds for step in measured.steps]
    assert means == pytest.approx([0.010, 0.012, 0.020])
    flight = [step.concurrency for step in measured.steps]
    assert flight == pytest.approx([0.2, 0.48, 1.4])
    assert [step.latency_seconds for step in measured.steps] == pytest.approx([0.05, 0.06, 0.1])
    assert all(step.steady for step in measured.steps)


def test_short_plateaus_are_left_out_with_the_reason(tmp_path: Path) -> None:
    (short,) = read_text(tmp_path, history(), "locust").left_out
    assert "(16 users)" in short.source
    assert "held for 4 s only: at least 10 s are needed" in short.reason


def test_failures_are_errors(tmp_path: Path) -> None:
    step = read_text(tmp_path, history(), "locust").steps[2]
    assert step.error_share == pytest.approx(0.01, rel=0.05)
    assert step.goodput_rps == pytest.approx(70 * (1 - step.error_share))


def test_the_quantile_has_an_interval_from_five_windows_on(tmp_path: Path) -> None:
    steps = read_text(tmp_path, history(), "locust").steps
    assert steps[0].low_seconds is None
    assert steps[2].low_seconds == steps[2].high_seconds == pytest.approx(0.1)


def test_totals_that_are_reset_are_taken_from_there(tmp_path: Path) -> None:
    text = history(((4, 60, 40, 12),), reset_at=1_700_000_020)
    (step,) = read_text(tmp_path, text, "locust").steps
    assert step.throughput_rps == pytest.approx(40)
    assert step.seconds < 40


def test_a_rate_that_climbs_is_no_steady_state(tmp_path: Path) -> None:
    one_level = tuple((4, 1, 40 + second, 12) for second in range(60))
    (step,) = read_text(tmp_path, history(one_level), "locust").steps
    assert "the last three windows" in step.unsteady[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER, "no row 'Aggregated'"),
        ("Type,Name,Request Count,Failure Count\n,Aggregated,1,0\n", "_stats_history.csv"),
        ("a,b\n1,2\n", "it has no column 'Timestamp'"),
        (history().replace(",4,,Aggregated", ",-4,,Aggregated", 1), "'User Count': '-4' is neg"),
    ],
)
def test_files_that_cannot_be_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        read_text(tmp_path, text, "locust")


def test_a_quantile_that_was_not_reported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"asks for p97, there is p50, .*PERCENTILES_TO_REPORT"):
        read_text(tmp_path, history(), "locust", Objective(quantile=0.97))


def test_a_history_of_a_real_locust() -> None:
    measured = read_table([EXAMPLES / "locust_stats_history.csv"], "locust", P99)
    assert len(measured.steps) == 4
    flight = [step.concurrency for step in measured.steps]
    assert flight == sorted(flight)
    assert all(f < users for f, users in zip(flight, (1, 2, 4, 8), strict=True))
    for step in measured.steps:
        assert step.mean_seconds is not None
        assert step.latency_seconds is not None
        assert step.mean_seconds < step.latency_seconds


@settings(max_examples=80, deadline=None)
@given(content=mutations(history(((2, 15, 20, 10), (4, 15, 40, 12))).encode()))
def test_nothing_but_words_comes_of_broken_histories(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    words = refusal_of(tmp_path_factory.getbasetemp() / "fuzz.csv", content, "locust")
    assert not words or "fuzz.csv" in words
