"""The pipeline from measured steps to the plan: refusals in words, the same bytes every time."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from launchday.capacity.answer import Plan, Request
from launchday.capacity.document import to_json
from launchday.capacity.forecast import Forecast
from launchday.capacity.growth import FleetGrowth
from launchday.capacity.importers import read_table
from launchday.capacity.pipeline import distinct_loads, plan, with_validations
from launchday.capacity.results import RetryVerdict
from launchday.capacity.steps import Measured, Objective, Step
from launchday.errors import SettingsError
from tests.capacity.plans import VALIDATION

USL_DATA = Path(__file__).parents[2].parent / "shared" / "data" / "usl"
MEAN = Objective(quantile=None, seconds=0.0015)
ALPHA, BETA, GAMMA = 0.02, 0.0007, 1000.0
"""A synthetic twin of the public tables: Gunther's law with these coefficients."""


def table(loads: range = range(1, 33), **changes: Any) -> Measured:
    """What a closed-loop tool measures: concurrency, throughput, and the mean that follows."""
    return Measured(tuple(row(n, **changes) for n in loads), target="a table", digest="ab" * 32)


def row(n: int, **changes: Any) -> Step:
    x = GAMMA * n / (1 + ALPHA * (n - 1) + BETA * n * (n - 1)) * (1 + 0.01 * math.sin(7 * n))
    made = Step(f"line {n}", x, x, x, float(n), n / x, n / x, 60.0, round(60 * x))
    return replace(made, **changes)


@lru_cache
def planned() -> Plan:
    return plan(table(), Request(MEAN, Forecast(40_000, 2000), zones=3, replicas_now=3))


def test_a_table_becomes_a_plan() -> None:
    made = planned()
    assert made.refused is None
    assert made.usl is not None
    assert made.usl.alpha.value == pytest.approx(ALPHA, abs=0.005)
    assert made.found is not None
    assert made.found.binding == "latency"
    assert made.per_replica is not None
    assert made.replicas is not None
    assert "NOT ENOUGH today" in made.run_out
    assert made.validity is not None
    assert made.valid_to_rps == pytest.approx(1.5 * made.validity.tested_rps)
    assert made.validity.valid_to_concurrency == 48


def test_where_cpu_is_left_at_capacity_refusals_may_take_it() -> None:
    def retried(cpu_share: float) -> RetryVerdict:
        steps = tuple(
            replace(step, utilisation={"CPU": cpu_share * step.throughput_rps / 12_000})
            for step in table().steps
        )
        request = Request(
            MEAN, Forecast(40_000, 0), retry_policy="immediate", refusal_ratio=0.5, utilisation=1.0
        )
        return plan(replace(table(), steps=steps), request).retry[0]

    busy, spare = retried(1.0), retried(0.3)
    assert busy.stuck
    assert not spare.stuck
    assert spare.vulnerability == pytest.approx(spare.utilisation)
    assert "at its capacity the target uses" in spare.sentence


def test_no_replica_is_planned_for_more_than_was_proved() -> None:
    made = planned()
    assert made.found is not None
    assert made.found.proved is not None
    assert made.per_replica is not None
    assert made.per_replica.value <= made.found.proved.value
    # A table has one number a load: there is no interval, and none is made up.
    assert made.per_replica.low is None
    assert "80 % of the proved rate" in made.paragraph
    assert any("no interval" in flag for flag in made.flags)


def test_the_same_table_gives_the_same_bytes_in_any_process() -> None:
    code = (
        "from tests.capacity.test_pipeline import planned\n"
        "from launchday.capacity.document import to_json\n"
        "print(to_json(planned()), end='')"
    )
    root = Path(__file__).parents[2]
    # This process has a hash seed of its own, the other one another.
    other = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "4242", "PYTHONPATH": f"{root / 'src'}:{root}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout == to_json(planned())


def test_the_seed_is_in_the_document() -> None:
    assert json.loads(to_json(planned()))["request"]["seed"] == 1


