"""The panels that boards may use, by kind: what each takes, and the JSON that Grafana 12 reads."""

from __future__ import annotations

import warnings
from string import ascii_uppercase
from typing import ClassVar

from dashboards.colours import (
    BLUE,
    OTHERS,
    overrides,
    own_overrides,
    thresholds,
    value_mappings,
)
from dashboards.gdb_components import DATASOURCE, Json, checked

with warnings.catch_warnings():  # see gdb_components.py
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_dashboards.components.panels import PanelsItemBase

GRID_COLUMNS = 24
COLUMNS_PER_SPAN = 2  # the builder counts 12 columns
LAST: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}
LEGEND: Json = {"displayMode": "list", "placement": "bottom", "showLegend": True}
TOOLTIP: Json = {"mode": "multi", "sort": "desc"}
MOST_WITH_NUMBERS = 4  # lines whose legends have the last and the greatest value
HIDE: Json = {"legend": False, "tooltip": False, "viz": False}


def legend_of(name: str) -> str:
    """Return Grafana's legend: `by cause, detail` stands for the values of these labels."""
    if not name.startswith("by "):
        return name
    return ": ".join(f"{{{{{label.strip()}}}}}" for label in name[3:].split(","))


def target(letter: str, name: str, expression: str, kind: str, *, instant: bool) -> Json:
    """Return one query; `kind` is time_series, heatmap or table."""
    return {
        "refId": letter,
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expression,
        "legendFormat": "{{le}}" if kind == "heatmap" else legend_of(name),
        "format": kind,
        "instant": instant,
        "range": not instant,
    }


class OurPanel:
    """What panels of every kind share. The builder's dashboard sets `id` and the position."""

    kind: ClassVar[str]
    height: ClassVar[int] = 8
    form: ClassVar[str] = "time_series"
    instant: ClassVar[bool] = False  # only what there is at the end of the window
    needed: ClassVar[set[str]] = {"title", "description", "unit", "span", "queries"}
    optional: ClassVar[set[str]] = set()

    def gen_json_from_data(self, data: Json, context: object) -> Json:
        """The panel's JSON; ValueError for a wrong key."""
        data = checked(f"{self.kind}-panel", data, self.needed, self.optional | {"height", "to"})
        queries = data.get("queries", {})
        panel: Json = {
            "type": "xychart" if self.kind == "xy-chart" else self.kind,
            "title": data["title"],
            "description": data["description"],
            "gridPos": {"w": data["span"] * COLUMNS_PER_SPAN, "h": data.get("height", self.height)},
            "options": self.options(data),
        }
        if queries:
            panel["datasource"] = DATASOURCE
            panel["targets"] = [
                target(letter, name, expression, self.form, instant=self.instant)
                for letter, (name, expression) in zip(
                    ascii_uppercase, queries.items(), strict=False
                )
            ]
            panel["fieldConfig"] = {
                "defaults": {**_limits(data), **self.defaults(data)},
                "overrides": self.overrides(data),
            }
        if "to" in data:
            panel["links"] = [_way_to(data["to"])]
        if transformations := self.transformations(data):
            panel["transformations"] = transformations
        return panel

    def options(self, data: Json) -> Json:
        raise NotImplementedError

    def defaults(self, data: Json) -> Json:
        return {}

    def overrides(self, data: Json) -> list[Json]:
        return []

    def transformations(self, data: Json) -> list[Json]:
        return []


def _way_to(board: str) -> Json:
    """A link of a panel to the board that says more, with time and choices kept."""
    url = f"/d/{board}?${{__url_time_range}}&${{__all_variables}}"
    return {"title": "Why: " + board.removeprefix("launchday-"), "url": url, "targetBlank": False}


def _limits(data: Json) -> Json:
    """Unit and limits of a field."""
    limits: Json = {key: data[key] for key in ("min", "max", "decimals") if key in data}
    return {"unit": data["unit"], **limits}


