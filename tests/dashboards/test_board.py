"""What every dashboard must be, whatever it shows: lint of the committed JSON."""

import itertools
import re
from enum import StrEnum
from typing import Any

import pytest

from dashboards.colours import ERROR, FAULT, GOODPUT, LEGENDS, NAMED, SHED
from dashboards.gdb_panels import MOST_WITH_NUMBERS, legend_of
from launchday.load.retry import GaveUp
from launchday.outcomes import Outcome
from tests.dashboards.conftest import BOARDS, load, panels_of
from tests.dashboards.promql import grouped_by, labels_of, selectors

UNITS = {"none", "short", "reqps", "ops", "s", "percentunit", "bytes", "Bps"}
KINDS = {
    "timeseries", "stat", "gauge", "bargauge", "heatmap", "state-timeline", "table", "xychart",
    "text",
}  # fmt: skip
RANGES = {"$__rate_interval", "$__range", "$__range:1s", "10s"}
BUILT_IN = {"__rate_interval", "__range"}
DARK_PANEL, LIGHT_PANEL = "#181B1F", "#FFFFFF"  # backgrounds of panels in Grafana's two themes


def test_there_are_five_boards_each_with_a_question_of_its_own() -> None:
    assert set(BOARDS) == {
        "launchday-overview", "launchday-shedding", "launchday-client", "launchday-chaos",
        "launchday-capacity",
    }  # fmt: skip
    titles = [load(name)["title"] for name in BOARDS]
    assert sorted(titles) == [
        "Launch day / 1 Overview", "Launch day / 2 Shedding", "Launch day / 3 Client view",
        "Launch day / 4 Chaos", "Launch day / 5 Capacity",
    ]  # fmt: skip


def test_the_questions_of_a_launch_day_have_a_panel(all_expressions: list[str]) -> None:
    used = {selector.metric for expr in all_expressions for selector in selectors(expr)}
    assert used >= {
        "shed_requests_total", "shed_rejections_total", "shed_limit", "shed_service_seconds_sum",
        "shed_retry_after_seconds_bucket", "car_request_seconds_bucket", "car_capacity_rps",
        "car_dependency_seconds_bucket", "car_slots_busy_seconds_total", "car_slots_waiting",
        "car_unavailable_total", "car_breaker_state", "car_stale_reads_total",
        "launchday_corrected_seconds_bucket", "chaos_fault_active", "chaos_steady_state_ok",
        "launchday_retries_total", "launchday_give_ups_total",
    }  # fmt: skip


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
        assert panel["type"] in KINDS
        assert len(panel["description"]) >= 20, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        if panel["type"] == "text":
            continue
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        if panel["type"] == "heatmap":
            assert panel["options"]["yAxis"]["unit"] in UNITS