REFUSED = {
    "the generator was saturated": replace(table(), invalid=("the generator was saturated",)),
    "no load was held long enough": Measured(()),
    "replicas are mixed": replace(table(), steps=(row(1), *table(range(2, 33), replicas=2).steps)),
    "only 5 distinct loads measured": table(range(1, 6)),
    "no step is steady": table(unsteady=("the backlog grew",)),
    "never met": table(mean_seconds=0.9, latency_seconds=0.9),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_allows_no_plan_is_refused_in_words(why: str) -> None:
    made = plan(REFUSED[why], Request(MEAN, Forecast(20_000)))
    assert made.refused is not None
    assert why in made.refused
    assert made.paragraph.startswith("No plan: ")
    assert made.replicas is None
    to_json(made)


def test_an_objective_always_met_is_a_plan_with_a_flag() -> None:
    made = plan(table(), Request(Objective(None, 10.0)))
    assert made.refused is None
    assert any("always met" in flag for flag in made.flags)
    assert "the limit was not found" in made.paragraph


def test_without_a_latency_the_model_is_all_that_is_said() -> None:
    made = plan(table(latency_seconds=None), Request(Objective()))
    assert made.refused is None
    assert "no p99 was measured" in made.paragraph
    assert "requests in flight" in made.paragraph
    assert made.replicas is None


def test_a_point_above_the_fitted_peak_without_an_objective_is_refused() -> None:
    outlier = row(20, throughput_rps=40_000.0)
    made = plan(
        replace(table(latency_seconds=None), steps=(*table(latency_seconds=None).steps, outlier)),
        Request(Objective()),
    )
    words = f"{made.refused} {' '.join(made.flags)}"
    assert "peak" in words or "residuals" in words or "robust" in words


def test_a_point_above_the_peak_within_its_wide_interval_is_flagged_and_no_headline() -> None:
    """One reading of 1,500 among 300 to 800: the interval of the peak holds it, its value not."""
    rates = (100, 195, 370, 1500, 800, 700, 500, 300)
    steps = [
        replace(row(2**k), throughput_rps=x, offered_rps=x, goodput_rps=x, latency_seconds=None)
        for k, x in enumerate(float(rate) for rate in rates)
    ]
    found = plan(Measured(tuple(steps), target="a table", digest="ab" * 32), Request(Objective()))
    assert any("1,500 rps was measured, above the fitted peak" in flag for flag in found.flags)
    assert "peaks at" not in found.paragraph
    assert "no rate is recommended" in found.paragraph


def test_unsteady_steps_are_shown_and_not_fitted() -> None:
    steps = (*table().steps, row(40, unsteady=("the backlog grew",)))
    made = plan(replace(table(), steps=steps), Request(MEAN))
    assert made.usl is not None
    assert max(n for n, _ in made.usl.points) == 32
    assert any("1 of 33 steps not steady" in flag for flag in made.flags)


def test_a_step_kept_out_of_the_fit_is_compared_with_it() -> None:
    steps = tuple(replace(step, held_out=step.concurrency == 12) for step in table().steps)
    made = plan(replace(table(), steps=steps), Request(MEAN))
    (row_out,) = made.held_out
    assert abs(row_out.error_share) < 0.05
    assert row_out.within
    assert made.status == "UNVALIDATED"


def test_what_was_refused_proves_nothing_of_replicas() -> None:
    """Offered 32,000 and carried 14,000: 40,000 is more than twice of what was seen to work."""
    rows = [replace(step, run_id="a") for step in table().steps]
    steps = (*rows, replace(rows[-1], offered_rps=32_000.0, shed_share=0.6, source="too much"))
    made = plan(replace(table(), steps=steps), Request(MEAN, Forecast(40_000)))
    assert made.flags[0].startswith("UNPROVED: 40,000 rps is 2.91 times the 13,769 rps")
    assert "rps offered, of which 13,769 were answered at most" in made.paragraph


@pytest.mark.parametrize("latency", [None, 0.001])
def test_what_is_kept_out_does_not_widen_the_range(latency: float | None) -> None:
    rows = table(latency_seconds=latency).steps
    steps = tuple(replace(step, held_out=step.concurrency > 20) for step in rows)
    made = plan(replace(table(), steps=steps), Request(Objective()))
    assert made.validity is not None
    assert made.validity.valid_to_concurrency == 30
    assert made.validity.tested_rps == pytest.approx(steps[19].throughput_rps)


def test_failures_that_the_model_counts_as_throughput_are_flagged() -> None:
    flag = "In 2 steps up to 30 % of the answers were failures or refusals"
    rows = table().steps
    steps = tuple(replace(step, shed_share=0.3 if step.concurrency > 30 else 0) for step in rows)
    made = plan(replace(table(), steps=steps), Request(MEAN))
    assert any(words.startswith(flag) for words in made.flags)
    own = tuple(replace(step, run_id="a") for step in steps)
    made = plan(replace(table(), steps=own), Request(MEAN))
    assert not any("failures or refusals" in words for words in made.flags)


def test_a_forecast_beyond_twice_the_tested_load_is_unproved() -> None:
    assert planned().flags[0].startswith("UNPROVED")
    small = plan(table(), Request(MEAN, Forecast(3000)))
    assert not any(flag.startswith("UNPROVED") for flag in small.flags)


def test_growth_beyond_all_bounds_is_the_users_mistake() -> None:
    endless = Request(MEAN, Forecast(1e8), growth=FleetGrowth(9.0, quarters=40))
    with pytest.raises(SettingsError, match="quarter"):
        plan(table(), endless)


def test_validations_change_the_status_and_the_paragraph_and_no_number() -> None:
    made = with_validations(planned(), [VALIDATION])
    assert made.status == "VALIDATED"
    assert "VALIDATED: validation at 180 rps" in made.paragraph
    assert replace(made, validations=(), paragraph="") == replace(planned(), paragraph="")


def test_replicates_of_a_load_are_one_load() -> None:
    steps = [replace(row(1), offered_rps=rps) for rps in (100, 101, 102.9, 150, 151)]
    assert distinct_loads([replace(step, concurrency=0.0) for step in steps]) == 2


def test_loads_of_a_table_are_told_apart_by_concurrency() -> None:
    assert distinct_loads(table().steps) == 32


@pytest.mark.skipif(not USL_DATA.exists(), reason="the public tables are not on this machine")
@pytest.mark.parametrize("name", ["cisco", "specsdm91", "raytracer", "synthetic"])
def test_the_public_tables_give_a_model_that_is_not_refused(name: str) -> None:
    made = plan(read_table([USL_DATA / f"{name}.csv"], "csv", Objective()), Request(Objective()))
    assert made.refused is None
    assert made.usl is not None
    golden = json.loads((USL_DATA / "goldens.json").read_text())
    assert golden
    assert "UNVALIDATED" in made.paragraph


@pytest.mark.skipif(not USL_DATA.exists(), reason="the public tables are not on this machine")
def test_production_scatter_with_points_above_the_peak_is_refused() -> None:
    columns = {"throughput": "txn_rate", "concurrency": "db_time"}
    data = read_table([USL_DATA / "oracledb.csv"], "csv", Objective(), columns)
    made = plan(data, Request(Objective()))
    assert made.refused is not None
    assert "above the fitted peak" in made.refused
