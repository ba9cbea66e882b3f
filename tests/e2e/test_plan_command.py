"""`launchday plan` as somebody types it: on records, on other tools' files, and what it refuses."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from launchday import cli
from launchday.outcomes import Outcome
from tests.capacity.staircase import plateau, staircase, write_steps

Run = Callable[..., tuple[object, str, str]]
RATES = (50, 100, 150, 200, 250, 300, 400)
PLATEAU = 260


def slower(second: int, offered: int) -> Mapping[Outcome, tuple[int, float]]:
    """As `plateau`, but twice as slow: a p99 above 80 ms."""
    return {
        outcome: (count, 2 * seconds)
        for outcome, (count, seconds) in plateau(PLATEAU)(second, offered).items()
    }


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run the command in this process: exit code, standard output, standard error."""
    handler = signal.getsignal(signal.SIGINT)

    def run(*arguments: str | Path) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["launchday", "plan", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    yield run
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return write_steps(tmp_path / "run", plateau(PLATEAU), points=staircase(RATES, 60))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "measured.csv"
    rows = [
        (n, 1000 * n / (1 + 0.02 * (n - 1) + 0.0005 * n * (n - 1))) for n in (1, 2, 4, 8, 16, 32)
    ]
    path.write_text("concurrency,throughput\n" + "".join(f"{n},{x:.3f}\n" for n, x in rows))
    return path


def document(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_a_record_makes_a_plan_beside_it(plan: Run, record: Path) -> None:
    code, output, errors = plan(record, "--forecast", "1200±150", "--zones", "3")
    assert (code, errors) == (0, "")
    assert "UNVALIDATED" in output
    assert "replicas" in output
    made = document(record / "capacity.json")
    assert made["status"] == "UNVALIDATED"
    assert made["refused"] is None
    assert 190 <= made["found"]["proved"]["value"] <= PLATEAU
    assert made["replicas"]["across_zones"]
    assert "UNVALIDATED" in (record / "capacity.html").read_text(encoding="utf-8")


def test_a_plan_of_a_run_in_its_place_is_told_to_prometheus(
    plan: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = write_steps(tmp_path / "run", plateau(PLATEAU), points=staircase(RATES, 60))
    plan(elsewhere)
    assert not list(tmp_path.glob("capacity.prom"))
    (tmp_path / "runs").mkdir()
    record = elsewhere.rename(tmp_path / "runs" / "run")
    assert plan(record, "--forecast", "900")[0] == 0
    text = (tmp_path / "runs" / "capacity.prom").read_text(encoding="utf-8")
    assert "\nlaunchday_capacity_forecast_rate 900.0\n" in text
    assert "\nlaunchday_capacity_slo_rate " in text


def test_json_is_the_file_and_the_same_twice(plan: Run, record: Path, tmp_path: Path) -> None:
    code, output, _ = plan(record, "--json", "--output", tmp_path / "a")
    again = plan(record, "--json", "--output", tmp_path / "b")
    assert code == 0
    assert output == again[1]
    assert json.loads(output) == document(tmp_path / "a" / "capacity.json")
    first, second = (tmp_path / name / "capacity.html" for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_another_tools_table_makes_a_plan_where_it_is_asked_for(
    plan: Run, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, _ = plan("--from", "csv", table, "--json")
    assert code == 0
    made = json.loads(output)
    assert made["usl"]["alpha"] == pytest.approx(0.02, rel=0.01)
    assert made["usl"]["beta"] == pytest.approx(0.0005, rel=0.01)
    assert made["usl"]["gamma"] == pytest.approx(1000, rel=0.01)
    assert isinstance(made["usl"]["flags"], list)
    assert made["usl"]["peak_concurrency"] == pytest.approx(44.27, rel=0.02)
    assert made["valid_to"] > 0
    assert (tmp_path / "capacity.html").exists()


def test_columns_may_have_other_names(plan: Run, table: Path, tmp_path: Path) -> None:
    text = table.read_text().replace("concurrency,throughput", "busy,done")
    table.write_text(text)
    columns = ("--column", "concurrency=busy", "--column", "throughput=done")
    code, _, errors = plan("--from", "csv", table, *columns, "--output", tmp_path / "out")
    assert (code, errors) == (0, "")


def test_too_few_loads_are_refused_and_the_page_says_why(
    plan: Run, table: Path, tmp_path: Path
) -> None:
    table.write_text("\n".join(table.read_text().splitlines()[:5]) + "\n")
    code, output, _ = plan("--from", "csv", table, "--json", "--output", tmp_path / "out")
    made = json.loads(output)
    assert code == 2
    assert "4 distinct loads" in made["refused"]
    assert "distinct loads" in (tmp_path / "out" / "capacity.html").read_text(encoding="utf-8")


def test_pictures_are_written_if_they_are_wanted(plan: Run, record: Path, tmp_path: Path) -> None:
    code, _, errors = plan(record, "--png", "--output", tmp_path / "out")
    assert (code, errors) == (0, "")
    pictures = sorted((tmp_path / "out").glob("*.png"))
    assert len(pictures) == 6
    assert all(each.read_bytes().startswith(b"\x89PNG") for each in pictures)


def test_a_step_may_be_held_out(plan: Run, record: Path) -> None:
    code, output, _ = plan(record, "--held-out", "150", "--json")
    made = json.loads(output)
    assert code == 0
    assert [step["held_out"] for step in made["measured"]["steps"]].count(True) == 1
    code, _, errors = plan(record, "--held-out", "170")
    assert code == 2
    assert "--held-out is 170: no step is near it; there are 50, 100, 150" in errors


def again(tmp_path: Path, behaviour: Any, rates: tuple[int, ...] = (150, 250)) -> Path:
    return write_steps(tmp_path / "again", behaviour, points=staircase(rates, 60))


def test_a_run_that_shows_what_was_predicted_validates_the_plan(
    plan: Run, record: Path, tmp_path: Path
) -> None:
    code, output, errors = plan(record, "--against", again(tmp_path, plateau(PLATEAU)))
    assert (code, errors) == (0, "")
    assert "VALIDATED: validation at 150 rps: goodput 150 v 150" in " ".join(output.split())
    made = document(record / "capacity.json")
    assert made["status"] == "VALIDATED"
    assert {row["what"] for row in made["validations"]} == {"goodput", "p99"}


def test_a_run_that_shows_something_else_refutes_it(
    plan: Run, record: Path, tmp_path: Path
) -> None:
    against = ("--slo", "p99=80ms", "--against", again(tmp_path, slower))
    code, output, _ = plan(record, *against)
    assert code == 1
    assert "REFUTED" in output
    assert document(record / "capacity.json")["status"] == "REFUTED"


@pytest.mark.parametrize("own", [True, False])
def test_its_own_record_or_one_of_other_loads_validates_nothing(
    plan: Run, record: Path, tmp_path: Path, own: bool
) -> None:
    other = record if own else again(tmp_path, plateau(PLATEAU), (60, 70))
    code, output, _ = plan(record, "--against", other)
    assert code == 2
    words = "was made from this record" if own else "no step held the recommended 250 rps"
    assert words in output
    assert document(record / "capacity.json")["status"] == "UNVALIDATED"


def test_without_a_proved_rate_there_is_nothing_to_validate_and_the_plan_is_there(
    plan: Run, tmp_path: Path
) -> None:
    points = staircase(RATES, 8)  # too few requests to prove that one in a thousand is shed
    record = write_steps(tmp_path / "short", plateau(PLATEAU), points=points)
    for option in (("--validate",), ("--against", record)):
        code, output, errors = plan(record, *option)
        assert (code, errors) == (2, "")
        assert "no rate is proved, so none is recommended" in output
        assert document(record / "capacity.json")["status"] == "UNVALIDATED"


def test_a_generator_that_fell_behind_validates_nothing(
    plan: Run, record: Path, tmp_path: Path
) -> None:
    points = staircase((150, 250), 60)
    late = dict.fromkeys(range(120), 0.5)
    other = write_steps(tmp_path / "again", plateau(PLATEAU), points=points, late=late)
    code, output, _ = plan(record, "--against", other)
    assert code == 2
    assert "could not tell" in output
    assert document(record / "capacity.json")["status"] == "UNVALIDATED"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--slo", "fast"), "--slo is 'fast': it must be like p99=500ms"),
        (("--slo", "p99=0ms"), "the time must be above 0"),
        (("--slo", "p20=1s"), "the percentile must be from p50 to p99.99"),
        (("--slo", "mean=nan"), "it must be like p99=500ms"),
        (("--shed", "100%"), "--shed is '100%': it must be like 0.1% or 0.001, below 100%"),
        (("--errors", "-1%"), "--errors is '-1%'"),
        (("--forecast", "many"), "--forecast is 'many': it must be like 1200rps"),
        (("--forecast", "inf"), "--forecast is 'inf'"),
        (("--forecast", "10", "--from-users", "email=1"), "both say what is expected"),
        (("--from-users", "mails=5"), "'mails' is no key"),
        (("--zones", "3"), "--zones has no effect without --forecast"),
        (("--growth", "12%/quarter"), "--growth has no effect without --forecast"),
        (("--replicas-now", "3"), "--replicas-now has no effect without --forecast"),
        (("--price", "0.12/h"), "--price has no effect without --forecast"),
        (("--forecast", "10", "--price", "cheap"), "--price: price is 'cheap'"),
        (("--forecast", "10", "--growth", "1e300%/quarter"), "growth is '1e300%/quarter'"),
        (("--forecast", "10", "--utilisation", "nan"), "--utilisation: "),
        (("--forecast", "10", "--utilisation", "1.5"), "--utilisation: "),
        (("--retry-policy", "retry_aftr"), "did you mean retry_after?"),
        (("--retry-policy", "none", "--retry-attempts", "3"), "no effect with --retry-policy none"),
        (("--column", "a=b"), "--column has no effect without --from csv"),
        (("--target", "http://127.0.0.1:1"), "--target has no effect without --validate"),
        (("--validate-seconds", "20"), "--validate-seconds has no effect without --validate"),
        (("--validate", "--against", "x"), "--validate makes the records that --against names"),
        (("--validate", "--validate-seconds", "1"), "--validate-seconds is 1: it must be from 10"),
        (("--validate", "--local"), "--local: these records are of http://127.0.0.1:1"),
        (("--validate", "--target", "http://127.0.0.1:2"), "these records are of http://127.0.0.1:1"),
        (("--held-out", "nan"), "--held-out is nan: it must be a rate above 0"),
        (("--held-out", "100", "--held-out", "100"), "--held-out 100 is given twice"),
        (("--output", "/dev/null/x"), "--output is '/dev/null/x'"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(
    plan: Run, record: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, _, errors = plan(record, *arguments)
    assert code == 2
    assert words in errors
    assert errors.startswith("launchday: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--column", "throughput"), "--column 'throughput' must be NAME=COLUMN"),
        (("--column", "a=b", "--column", "a=c"), "--column a is given twice"),
        (("--validate",), "--validate has no effect with --from"),
        (("--against", "x"), "--against has no effect with --from"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_with_a_table_is_refused_by_name(
    plan: Run, table: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, _, errors = plan("--from", "csv", table, "--output", tmp_path, *arguments)
    assert code == 2
    assert words in errors


def test_the_same_record_twice_and_no_record_are_refused(
    plan: Run, record: Path, tmp_path: Path
) -> None:
    code, _, errors = plan(record, record)
    assert code == 2
    assert "twice" in errors
    code, _, errors = plan(tmp_path / "nothing")
    assert code == 2
    assert "is no run directory" in errors
