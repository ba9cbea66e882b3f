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
                "alpha": 0.02,
                "beta": {"value": 0.0001, "lo": 0.00005, "hi": "inf"},
                "gamma": 21.5,
                "peak_concurrency": "inf",
                "r_squared": 0.998,
            },
            "per_replica": {"value": 156, "lo": 150, "hi": None, "n": 3, "method": "steps"},
            "replicas": {"forecast_rps": {"value": 800.0}, "zones": 3},
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
        {"usl": None, "per_replica": None, "replicas": []},
        {"usl": {"alpha": None, "beta": math.nan, "gamma": "many"}, "per_replica": {}},
        {"replicas": {"forecast_rps": {"value": None}}},
        {"per_replica": True},
    ],
)
def test_what_a_plan_could_not_tell_is_left_out_and_is_not_0(document: dict[str, object]) -> None:
    assert capacity_exposition(document) == ""
