from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks.scrape_cost import CORE_GOAL, SERIES_GOAL, series_in
from tests.target_service.processes import ROOT
from tests.void import measure


def test_samples_are_counted_and_comments_are_not() -> None:
    text = b'# HELP a A.\n# TYPE a counter\na_total{b="#"} 1\na_total{b="c"} 2\n\n'
    assert series_in(text) == 2


@pytest.mark.slow
@pytest.mark.alone
def test_a_scrape_a_second_costs_the_target_at_most_a_fiftieth_of_a_core() -> None:
    def once() -> None:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scrape_cost", "--json"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        result = json.loads(done.stdout)
        assert done.returncode == 0, result
        assert result["core_share"] <= CORE_GOAL
        assert 500 < result["series"] < SERIES_GOAL

    measure(once)