def test_every_query_goes_to_the_chosen_data_source(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        if panel["type"] == "text":
            continue
        assert panel["targets"], panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs)), panel["title"]
        for source in (panel, *panel["targets"]):
            assert source["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        instant = panel["type"] in ("table", "bargauge")
        assert all(t["instant"] is instant is not t["range"] for t in panel["targets"])


def test_legends_of_labels_are_labels_that_the_query_keeps(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        for target in panel.get("targets", []):
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            if panel["type"] == "state-timeline" or shown:
                assert shown, f"{panel['title']}: each lane needs a name"
                assert shown <= grouped_by(target["expr"]), panel["title"]


def test_counters_are_only_read_as_rates(expressions: list[str]) -> None:
    for expression in expressions:
        counters = re.findall(
            r"\b(?:shed|car|launchday|process|toxiproxy)_\w*(?:_total|_bucket|_count|_sum)\b"
            r"(?:\{[^}]*\})?(.?)",
            expression,
        )
        assert all(follows == "[" for follows in counters), expression
        assert set(re.findall(r"\[([^]]+)\]", re.sub(r'"[^"]*"', "", expression))) <= RANGES
        if "histogram_quantile" in expression:
            assert "le" in grouped_by(expression), expression


def test_the_numbers_of_requests_in_flight_are_counted_in_seconds(
    all_expressions: list[str],
) -> None:
    """A scrape itself makes requests wait, so that a gauge is read when it is at its highest."""
    for gauge in ("shed_inflight", "shed_queue_length", "car_slots_busy"):
        used = {selector.metric for expr in all_expressions for selector in selectors(expr)}
        assert gauge not in used


def test_only_declared_variables_are_used_and_they_ask_again_with_the_time(
    board: dict[str, Any], expressions: list[str]
) -> None:
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert list(variables)[:4] == ["datasource", "region", "instance", "run"]
    asked = [v["definition"] for v in variables.values() if v["type"] == "query"]
    asked += [a["target"]["expr"] for a in board["annotations"]["list"] if "target" in a]
    for expression in (*expressions, *asked):
        assert set(re.findall(r"\$(\w+)", expression)) <= variables.keys() | BUILT_IN, expression
    for variable in variables.values():
        if variable["type"] == "query":
            assert variable["refresh"] == 2
            # Where a label has no value yet, nothing is left out; targets are those of the regions.
            assert variable.get("allValue") == (None if variable["name"] == "instance" else ".*")
            assert variable["datasource"]["uid"] == "${datasource}"


def test_the_shedders_and_the_backends_panels_show_the_chosen_targets(
    expressions: list[str],
) -> None:
    for expression in expressions:
        for selector in selectors(expression):
            if selector.metric.startswith(("shed_", "car_")):
                gateways = selector.metric == "car_gateway_commands_total"
                assert ("instance" in selector.labels) is not gateways, expression


def test_boards_lead_to_each_other_with_time_and_variables_kept(board: dict[str, Any]) -> None:
    (link,) = board["links"]
    assert link["type"] == "dashboards"
    assert link["tags"] == board["tags"] == ["launch-day"]
    assert link["keepTime"] is link["includeVars"] is True


def test_panels_lead_only_to_boards_that_exist_with_time_and_choices_kept() -> None:
    links = [
        link
        for name in BOARDS
        for panel in panels_of(load(name))
        for link in panel.get("links", [])
    ]
    assert len(links) >= 5
    for link in links:
        board = re.fullmatch(
            r"/d/([a-z-]+)\?\$\{__url_time_range\}&\$\{__all_variables\}", link["url"]
        )
        assert board, link
        assert load(board[1])["uid"] == board[1]


def test_colours_show_on_both_themes() -> None:
    assert all(contrast(found, DARK_PANEL) >= 3 for found in NAMED.values())
    # Thick lines that differ in their dashes too; what must not be is yellow, which is gone at 1.3.
    assert all(contrast(found, LIGHT_PANEL) >= 2 for found in NAMED.values())
    for found, _ in LEGENDS.values():
        assert found == "text" or found in NAMED.values()


def test_goodput_refusals_errors_and_faults_have_a_colour_each() -> None:
    assert len({GOODPUT, SHED, ERROR, FAULT}) == 4
    meant = {"goodput": GOODPUT, "ok": GOODPUT, "shed": SHED, "error": ERROR, "5xx": ERROR}
    assert {name: LEGENDS[name][0] for name in meant} == meant


def test_lines_in_one_panel_differ_by_more_than_hue(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        if panel["type"] == "timeseries":
            styled = panel["fieldConfig"]["overrides"]
            names = {each["matcher"]["options"] for each in styled} & LEGENDS.keys()
            looks = [(LEGENDS[name][0], str(LEGENDS[name][1])) for name in names]
            assert len(looks) == len(set(looks)), panel["title"]


@pytest.mark.parametrize(
    ("title", "expected"),
    [("Requests by outcome", Outcome), ("Retries", Outcome), ("Gave up", GaveUp)],
)
def test_everything_that_clients_can_see_has_a_look_of_its_own(
    title: str, expected: type[StrEnum]
) -> None:
    (panel,) = [each for each in panels_of(load("launchday-client")) if each["title"] == title]
    styled = {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]}
    assert styled == set(expected)


def test_what_is_not_there_draws_no_line_on_top_of_a_stack(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom", {})
        if custom.get("stacking", {}).get("mode") != "normal":
            continue
        assert custom["lineWidth"] == 0, panel["title"]
        looks = [
            tuple(
                str(each["value"]) for each in styled["properties"] if "lineStyle" not in each["id"]
            )
            for styled in panel["fieldConfig"]["overrides"]
        ]
        assert len(looks) == len(set(looks)), panel["title"]  # areas are told apart without lines


def test_legends_of_many_lines_are_names_only_so_that_none_is_cut(
    panels: list[dict[str, Any]],
) -> None:
    for panel in panels:
        if panel["type"] == "timeseries":
            styled = {each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]}
            by_labels = any("{{" in t["legendFormat"] for t in panel["targets"])
            known = [name for name in styled if "\\d" not in name]  # those of targets are patterns
            if by_labels and len(known) > MOST_WITH_NUMBERS:
                assert panel["options"]["legend"]["calcs"] == [], panel["title"]


def test_purple_is_for_faults_and_green_for_what_went_well(panels: list[dict[str, Any]]) -> None:
    assert FAULT not in {found for found, _ in LEGENDS.values()}
    for panel in panels:
        if panel["type"] == "timeseries":  # Grafana's palette begins with a green
            colour = panel["fieldConfig"]["defaults"]["color"]
            assert colour == {"mode": "shades", "fixedColor": NAMED["blue"]}, panel["title"]


def test_a_hidden_column_is_named_as_before_its_new_name(panels: list[dict[str, Any]]) -> None:
    for panel in panels:
        for step in panel.get("transformations", []):
            if step["id"] == "organize":  # Grafana excludes first, and renames then
                renamed = set(step["options"]["renameByName"].values())
                assert not renamed & step["options"]["excludeByName"].keys(), panel["title"]


@pytest.mark.parametrize(
    ("name", "legend"),
    [("shed", "shed"), ("by cause", "{{cause}}"), ("by a, b", "{{a}}: {{b}}")],
)
def test_a_legend_is_a_name_or_the_labels_that_it_is_by(name: str, legend: str) -> None:
    assert legend_of(name) == legend


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours, WCAG 2.2 section 1.4.11."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", ["Faults", "Phases"])
def test_the_graphs_are_marked_where_a_fault_is_in_and_where_a_phase_begins(
    board: dict[str, Any], name: str
) -> None:
    (found,) = [a for a in board["annotations"]["list"] if a["name"] == name]
    assert found["target"]["interval"] == "1s"  # without it Grafana asks once a minute
    assert found["useValueForTime"] is False
    assert 'launchday_phase{run=~"$run"}' in found["target"]["expr"]
    metric = {"Faults": "chaos_fault_active", "Phases": "launchday_phase"}[name]
    assert next(selectors(found["target"]["expr"])).metric == metric
    shown = re.findall(r"{{(\w+)}}", found["titleFormat"] + found["textFormat"])
    assert {*shown, found["tagKeys"]} <= labels_of(metric)


def test_titles_of_panels_are_unique_over_all_boards() -> None:
    titles = [panel["title"] for name in BOARDS for panel in panels_of(load(name))]
    assert len(titles) == len(set(titles))
