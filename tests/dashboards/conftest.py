"""The committed dashboards, as Grafana reads them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BOARDS = tuple(sorted(path.stem for path in (ROOT / "dashboards/grafana").glob("*.json")))


def load(name: str) -> dict[str, Any]:
    text = (ROOT / f"dashboards/grafana/{name}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def panels_of(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="session", params=BOARDS)
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


@pytest.fixture(scope="session")
def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return panels_of(board)


@pytest.fixture(scope="session")
def expressions(panels: list[dict[str, Any]]) -> list[str]:
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


@pytest.fixture(scope="session")
def rules() -> list[dict[str, Any]]:
    """Every rule of every file: `record` or `alert`, `expr` and more."""
    return [
        rule
        for path in sorted((ROOT / "dashboards/rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


@pytest.fixture(scope="session")
def all_expressions(rules: list[dict[str, Any]]) -> list[str]:
    """What panels, annotations, variables and rules ask for."""
    found = [rule["expr"] for rule in rules]
    for board in map(load, BOARDS):
        found += [t["expr"] for panel in panels_of(board) for t in panel.get("targets", [])]
        found += [a["target"]["expr"] for a in board["annotations"]["list"] if "target" in a]
        found += [v["definition"] for v in board["templating"]["list"] if v["type"] == "query"]
    return found
