"""The paragraph: every variant is plain English, names what binds, and says UNVALIDATED."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from launchday.capacity.answer import Request
from launchday.capacity.paragraph import paragraph
from launchday.capacity.results import Bottleneck
from launchday.capacity.steps import Objective
from launchday.capacity.wording import plus_minus, with_interval
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

ALWAYS_MET = found(crossing=None, binding="", refused="always met: nothing was missed")
UNJUDGED = found(crossing=None, proved=None, binding="", refused="no p99 was measured", ladder=())
NO_FORECAST = Request(objective=OBJECTIVE)
VARIANTS = {
    "whole": plan(),
    "refused": plan(refused="replicas are mixed"),
    "always met": plan(found=ALWAYS_MET),
    "unjudged": plan(NO_FORECAST, found=UNJUDGED, per_replica=None),
    "unjudged, forecast": plan(found=UNJUDGED, per_replica=None),
    "shed": plan(found=found(binding="shed")),
    "nothing proved": plan(found=found(proved=None), per_replica=None),
    "no forecast": plan(NO_FORECAST),
    "no bottleneck": plan(bottleneck=replace(bottleneck(), resource="")),
    "downstream": plan(bottleneck=Bottleneck("downstream: gateway", "", (), "")),
    "nothing measured": plan(bottleneck=None),
    "mean": plan(replace(REQUEST, objective=Objective(None, 0.2))),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_sentences_without_gaps(name: str) -> None:
    words = VARIANTS[name].paragraph
    assert words[0].isupper() or words[0].isdigit()
    assert words.endswith(".")
    for broken in ("  ", "..", ";;", "; .", "()", " ,", " ;", "None", "nan", "inf ", "not crossed"):
        assert broken not in words, (broken, words)
    assert words.count("(") == words.count(")")


@pytest.mark.parametrize("name", VARIANTS)
def test_until_a_run_has_confirmed_it_every_variant_says_unvalidated(name: str) -> None:
    assert "UNVALIDATED" in VARIANTS[name].paragraph


def test_the_whole_paragraph_has_the_numbers_in_the_order_in_which_they_are_asked() -> None:
    words = plan().paragraph
    wanted = (
        "Sustains 184 rps (95 % CI 178-190) per replica at p99 <= 600 ms (180 rps proved); ",
        "CPU is the bottleneck (5.1 ms/req, saturates at 196 ± 4); ",
        "forecast 1,200 ± 150 rps needs 10 replicas (80 % of the lower bound, upper forecast)",
        "15 across three zones to survive the loss of one",
        "tested from 20 to 240 rps offered, of which 194 were answered at most, valid to 360 rps",
    )
    assert all(part in words for part in wanted), words
    assert [words.index(part) for part in wanted] == sorted(words.index(part) for part in wanted)


def test_a_limit_that_was_not_found_is_no_limit() -> None:
    words = VARIANTS["always met"].paragraph
    assert "Sustains at least 180 rps per replica" in words
    assert "the limit was not found" in words
    assert "CPU would give out first" in words


@pytest.mark.parametrize("binding", ["shed", "errors"])
def test_what_binds_is_named_where_it_is_not_latency(binding: str) -> None:
    words = plan(found=found(binding=binding)).paragraph
    assert (
        f"not latency but the share of {'requests shed' if binding == 'shed' else 'errors'}"
        in words
    )


def test_without_a_peak_no_peak_rate_is_a_headline() -> None:
    whole = VARIANTS["unjudged"]
    assert whole.usl is not None
    endless = replace(whole.usl, peak_concurrency=estimate(90, 40, float("inf")))
    words = paragraph(replace(whole, usl=endless))
    assert "no peak was identified" in words
    assert "peaks at" not in words


def test_a_peak_that_the_model_does_not_vouch_for_is_no_headline() -> None:
    whole = VARIANTS["unjudged"]
    assert whole.usl is not None
    words = paragraph(replace(whole, usl=replace(whole.usl, flags=("no peak identified",))))
    assert "no peak was identified" in words
    assert "peaks at" not in words


def test_a_forecast_that_cannot_be_planned_for_is_said_to_be_so() -> None:
    assert "cannot be planned for" in VARIANTS["unjudged, forecast"].paragraph
    assert not re.search(r"needs \d", VARIANTS["unjudged, forecast"].paragraph)


def test_more_than_twice_the_tested_load_is_unproved_in_words() -> None:
    words = "UNPROVED: 1,350 rps is 6.97 times the 194 rps that were carried"
    assert words in plan().paragraph
    validity = plan().validity
    assert validity is not None
    tested = replace(validity, scaled_to_replicas=10)
    assert "UNPROVED" not in plan(validity=tested).paragraph


def test_a_validation_is_printed_with_its_error() -> None:
    words = paragraph(plan(validations=(VALIDATION,)))
    assert "VALIDATED: validation at 180 rps: p99 571 ms v 560 ms (-2 %)." in words
    assert "UNVALIDATED" not in words
    missed = replace(VALIDATION, within=False, error_share=0.4)
    assert "REFUTED, do not use these numbers" in paragraph(plan(validations=(missed,)))


def test_replicas_tested_together_are_said_to_be() -> None:
    whole = plan()
    steps = tuple(replace(step, replicas=3) for step in whole.measured.steps)
    words = paragraph(replace(whole, measured=replace(whole.measured, steps=steps)))
    assert "61.3 rps (95 % CI 59.3-63.3) per replica (3 tested together)" in words
    assert "240 rps of 3 replicas together" in words


def test_an_interval_without_width_is_no_precision() -> None:
    near = estimate(12_500, 12_500 - 8e-12, 12_500 + 8e-12)
    assert with_interval(near) == "12,500"
    assert plus_minus(near) == "12,500"
    assert with_interval(estimate(12_500, 12_498, 12_502)) == "12,500 (95 % CI 12,498-12,502)"


def test_an_objective_met_everywhere_but_nowhere_proved_was_judged() -> None:
    unproved = found(crossing=None, proved=None, refused="always met: nothing was missed")
    words = paragraph(replace(plan(), found=unproved, per_replica=None))
    assert "was met (always met" in words
    assert "not judged" not in words


def test_several_slots_are_the_bottleneck() -> None:
    first = demand("worker slots", 0.05, 8.0, 157)
    words = plan(bottleneck=replace(bottleneck(), resource="worker slots", demands=(first,)))
    assert "worker slots are the bottleneck (50 ms/req" in words.paragraph
    assert "CPU is the bottleneck" in plan().paragraph
