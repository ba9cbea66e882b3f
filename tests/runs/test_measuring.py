"""What is measured for a hypothesis, above all where half of it is missing: never a green guess."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.chaos.experiment import Experiment, latency
from launchday.chaos.hypothesis import Expectation, Hypothesis
from launchday.errors import RecordError
from launchday.outcomes import Outcome
from launchday.record import Record, Rules, read_record
from launchday.runs.hypotheses import JudgedHypothesis, evaluate
from launchday.runs.measuring import measure
from launchday.runs.verdict import Verdict, judge
from tests.records import EPOCH, write_record

# The fault is in from 20 s to 30 s of the 52 s that tests.records plays: `during` is 21 s to 29 s.
DURING = range(21, 30)
HOLDS = Expectation("success_share", at_least=0.9)
DOUBLED = 'dup_total{kind="command"}'
INCREASE = Expectation("metric_increase", metric=DOUBLED, at_most=0)
PER_SECOND = Expectation("metric_per_second", metric=DOUBLED, at_most=60)
INFLIGHT = Expectation("metric_highest", metric="inflight", at_most=40)
# What is scraped in a second: values, an error, or None where nobody asked.
Scraped = Callable[[int], Mapping[str, float] | str | None]


def healthy(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
    """Every request is served in 60 ms."""
    return {Outcome.OK: (offered, 0.06)}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Record:
    path = tmp_path_factory.mktemp("played") / "run"
    return read_record(write_record(path, healthy, rules=Rules(capacity_rps=None)))


def recorded(
    played: Record,
    during: Expectation,
    scraped: Scraped = lambda second: None,
    recovered: tuple[Expectation, ...] = (),
) -> Record:
    experiment = Experiment(
        title="t",
        description="d",
        faults=(latency("gw", latency_ms=300),),
        after_seconds=0,
        duration_seconds=10,
        hypothesis=Hypothesis(
            steady=(HOLDS,), during=(during,), recovered=recovered, recovery_seconds=5
        ),
    )
    at = {"planned": 0.0, "applied": 20.0, "verified": 20.5, "undone": 30.0}
    fault = {"experiment": "t", "link": "gw", "fault": "F", "effect": True}
    return replace(
        played,
        info=replace(played.info, settings={"experiment": asdict(experiment)}),
        faults=[{"event": event, "unix": EPOCH + at[event], **fault} for event in at],
        metrics=[line for second in range(52) for line in _lines(second, scraped(second))],
    )


def _lines(second: int, found: Mapping[str, float] | str | None) -> list[dict[str, Any]]:
    unix = EPOCH + second + 0.3
    if found is None:
        return []
    if isinstance(found, str):
        return [{"unix": unix, "values": {}, "error": found}]
    return [{"unix": unix, "values": found}]


def said_of(verdict: Verdict) -> str:
    """What the verdict says about what had to hold during the faults."""
    (said,) = (c.sentence for c in verdict.checks if c.name == "hypothesis, during")
    return said


def hypothesis_of(record: Record) -> JudgedHypothesis:
    outcome = evaluate(record)
    assert outcome is not None
    return outcome


def growing(per_second: float) -> Scraped:
    """A counter that grows while the fault is in, and not before."""
    return lambda second: {DOUBLED: per_second * max(0, min(second, 30) - 20)}


def without(missing: range, scraped: Scraped, instead: str | None = "ReadTimeout") -> Scraped:
    return lambda second: instead if second in missing else scraped(second)


def born(second: int) -> Mapping[str, float]:
    """As prometheus_client has it: no series before the first event of its labels."""
    return {"up": 1.0} if second < 25 else {"up": 1.0, DOUBLED: 500.0}


def test_a_series_that_is_born_in_the_window_grew_from_zero(played: Record) -> None:
    verdict = judge(recorded(played, INCREASE, born))
    assert verdict.exit_code == 1
    assert "was 500 (at most 0 wanted" in said_of(verdict)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (range(21, 28), "the first scrape is missing"),
        (range(29, 30), "the last scrape is missing"),
        (range(15, 21), "no scrape right before tells where the counter began"),
    ],
)
@pytest.mark.parametrize("instead", ["ReadTimeout", None])
@pytest.mark.parametrize("expectation", [INCREASE, replace(PER_SECOND, at_most=1e9)])
def test_a_counter_whose_ends_were_not_seen_is_not_measured(
    played: Record,
    expectation: Expectation,
    missing: range,
    words: str,
    instead: str | None,
) -> None:
    if instead is None:  # one that was not attempted is missed only where a gap shows
        missing = range(missing.start - (missing.stop == 30) * 3, missing.stop)
    verdict = judge(recorded(played, expectation, without(missing, growing(0), instead)))
    assert verdict.exit_code == 2
    assert f"could not be judged ({words}" in said_of(verdict)


def test_a_counter_is_told_by_its_ends_whatever_failed_between_them(played: Record) -> None:
    verdict = judge(recorded(played, INCREASE, without(range(23, 28), growing(0))))
    assert verdict.exit_code == 0
    assert "was 0 (at most 0 wanted; 0 before; 4 scrapes; 5 of 9 scrapes failed" in said_of(verdict)
    grown = without(range(23, 28), growing(7))
    assert "was 63 (" in said_of(judge(recorded(played, INCREASE, grown)))


def test_a_rate_is_of_the_time_that_was_watched(played: Record) -> None:
    for missing in (range(0), range(23, 29)):
        verdict = judge(recorded(played, PER_SECOND, without(missing, growing(200))))
        assert verdict.exit_code == 1
        assert "was 200 (at most 60 wanted" in said_of(verdict)
    verdict = judge(recorded(played, PER_SECOND, without(range(23, 30), growing(200))))
    assert verdict.exit_code == 2


def test_each_series_begins_anew_by_itself(played: Record) -> None:
    def restarted(second: int) -> Mapping[str, float]:
        # One process restarts at 25 s: 1000 and 100 until then, 40 and 900 at the end.
        return {
            'done_total{worker="1"}': 1000.0 if second < 25 else 40.0,
            'done_total{worker="2"}': 100.0 if second < 25 else 900.0,
        }

    expectation = Expectation("metric_increase", metric="done_total", at_most=1e9)
    assert measure(recorded(played, expectation, restarted), expectation, DURING).value == 840


def test_a_counter_that_vanished_is_not_measured(played: Record) -> None:
    def vanishes(second: int) -> Mapping[str, float]:
        return {"up": 1.0} if second > 24 else {"up": 1.0, DOUBLED: 0.0}

    verdict = judge(recorded(played, INCREASE, vanishes))
    assert verdict.exit_code == 2
    assert "the series vanished" in said_of(verdict)


@settings(max_examples=40)
@given(st.lists(st.integers(0, 50), min_size=10, max_size=10))
def test_an_increase_is_the_sum_of_what_happened_in_the_window(
    played: Record, grew: list[int]
) -> None:
    def counting(second: int) -> Mapping[str, float]:
        return {DOUBLED: float(3 + sum(grew[: max(0, second - 19)]))}

    record = recorded(played, INCREASE, counting)
    # The last scrape before the window is at 20.3 s.
    assert measure(record, INCREASE, DURING).value == sum(grew[1:])
    assert measure(record, PER_SECOND, DURING).value == pytest.approx(sum(grew[1:]) / 9)


@pytest.mark.parametrize(
    ("scraped", "words"),
    [
        (without(range(22, 30), lambda _: {"inflight": 5.0}, None), "only 1 of 9 s"),
        (lambda s: {"other": 1.0} if 21 < s < 31 else {"inflight": 5.0}, "only 1 of 9 s"),
        (lambda s: {"inflight": math.nan if 21 < s < 30 else 5.0}, "only 1 of 9 s"),
        (lambda s: {"inflight": math.nan}, "9 of 9 scrapes of the target's metrics failed or"),
        (lambda s: {"inflight": math.nan if s == 25 else 5.0}, "1 of 9 scrapes failed or lack it"),
        (without(range(24, 26), lambda _: {"inflight": 5.0}, None), "no value for 3.0 s"),
    ],
)
def test_a_gauge_that_was_seldom_seen_does_not_hold(
    played: Record, scraped: Scraped, words: str
) -> None:
    verdict = judge(recorded(played, INFLIGHT, scraped))
    assert verdict.exit_code == 2
    assert words in said_of(verdict)


def test_a_gauge_that_was_seen_in_most_seconds_and_was_bad_is_a_breach(played: Record) -> None:
    def bad(second: int) -> Mapping[str, float]:
        return {"inflight": math.nan if second == 25 else 41.0}

    assert judge(recorded(played, INFLIGHT, bad)).exit_code == 1


def let_in(outcome: Outcome, count: int) -> Callable[[int, int], Mapping[Outcome, Any]]:
    """Only `count` requests are let in from 21 s to 29 s, all at 25 s, in 60 ms."""

    def behaviour(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
        served = offered if second not in DURING else count * (second == 25)
        return {Outcome.OK: (served, 0.06), outcome: (offered - served, 0.01)}

    return behaviour


@pytest.mark.parametrize("outcome", [Outcome.CONNECTION, Outcome.SHED])
@pytest.mark.parametrize(
    ("count", "held", "words"),
    [
        (0, None, r"could not be judged \(none of \d+ requests let in, too few;"),
        (1, None, r"could not be judged \(only 1 of \d+ requests let in, too few;"),
        (10, True, r"was 6\d ms \(at most 300 ms wanted; 6\d ms before; 10 of \d+ requests\)"),
    ],
)
def test_a_latency_is_of_the_requests_that_were_let_in(
    tmp_path: Path, outcome: Outcome, count: int, held: bool | None, words: str
) -> None:
    played = read_record(write_record(tmp_path / "run", let_in(outcome, count)))
    p95 = Expectation("p95_seconds", at_most=0.3)
    (judged,) = hypothesis_of(recorded(played, p95)).of("during")
    assert judged.held is held
    assert re.search(words, judged.sentence), judged.sentence


def test_few_failures_have_a_latency_since_they_are_all_of_them(tmp_path: Path) -> None:
    def behaviour(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
        failed = int(second == 25)
        return {Outcome.OK: (offered - failed, 0.06), Outcome.TIMEOUT: (failed, 1.0)}

    played = read_record(write_record(tmp_path / "run", behaviour))
    failed = Expectation("failed_p95_seconds", at_most=0.3)
    (judged,) = hypothesis_of(recorded(played, failed)).of("during")
    assert judged.held is False
    assert "; 1 of 4" in judged.sentence


@pytest.mark.parametrize("endpoints", [("state", "unlok"), ("unlok",), ("state", "eu *", "s*")])
def test_an_endpoint_that_the_run_does_not_have_is_named(
    played: Record, endpoints: tuple[str, ...]
) -> None:
    record = recorded(played, replace(HOLDS, endpoints=endpoints))
    verdict = judge(record)
    assert verdict.exit_code == 2
    unknown = "eu *" if "eu *" in endpoints else "unlok"
    assert f"the run has no endpoint '{unknown}'" in said_of(verdict)
    # While it lasts, it may still come.
    lasting = replace(record, finished_workers=0)
    found = measure(lasting, replace(HOLDS, endpoints=("state", "unlok")), DURING)
    assert found.value == 1.0


def test_at_least_a_share_of_nothing_is_no_limit(played: Record) -> None:
    closed = Expectation("metric_lowest", metric="closed", at_least=1, baseline_factor=0.5)
    verdict = judge(recorded(played, closed, lambda _: {"closed": 0.0}))
    assert verdict.exit_code == 1
    assert "was 0 (at least 1 wanted; 0 before; 9 scrapes)" in said_of(verdict)
    assert judge(recorded(played, closed, lambda _: {"closed": 1.0})).exit_code == 0


def test_an_increase_is_compared_with_that_of_as_long_a_time(played: Record) -> None:
    # 100 a second in the 10 s before, and 91 a second in the 9 s of the window.
    def counting(second: int) -> Mapping[str, float]:
        return {DOUBLED: 100.0 * min(second, 20) + 91.0 * max(0, second - 20)}

    expectation = replace(INCREASE, at_most=None, at_least=1e6, baseline_factor=0.9)
    (judged,) = hypothesis_of(recorded(played, expectation, counting)).of("during")
    assert judged.measured == pytest.approx(819)
    assert judged.before == pytest.approx(900)
    assert judged.at_least == pytest.approx(810)
    assert judged.held is True
    stricter = replace(expectation, baseline_factor=0.92)
    assert hypothesis_of(recorded(played, stricter, counting)).of("during")[0].held is False


def test_nobody_says_when_it_recovered_while_a_metric_was_missing(played: Record) -> None:
    recovered = (HOLDS, INFLIGHT)
    for missing, took, held in ((range(30, 33), 2, True), (range(30, 52), None, None)):
        scraped = without(missing, lambda _: {"inflight": 5.0})
        outcome = hypothesis_of(recorded(played, INFLIGHT, scraped, recovered))
        assert (outcome.recovered_seconds, outcome.recovery_held) == (took, held)
    assert "cannot be told when it had recovered" in outcome.recovery_sentence


@pytest.mark.parametrize("breaks", [("",), ("state", " "), (5,), ["state"], "state", (None,)])
def test_what_an_experiment_breaks_is_named(played: Record, breaks: Any) -> None:
    arguments: dict[str, Any] = {"title": "t", "description": "d", "breaks": breaks}
    arguments |= {"faults": (latency("gw", latency_ms=1),), "after_seconds": 0}
    with pytest.raises(ValueError, match="breaks must be a tuple of names, like"):
        Experiment(**arguments, duration_seconds=10)


def test_a_record_whose_experiment_breaks_everything_is_damaged(played: Record) -> None:
    record = recorded(played, HOLDS)
    settings = {"experiment": {"title": "t", "breaks": [""]}}
    with pytest.raises(RecordError, match="damaged: it breaks"):
        judge(replace(record, info=replace(record.info, settings=settings)))
