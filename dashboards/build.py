"""Build `grafana/*.json` from `boards/*.yaml`, and `docs/metrics.md` from the metric catalogue.

    python dashboards/build.py [--check]

With `--check` it only says whether they are fresh. Exit 0: written, or fresh. Exit 1: stale, each
file named. Exit 2: a board is wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

# Run as a script, Python puts dashboards/ on the path; the package lies one level up.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dashboards.colours import BLUE, FAULT
from dashboards.gdb_components import DATASOURCE, Json, built, promql
from dashboards.gdb_panels import GRID_COLUMNS
from dashboards.metrics_page import page
from dashboards.names import check_names

HERE = Path(__file__).resolve().parent
METRICS_PAGE = HERE.parent / "docs" / "metrics.md"
SCHEMA_VERSION = 41  # Grafana 12.0 writes it, 11 reads it

BUILT_IN_ANNOTATIONS: Json = {
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
    "name": "Annotations & Alerts",
    "type": "dashboard",
}


def annotation(name: str, colour: str, expression: str, words: tuple[str, str, str]) -> Json:
    """Marks where `expression` gives something: neighbours in time become a shaded region.

    `words`: the title, the text and the label that becomes a tag.
    """
    title, text, tag = words
    return {
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "name": name,
        # Without an interval of its own Grafana asks once a minute.
        "target": {"expr": promql(expression), "interval": "1s", "refId": "Anno"},
        "tagKeys": tag,
        "titleFormat": title,
        "textFormat": text,
        "useValueForTime": False,
    }


# The conductor's own gauges, of the runs chosen: shaded as long as a fault is in, a line where a
# phase begins.
FAULTS = annotation(
    "Faults",
    FAULT,
    'chaos_fault_active == 1 and on (instance) launchday_phase{run=~"$run"}',
    ("{{fault}} on {{link}}", "{{experiment}}", "link"),
)
PHASES = annotation(
    "Phases",
    BLUE,
    '(launchday_phase{run=~"$run"} == 1) unless (launchday_phase offset 1s == 1)',
    ("{{phase}}", "{{run}}", "phase"),
)
# Every board with the tag, with time and variables kept.
LINKS: list[Json] = [
    {
        "type": "dashboards",
        "title": "Launch day",
        "tags": ["launch-day"],
        "asDropdown": False,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "",
        "url": "",
    }
]


def placed(panels: list[Json], top: int) -> int:
    """Place `panels` from left to right, line by line, from row `top`; the row below the last."""
    left, line_height = 0, 0
    for panel in panels:
        position = panel["gridPos"]
        if left + position["w"] > GRID_COLUMNS:
            top, left, line_height = top + line_height, 0, 0
        position.update({"x": left, "y": top})
        left += position["w"]
        line_height = max(line_height, position["h"])
    return top + line_height


def layout(rows: list[Json]) -> list[Json]:
    """The panels of a dashboard, with a row panel before each row, positions and ids."""
    panels: list[Json] = []
    top = 0
    for row in rows:
        heading = {"type": "row", "title": row["title"], "collapsed": False, "panels": []}
        panels.append({**heading, "gridPos": {"x": 0, "y": top, "w": GRID_COLUMNS, "h": 1}})
        top = placed(row["panels"], top + 1)
        panels.extend(row["panels"])
    for number, panel in enumerate(panels, start=1):
        panel["id"] = number
    return panels


def modern(old: Json) -> Json:
    """A dashboard of today from the builder's, whose top level is of before 2018."""
    return {
        "id": None,
        "uid": old["uid"],
        "title": old["title"],
        "tags": old["tags"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": old["refresh"],
        "time": old["time"],
        "timepicker": {},
        "timezone": "browser",
        "links": LINKS,
        "annotations": {"list": [BUILT_IN_ANNOTATIONS, FAULTS, PHASES]},
        "templating": {"list": old["templating"]["list"]},
        "panels": layout(old["rows"]),
    }


def build(boards: Path) -> dict[str, str]:
    """File name -> text of every dashboard that the YAML files in `boards` define.

    Raises ValueError, which names the place, when a board has a wrong key, lacks one, or asks for a
    metric that there is not.
    """
    texts = {}
    for name, old in built(sorted(boards.glob("*.yaml"))).items():
        board = modern(old)
        try:
            check_names(board)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        text = json.dumps(board, indent=2, sort_keys=True, ensure_ascii=False)
        texts[f"{name}.json"] = f"{text}\n"
    return texts


def stale(texts: dict[str, str], folder: Path) -> list[str]:
    """Names of files in `folder` that differ from `texts`, lack, or belong to no board."""
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    return sorted(n for n in texts.keys() | found.keys() if texts.get(n) != found.get(n))


def main(arguments: list[str]) -> int:
    """Command line; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python dashboards/build.py [--check]", file=sys.stderr)
        return 2
    try:
        texts = build(HERE / "boards")
    except ValueError as error:
        print(f"dashboards/boards: {error}", file=sys.stderr)
        return 2
    if arguments:
        return check(texts)
    for name in stale(texts, HERE / "grafana"):
        path = HERE / "grafana" / name
        if name in texts:
            path.write_text(texts[name], encoding="utf-8")
        else:
            path.unlink()
    METRICS_PAGE.write_text(page(), encoding="utf-8")
    return 0


def check(texts: dict[str, str]) -> int:
    """Name every stale file; 1 if there is one."""
    wrong = [f"dashboards/grafana/{name}" for name in stale(texts, HERE / "grafana")]
    if not METRICS_PAGE.exists() or METRICS_PAGE.read_text(encoding="utf-8") != page():
        wrong.append("docs/metrics.md")
    for name in wrong:
        print(f"{name} is stale: run python dashboards/build.py")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
