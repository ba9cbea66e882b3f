"""JMeter's JTL: requests one by one become loads with batches, by threads or by rate."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings

from launchday.capacity.importers import read_table
from launchday.capacity.steps import Objective
from launchday.errors import RecordError
from tests.capacity.import_files import EXAMPLES, P99, mutations, read_text, refusal_of

HEADER = (
    "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,"
    "failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect\n"
)
START_MS = 1_700_000_000_000


def row(start_ms: int, elapsed_ms: int, threads: int, code: str = "200") -> str:
    good = "true" if code == "200" else "false"
    return (
        f"{start_ms},{elapsed_ms},GET state,{code},OK,Users 1-1,text,{good},,120,80,{threads},"
        f"{threads},http://127.0.0.1/state,{elapsed_ms},0,1\n"
    )


def closed_loop(stages: tuple[tuple[int, int], ...], mean_ms: int = 50, seed: int = 1) -> str:
    """`stages` are threads and seconds; every thread asks again when it has its answer."""
    rng = random.Random(seed)
    rows, begin = [], START_MS
    for threads, seconds in stages:
        end = begin + 1000 * seconds
        for _ in range(threads):
            now = begin
            while now < end:
                elapsed = max(1, round(mean_ms * (0.5 + rng.random())))
                rows.append((now, elapsed, threads))
                now += elapsed
        begin = end
    return HEADER + "".join(row(*each) for each in sorted(rows))


def paced(rates: tuple[int, ...], seconds: int, elapsed_ms: int = 30, threads: str = "50") -> str:
    """An open loop: `rates` requests a second from threads that mostly wait."""
    rows, begin = [], START_MS
    for rate in rates:
        rows += [begin + 1000 * i // rate for i in range(rate * seconds)]
        begin += 1000 * seconds
    lines = (row(start, elapsed_ms, 50) for start in rows)
    return (HEADER + "".join(lines)).replace(",50,50,", f",50,{threads},")


def test_threads_that_were_held_are_loads(tmp_path: Path) -> None:
    measured = read_text(tmp_path, closed_loop(((2, 30), (4, 30), (8, 30))), "jmeter")
    assert [step.concurrency for step in measured.steps] == pytest.approx([2, 4, 8], rel=0.05)
    rates = [step.throughput_rps for step in measured.steps]
    assert rates == pytest.approx([40, 80, 160], rel=0.05)
    assert all(step.steady for step in measured.steps)
    assert "seconds 0-30 (2 users)" in measured.steps[0].source


def test_the_latency_is_of_its_requests(tmp_path: Path) -> None:
    (step,) = read_text(tmp_path, closed_loop(((8, 60),)), "jmeter").steps
    assert step.mean_seconds == pytest.approx(0.05, rel=0.02)
    assert step.latency_seconds == pytest.approx(0.0745, rel=0.02)


def test_batches_add_up_to_the_step(tmp_path: Path) -> None:
    (step,) = read_text(tmp_path, closed_loop(((8, 60),)), "jmeter").steps
    assert len(step.batches) == 9
    assert sum(batch.seconds for batch in step.batches) == step.seconds == 47
    assert sum(batch.offered for batch in step.batches) == step.requests
    assert sum(batch.latency.total for batch in step.batches) == step.requests


def test_failures_are_errors_and_429_is_shed(tmp_path: Path) -> None:
    lines = paced((20,), 40).splitlines(keepends=True)
    lines = [
        line.replace(",200,OK", ",500,No").replace("text,true", "text,false")
        if i % 10 == 1
        else line.replace(",200,OK", ",429,No").replace("text,true", "text,false")
        if i % 10 == 2
        else line
        for i, line in enumerate(lines)
    ]
    (step,) = read_text(tmp_path, "".join(lines), "jmeter").steps
    assert (step.error_share, step.shed_share) == pytest.approx((0.1, 0.1))
    assert step.goodput_rps == pytest.approx(16)
    assert sum(batch.latency.total for batch in step.batches) == round(0.9 * step.requests)


def test_answers_beyond_the_objective_are_no_goodput(tmp_path: Path) -> None:
    objective = Objective(quantile=0.99, seconds=0.02)
    (step,) = read_text(tmp_path, paced((20,), 40, elapsed_ms=30), "jmeter", objective).steps
    assert (step.goodput_rps, step.throughput_rps) == (0, 20)


@pytest.mark.parametrize("threads", ["50", ""])
def test_a_rate_that_was_held_is_a_load(tmp_path: Path, threads: str) -> None:
    measured = read_text(tmp_path, paced((20, 30, 45, 60), 30, threads=threads), "jmeter")
    rates = [step.throughput_rps for step in measured.steps]
    assert rates == pytest.approx([20, 30, 45, 60], rel=0.02)
    assert [step.concurrency for step in measured.steps] == pytest.approx(
        [0.6, 0.9, 1.35, 1.8], rel=0.02
    )


def test_a_backlog_that_grows_is_no_steady_state(tmp_path: Path) -> None:
    rows = [row(START_MS + 20 * i, 30 + 3 * i, 50) for i in range(3000)]
    (step,) = read_text(tmp_path, HEADER + "".join(rows), "jmeter").steps
    assert any("backlog grows" in reason for reason in step.unsteady)


def test_rows_that_sum_up_transactions_are_not_counted_again(tmp_path: Path) -> None:
    text = closed_loop(((4, 30),))
    summary = row(START_MS + 9000, 900, 4).replace(
        ",OK,", ',"Number of samples in transaction : 2, number of failing samples : 0",'
    )
    plain, more = (read_text(tmp_path, t, "jmeter").steps[0] for t in (text, text + summary))
    assert plain.requests == more.requests


def test_xml_says_the_same_as_csv(tmp_path: Path) -> None:
    text = closed_loop(((2, 20), (4, 20)))
    samples = "".join(
        f'<httpSample t="{c[1]}" ts="{c[0]}" s="{c[7]}" lb="x" rc="{c[3]}" ng="1" na="{c[12]}">'
        f'<httpSample t="1" ts="{c[0]}" s="true" rc="200" na="9"/></httpSample>\n'
        for c in (line.split(",") for line in text.splitlines()[1:])
    )
    xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<testResults version="1.2">{samples}'
    one = read_text(tmp_path, text, "jmeter")
    other = read_text(tmp_path, xml + "</testResults>\n", "jmeter")
    assert one.steps == other.steps
    with pytest.raises(RecordError, match="no whole XML"):
        read_text(tmp_path, xml, "jmeter")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER, "not one sample"),
        (row(START_MS, 5, 1), "print_field_names=true"),
        ("timeStamp,elapsed,label\n1,2,x\n", "no column 'success'"),
        (HEADER + row(START_MS, -5, 1), "line 2: column 'elapsed': '-5' is negative"),
        (HEADER + row(START_MS, 5, 1).replace("true", "maybe"), "'maybe' is not true or false"),
        (
            HEADER + row(START_MS, 5, 1).replace(str(START_MS), "2026/11/22 03:00:00"),
            "is a date: set jmeter.save.saveservice.timestamp_format=ms",
        ),
        (HEADER + row(1, 5, 1) + row(START_MS, 5, 1), "span .* days: not one run"),
        (HEADER + row(START_MS, 5, 1), "there is no load in loads.txt: .* held for 1 s only"),
        ("<html></html>", "no JTL of JMeter"),
    ],
)
def test_files_that_cannot_be_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RecordError, match=words):
        read_text(tmp_path, text, "jmeter")


def test_the_example_file_is_readable() -> None:
    measured = read_table([EXAMPLES / "jmeter.jtl"], "jmeter", P99)
    assert [round(step.concurrency) for step in measured.steps] == [1, 2, 4]


@settings(max_examples=60, deadline=None)
@given(content=mutations(closed_loop(((1, 12), (2, 12)), mean_ms=400).encode()))
def test_nothing_but_words_comes_of_broken_files(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    words = refusal_of(tmp_path_factory.getbasetemp() / "fuzz.jtl", content, "jmeter")
    assert not words or "fuzz.jtl" in words
