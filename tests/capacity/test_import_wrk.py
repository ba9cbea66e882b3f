"""Outputs of wrk and wrk2 are loads: what they print is taken, what failed is counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from launchday.capacity.importers import read_table
from launchday.capacity.steps import Objective
from launchday.errors import RecordError
from tests.capacity.import_files import EXAMPLES, P99, mutations, read_text, refusal_of

WRK = """\
Running 30s test @ http://127.0.0.1:8000/state
  12 threads and 400 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   635.91us    0.89ms  12.92ms   93.69%
    Req/Sec    56.20k     8.07k   62.00k    86.54%
  Latency Distribution
     50%  250.00us
     75%  491.00us
     90%  700.00us
     99%    5.80ms
  22464657 requests in 30.00s, 17.76GB read
  Socket errors: connect 0, read 3, write 0, timeout 1
  Non-2xx or 3xx responses: 12
Requests/sec: 748868.53
Transfer/sec:    606.33MB
"""
WRK2 = """\
$ wrk -t1 -c64 -d60s -R2000 --latency http://127.0.0.1:8000/state
Running 1m test @ http://127.0.0.1:8000/state
  1 threads and 64 connections
  Thread calibration: mean lat.: 1.421ms, rate sampling interval: 10ms
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.40ms  661.70us   9.49ms   68.12%
    Req/Sec        nan       nan   0.00      0.00%
  Latency Distribution (HdrHistogram - Recorded Latency)
 50.000%    1.32ms
 75.000%    1.84ms
 90.000%    2.24ms
 99.000%    2.78ms
 99.900%    6.08ms
100.000%    9.49ms

  Detailed Percentile spectrum:
       Value   Percentile   TotalCount 1/(1-Percentile)

       0.053     0.000000            1         1.00
       2.463     0.950000        94590        20.00
       9.495     1.000000        99600          inf
#[Mean    =        1.400, StdDeviation   =        0.662]
#[Max     =        9.488, Total count    =        99600]
----------------------------------------------------------
  119997 requests in 1.00m, 7.67MB read
Requests/sec:   1999.94
Transfer/sec:    130.85KB
"""


def test_a_closed_loop_has_its_connections_in_flight(tmp_path: Path) -> None:
    (step,) = read_text(tmp_path, WRK, "wrk").steps
    assert (step.concurrency, step.throughput_rps) == (400, 748868.53)
    assert step.mean_seconds == pytest.approx(400 / 748868.53)
    assert step.latency_seconds == pytest.approx(0.0058)
    assert (step.seconds, step.requests) == (30, 22464657)
    assert step.source == "loads.txt line 1"


def test_answers_that_failed_and_broken_sockets_are_errors(tmp_path: Path) -> None:
    (step,) = read_text(tmp_path, WRK, "wrk", Objective(quantile=None)).steps
    assert step.error_share == pytest.approx(16 / 22464661)
    assert step.goodput_rps < step.throughput_rps
    assert step.latency_seconds == step.mean_seconds


def test_connections_that_failed_are_not_in_flight(tmp_path: Path) -> None:
    (step,) = read_text(tmp_path, WRK.replace("connect 0", "connect 9"), "wrk").steps
    assert step.concurrency == 400  # at most the connections: 635.91 us x 748868.53/s is 476
    assert step.mean_seconds == pytest.approx(635.91e-6)


def test_wrk2_keeps_a_rate_so_in_flight_is_by_littles_law(tmp_path: Path) -> None:
    (step,) = read_text(tmp_path, WRK2, "wrk").steps
    assert step.concurrency == pytest.approx(1999.94 * 0.0014)
    assert step.offered_rps == 2000
    assert step.steady
    assert step.seconds == 60


@pytest.mark.parametrize(("quantile", "seconds"), [(0.999, 0.00608), (0.95, 0.002463)])
def test_wrk2_has_more_quantiles_in_its_spectrum(
    tmp_path: Path, quantile: float, seconds: float
) -> None:
    (step,) = read_text(tmp_path, WRK2, "wrk", Objective(quantile=quantile)).steps
    assert step.latency_seconds == pytest.approx(seconds)


def test_a_rate_that_was_not_kept_is_no_steady_state(tmp_path: Path) -> None:
    (step,) = read_text(tmp_path, WRK2.replace("-R2000", "-R4000"), "wrk").steps
    assert step.offered_rps == 4000
    assert "only 1999.94 of the 4000 requests/s" in step.unsteady[0]


def test_what_was_corrected_counts_not_what_was_not(tmp_path: Path) -> None:
    other = WRK2 + "  Latency Distribution (HdrHistogram - Uncorrected Latency)\n 97.000%  0.10ms\n"
    with pytest.raises(RecordError, match=r"asks for p97, there is .*p99\.9"):
        read_text(tmp_path, other, "wrk", Objective(quantile=0.97))


def test_outputs_may_follow_each_other_in_one_file(tmp_path: Path) -> None:
    steps = read_text(tmp_path, WRK + "\n" + WRK2, "wrk").steps
    assert [step.concurrency > 100 for step in steps] == [True, False]
    assert [step.offered_rps for step in steps] == [748868.53, 2000]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello\n", "no line 'Running"),
        (WRK.split("  22464657")[0], "line 1: .* no line 'Requests/sec': it is not whole"),
        (WRK.replace("635.91us", "fast"), "line 1: Latency: 'fast' is not a number"),
        (WRK.replace("400 connections", "0 connections"), "measured nothing"),
        (WRK.replace("%  ", " of "), "printed no quantiles; run it with --latency"),
    ],
)
def test_outputs_that_are_not_whole_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        read_text(tmp_path, text, "wrk")


def test_a_quantile_that_wrk_does_not_print_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="asks for p95, there is p50, p75, p90, p99"):
        read_text(tmp_path, WRK, "wrk", Objective(quantile=0.95))


def test_outputs_of_a_real_wrk_obey_littles_law() -> None:
    steps = read_table([EXAMPLES / "wrk.txt"], "wrk", P99).steps
    assert [step.concurrency for step in steps] == [1, 2, 4, 8, 12, 16]
    for step in steps:
        assert step.mean_seconds is not None
        assert step.latency_seconds is not None
        assert step.mean_seconds < step.latency_seconds
        flight = step.throughput_rps * step.mean_seconds
        assert flight == pytest.approx(step.concurrency)
        assert 0 < step.error_share < 0.01


@settings(max_examples=80, deadline=None)
@given(content=mutations((WRK + WRK2).encode()))
def test_nothing_but_words_comes_of_broken_outputs(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    words = refusal_of(tmp_path_factory.getbasetemp() / "fuzz.txt", content, "wrk")
    assert not words or "fuzz.txt" in words
