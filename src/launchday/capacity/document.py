"""The plan as capacity.json: versioned, each number with interval, count, method and provenance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from launchday.capacity.answer import Plan
from launchday.capacity.document_parts import (
    asked,
    bottleneck,
    found,
    growth,
    retry,
    steps,
    usl,
    usl_intervals,
)
from launchday.capacity.numbers import Numbers

SCHEMA_VERSION = 1


def document(plan: Plan) -> dict[str, Any]:
    """Everything of a plan in types that JSON knows.

    A number that is measured or follows from measured ones is `{value, lo, hi, n, method,
    provenance}`; lo and hi are null without an interval, an infinite one is "inf". At the top are
    `schema`, `status`, `refused` (null or why) and `valid_to` (null where nothing is valid): 1.5
    times the tested load, in the unit of the loads that were set: rates in our own runs, requests
    in flight in the tables of other tools; `valid_to_unit` says which. The keys of `usl` are plain
    numbers, null where infinite or not known; `usl_intervals` has them with their intervals.
    """
    numbers = Numbers(plan.measured.digest)
    valid = plan.validity
    parts: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "status": plan.status.value,
        "refused": plan.refused,
        "paragraph": plan.paragraph,
        "flags": list(plan.flags),
        "valid_to": _valid_to(plan),
        "valid_to_unit": "requests per second" if plan.by_rate else "requests in flight",
        "validity": asdict(valid) if valid and not plan.refused else None,
        "usl": usl(plan),
        "usl_intervals": usl_intervals(plan, numbers),
        "per_replica": numbers.of(plan.per_replica),
        "found": found(plan, numbers),
        "bottleneck": bottleneck(plan, numbers),
        "replicas": numbers.replicas(plan.replicas),
        "what_if": [asdict(row) for row in plan.what_if],
        "growth": growth(plan, numbers),
        "run_out": plan.run_out,
        "cost": asdict(plan.cost) if plan.cost else None,
        "retry": retry(plan, numbers),
        "queueing": list(plan.queueing),
        "held_out": [asdict(row) for row in plan.held_out],
        "validations": [asdict(row) for row in plan.validations],
        "request": asked(plan.request),
        "measured": {
            "target": plan.measured.target,
            "digest": plan.measured.digest,
            "invalid": list(plan.measured.invalid),
            "left_out": [asdict(part) for part in plan.measured.left_out],
            "steps": steps(plan, numbers),
        },
    }
    clean = _clean(parts)
    assert isinstance(clean, dict)
    return clean


def _valid_to(plan: Plan) -> float | None:
    """In the unit of the loads that were set; both are in `validity`."""
    if plan.refused or plan.validity is None:
        return None
    valid = plan.validity
    return valid.valid_to_rps if plan.by_rate else valid.valid_to_concurrency


def to_json(plan: Plan) -> str:
    """The document as text: the same plan gives the same bytes.

    Raises:
        ValueError: a NaN got in, which is a defect.
    """
    return json.dumps(document(plan), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def schema() -> dict[str, Any]:
    """The JSON schema that every document meets."""
    text = (files("launchday.capacity") / "assets" / "capacity.schema.json").read_text("utf-8")
    read: dict[str, Any] = json.loads(text)
    return read


def _clean(value: object) -> object:
    """Plain JSON: no infinity, no NaN, ten significant digits (beyond them is noise)."""
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("a number of the plan is NaN")
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return float(f"{value:.10g}")
    if isinstance(value, Mapping):
        return {str(key): _clean(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_clean(part) for part in value]
    return value
