from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from launchday import timeline
from launchday.histogram import bucket_of
from launchday.outcomes import Outcome
from launchday.record import Rules, read_record, write_run_info
from launchday.runs.audit import Audit, Finding
from launchday.runs.compare import side_by_side, summarise
from launchday.runs.conclude import judge_record
from launchday.runs.verdict import Verdict, VerdictOutcome, judge
from tests.records import (
    CAPACITY_RPS,
    COMPLETE_FAULT,
    Behaviour,
    collapsing,
    fault_events,
    shedding,
    write_record,
)


def verdict_of(path: Path, behaviour: Behaviour = shedding, **options: object) -> Verdict:
    return judge(read_record(write_record(path, behaviour, **options)))  # type: ignore[arg-type] # passed on


def test_a_target_that_sheds_holds(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path / "run", faults=COMPLETE_FAULT)
    assert (verdict.outcome, verdict.exit_code) == (VerdictOutcome.HELD, 0)
    assert any("100% of what was reachable" in reason for reason in verdict.reasons)


def test_a_target_that_collapses_is_a_breach_with_each_reason(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path / "run", collapsing)
    assert (verdict.outcome, verdict.exit_code) == (VerdictOutcome.BREACHED, 1)
    failed = {check.name for check in verdict.checks if check.held is False}
    assert failed == {"goodput kept", "latency of admitted", "errors", "recovery"}


