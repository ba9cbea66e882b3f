"""capacity.json: meets its schema in every variant, holds no NaN, says where numbers come from."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jsonschema_rs
import pytest

from launchday.capacity.answer import Plan, Request
from launchday.capacity.document import document, schema, to_json
from launchday.capacity.results import Estimate
from tests.capacity.plans import (
    OBJECTIVE,
    REQUEST,
    VALIDATION,
    bottleneck,
    demand,
    estimate,
    found,
    plan,
)


@lru_cache
def variants() -> dict[str, Plan]:
    whole = plan()
    assert whole.usl is not None
    endless = Estimate(math.inf, 30.0, math.inf, 9, "bootstrap")
    return {
        "whole": whole,
        "validated": plan(validations=(VALIDATION,)),
        "refused": plan(refused="replicas are mixed", usl=None, usl_missing="no step is steady"),
        "no peak": plan(usl=replace(whole.usl, peak_concurrency=endless, limit_rps=math.inf)),
        "no forecast": plan(Request(objective=OBJECTIVE)),
        "never found": plan(found=found(crossing=None, proved=None), per_replica=None),
        "one policy": plan(replace(REQUEST, retry_policy="immediate", refusal_ratio=0.4)),
    }


@pytest.mark.parametrize("name", variants())
def test_every_variant_meets_the_schema(name: str) -> None:
    jsonschema_rs.validator_for(schema()).validate(json.loads(to_json(variants()[name])))


@pytest.mark.parametrize("name", variants())
def test_every_variant_is_strict_json(name: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads(to_json(variants()[name]), parse_constant=refuse)


def test_the_schema_refuses_what_is_no_plan() -> None:
    whole = document(plan())
    checker = jsonschema_rs.validator_for(schema())
    for broken in ({**whole, "more": 1}, {**whole, "status": "fine"}, {**whole, "schema": 2}):
        assert not checker.is_valid(broken)
    assert not checker.is_valid({key: whole[key] for key in whole if key != "valid_to"})


def test_the_keys_that_scripts_read_are_plain_numbers() -> None:
    whole = document(plan())
    assert {type(whole["usl"][key]) for key in ("alpha", "beta", "gamma")} == {float}
    assert isinstance(whole["usl"]["peak_concurrency"], float)
    assert isinstance(whole["usl"]["flags"], list)
    assert whole["valid_to"] == 360.0
    assert whole["refused"] is None
    assert whole["status"] == "UNVALIDATED"


def test_intervals_stand_beside_the_plain_numbers() -> None:
    whole = document(plan())
    alpha = whole["usl_intervals"]["alpha"]
    assert alpha["value"] == whole["usl"]["alpha"]
    assert alpha["lo"] < alpha["value"] < alpha["hi"]
    assert alpha["n"] == 9
    assert alpha["method"]


def test_an_infinite_peak_is_null_with_a_flag_and_inf_in_its_interval() -> None:
    endless = document(variants()["no peak"])
    assert endless["usl"]["peak_concurrency"] is None
    assert "peak is infinite" in endless["usl"]["flags"]
    assert endless["usl_intervals"]["peak_concurrency"]["hi"] == "inf"


def test_without_a_model_the_flags_are_still_a_list_and_say_why() -> None:
    refused = document(variants()["refused"])
    assert refused["usl"]["flags"] == ["no model"]
    assert refused["usl"]["refused"] == "no step is steady"
    assert refused["refused"] == "replicas are mixed"
    assert refused["valid_to"] is None
    assert refused["validity"] is None


def test_every_number_says_how_it_was_found_and_from_what() -> None:
    numbers = list(_numbers(document(plan())))
    assert len(numbers) > 30
    for number in numbers:
        assert set(number) == {"value", "lo", "hi", "n", "method", "provenance"}
        assert number["method"]
        assert number["provenance"].startswith("sha256:4f4f")


def test_a_nan_is_a_defect_and_never_written() -> None:
    broken = plan(per_replica=estimate(180, 178, 190))
    with pytest.raises(ValueError, match="NaN"):
        to_json(replace(broken, per_replica=estimate(math.nan, 1, 2)))


def _numbers(value: Any) -> Any:
    if isinstance(value, dict) and "provenance" in value:
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _numbers(part)
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part)


def test_the_validity_is_in_the_unit_of_the_loads_that_were_set() -> None:
    ours = document(plan())
    assert (ours["valid_to"], ours["valid_to_unit"]) == (360.0, "requests per second")
    others = tuple(replace(step, run_id="") for step in plan().measured.steps)
    table = document(plan(measured=replace(plan().measured, steps=others)))
    assert table["valid_to"] == table["validity"]["valid_to_concurrency"]
    assert table["valid_to_unit"] == "requests in flight"


@pytest.mark.parametrize(("full_at", "share"), [(400.0, 178 / 392), (150.0, 1.0)])
def test_what_v_rests_on_is_beside_it(full_at: float, share: float) -> None:
    """The lower end of the rate by the lower end of what CPU allows; no more than there is."""
    limits = replace(bottleneck(), demands=(demand("CPU", 0.0025, 1.0, full_at),))
    made = document(plan(bottleneck=limits))
    assert [row["cpu_share"] for row in made["retry"]] == [pytest.approx(share)] * 6
    assert "cpu_share" in made["retry"][0]["vulnerability"]["method"]
