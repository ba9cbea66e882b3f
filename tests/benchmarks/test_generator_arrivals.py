"""The arrivals benchmark and the soak: what stamps say, and senders seen by a real receiver."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._arrivals_measures import (
    Trace,
    best_fidelity,
    dispersion,
    drift_ppm,
    fidelity,
    steadiness,
)
from benchmarks._arrivals_receiver import NO_INDEX, Receiver, Stamps, index_of
from benchmarks._arrivals_runs import SURGE, Arrivals, Received, Usage, constant, median_row
from benchmarks._arrivals_senders import SENDERS, Task, k6_script, points_of
from benchmarks._ladder_process import cores
from benchmarks.arrivals import Session, parse, show
from benchmarks.soak import STEPS, Step, judged
from launchday.load.arrivals import schedule

ROOT = Path(__file__).parent.parent.parent
needs_cores = pytest.mark.skipif(
    cores()[0] is None or not Path("/proc/stat").exists(),
    reason="two cores and /proc are what the benchmark needs",
)
EVEN = [(k + 0.5) / 1000 for k in range(4000)]
QUIET = Usage(generator_cpu_share=0.3, receiver_cpu_share=0.1, others_share=0.0)
STEP = Step(60.0, 1000, 0.1, 0.3, 1.0, 70_000_000, 9, 12, 0.4)


def test_an_even_schedule_has_no_dispersion_and_a_poisson_process_has_one() -> None:
    random = Random(1)
    at, now = [], 0.0
    for _ in range(20_000):
        now += random.expovariate(1000)
        at.append(now)
    assert (dispersion(EVEN, 0.01) or 0) < 0.1  # a count may be off by one, by rounding
    assert dispersion(at, 0.01) == pytest.approx(1, abs=0.1)
    bursts = [math.floor(one * 10) / 10 for one in EVEN]
    assert (dispersion(bursts, 0.01) or 0) > 50


@given(st.lists(st.floats(0, 5), max_size=50), st.floats(0.001, 1))
def test_dispersion_is_a_number_that_is_not_negative_or_there_is_none(
    at: list[float], window: float
) -> None:
    found = dispersion(at, window)
    assert found is None or found >= 0


def test_a_generator_that_is_a_thousandth_too_slow_drifts_by_a_thousand_ppm() -> None:
    assert drift_ppm(Trace([due * 1.001 for due in EVEN], EVEN)) == pytest.approx(1000)
    stalled = [due + (0.5 if 1.0 < due < 1.2 else 0.0) for due in EVEN]
    assert drift_ppm(Trace(stalled, EVEN)) == pytest.approx(0, abs=1e-6)
    assert drift_ppm(Trace([1.0], [1.0])) is None


def test_lateness_counts_from_the_least_late_request() -> None:
    late = [due + 0.001 + (0.005 if k % 50 == 0 else 0.0) for k, due in enumerate(EVEN)]
    found = steadiness(Trace(late, EVEN))
    assert found["least_ms"] == pytest.approx(1)
    assert found["lateness_ms"]["p50"] == pytest.approx(0, abs=1e-6)
    assert found["lateness_ms"]["p99"] == pytest.approx(5)
    assert found["achieved_rps"] == pytest.approx(1000, rel=0.01)


def test_a_request_that_names_its_arrival_is_compared_with_that_arrival() -> None:
    trace = Trace.indexed([2.5, 1.5], [1, 0], [1.0, 2.0, 3.0])
    assert trace.due == [1.0, 2.0]
    assert trace.deviations == [0.5, 0.5]
    assert trace.between(1.5, 9).due == [2.0]


def test_of_others_the_order_is_what_counts() -> None:
    trace = Trace.even([5.2, 5.0, 5.1], 10)
    assert trace.deviations == pytest.approx([0, 0, 0])


def test_a_surge_that_is_followed_has_no_error_and_one_that_is_late_has() -> None:
    due = [one.due_seconds for one in schedule(SURGE, seed=1, mode="even")]
    found = fidelity(due, SURGE)
    assert found.rms_percent < 1
    assert found.most_arrivals_off <= 1
    late = fidelity([one + 0.1 for one in due], SURGE)
    assert late.rms_percent > 5 * max(found.rms_percent, 1)
    assert late.most_arrivals_off > 100


def test_a_generator_that_does_not_say_when_it_began_is_aligned_in_its_favour() -> None:
    due = [one.due_seconds + 17.0 for one in schedule(SURGE, seed=1, mode="even")]
    assert best_fidelity(due, SURGE).rms_percent < 1


def test_the_length_of_a_window_and_what_is_missing_in_it_are_exact() -> None:
    at = [one for k, one in enumerate(EVEN) if k not in (1500, 1501)]
    indices = [k for k in range(len(EVEN)) if k not in (1500, 1501)]
    row = Received(at, indices, EVEN, QUIET).steady(1000, 1.0, 3.0)
    assert row["missing"] == 2
    assert row["drift_ppm"] == pytest.approx(0, abs=1e-6)
    other = Received(at, [NO_INDEX] * len(at), None, QUIET).steady(1000, 1.0, 3.0)
    assert other["missing"] == 2
    assert other["least_ms"] is None
    assert other["drift_ppm"] > 0


def test_a_run_is_void_when_the_receiver_or_somebody_else_was_busy() -> None:
    assert QUIET.void(0.12) is None
    assert "others used 50%" in (replace(QUIET, others_share=0.5).void(0.12) or "")
    assert "receiver" in (replace(QUIET, receiver_cpu_share=0.9).void(0.12) or "")


def test_rows_merge_by_median_at_every_depth() -> None:
    rows = [{"a": n, "deep": {"b": n * 2}, "none": None} for n in (3.0, 1.0, 2.0)]
    assert median_row(rows) == {"a": 2.0, "deep": {"b": 4.0}, "none": None}


def test_k6_is_told_the_rate_or_the_stages(tmp_path: Path) -> None:
    script = k6_script(Task("http://127.0.0.1:1", constant(2000, 4.5), tmp_path))
    assert "constant-arrival-rate" in script
    assert "rate: 2000, duration: '4.5s'" in script
    surge = k6_script(Task("http://127.0.0.1:1", SURGE, tmp_path))
    assert "startRate: 100, stages: [{ target: 100, duration: '2000ms' }, { target: 3000" in surge


def test_the_points_of_a_curve_are_an_option() -> None:
    assert points_of(constant(500, 4.5)) == "0:500,4.5:500"


def test_the_path_names_the_arrival_or_nothing() -> None:
    assert index_of(b"GET /17 HTTP/1.1\r\n\r\n") == 17
    assert index_of(b"GET / HTTP/1.1\r\n\r\n") == NO_INDEX
    assert index_of(b"GET /x7 HTTP/1.1\r\n\r\n") == NO_INDEX
    assert index_of(b"junk") == NO_INDEX


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(-1, 2**40)), max_size=20))
def test_stamps_are_read_as_they_were_written(pairs: list[tuple[int, int]]) -> None:
    stamps = Stamps()
    for at, index in pairs:
        stamps.nanoseconds.append(at)
        stamps.indices.append(index)
    with tempfile.TemporaryDirectory() as folder:
        stamps.write(Path(folder) / "stamps")
        again = Stamps.read(Path(folder) / "stamps")
    assert (again.nanoseconds, again.indices) == (stamps.nanoseconds, stamps.indices)


def test_a_soak_is_flat_unless_memory_drift_descriptors_or_arrivals_say_otherwise() -> None:
    steps = [replace(STEP, ends_at_seconds=60.0 * k) for k in range(1, STEPS + 1)]
    assert judged(steps, 100, 100, 100)["flat"]
    for last in (
        replace(steps[-1], resident_bytes=72_000_000),
        replace(steps[-1], low_ms=1.2),
        replace(steps[-1], descriptors=12),
    ):
        assert not judged([*steps[:-1], last], 100, 100, 100)["flat"]
    assert not judged(steps, 100, 99, 99)["flat"]
    assert not judged(steps, 100, 101, 100)["flat"]


def test_what_happens_before_the_warm_up_ends_is_not_held_against_a_soak() -> None:
    steps = [replace(STEP, ends_at_seconds=60.0 * k) for k in range(1, STEPS + 1)]
    steps[0] = replace(steps[0], resident_bytes=50_000_000, low_ms=30.0)
    assert judged(steps, 100, 100, 100)["flat"]


@needs_cores
def test_the_receiver_stamps_in_order_names_arrivals_and_forgets(tmp_path: Path) -> None:
    with Receiver(tmp_path) as receiver:
        before = time.perf_counter_ns()
        for path in ("/3", "/1", "/"):
            with urllib.request.urlopen(receiver.url + path, timeout=10) as answer:
                assert answer.status == 200
        after = time.perf_counter_ns()
        assert receiver.received() == 3
        stamps = receiver.take()
        assert receiver.received() == 0
    assert list(stamps.indices) == [3, 1, NO_INDEX]
    assert before < stamps.nanoseconds[0] < stamps.nanoseconds[1] < stamps.nanoseconds[2] < after


@needs_cores
def test_every_arrival_of_a_launchday_schedule_is_received_and_compared(tmp_path: Path) -> None:
    with Receiver(tmp_path) as receiver:
        sender = SENDERS["launchday even"]
        got = Arrivals(receiver).run(sender, sender.binary, constant(100, 2.5), 0.5)
        row = got.steady(100, 0.5, 2.0)
    assert sorted(got.indices) == list(range(250))
    assert row["missing"] == 0
    # Never before its time; how late a busy machine makes it is not for a test to say.
    assert row["least_ms"] > 0
    assert statistics.median(got.at) < 10


@needs_cores
@pytest.mark.slow
def test_a_rate_of_locusts_own_is_measured_by_order(tmp_path: Path) -> None:
    with Receiver(tmp_path) as receiver:
        args = parse(["--quick", "--most-others", "2", "--seconds", "1"])
        session = Session(Arrivals(receiver), args)
        row = session.steady("constant_throughput", sys.executable, 200)
    assert row["runs"] == 1
    assert row["achieved_rps"] > 50
    assert row["least_ms"] is None
    assert "constant_throughput" in show({"rows": [row], "surge": [], "missing": {}})


@needs_cores
@pytest.mark.slow
def test_one_json_object_with_rows_and_what_is_missing_is_printed() -> None:
    command = [sys.executable, "-m", "benchmarks.arrivals", "--json", "--quick", "--no-surge"]
    command += ["--rates", "200", "--most-others", "2", "--generators", "launchday poisson", "wrk2"]
    command += ["--tool", "wrk2=no-such-program"]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=True
    )
    result = json.loads(ended.stdout)
    assert [one["generator"] for one in result["rows"]] == ["launchday poisson"]
    assert result["rows"][0].keys() >= {"rate", "lateness_ms", "dispersion_10ms", "drift_ppm"}
    assert result["missing"] == {"wrk2": "not found on PATH"}


@needs_cores
@pytest.mark.slow
def test_a_short_soak_receives_every_arrival_and_watches_the_process() -> None:
    command = [sys.executable, "-m", "benchmarks.soak", "--json", "--minutes", "0.15"]
    ended = subprocess.run(
        [*command, "--rate", "100"], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert ended.returncode in (0, 1), ended.stderr
    result = json.loads(ended.stdout)
    assert result["received"] == result["scheduled"] == 900
    assert result["missing"] == 0
    assert result["resident_bytes"] > 1e6
    assert abs(result["descriptors_growth"]) < 20
