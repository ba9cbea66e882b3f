from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from launchday.capacity.exposition import capacity_exposition
from launchday.metric_names import ALL


def samples(text: str) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_number_of_a_plan_becomes_the_gauge_of_the_catalogue() -> None:
    text = capacity_exposition(
        {
            "usl": {
                "alpha": {"value": 0.02, "low": 0.01, "high": 0.03},
                "beta": 0.0001,
                "gamma": 21.5,
                "peak_concurrency": math.inf,
                "r_squared": 0.998,
            },
            "estimates": {"slo_rps": {"value": 156.0}, "forecast_rps": 800},
        }
    )
    assert samples(text) == {
        "launchday_capacity_slo_rate": 156,
        "launchday_capacity_forecast_rate": 800,
        "launchday_capacity_usl_alpha": 0.02,
        "launchday_capacity_usl_beta": 0.0001,
        "launchday_capacity_usl_gamma": 21.5,
        "launchday_capacity_usl_peak_concurrency": math.inf,
        "launchday_capacity_usl_r_squared": 0.998,
    }
    wanted = {metric.name for metric in ALL if metric.name.startswith("launchday_capacity_")}
    assert samples(text).keys() == wanted
    assert text.count("# HELP") == text.count("# TYPE") == len(wanted)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"usl": None, "estimates": []},
        {"usl": {"alpha": None, "beta": math.nan, "gamma": "many"}, "estimates": {"slo_rps": {}}},
        {"estimates": {"slo_rps": True}},
    ],
)
def test_what_a_plan_could_not_tell_is_left_out_and_is_not_0(document: dict[str, object]) -> None:
    assert capacity_exposition(document) == ""
