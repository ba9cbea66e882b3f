import itertools
import re
from typing import Any

from dashboards.gdb_components import LEGENDS
from tests.dashboards.promql import grouped_by, labels_of, selectors, series

UNITS = {"none", "short", "reqps", "ops", "s", "percentunit", "bytes", "Bps"}
DARK_PANEL = "#181B1F"  # the background of a panel in Grafana's dark theme


def test_every_metric_is_in_the_catalogue(expressions: list[str]) -> None:
    used = {selector.metric for expression in expressions for selector in selectors(expression)}
    assert used
    assert used - series().keys() == set()


def test_every_label_belongs_to_its_metric(expressions: list[str]) -> None:
    for expression in expressions:
        found = list(selectors(expression))
        for selector in found:
            assert selector.labels <= labels_of(selector.metric), expression
        known: set[str] = set().union(*(labels_of(selector.metric) for selector in found))
        assert grouped_by(expression) <= known, expression


def test_the_answers_of_issue_2_have_a_panel(expressions: list[str]) -> None:
    used = {selector.metric for expression in expressions for selector in selectors(expression)}
    assert used >= {
        "shed_requests_total",
        "shed_rejections_total",
        "shed_limit",
        "shed_inflight",
        "shed_queue_length",
        "shed_retry_after_seconds_bucket",
        "car_request_seconds_bucket",
        "car_dependency_seconds_bucket",
        "car_slots_busy",
        "car_slots_waiting",
        "car_capacity_rps",
    }


def test_the_causes_of_a_503_have_a_panel(expressions: list[str]) -> None:
    used = {selector.metric for expression in expressions for selector in selectors(expression)}
    assert used >= {"car_unavailable_total", "car_breaker_state", "car_stale_reads_total"}


def test_the_dashboard_is_one_that_grafana_12_takes(board: dict[str, Any]) -> None:
    assert board["schemaVersion"] == 41
    assert board["id"] is None
    assert re.fullmatch(r"[a-z0-9-]{8,40}", board["uid"])
    assert board["editable"] is False
    assert board["templating"]["list"][0]["type"] == "datasource"
    assert board["annotations"]["list"][0]["builtIn"] == 1


def test_ids_and_titles_are_unique(board: dict[str, Any]) -> None:
    for key in ("id", "title"):
        values = [panel[key] for panel in board["panels"]]
        assert len(values) == len(set(values)), key


def test_panels_lie_inside_the_grid_and_not_on_each_other(board: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for a, b in itertools.combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (a, b)


def test_every_panel_says_what_it_shows_and_in_which_unit(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        assert panel["type"] in {"timeseries", "stat"}
        assert len(panel["description"]) >= 20, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]


def test_every_query_goes_to_the_chosen_data_source(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        assert panel["targets"], panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)), panel["title"]
        for source in (panel, *panel["targets"]):
            assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_counters_are_only_read_as_rates(expressions: list[str]) -> None:
    for expression in expressions:
        assert set(re.findall(r"\$\w+", expression)) <= {"$__rate_interval"}, expression
        counters = re.findall(r"(?:_total|_bucket|_count|_sum)\b(?:\{[^}]*\})?(.?)", expression)
        assert all(follows == "[" for follows in counters), expression
        if "histogram_quantile" in expression:
            assert "le" in grouped_by(expression), expression


def test_one_thing_has_one_colour_and_colours_show_on_the_dark_theme() -> None:
    for colour, _ in LEGENDS.values():
        assert colour == "text" or contrast(colour, DARK_PANEL) >= 3, colour


def test_lines_in_one_panel_differ_by_more_than_hue(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        looks = [
            (LEGENDS[target["legendFormat"]][0], str(LEGENDS[target["legendFormat"]][1]))
            for target in panel["targets"]
            if target["legendFormat"] in LEGENDS
        ]
        assert len(looks) == len(set(looks)), panel["title"]


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, WCAG 2.2 section 1.4.11."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_graphs_are_shaded_while_a_fault_is_in(board: dict[str, Any]) -> None:
    (faults,) = [a for a in board["annotations"]["list"] if a["name"] == "Faults"]
    (selector,) = selectors(faults["expr"])
    assert selector.metric in series()
    shown = re.findall(r"{{(\w+)}}", faults["titleFormat"] + faults["textFormat"])
    assert {*shown, faults["tagKeys"]} <= labels_of(selector.metric)
