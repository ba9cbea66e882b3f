"""What k6 writes: CSV and JSON points become loads by VUs or rate, a summary is one load."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from launchday.capacity.importers import read_table
from launchday.capacity.steps import Measured, Objective
from launchday.errors import RecordError
from tests.capacity.import_files import EXAMPLES, P99, mutations, read_text, refusal_of

HEADER = (
    "metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,"
    "name,proto,scenario,service,status,subproto,tls_version,url,extra_tags\n"
)
START = 1_700_000_000
Point = tuple[str, float, float, str]
"""Metric, Unix seconds, value, status."""


def looping_vus(stages: tuple[tuple[int, int], ...], seed: int = 1) -> list[Point]:
    """`stages` are VUs and seconds; a VU asks, takes 50 ms on average, and pauses as long."""
    rng = random.Random(seed)
    points: list[Point] = []
    begin = float(START)
    for vus, seconds in stages:
        for _ in range(vus):
            now = begin + 0.05 * rng.random()
            while now < begin + seconds:
                took = 0.05 * (0.5 + rng.random())
                points.append(("http_req_duration", now + took, 1000 * took, "200"))
                points.append(("http_req_waiting", now + took, 900 * took, "200"))
                now += took + 0.05
        points += [("vus", begin + i, vus, "") for i in range(seconds)]
        begin += seconds
    return sorted(points, key=lambda point: point[1])


def arrivals(rates: tuple[int, ...], seconds: int) -> list[Point]:
    """A ramping arrival rate with 40 VUs; 20 ms each."""
    points: list[Point] = []
    begin = START
    for rate in rates:
        times = [begin + i / rate for i in range(rate * seconds)]
        points += [("http_req_duration", time + 0.02, 20, "200") for time in times]
        points += [("vus", begin + i, 40, "") for i in range(seconds)]
        begin += seconds
    return sorted(points, key=lambda point: point[1])


def as_csv(points: list[Point], unit: int = 1) -> str:
    def expected(status: str) -> str:
        return "" if not status else "true" if status == "200" else "false"

    rows = (
        f"{metric},{int(time * unit)},{value:.6f},,,,{expected(status)},,GET,x,HTTP/1.1,default,,"
        f"{status},,,http://127.0.0.1/,\n"
        for metric, time, value, status in points
    )
    return HEADER + "".join(rows)


def as_json(points: list[Point]) -> str:
    first = '{"type":"Metric","data":{"name":"http_reqs","type":"counter"},"metric":"http_reqs"}\n'
    rows = (
        {
            "metric": metric,
            "type": "Point",
            "data": {
                "time": datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z"),
                "value": value,
                "tags": {"status": status, "group": ""} if status else None,
            },
        }
        for metric, time, value, status in points
    )
    return first + "".join(json.dumps(row) + "\n" for row in rows)


def flights(measured: Measured) -> list[float]:
    return [step.concurrency for step in measured.steps]


@pytest.mark.parametrize("write", [as_csv, as_json])
def test_vus_that_were_held_are_loads_but_pausing_is_not_in_flight(
    tmp_path: Path, write: Any
) -> None:
    measured = read_text(tmp_path, write(looping_vus(((4, 25), (8, 25), (16, 25)))), "k6")
    assert flights(measured) == pytest.approx([2, 4, 8], rel=0.05)
    assert [s.throughput_rps for s in measured.steps] == pytest.approx([40, 80, 160], rel=0.05)
    assert all(step.mean_seconds == pytest.approx(0.05, rel=0.05) for step in measured.steps)
    assert all(step.batches and step.steady for step in measured.steps)


def test_a_rate_that_was_held_is_a_load(tmp_path: Path) -> None:
    measured = read_text(tmp_path, as_csv(arrivals((20, 26, 34, 44), 25)), "k6")
    assert [s.throughput_rps for s in measured.steps] == pytest.approx([20, 26, 34, 44], rel=0.02)
    assert measured.left_out == ()


@pytest.mark.parametrize("unit", [1000, 1_000_000, 1_000_000_000])
def test_the_unit_of_time_is_seen(tmp_path: Path, unit: int) -> None:
    points = looping_vus(((4, 25), (8, 25)))
    measured = read_text(tmp_path, as_csv(points, unit), "k6")
    assert flights(measured) == pytest.approx([2, 4], rel=0.05)


def test_failed_requests_are_errors_and_429_is_shed(tmp_path: Path) -> None:
    points = [
        (metric, time, value, ("500" if i % 10 == 1 else "429" if i % 10 == 2 else "200"))
        if metric == "http_req_duration"
        else (metric, time, value, status)
        for i, (metric, time, value, status) in enumerate(
            p for p in arrivals((20,), 40) if p[0] != "vus"
        )
    ]
    for text in (as_csv(points), as_json(points)):
        (step,) = read_text(tmp_path, text, "k6").steps
        assert (step.error_share, step.shed_share) == pytest.approx((0.1, 0.1), abs=0.005)


def test_dropped_iterations_were_intended(tmp_path: Path) -> None:
    dropped = [("dropped_iterations", START + second + 0.5, 5.0, "") for second in range(40)]
    (step,) = read_text(tmp_path, as_csv(arrivals((20,), 40) + dropped), "k6").steps
    assert step.offered_rps == pytest.approx(25)
    assert any("intended requests finished" in reason for reason in step.unsteady)


def summary(**values: object) -> str:
    metrics = {
        "http_req_duration": {
            "avg": 25.0,
            "med": 20.0,
            "p(90)": 40.0,
            "p(95)": 50.0,
            "p(99)": 90.0,
        },
        "http_reqs": {"count": 6000, "rate": 100.0},
        "http_req_failed": {"passes": 60, "fails": 5940, "value": 0.01},
        "vus": {"value": 3, "min": 3, "max": 3},
    } | values
    return json.dumps({"root_group": {}, "metrics": metrics}, indent=2)


@pytest.mark.parametrize("nested", [False, True])
def test_a_summary_is_one_load(tmp_path: Path, nested: bool) -> None:
    text = summary()
    if nested:  # as handleSummary has it
        metrics = json.loads(text)["metrics"]
        metrics["http_req_failed"]["rate"] = metrics["http_req_failed"].pop("value")
        text = json.dumps({"metrics": {k: {"type": "x", "values": v} for k, v in metrics.items()}})
    (step,) = read_text(tmp_path, text, "k6").steps
    assert (step.throughput_rps, step.requests, step.seconds) == (100, 6000, 60)
    assert step.concurrency == pytest.approx(2.5)
    assert (step.mean_seconds, step.latency_seconds) == pytest.approx((0.025, 0.09))
    assert step.error_share == pytest.approx(0.01)
    assert step.steady


def test_a_summary_with_dropped_iterations_is_no_steady_state(tmp_path: Path) -> None:
    text = summary(dropped_iterations={"count": 600, "rate": 10})
    (step,) = read_text(tmp_path, text, "k6").steps
    assert step.offered_rps == pytest.approx(110)
    assert "too few VUs" in step.unsteady[0]


def test_a_quantile_that_the_summary_lacks_is_refused(tmp_path: Path) -> None:
    without = {"avg": 25.0, "med": 20.0, "p(90)": 40.0, "p(95)": 50.0}
    words = r"asks for p99, there is p50, p90, p95: .*--summary-trend-stats"
    with pytest.raises(RecordError, match=words):
        read_text(tmp_path, summary(http_req_duration=without), "k6")
    (step,) = read_text(
        tmp_path, summary(http_req_duration=without), "k6", Objective(quantile=None)
    ).steps
    assert step.latency_seconds == 0.025


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER, "not one http_req_duration"),
        (as_csv([("http_req_duration", START, -2, "200")]), "line 2: .*http_req_duration.* negat"),
        (as_csv([("http_req_duration", START, 2, "")]), "neither status nor expected_response"),
        (as_json([("http_req_duration", START, 2, "200")])[:-20], "line 2: .* no whole point"),
        (as_csv([("http_req_duration", START, 2, "200")]), "held for 1 s only"),
        (summary(http_reqs={"count": 0, "rate": 0}), "http_reqs rate.* more than 0"),
        (summary(http_req_failed={"value": 7}), "more than all"),
        (summary(http_req_duration=None), "no metric http_req_duration"),
        ("a,b\n1,2\n", "no output of k6"),
        ("{}", "no output of k6"),
    ],
)
def test_files_that_cannot_be_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        read_text(tmp_path, text, "k6")


def test_summaries_are_one_file_for_each_load() -> None:
    paths = [EXAMPLES / f"k6-summary-{vus}.json" for vus in (4, 8)]
    assert len(read_table(paths, "k6", P99).steps) == 2


@settings(max_examples=80, deadline=None)
@given(
    content=mutations(as_csv(arrivals((3,), 12)).encode())
    | mutations(as_json(arrivals((3,), 12)).encode())
    | mutations(summary().encode())
)
def test_nothing_but_words_comes_of_broken_files(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    words = refusal_of(tmp_path_factory.getbasetemp() / "fuzz.csv", content, "k6")
    assert not words or "fuzz.csv" in words