class TimeseriesPanel(OurPanel, PanelsItemBase):  # type: ignore[misc] # the builder has no types
    """Lines over time. `stacked` fills and stacks; `thresholds` draws dashed lines.

    `legends`: values of labels that have a look of their own in every panel. `looks`: what a legend
    (or those like `/^up/`) looks like in this one. `right`: legends on a right axis, with a unit.
    Legends of more than four lines, known by their looks or `crowded`, are names without numbers:
    with them they would be cut, and what is cut are the last names.
    """

    kind = "timeseries"
    optional: ClassVar[set[str]] = {
        "stacked", "thresholds", "min", "max", "decimals", "legends", "looks", "right", "crowded",
    }  # fmt: skip

    def options(self, data: Json) -> Json:
        looks = len(data.get("legends", [])) + len(data.get("looks", {}))
        crowded = data.get("crowded", looks > MOST_WITH_NUMBERS)
        calcs = [] if crowded else ["lastNotNull", "max"]
        return {"legend": {**LEGEND, "calcs": calcs}, "tooltip": TOOLTIP}

    def defaults(self, data: Json) -> Json:
        stacked = data.get("stacked", False)
        return {
            "min": data.get("min", 0),
            "color": OTHERS,
            "thresholds": thresholds(data.get("thresholds", [[None, "green"]])),
            "custom": {
                "drawStyle": "line",
                "lineInterpolation": "linear",
                # What is 0 lies on top of a stack: errors that are none would border it in red.
                "lineWidth": 0 if stacked else 2,
                "fillOpacity": 50 if stacked else 0,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if "thresholds" in data else "off"},
                # Where all is 0, the axis would go to 100.
                **({"axisSoftMax": 1} if data["unit"] in ("none", "ops", "reqps") else {}),
            },
        }

    def overrides(self, data: Json) -> list[Json]:
        right = [
            {
                "matcher": {"id": "byName", "options": legend},
                "properties": [
                    {"id": "custom.axisPlacement", "value": "right"},
                    {"id": "unit", "value": unit},
                ],
            }
            for legend, unit in data.get("right", {}).items()
        ]
        stacked = data.get("stacked", False)
        known = overrides([*data["queries"], *data.get("legends", [])], stacked=stacked)
        return known + own_overrides(data.get("looks", {}), stacked=stacked) + right


class StatPanel(OurPanel, PanelsItemBase):  # type: ignore[misc] # the builder has no types
    """One number. Its course, which Grafana draws behind it, would make it hard to read."""

    kind = "stat"
    height = 4
    optional: ClassVar[set[str]] = {"thresholds", "decimals"}

    def options(self, data: Json) -> Json:
        return {
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": LAST,
            "textMode": "value",
        }

    def defaults(self, data: Json) -> Json:
        steps = thresholds(data.get("thresholds", [[None, "text"]]))
        return {"color": {"mode": "thresholds"}, "thresholds": steps}


class GaugePanel(StatPanel):
    """One number between `min` and `max`."""

    kind = "gauge"
    needed: ClassVar[set[str]] = {*OurPanel.needed, "min", "max", "thresholds"}

    def options(self, data: Json) -> Json:
        return {
            "minVizHeight": 75,
            "minVizWidth": 75,
            "orientation": "auto",
            "reduceOptions": LAST,
            "showThresholdLabels": False,
            "showThresholdMarkers": True,
            "sizing": "auto",
        }


class BargaugePanel(StatPanel):
    """One bar for each series, of what there is at the end of the window."""

    kind = "bargauge"
    height = 8
    instant = True

    def options(self, data: Json) -> Json:
        return {
            "displayMode": "basic",
            "legend": {**LEGEND, "showLegend": False, "calcs": []},
            "maxVizHeight": 300,
            "minVizHeight": 16,
            "minVizWidth": 8,
            "namePlacement": "auto",
            "orientation": "horizontal",
            "reduceOptions": LAST,
            "showUnfilled": True,
            "sizing": "auto",
            "valueMode": "color",
        }

    def defaults(self, data: Json) -> Json:
        return {
            "color": {"mode": "thresholds"},
            "thresholds": thresholds(data.get("thresholds", [[None, "shed"]])),
        }


class HeatmapPanel(OurPanel, PanelsItemBase):  # type: ignore[misc] # the builder has no types
    """The buckets of one histogram over time: `sum by (le) (increase(..._bucket))`."""

    kind = "heatmap"
    form = "heatmap"

    def options(self, data: Json) -> Json:
        return {
            "calculate": False,
            "cellGap": 1,
            "color": {
                "mode": "scheme",
                "scheme": "Viridis",  # even in lightness, and for the colour-blind
                "exponent": 0.5,
                "fill": BLUE,
                "reverse": False,
                "scale": "exponential",
                "steps": 64,
            },
            "exemplars": {"color": "rgba(204, 121, 167, 0.7)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": data["unit"]},
        }

    def defaults(self, data: Json) -> Json:
        return {"custom": {"hideFrom": HIDE, "scaleDistribution": {"type": "linear"}}}


