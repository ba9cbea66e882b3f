"""docs/capacity.md is true: its commands are taken as they stand, its options are all there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from launchday.capacity.steps import Objective
from launchday.commands import launchday
from launchday.commands.plan import plan
from launchday.commands.plan_request import Asked, columns_of, objective_of, request_of
from launchday.load.curves import CURVES

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")
LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]
# Which the page explains in its text.
ELSEWHERE = {
    "--validate", "--validate-seconds", "--against", "--target", "--metrics", "--local", "--runs",
    "--from", "--column", "--help",
}  # fmt: skip


def arguments(line: str, command: str) -> list[str]:
    program, name, *rest = shlex.split(line, comments=True)
    assert (program, name) == (".venv/bin/launchday", command)
    return rest


@pytest.mark.parametrize("line", [line for line in LINES if " plan " in line])
def test_plans_of_the_page_are_taken(line: str) -> None:
    given = plan.make_context("plan", arguments(line, "plan")).params
    given.pop("as_json")
    asked = Asked(**given)
    assert objective_of(asked, None).seconds == 0.5
    assert request_of(asked, Objective(), shedding=True).objective == Objective()
    columns_of(asked)


@pytest.mark.parametrize("line", [line for line in LINES if " run " in line])
def test_runs_of_the_page_are_taken(line: str) -> None:
    command = launchday.commands["run"]
    given = command.make_context("run", arguments(line, "run")).params
    assert given["scenario"] == "breakpoint"
    pairs = [text.partition("=") for text in given["param"]]
    CURVES["breakpoint"].curve({name: value for name, _, value in pairs})


def test_every_command_of_the_page_is_one_of_these() -> None:
    assert len(LINES) > 8
    assert all(re.match(r"\.venv/bin/launchday (plan|run) ", line) for line in LINES)


def test_every_option_is_on_the_page() -> None:
    _, _, rest = PAGE.partition("\n| option |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    told = {option for row in rows for option in re.findall(r"`(--[\w-]+)`", row.split(" | ")[0])}
    has = {
        option
        for parameter in plan.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    assert told == has - ELSEWHERE
    assert all(f"{option}" in PAGE for option in ELSEWHERE - {"--help", "--runs"})


def test_the_links_of_the_page_lead_to_files() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
