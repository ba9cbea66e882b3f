from __future__ import annotations

from pathlib import Path

import pytest

from launchday.errors import SettingsError
from launchday.load.generator import check_parameters, why_it_failed

SCENARIO = Path("shop.py")


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
        ("main: error: unrecognized arguments: --bogus 1", "shop has no parameter 'bogus'"),
        ("error: unrecognized arguments: --seed 1 --launchday-record x", "no SurgeShape"),
        ('File "shop.py", line 7\nTypeError: no\n', "TypeError: no (shop.py, line 7)"),
        ("", "it printed nothing"),
    ],
)
def test_the_reason_of_a_failure_is_found_in_the_log(log: str, words: str) -> None:
    assert words in why_it_failed(log, SCENARIO)