class StateTimelinePanel(OurPanel, PanelsItemBase):  # type: ignore[misc] # the builder has no types
    """A lane for each series; `states` says what a value is called, and its colour."""

    kind = "state-timeline"
    height = 6
    needed: ClassVar[set[str]] = {*OurPanel.needed, "states"}

    def options(self, data: Json) -> Json:
        return {
            "alignValue": "left",
            "legend": {**LEGEND, "showLegend": False},
            "mergeValues": True,
            "rowHeight": 0.9,
            "showValue": "auto",
            "tooltip": {"mode": "single", "sort": "none"},
        }

    def defaults(self, data: Json) -> Json:
        return {
            "color": {"mode": "thresholds"},
            "mappings": value_mappings(data["states"]),
            "thresholds": thresholds([[None, "text"]]),
            "custom": {"fillOpacity": 80, "hideFrom": HIDE, "lineWidth": 0, "spanNulls": False},
        }


class TablePanel(OurPanel, PanelsItemBase):  # type: ignore[misc] # the builder has no types
    """A row for each label set; the name of each query is the heading of its column.

    `hide`: labels and queries that are not shown. `rounded`: decimals of single columns.
    """

    kind = "table"
    height = 6
    form = "table"
    instant = True
    optional: ClassVar[set[str]] = {"decimals", "hide", "rounded"}

    def options(self, data: Json) -> Json:
        footer = {"countRows": False, "reducer": ["sum"], "show": False}
        return {"cellHeight": "sm", "footer": footer, "showHeader": True}

    def defaults(self, data: Json) -> Json:
        whole = {"type": "auto", "wrapText": True}
        cell = {"align": "auto", "cellOptions": whole, "inspect": False}
        return {"color": {"mode": "thresholds"}, "custom": cell}

    def overrides(self, data: Json) -> list[Json]:
        return [
            {
                "matcher": {"id": "byName", "options": name},
                "properties": [{"id": "decimals", "value": decimals}],
            }
            for name, decimals in data.get("rounded", {}).items()
        ]

    def transformations(self, data: Json) -> list[Json]:
        names = list(data["queries"])
        values = ["Value"] if len(names) == 1 else [f"Value #{x}" for x in ascii_uppercase]
        renamed = dict(zip(values, names, strict=False))
        before = {name: value for value, name in renamed.items()}  # Grafana hides, then renames
        hidden = {before.get(name, name): True for name in ("Time", *data.get("hide", []))}
        organize = {"excludeByName": hidden, "renameByName": renamed}
        return [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]


class XyChartPanel(OurPanel, PanelsItemBase):  # type: ignore[misc] # the builder has no types
    """The second query against the first, a point for each moment."""

    kind = "xy-chart"
    height = 10

    def options(self, data: Json) -> Json:
        x, y = ({"matcher": {"id": "byName", "options": name}} for name in data["queries"])
        frame = {"matcher": {"id": "byIndex", "options": 0}}
        return {
            "legend": {**LEGEND, "showLegend": False, "calcs": []},
            "mapping": "manual",
            "series": [{"frame": frame, "x": x, "y": y}],
            "tooltip": {"mode": "single", "sort": "none"},
        }

    def defaults(self, data: Json) -> Json:
        return {
            "color": {"mode": "fixed", "fixedColor": BLUE},
            "custom": {
                "axisPlacement": "auto",
                "fillOpacity": 50,
                "hideFrom": HIDE,
                "pointShape": "circle",
                "pointSize": {"fixed": 5},
                "pointStrokeWidth": 1,
                "scaleDistribution": {"type": "linear"},
                "show": "points",
            },
        }

    def transformations(self, data: Json) -> list[Json]:
        return [{"id": "joinByField", "options": {"byField": "Time", "mode": "outer"}}]


class TextPanel(OurPanel, PanelsItemBase):  # type: ignore[misc] # the builder has no types
    """Markdown."""

    kind = "text"
    height = 3
    needed: ClassVar[set[str]] = {"title", "description", "span", "text"}

    def options(self, data: Json) -> Json:
        code = {"language": "plaintext", "showLineNumbers": False, "showMiniMap": False}
        return {"mode": "markdown", "content": data["text"].strip(), "code": code}
