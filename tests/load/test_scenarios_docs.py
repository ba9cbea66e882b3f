"""docs/scenarios.md is true: its options and defaults are those of the parsers, and all of them."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from launchday.load.curves import CURVES
from launchday.load.generator import check_parameters, options_of
from launchday.load.retry import POLICIES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "locustfiles"
PAGE = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
SCENARIOS = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
PLAN = """
import sys
sys.path.insert(0, sys.argv[1])
import launch_day
from locust.argument_parser import get_parser
given = ["--backend", sys.argv[2], "--shares", sys.argv[3]]
launch_day.POPULATION.plan(get_parser().parse_args(given))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def table(column: str) -> list[list[str]]:
    """The rows of the table with this heading, as cells."""
    _, _, rest = PAGE.partition(f"\n| {column} |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]


def code(cell: str) -> str:
    found = re.fullmatch(r"`([^`]*)`", cell)
    assert found, cell
    return found[1]


def as_default(default: object) -> str:
    """What the page writes of a default; of none it says in words what happens then."""
    text = f"{default:g}" if isinstance(default, int | float) else str(default)
    return f"`{text}`"


def says(cell: str, default: object) -> bool:
    if default in (None, ""):
        return bool(cell) and "`" not in cell
    return cell == as_default(default)


@cache
def options() -> dict[str, dict[str, object]]:
    """The options of each scenario, as its own process has them."""
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda name: options_of(FOLDER / f"{name}.py"), SCENARIOS)
        return {name: each or {} for name, each in zip(SCENARIOS, found, strict=True)}


def source(scenario: str) -> str:
    return (FOLDER / f"{scenario}.py").read_text(encoding="utf-8")


def curve_of(scenario: str) -> str | None:
    found = re.search(r'curve="(\w+)"', source(scenario))
    return found[1] if found else None


def curve_options(scenario: str) -> set[str]:
    curve = curve_of(scenario)
    parameters = CURVES[curve].parameters if curve else ()
    return {"--" + each.name.replace("_", "-") for each in parameters}


def shared() -> dict[str, str]:
    """The shared options of the page and their defaults, without those of the shares."""
    return {code(name): default for name, default, _ in table("shared option")}


def own() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for scenario, option, default, _ in table("only in"):
        found.setdefault(code(scenario), {})[code(option)] = default
    return found


def shares_of(scenario: str) -> str:
    flags = [flag for flag in options()[scenario] if flag.startswith("--shares")]
    if flags:
        return " ".join(f"`{flag} {options()[scenario][flag]}`" for flag in flags)
    weights = re.findall(r"@task\((\d+)\)\n    def (\w+)", source(scenario))
    return "fixed: " + ", ".join(f"{name} {weight}" for weight, name in weights)


def row_of(scenario: str) -> list[str]:
    """What the row of a scenario must be."""
    has, curve = options()[scenario], curve_of(scenario)
    deviations = [
        f"`{flag} {as_default(has[flag])[1:-1]}`"
        for flag, default in shared().items()
        if flag in has and not says(default, has[flag])
    ]
    title = (ast.get_docstring(ast.parse(source(scenario))) or "").partition("\n")[0].rstrip(".")
    where = f"`{curve}`" if curve else "flat"
    return [f"`{scenario}`", title, where, shares_of(scenario), " ".join(deviations)]


def test_the_table_of_scenarios_is_that_of_the_folder() -> None:
    rows = table("scenario")
    assert sorted(code(row[0]) for row in rows) == SCENARIOS
    assert len(SCENARIOS) == 10
    for row in rows:
        assert [*row, ""][:5] == row_of(code(row[0]))


def test_the_options_of_load_are_those_of_every_scenario() -> None:
    rows = {code(name): default for name, default, *_ in table("load option")}
    for scenario in SCENARIOS:
        first = list(options()[scenario])[: len(rows)]  # launchday's come first
        assert set(first) == set(rows)
        for flag, default in rows.items():
            assert says(default, options()[scenario][flag]), flag


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_option_of_a_scenario_is_on_the_page_and_the_other_way_round(scenario: str) -> None:
    of_load = {code(row[0]) for row in table("load option")}
    has = options()[scenario]
    rest = {flag for flag in has if not flag.startswith("--shares")} - of_load
    expected = set(own().get(scenario, ())) | curve_options(scenario)
    if curve_of(scenario):
        expected |= set(shared())
    assert rest == expected
    for flag, default in own().get(scenario, {}).items():
        assert says(default, has[flag]), flag


def test_policies_journeys_and_regions_are_those_of_the_code() -> None:
    meanings = {code(name): meaning for name, _, meaning in table("shared option")}
    assert re.findall(r"`(\w+)`", meanings["--retry-policy"]) == list(POLICIES)
    journeys = re.findall(r"^@_journey\(.*\)\ndef (\w+)", source("_journeys"), re.MULTILINE)
    (sentence,) = re.findall(r"The journeys are (.*?)\.\n", PAGE, re.DOTALL)
    assert re.findall(r"`(\w+)`", sentence) == journeys
    (regions,) = re.findall(r"^REGIONS = (\{.*?\})", source("_connected_car"), re.MULTILINE)
    assert re.findall(r"`(\w+)`", meanings["--region"]) == list(ast.literal_eval(regions))


def test_what_launchday_sets_itself_is_no_parameter_and_the_rest_is() -> None:
    for flag, _, with_run, _ in table("load option"):
        name = code(flag).removeprefix("--")
        if with_run.startswith("`-p "):
            check_parameters([name])
        else:
            with pytest.raises(Exception, match="is no parameter"):
                check_parameters([name])


def test_the_commands_and_the_settings_of_the_page_have_options_of_their_scenario() -> None:
    given = [
        (scenario, key)
        for block in blocks("toml")
        for scenario, keys in tomllib.loads(block)["scenario"].items()
        for key in keys
    ]
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.split(line, comments=True)
        scenario = Path(next(word for word in words if Path(word).stem in SCENARIOS)).stem
        if "run" in words:
            after = [b for a, b in pairwise(words) if a == "-p"]
            given += [(scenario, word.partition("=")[0]) for word in after]
        else:
            flags = [word for word in words if word.startswith("--") and word != "--host"]
            given += [(scenario, flag.removeprefix("--")) for flag in flags]
    assert len(given) > 5
    locusts = {"headless", "exit-code-on-error"}
    for scenario, name in given:
        known = name in locusts or "--" + name.replace("_", "-") in options()[scenario]
        assert known, (scenario, name)


def test_the_backend_of_the_page_is_one_that_the_scenarios_take(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "your-own-service.md").read_text(encoding="utf-8")
    (backend,) = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    (tmp_path / "_shop.py").write_text(backend)
    (line,) = re.findall(r"^\.venv/bin/launchday run launch_day .*_shop.*$", page, re.MULTILINE)
    (shares,) = re.findall(r"-p shares=(\S+)", line)
    where = f"{tmp_path / '_shop.py'}:Shop"
    for asked, words in ((shares, ""), ("unlock=1", "the journey 'unlock' needs Shop.command")):
        done = subprocess.run(
            [sys.executable, "-c", PLAN, str(FOLDER), where, asked], capture_output=True, text=True
        )
        assert words in done.stderr.rpartition("ValueError")[2]
        assert (done.returncode == 0) is not bool(words), done.stderr
