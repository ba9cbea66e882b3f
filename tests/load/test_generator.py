from __future__ import annotations

from pathlib import Path

import pytest

from launchday.errors import SettingsError
from launchday.load.generator import check_parameters, options_of, why_it_failed

SCENARIO = Path("shop.py")
LAUNCH_DAY = Path(__file__).parents[2] / "locustfiles" / "launch_day.py"


@pytest.mark.parametrize(
    "name", ["host", "hos", "objective_seconds", "launchday-record", "headless", "", "--host", "u"]
)
def test_what_the_harness_decides_is_no_parameter(name: str) -> None:
    with pytest.raises(SettingsError, match="is no parameter of a scenario"):
        check_parameters([name])


def test_what_a_scenario_defines_is_a_parameter() -> None:
    check_parameters(["baseline_rps", "multiple", "peak-seconds", "fleet_size", "arrivals"])


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("x\n[..] h/ERROR/launchday: launchday: cannot write y\nAggregated\n", "cannot write y"),
        ("error: unrecognized arguments: --bogus 1", "scenario shop has no parameter 'bogus'"),
        ("error: unrecognized arguments: --seed 1 --launchday-record x", "no SurgeShape"),
        ('File "shop.py", line 7\nTypeError: no\n', "TypeError: no (shop.py, line 7)"),
        ("", "it printed nothing"),
    ],
)
def test_the_reason_of_a_failure_is_found_in_the_log(log: str, words: str) -> None:
    assert words in why_it_failed(log, SCENARIO)


def test_an_unknown_parameter_is_answered_by_those_that_the_scenario_has() -> None:
    words = why_it_failed("error: unrecognized arguments: --multipel 5", LAUNCH_DAY)
    start = "scenario launch_day has no parameter 'multipel'; did you mean multiple? it has "
    assert words.startswith(start)
    listed = words.removeprefix(start).split(", ")
    assert listed == sorted(listed)
    assert {"multiple", "peak_seconds", "shares", "retry_policy", "arrivals"} <= set(listed)
    check_parameters(listed)  # nothing that would be refused is offered
    assert not {"headless", "seed", "help"} & set(listed)


def test_a_scenario_that_cannot_be_read_has_no_options(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit(0)")
    assert options_of(tmp_path / "broken.py") is None
