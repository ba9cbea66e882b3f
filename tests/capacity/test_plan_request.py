"""Options of `launchday plan` that depend on what the records are of."""

from __future__ import annotations

import pytest

from launchday.capacity.steps import Objective
from launchday.commands.plan import plan
from launchday.commands.plan_request import Asked, request_of
from launchday.errors import SettingsError


def asked(*options: str) -> Asked:
    given = plan.make_context("plan", ["runs/a", *options]).params
    given.pop("as_json")
    return Asked(**given)


def test_what_a_refusal_costs_has_no_effect_where_nobody_is_refused() -> None:
    given = asked("--refusal-ratio", "0.3")
    assert request_of(given, Objective(), shedding=True).refusal_ratio == 0.3
    with pytest.raises(SettingsError, match="--refusal-ratio has no effect"):
        request_of(given, Objective(), shedding=False)