def two_of_a_hundred_slow(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
    good = min(offered, 100)
    return {
        Outcome.OK: (good - good // 50, 0.06),
        Outcome.SLOW: (good // 50, 0.8),
        Outcome.SHED: (offered - good, 0.002),
    }


def test_refusals_never_flatter_the_latency_of_admitted(tmp_path: Path) -> None:
    # Of all requests fewer than 1 % are slow, of the admitted ones 2 %.
    verdict = verdict_of(
        tmp_path / "run", two_of_a_hundred_slow, rules=Rules(capacity_rps=100, steady_share=0.9)
    )
    assert verdict.outcome is VerdictOutcome.BREACHED
    assert [c.name for c in verdict.checks if c.held is False] == ["latency of admitted"]


def test_one_503_without_retry_after_is_a_breach(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path / "run", retry_after=False)
    assert "retry-after" in {check.name for check in verdict.checks if check.held is False}
    assert verdict.exit_code == 1


LOST = Audit(keys=2, promises=2, lost=(Finding("k", "reserve", "told 201, and nothing is stored"),))


@pytest.mark.parametrize("dropped", [0, 20])
def test_something_lost_is_a_breach_also_of_a_run_that_proves_nothing_else(
    tmp_path: Path, dropped: int
) -> None:
    record = read_record(write_record(tmp_path / "run", dropped=dropped))
    verdict = judge(record, LOST)
    assert (verdict.outcome, verdict.exit_code) == (VerdictOutcome.BREACHED, 1)
    assert "1 lost, 0 doubled, 0 ghost" in verdict.reasons[0]
    assert "k was told 201, and nothing is stored" in verdict.reasons[0]


def test_a_clean_audit_is_among_the_reasons_and_one_that_cannot_tell_decides_nothing(
    tmp_path: Path,
) -> None:
    path = write_record(tmp_path / "run")
    clean = judge(read_record(path), Audit(keys=2, promises=2))
    assert any("Nothing lost, nothing doubled, no ghost" in reason for reason in clean.reasons)
    _, verdict = judge_record(path)
    assert verdict.exit_code == 0
    check = next(c for c in verdict.checks if c.name == "nothing lost, nothing doubled")
    assert check.held is None
    assert "the run ended before the target was asked" in check.sentence


def test_what_a_stopped_run_did_not_see_is_not_judged(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path / "run", seconds=8)
    unseen = {check.name for check in verdict.checks if check.held is None}
    assert {"goodput kept", "recovery", "faults undone"} <= unseen
    kept = next(check for check in verdict.checks if check.name == "schedule kept")
    assert kept.held, "stopping is not being late"


def test_a_run_that_failed_is_not_held_however_good_it_was(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run")
    info = read_record(path).info
    write_run_info(path, replace(info, ended="failed"))
    assert judge(read_record(path)).exit_code == 2


def test_a_scenario_whose_journeys_raise_is_inconclusive_with_the_first_exception(
    tmp_path: Path,
) -> None:
    path = write_record(tmp_path / "run")
    with (path / "samples-0.jsonl").open("a") as log:
        log.write('{"kind": "crash", "words": "KeyError: vin"}\n')
    verdict = judge(read_record(path))
    assert verdict.exit_code == 2
    assert "KeyError: vin" in verdict.reasons[0]


Mix = Mapping[Outcome, tuple[int, float]]


def shedding_but(outcome: Outcome, every: int, latency_seconds: float = 0.06) -> Behaviour:
    """Like `shedding`, but one of `every` admitted requests ends otherwise, from second 12 on."""

    def behaviour(second: int, offered: int) -> Mix:
        mix = dict(shedding(second, offered))
        if second < 12:
            return mix
        good = mix[Outcome.OK][0]
        mix[Outcome.OK] = (good - good // every, 0.06)
        mix[outcome] = (good // every, latency_seconds)
        return mix

    return behaviour


@pytest.mark.parametrize(
    ("behaviour", "check"),
    [
        (shedding_but(Outcome.CONNECTION, 100), "connections"),
        (shedding_but(Outcome.CLIENT_ERROR, 20), "errors"),
        (shedding_but(Outcome.SERVER_ERROR, 50), "errors"),
        (shedding_but(Outcome.INVALID, 50), "errors"),
        (shedding_but(Outcome.SLOW, 50, 0.9), "latency of admitted"),
    ],
)
def test_each_way_to_fail_is_noticed(tmp_path: Path, behaviour: Behaviour, check: str) -> None:
    verdict = verdict_of(tmp_path / "run", behaviour)
    assert verdict.exit_code == 1
    assert check in {c.name for c in verdict.checks if c.held is False}


def late_recovery(second: int, offered: int) -> Mix:
    if 12 <= second < 44:
        good = min(offered, 95)
        return {Outcome.OK: (good, 0.06), Outcome.SHED: (offered - good, 0.002)} | (
            {Outcome.OK: (good // 2, 0.06), Outcome.SHED: (offered - good // 2, 0.002)}
            if second >= 32
            else {}
        )
    return shedding(second, offered)


def test_a_recovery_that_takes_too_long_is_a_breach(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path / "run", late_recovery)
    assert [c.name for c in verdict.checks if c.held is False] == ["recovery"]
    assert "back 12 s after" in verdict.reasons[0]


def test_too_few_requests_before_the_surge_are_not_called_steady(tmp_path: Path) -> None:
    def almost_nobody(second: int, offered: int) -> Mix:
        return {Outcome.OK: (1, 0.06)} if second < 10 else shedding(second, offered)

    assert verdict_of(tmp_path / "run", almost_nobody).exit_code == 3


def test_latency_counts_from_the_intended_start(tmp_path: Path) -> None:
    path = tmp_path / "run"
    write_record(path)
    samples = (path / "samples-0.jsonl").read_text()
    # Every answer took 60 ms once it was sent, but was sent 900 ms late.
    late = f'"corrected":{{"{bucket_of(0.96)}":'
    moved = re.sub(r'"corrected":\{"\d+":', late, samples)
    (path / "samples-0.jsonl").write_text(moved)
    verdict = judge(read_record(path))
    assert "latency of admitted" in {c.name for c in verdict.checks if c.held is False}


def test_a_quiet_record_does_not_hide_a_bad_peak(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run", shedding_but(Outcome.SLOW, 80, 0.9)))
    whole_run, peak = timeline.whole(record), timeline.window(record, range(12, 31))
    worse = timeline.p99_of_admitted(whole_run, peak)
    assert worse == peak.admitted.quantile(0.99)


def test_the_end_of_the_overload_is_the_plans_not_one_random_second(tmp_path: Path) -> None:
    def one_burst(second: int, offered: int) -> Mix:
        return {Outcome.OK: (120, 0.06)} if second == 50 else shedding(second, offered)

    verdict = verdict_of(tmp_path / "run", one_burst)
    assert verdict.exit_code == 0, verdict.reasons


def test_a_fault_in_the_quiet_phase_does_not_count_as_unsteady(tmp_path: Path) -> None:
    def hurt_by_the_fault(second: int, offered: int) -> Mix:
        return {Outcome.SLOW: (offered, 0.6)} if 6 <= second < 9 else shedding(second, offered)

    faults = tuple(
        {**event, "unix": event["unix"] - 9 - (2 if event["event"] == "undone" else 0)}
        for event in COMPLETE_FAULT
        if event["event"] != "planned"
    )
    verdict = verdict_of(tmp_path / "run", hurt_by_the_fault, faults=faults)
    assert next(c for c in verdict.checks if c.name == "steady before").held


def test_a_generator_that_fell_behind_makes_the_run_inconclusive_never_better(
    tmp_path: Path,
) -> None:
    behind = (verdict_of(tmp_path / "l", late=20), verdict_of(tmp_path / "d", dropped=20))
    for verdict in behind:
        assert (verdict.outcome, verdict.exit_code) == (VerdictOutcome.INCONCLUSIVE, 2)
        assert "in time" in verdict.reasons[0]


def test_a_killed_run_is_judged_as_far_as_it_went(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path / "run", seconds=25)
    assert (verdict.outcome, verdict.exit_code) == (VerdictOutcome.INCONCLUSIVE, 2)
    assert "24 of 52 s were seen" in verdict.reasons[0]


def test_a_run_without_a_schedule_is_inconclusive(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run")
    (path / "samples-0.jsonl").unlink()
    assert judge(read_record(path)).exit_code == 2


def unsteady(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
    if second == 5:
        return {Outcome.SERVER_ERROR: (offered, 0.01)}
    return shedding(second, offered)


@pytest.mark.parametrize(
    ("behaviour", "faults", "exit_code"),
    [
        (unsteady, COMPLETE_FAULT, 3),
        (shedding, fault_events("planned", "applied", "verified", "undone", effect=False), 4),
        (shedding, fault_events("planned", "applied", "verified", "residual"), 5),
        (shedding, fault_events("planned", "applied", "verified"), 5),
        (shedding, fault_events("planned"), 2),
        (collapsing, COMPLETE_FAULT, 1),
    ],
)
def test_each_exit_code_has_its_cause(
    tmp_path: Path, behaviour: Behaviour, faults: tuple[Mapping[str, object], ...], exit_code: int
) -> None:
    assert verdict_of(tmp_path / "run", behaviour, faults=faults).exit_code == exit_code


def test_without_a_known_capacity_goodput_must_not_fall_below_what_it_was(tmp_path: Path) -> None:
    held = verdict_of(tmp_path / "held", rules=Rules())
    assert held.outcome is VerdictOutcome.HELD
    assert "capacity is not known" in " ".join(held.reasons)
    assert not any("1000%" in reason for reason in held.reasons)
    breached = verdict_of(tmp_path / "breached", collapsing, rules=Rules())
    assert breached.outcome is VerdictOutcome.BREACHED


def test_the_side_by_side_says_what_each_run_was(tmp_path: Path) -> None:
    summaries = []
    for behaviour in (collapsing, shedding):
        record = read_record(write_record(tmp_path / behaviour.__name__, behaviour))
        summary = summarise(record, judge(record))
        assert summary is not None
        summaries.append(summary)
    rows = dict(side_by_side(summaries))
    assert rows["offered at the peak"] == ["500 /s", "500 /s"]
    assert rows["goodput at the peak"] == [
        "0 /s (0% of capacity 100)",
        "100 /s (100% of capacity 100)",
    ]
    assert rows["p99 of admitted"][0].startswith("≥ ")
    assert rows["time to recover"] == ["not within 20 s", "at once"]
    assert rows["verdict"] == ["breached", "held"]


def test_what_an_experiment_breaks_is_judged_again_once_it_had_time_to_recover(
    tmp_path: Path,
) -> None:
    """The fault lasts from 15 s to 20 s, and 3 s are allowed to recover."""

    def failing(first: int, end: int) -> Behaviour:
        def behave(second: int, offered: int) -> Mix:
            failed = {Outcome.CONNECTION: (offered, 0.01)}
            return failed if first <= second < end else shedding(second, offered)

        return behave

    def judged(name: str, behaviour: Behaviour, breaks: tuple[str, ...]) -> set[str]:
        rules = Rules(capacity_rps=CAPACITY_RPS, recovery_seconds=3)
        path = write_record(tmp_path / name, behaviour, rules=rules, faults=COMPLETE_FAULT)
        record = read_record(path)
        settings = {"experiment": {"breaks": breaks}}
        verdict = judge(replace(record, info=replace(record.info, settings=settings)))
        said = [reason for reason in verdict.reasons if reason.startswith("Broken on purpose")]
        assert bool(said) == (breaks == ("state",))
        return {check.name for check in verdict.checks if check.held is False}

    assert "connections" not in judged("expected", failing(15, 22), ("state",))
    assert "connections" in judged("another", failing(15, 22), ("reserve",))
    assert "connections" in judged("none", failing(15, 22), ())
    assert "connections" in judged("too long", failing(15, 26), ("state",))
    assert "connections" in judged("before", failing(12, 22), ("state",))
