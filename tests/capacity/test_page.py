"""The page: self-contained, escaped, honest about what it does not know."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

import pytest

from launchday.capacity.answer import Plan, Request
from launchday.capacity.page import render_page
from launchday.capacity.steps import LeftOut, Measured
from tests.capacity.plans import OBJECTIVE, VALIDATION, measured, plan

HOSTILE = '</p><script>alert("x")</script>'


@lru_cache
def variants() -> dict[str, Plan]:
    return {
        "whole": plan(),
        "validated": plan(validations=(VALIDATION,)),
        "refuted": plan(validations=(replace(VALIDATION, within=False),)),
        "no forecast": plan(Request(objective=OBJECTIVE)),
        "empty": plan(refused="nothing measured", measured=Measured(()), found=None, validity=None),
    }


@pytest.mark.parametrize("name", variants())
def test_the_page_fetches_nothing_and_runs_nothing(name: str) -> None:
    page = render_page(variants()[name])
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import|url\(|\bsrc=", page)
    assert not re.findall(r'href="http', page)


@pytest.mark.parametrize("name", variants())
def test_no_page_holds_a_number_that_is_none(name: str) -> None:
    page = render_page(variants()[name])
    assert not re.search(r"\b(nan|None|inf)\b", re.sub(r"<style>.*?</style>", "", page, flags=re.S))


def test_the_headline_is_the_paragraph_under_the_banner() -> None:
    page = render_page(plan())
    assert page.index("UNVALIDATED") < page.index('class="headline"')
    assert "Sustains 184 rps (95 % CI 178-190) per replica at p99 &lt;= 600 ms" in page


def test_the_banner_says_how_far_the_plan_was_checked() -> None:
    assert 'class="banner VALIDATED"' in render_page(variants()["validated"])
    assert 'class="banner REFUTED"' in render_page(variants()["refuted"])
    refused = render_page(variants()["empty"])
    assert "NO PLAN" in refused
    assert "nothing measured" in refused


def test_the_page_has_six_figures_and_every_table() -> None:
    page = render_page(plan())
    assert page.count("<figure ") == 6
    for title in ("Numbers", "What if", "Growth", "Retries", "Steps", "Left out"):
        assert f"<h2>{title}</h2>" in page
    assert page.count('role="img"') == 6


def test_reasons_of_unsteady_steps_and_of_what_was_left_out_are_told() -> None:
    page = render_page(plan())
    assert "not steady: the backlog grew during the whole step" in page
    assert "warm-up, cut by MSER-5" in page
    assert "kept out of the fit" in page


def test_what_comes_from_outside_is_escaped() -> None:
    steps = tuple(replace(step, source=HOSTILE) for step in measured().steps)
    hostile = measured(steps=steps, target=HOSTILE, left_out=(LeftOut(HOSTILE, HOSTILE),))
    assert "<script" not in render_page(plan(measured=hostile))


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert render_page(plan()) == render_page(plan())


def test_the_page_follows_the_readers_light_or_dark() -> None:
    assert "prefers-color-scheme: dark" in render_page(plan())


def test_the_banner_names_validation_only_where_it_is_possible() -> None:
    whole = plan()
    table = tuple(replace(step, run_id="") for step in whole.measured.steps)
    of_table = replace(whole, measured=replace(whole.measured, steps=table))
    assert "launchday plan --validate" in render_page(whole)
    assert "launchday plan --validate" not in render_page(of_table)
    assert "No rate is recommended" in render_page(replace(whole, per_replica=None))
