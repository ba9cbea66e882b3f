"""What the terminal shows of a plan: status, paragraph, numbers, doubts, what to do next."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from launchday.capacity.answer import Plan, Request
from launchday.plan_terminal import next_steps, print_plan
from tests.capacity.plans import OBJECTIVE, VALIDATION, found, measured, plan


def shown(answer: Plan) -> str:
    file = io.StringIO()
    print_plan(Console(file=file, width=100), answer)
    return file.getvalue()


def test_the_status_comes_first_then_the_paragraph_in_one_line() -> None:
    lines = shown(plan()).splitlines()
    assert lines[0] == "UNVALIDATED"
    assert lines[1] == plan().paragraph


def test_numbers_doubts_and_what_to_do_next_follow() -> None:
    words = shown(plan())
    assert "replicas to run          15" in words
    assert "latency is missed first" in words
    assert "  - UNPROVED: 1,350 rps" in words
    assert "Next: launchday plan --validate" in words


def test_a_refused_plan_says_so_and_shows_no_replicas() -> None:
    words = shown(plan(refused="replicas are mixed", per_replica=None))
    assert words.startswith("NO PLAN · UNVALIDATED")
    assert "replicas to run" not in words
    assert "Next: mend what the refusal names" in words


def test_a_validated_plan_needs_no_validation() -> None:
    words = shown(plan(validations=(VALIDATION,)))
    assert words.splitlines()[0] == "VALIDATED"
    assert "--validate" not in words


def test_a_limit_that_was_not_found_and_a_missing_forecast_are_asked_for() -> None:
    met = found(crossing=None, binding="", refused="always met")
    advice = next_steps(plan(Request(objective=OBJECTIVE), found=met))
    assert advice[0].startswith("test higher loads")
    assert advice[-1].startswith("give --forecast")


def test_names_from_outside_are_no_markup() -> None:
    steps = tuple(replace(step, unsteady=("[red]boo[/red]",)) for step in measured().steps[-2:])
    data = measured(steps=(*measured().steps[:-2], *steps))
    assert "[red]boo[/red]" in shown(plan(measured=data))


def test_validation_is_advised_only_where_a_rate_is_recommended() -> None:
    whole = plan()
    assert any("--validate" in advice for advice in next_steps(whole))
    unproved = next_steps(replace(whole, per_replica=None))
    assert not any("--validate" in advice for advice in unproved)
    assert any("no rate is proved yet" in advice for advice in unproved)


def test_that_refusals_are_cheap_is_said_to_be_assumed() -> None:
    assert "refuses what is too much at little cost (assumed)" in " ".join(shown(plan()).split())
    known = plan(Request(objective=OBJECTIVE, refusal_ratio=0.2))
    assert "(assumed)" not in shown(known)
