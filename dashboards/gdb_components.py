"""Components for grafana-dashboard-builder that emit panels of Grafana 12 (schemaVersion 41).

The builder's own components emit JSON of before 2018. A board in `boards/` uses these instead:
`timeseries-panel`, `stat-panel`, `prom-target` and `datasource-variable`. A key that a component
does not know is refused, because the builder would ignore it.
"""

from __future__ import annotations

import warnings
from string import ascii_uppercase
from typing import Any

with warnings.catch_warnings():  # on Python 3.11 the builder imports the deprecated module imp
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_dashboards.components.panels import PanelsItemBase
    from grafana_dashboards.components.targets import Targets, TargetsItemBase
    from grafana_dashboards.components.templates import TemplatesItemBase
    from grafana_dashboards.errors import DashboardBuilderException
    from grafana_dashboards.exporter import ProjectProcessor
    from grafana_dashboards.gdbyaml import GDBLoader
    from grafana_dashboards.parser import DefinitionParser

Json = dict[str, Any]

GRID_COLUMNS = 24
COLUMNS_PER_SPAN = 2  # the builder counts 12 columns
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}

# Okabe and Ito, "Color Universal Design" (2008): told apart by colour-blind readers. One thing has
# one colour and one line in every panel.
GREEN, ORANGE, VERMILLION = "#009E73", "#E69F00", "#D55E00"
SKY, PURPLE, YELLOW = "#56B4E9", "#CC79A7", "#F0E442"
NAMED = {"green": GREEN, "orange": ORANGE, "red": VERMILLION, "yellow": YELLOW}
SOLID: Json = {"fill": "solid"}
DASHED: Json = {"fill": "dash", "dash": [10, 10]}
DOTTED: Json = {"fill": "dot", "dash": [0, 6]}
LEGENDS: dict[str, tuple[str, Json]] = {
    "goodput": (GREEN, SOLID),
    "ok": (GREEN, SOLID),
    "done": (GREEN, SOLID),
    "p50": (GREEN, SOLID),
    "2xx": (GREEN, SOLID),
    "offered": (SKY, SOLID),
    "in flight": (SKY, SOLID),
    "busy": (SKY, SOLID),
    "admitted": (PURPLE, DASHED),
    "pending": (YELLOW, DASHED),
    "p95": (YELLOW, DASHED),
    "4xx": (YELLOW, DASHED),
    "queued": (YELLOW, DASHED),
    "waiting": (YELLOW, DASHED),
    "shed": (ORANGE, DASHED),
    "p99": (ORANGE, DOTTED),
    "error": (VERMILLION, SOLID),
    "5xx": (VERMILLION, SOLID),
    "timeout": (PURPLE, DOTTED),
    "overload": (ORANGE, DASHED),
    "maintenance": (SKY, DOTTED),
    "dependency": (VERMILLION, SOLID),
    "refused": (YELLOW, DASHED),
    "capacity": ("text", DOTTED),
    "limit": ("text", DOTTED),
}


class Verbatim:
    """A scalar that the builder's `str.format` must not touch: PromQL and legends have braces."""

    def __init__(self, value: str) -> None:
        self.value = value


GDBLoader.add_constructor(
    "!promql", lambda loader, node: Verbatim(" ".join(loader.construct_scalar(node).split()))
)
GDBLoader.add_constructor("!raw", lambda loader, node: Verbatim(loader.construct_scalar(node)))


def plain(data: Any) -> Any:
    """`data` with every `Verbatim` replaced by its string."""
    if isinstance(data, Verbatim):
        return data.value
    if isinstance(data, dict):
        return {key: plain(value) for key, value in data.items()}
    if isinstance(data, list):
        return [plain(value) for value in data]
    return data


def checked(what: str, data: Any, needed: set[str], optional: set[str]) -> Json:
    """`plain(data)`; raises ValueError for a missing or an unknown key."""
    found: Json = plain(data)
    wrong = {
        "lacks": needed - found.keys(),
        "does not know": found.keys() - needed - optional,
    }
    for verb, keys in wrong.items():
        if keys:
            name = found.get("title") or found.get("legend") or ""
            raise ValueError(f"{what} {name!r} {verb} {', '.join(sorted(keys))}")
    return found


def thresholds(steps: list[list[Any]]) -> Json:
    """Grafana's thresholds from `[[null, green], [0.8, orange]]`."""
    return {
        "mode": "absolute",
        "steps": [{"value": value, "color": NAMED.get(color, color)} for value, color in steps],
    }


def overrides(legends: list[str]) -> list[Json]:
    """Colour and line style of every legend that has a meaning of its own."""
    return [
        {
            "matcher": {"id": "byName", "options": legend},
            "properties": [
                {"id": "color", "value": {"mode": "fixed", "fixedColor": LEGENDS[legend][0]}},
                {"id": "custom.lineStyle", "value": LEGENDS[legend][1]},
            ],
        }
        for legend in legends
    ]


