"""The panels of the report: their values, and what is said when there is nothing to draw."""

from __future__ import annotations

from pathlib import Path

from launchday import timeline
from launchday.outcomes import Outcome
from launchday.record import Record, read_record
from launchday.runs.conclude import conclude
from launchday.runs.panels import Panel
from launchday.runs.panels_client import client_panels, load_panels, tiles
from launchday.runs.panels_generator import generator_panels
from launchday.runs.panels_target import chaos_panels, of_target, target_panels
from tests.records import COMPLETE_FAULT, shedding, with_metrics, write_record


def panels(record: Record) -> dict[str, Panel]:
    assert record.schedule is not None
    metrics, seconds = of_target(record, record.schedule), timeline.by_second(record)
    found = [
        *load_panels(record, seconds, None),
        *client_panels(record, seconds),
        *chaos_panels(record, metrics),
        *target_panels(metrics),
        *generator_panels(record, record.schedule, len(seconds)),
    ]
    assert len({panel.key for panel in found}) == len(found)
    return {panel.key: panel for panel in found}


def values(panel: Panel, label: str) -> list[float | None]:
    (found,) = [each.values for each in panel.series if each.label == label]
    return list(found)


def test_every_panel_has_one_sentence_or_two_and_says_what_it_has_when_empty(
    tmp_path: Path,
) -> None:
    for panel in panels(read_record(write_record(tmp_path / "run"))).values():
        assert panel.title
        assert 20 <= len(panel.sentence) <= 150, panel.title
        assert panel.sentence.endswith("."), panel.title
        assert panel.nothing.endswith("."), panel.title


def test_latency_of_refusals_is_in_no_panel_of_the_admitted(tmp_path: Path) -> None:
    found = panels(read_record(write_record(tmp_path / "run")))
    for key, label in (("latency", "p99"), ("gap", "corrected"), ("gap", "naive")):
        seen = [v for v in values(found[key], label) if v is not None]
        assert all(59 <= v <= 61 for v in seen), "shed requests took 2 ms"
    rows = {each.label for each in found["distribution"].series if any(each.values)}
    assert rows == {"≤ 100"}


def test_the_panel_of_answers_503_counts_those_with_retry_after(tmp_path: Path) -> None:
    found = panels(read_record(write_record(tmp_path / "run")))["retries"]
    assert max(v or 0 for v in values(found, "answers 503")) == 400
    assert values(found, "answers 503") == values(found, "with Retry-After")
    assert set(values(found, "retries")) == {0}
    silent = panels(read_record(write_record(tmp_path / "silent", retry_after=False)))
    assert set(values(silent["retries"], "with Retry-After")) == {0}


def test_success_by_class_is_a_share_of_what_was_offered(tmp_path: Path) -> None:
    found = panels(read_record(write_record(tmp_path / "run")))["classes"]
    assert [each.label for each in found.series] == ["sheddable_plus"]
    assert values(found, "sheddable_plus")[5] == 100
    assert values(found, "sheddable_plus")[20] == 20


def test_a_fault_has_a_lane_with_the_seconds_in_which_it_was_in(tmp_path: Path) -> None:
    found = panels(read_record(write_record(tmp_path / "run", faults=COMPLETE_FAULT)))["faults"]
    lane = values(found, "latency 400 ms on gateway")
    assert [second for second, state in enumerate(lane) if state] == [15, 16, 17, 18, 19]


def test_a_fault_that_was_never_undone_is_in_until_the_end(tmp_path: Path) -> None:
    found = panels(read_record(write_record(tmp_path / "run", faults=COMPLETE_FAULT[:3])))
    assert values(found["faults"], "latency 400 ms on gateway")[-1] == 1


def test_dependencies_breakers_and_flight_come_from_the_targets_metrics(tmp_path: Path) -> None:
    record = with_metrics(
        tmp_path / "run",
        {
            'car_dependency_seconds_sum{dependency="gateway",outcome="ok"}': 2.0,
            'car_dependency_seconds_sum{dependency="gateway",outcome="timeout"}': 1.0,
            'car_dependency_seconds_count{dependency="gateway",outcome="ok"}': 9.0,
            'car_dependency_seconds_count{dependency="gateway",outcome="timeout"}': 1.0,
            'car_breaker_state{dependency="gateway",state="open"}': 1.0,
            'car_breaker_state{dependency="gateway",state="half_open"}': 0.0,
            'shed_service_seconds_sum{class="critical"}': 7.0,
            'shed_service_seconds_sum{class="sheddable"}': 1.0,
            "shed_limit": 12.0,
            "shed_overloaded": 1.0,
            'car_unavailable_total{cause="dependency",detail="gateway"}': 4.0,
            'car_unavailable_total{cause="maintenance",detail="draining"}': 0.0,
        },
    )
    found = panels(record)
    assert values(found["dependencies"], "gateway")[10] == 300
    assert values(found["failing"], "gateway")[10] == 10
    assert values(found["calls"], "gateway")[10] == 3
    assert values(found["breakers"], "gateway")[10] == 2, "open"
    assert values(found["inflight"], "in flight")[10] == 8
    assert values(found["inflight"], "limit")[10] == 12
    assert values(found["overload"], "shedder")[10] == 1
    assert [each.label for each in found["unavailable"].series] == ["dependency"], "that happened"
    assert values(found["softened"], "503 for a dependency")[10] == 4


def test_what_did_not_happen_is_said_and_what_is_not_shown_is_told_apart(tmp_path: Path) -> None:
    never = {'car_unavailable_total{cause="maintenance",detail="draining"}': 0.0}
    record = with_metrics(tmp_path / "run", never)
    found = panels(record)
    assert not found["unavailable"].drawn
    assert found["unavailable"].nothing == "None in this run."
    assert found["commands"].absent
    assert not found["unavailable"].absent
    conclude(record.path)
    html = (record.path / "report.html").read_text()
    assert "metrics say nothing about: Circuit breakers" in html
    assert "No fault was injected." in html


def test_a_target_without_metrics_has_one_sentence_instead_of_panels(tmp_path: Path) -> None:
    record, _ = conclude(write_record(tmp_path / "run"))
    html = (record.path / "report.html").read_text()
    assert "The target showed no metrics" in html
    assert "Inside the target" not in html
    assert "Circuit breakers" not in html


def test_the_tiles_are_of_the_peak_and_of_the_whole(tmp_path: Path) -> None:
    record = read_record(write_record(tmp_path / "run"))
    assert record.schedule is not None
    shown = {name: number for number, name, _ in tiles(record, record.schedule)}
    assert shown["offered"] == "500/s"
    assert shown["goodput"] == "100/s"
    assert shown["shed"] == "80.0 %"
    assert shown["critical kept"] == "-", "no request was critical"
    assert shown["requests per arrival"] == "1.00"


def test_only_outcomes_that_occurred_are_in_the_legend(tmp_path: Path) -> None:
    found = panels(read_record(write_record(tmp_path / "run", shedding)))["outcomes"]
    assert [each.label for each in found.series] == [Outcome.OK, Outcome.SHED]
