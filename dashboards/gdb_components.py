"""What grafana-dashboard-builder needs to emit dashboards of Grafana 12 (schemaVersion 41).

The builder's own components emit JSON of before 2018. A board in `boards/` uses ours instead: the
panels of `gdb_panels.py`, and the variables here. A key that a component does not know is refused,
because the builder would ignore it.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import yaml

with warnings.catch_warnings():  # on Python 3.11 the builder imports the deprecated module imp
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_dashboards.components.templates import TemplatesItemBase
    from grafana_dashboards.errors import DashboardBuilderException
    from grafana_dashboards.exporter import ProjectProcessor
    from grafana_dashboards.gdbyaml import GDBLoader
    from grafana_dashboards.parser import DefinitionParser

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
DASHBOARD_KEYS = {"title", "uid", "tags", "refresh", "time", "templates", "rows"}
ROW_KEYS = {"title", "panels"}
# What boards write short: the range of a rate, and the targets chosen above the panels.
_SHORT = {"[R]": "[$__rate_interval]", "{I}": '{instance=~"$instance"}'}
_INSTANCES_AND = re.compile(r"\{I, *")
# The shedders of the regions chosen, and those of which no region is known: a service of your own.
_TARGETS = (
    "last_over_time(shed_info[$__range]) unless on (instance) "
    'last_over_time(car_info{region!~"$region"}[$__range])'
)
# How Grafana's data source is told what kind of question a variable asks.
_LABEL_VALUES, _QUERY_RESULT = 1, 3


class Verbatim:
    """What the builder's `str.format` must not touch: PromQL and legends have braces."""

    def __init__(self, value: Any) -> None:
        self.value = value


def promql(text: str) -> str:
    """Return an expression in one line, its short forms written out."""
    text = " ".join(text.split())
    for short, whole in _SHORT.items():
        text = text.replace(short, whole)
    return _INSTANCES_AND.sub('{instance=~"$instance", ', text)


def _queries(loader: Any, node: Any) -> Verbatim:
    return Verbatim({k: promql(str(v)) for k, v in loader.construct_mapping(node).items()})


def _scalar(loader: Any, node: Any) -> Verbatim:
    return Verbatim(promql(loader.construct_scalar(node)))


GDBLoader.add_constructor("!queries", _queries)
GDBLoader.add_constructor("!promql", _scalar)


def plain(data: Any) -> Any:
    """`data` with every `Verbatim` replaced by what it holds."""
    if isinstance(data, Verbatim):
        return data.value
    if isinstance(data, dict):
        return {key: plain(value) for key, value in data.items()}
    if isinstance(data, list):
        return [plain(value) for value in data]
    return data


def checked(what: str, data: Any, needed: set[str], optional: set[str]) -> Json:
    """`plain(data)`; raises ValueError for a missing or an unknown key, and says which exist."""
    found: Json = plain(data)
    known = ", ".join(sorted(needed | optional))
    wrong = {
        "lacks": needed - found.keys(),
        "does not know": found.keys() - needed - optional,
    }
    for verb, keys in wrong.items():
        if keys:
            name = found.get("title") or found.get("name") or ""
            listed = ", ".join(sorted(keys))
            raise ValueError(f"{what} {name!r} {verb} {listed}; its keys are: {known}")
    return found


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


class LabelVariable(TemplatesItemBase):  # type: ignore[misc] # the builder ships no types
    """The values of a label: `of` is a selector, `values` the label; all of them unless chosen."""

    def gen_json_from_data(self, data: Json, context: object) -> Json:
        """The variable's JSON; ValueError for a wrong key."""
        data = checked("label-variable", data, {"name", "label", "of", "values"}, set())
        variable = _choice(data, f"label_values({data['of']}, {data['values']})", _LABEL_VALUES)
        # Also where the label has no value yet, nothing is left out.
        return {**variable, "allValue": ".*"}


class TargetVariable(TemplatesItemBase):  # type: ignore[misc] # the builder ships no types
    """The targets of the regions chosen. All of them are no more than these, so no `allValue`."""

    def gen_json_from_data(self, data: Json, context: object) -> Json:
        """The variable's JSON; ValueError for a wrong key."""
        data = checked("target-variable", data, {"name", "label"}, set())
        variable = _choice(data, f"query_result({_TARGETS})", _QUERY_RESULT)
        return {**variable, "regex": '/[{,]instance="([^"]*)"/'}


def _choice(data: Json, query: str, kind: int) -> Json:
    """A variable that asks the data source, with everything chosen."""
    return {
        "type": "query",
        "name": data["name"],
        "label": data["label"],
        "datasource": DATASOURCE,
        "definition": query,
        "query": {
            "qryType": kind,
            "query": query,
            "refId": "PrometheusVariableQueryEditor-VariableQuery",
        },
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "includeAll": True,
        "multi": True,
        "options": [],
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "hide": 0,
        "skipUrlSync": False,
    }


class _Collector:
    """Takes dashboards instead of the builder's exporters, which write the old form."""

    def __init__(self) -> None:
        self.dashboards: dict[str, Json] = {}

    def process_dashboard(self, project: str, name: str, built: Json) -> None:
        """Called by the builder for each dashboard."""
        self.dashboards[name] = built


def built(paths: list[Path]) -> dict[str, Json]:
    """Name -> the builder's JSON, with our panels, of every dashboard in the YAML files `paths`.

    Raises ValueError, which names the file, when something has a wrong key or an unknown type.
    """
    collector = _Collector()
    for path in paths:
        try:
            _check_frame(yaml.load(path.read_text(encoding="utf-8"), Loader=GDBLoader))
            projects = DefinitionParser().load_projects([str(path)])
            ProjectProcessor([collector]).process_projects(projects)
        except (DashboardBuilderException, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}: {error}") from error
    return collector.dashboards


def _check_frame(documents: list[Json]) -> None:
    """Refuse what the builder would ignore around the panels."""
    for document in documents:
        checked("component", document, {"name"}, {"project", "dashboard"})
        if "dashboard" in document:
            dashboard = checked("dashboard", document["dashboard"], DASHBOARD_KEYS, set())
            for row in dashboard["rows"]:
                checked("row", checked("rows", row, {"row"}, set())["row"], ROW_KEYS, set())