def panel(kind: str, data: Json, registry: Any, height: int) -> Json:
    """What panels of every type share. The builder's dashboard sets `id` and the position."""
    targets: list[Json] = registry.create_component(
        Targets, {"targets": data["targets"]}
    ).gen_json()
    for letter, target in zip(ascii_uppercase, targets, strict=False):
        target["refId"] = letter
    return {
        "type": kind,
        "title": data["title"],
        "description": data["description"],
        "datasource": DATASOURCE,
        "targets": targets,
        "gridPos": {"w": data["span"] * COLUMNS_PER_SPAN, "h": data.get("height", height)},
    }


PANEL_KEYS = {"title", "description", "unit", "span", "targets"}


class TimeseriesPanel(PanelsItemBase):  # type: ignore[misc] # the builder ships no types
    """Lines over time. `stacked` fills and stacks; `thresholds` draws dashed lines."""

    def gen_json_from_data(self, data: Json, context: object) -> Json:
        """The panel's JSON; ValueError for a wrong key."""
        optional = {"height", "stacked", "thresholds", "max", "legends"}
        data = checked("timeseries-panel", data, PANEL_KEYS, optional)
        json = panel("timeseries", data, self.registry, height=8)
        names = [target["legendFormat"] for target in json["targets"]] + data.get("legends", [])
        json["fieldConfig"] = {
            "defaults": self._defaults(data),
            "overrides": overrides([name for name in names if name in LEGENDS]),
        }
        json["options"] = {
            "legend": {
                "displayMode": "list",
                "placement": "bottom",
                "showLegend": True,
                "calcs": ["lastNotNull", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
        return json

    @staticmethod
    def _defaults(data: Json) -> Json:
        stacked = data.get("stacked", False)
        defaults: Json = {
            "unit": data["unit"],
            "min": 0,
            "color": {"mode": "palette-classic"},
            "thresholds": thresholds(data.get("thresholds", [[None, "green"]])),
            "custom": {
                "drawStyle": "line",
                "lineInterpolation": "linear",
                "lineWidth": 2,
                "fillOpacity": 50 if stacked else 8,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if "thresholds" in data else "off"},
            },
        }
        if "max" in data:
            defaults["max"] = data["max"]
        return defaults


class StatPanel(PanelsItemBase):  # type: ignore[misc] # the builder ships no types
    """One number with its recent course."""

    def gen_json_from_data(self, data: Json, context: object) -> Json:
        """The panel's JSON; ValueError for a wrong key."""
        data = checked("stat-panel", data, PANEL_KEYS, {"height", "thresholds", "decimals"})
        json = panel("stat", data, self.registry, height=4)
        defaults: Json = {
            "unit": data["unit"],
            "color": {"mode": "thresholds"},
            "thresholds": thresholds(data.get("thresholds", [[None, "text"]])),
        }
        if "decimals" in data:
            defaults["decimals"] = data["decimals"]
        json["fieldConfig"] = {"defaults": defaults, "overrides": []}
        json["options"] = {
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "value",
        }
        return json


class PromTarget(TargetsItemBase):  # type: ignore[misc] # the builder ships no types
    """One Prometheus query: `expr` (tag `!promql`) and `legend`."""

    def gen_json_from_data(self, data: Json, context: object) -> Json:
        """The target's JSON; ValueError for a wrong key."""
        data = checked("prom-target", data, {"expr", "legend"}, set())
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": data["expr"],
            "legendFormat": data["legend"],
            "instant": False,
            "range": True,
        }


class DatasourceVariable(TemplatesItemBase):  # type: ignore[misc] # the builder ships no types
    """The variable that chooses the data source."""

    def gen_json_from_data(self, data: Json, context: object) -> Json:
        """The variable's JSON; ValueError for a wrong key."""
        data = checked("datasource-variable", data, {"name", "label", "query"}, set())
        return {
            "type": "datasource",
            "name": data["name"],
            "label": data["label"],
            "query": data["query"],
            "current": {},
            "options": [],
            "refresh": 1,
            "regex": "",
            "hide": 0,
            "includeAll": False,
            "multi": False,
            "skipUrlSync": False,
        }


class _Collector:
    """Takes dashboards instead of the builder's exporters, which write the old form."""

    def __init__(self) -> None:
        self.dashboards: dict[str, Json] = {}

    def process_dashboard(self, project: str, name: str, built: Json) -> None:
        """Called by the builder for each dashboard."""
        self.dashboards[name] = built


def built(paths: list[str]) -> dict[str, Json]:
    """Name -> the builder's JSON, with our panels, of every dashboard in the YAML files `paths`.

    Raises ValueError when a component has a wrong key or is of an unknown type.
    """
    collector = _Collector()
    try:
        ProjectProcessor([collector]).process_projects(DefinitionParser().load_projects(paths))
    except DashboardBuilderException as error:
        raise ValueError(str(error)) from error
    return collector.dashboards
