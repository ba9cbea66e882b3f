import re
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.compose import planned_record
from tests.compose.board_queries import Query, all_queries, fault_of, has_a_number
from tests.dashboards.conftest import BOARDS, load, panels_of
from tests.dashboards.prometheus_server import serving


def test_every_query_of_every_panel_is_asked_and_each_once() -> None:
    asked = all_queries()
    panels = [panel for name in BOARDS for panel in panels_of(load(name))]
    targets = {target["expr"] for panel in panels for target in panel.get("targets", [])}
    assert targets <= {query.expression for query in asked}
    assert len({(each.expression, each.instant, each.label) for each in asked}) == len(asked)
    assert {query.label for query in asked} == {"", "region", "run", "dependency"}
    assert [query for query in asked if query.place.endswith("variable instance")]


def test_what_grafana_would_ask_is_asked() -> None:
    expression = 'sum(increase(car_requests_total{instance=~"$instance"}[$__range]))'

    def asked(query: Query, end: int = 160) -> tuple[str, dict[str, str]]:
        path, _, parameters = query.address(100, end).partition("?")
        return path, dict(urllib.parse.parse_qsl(parameters))

    said = 'sum(increase(car_requests_total{instance=~".*"}[60s]))'
    span = {"start": "100", "end": "160"}
    assert asked(Query("a", expression)) == (
        "/api/v1/query_range",
        {"query": said, "step": "1s", **span},
    )
    assert asked(Query("a", expression, instant=True)) == (
        "/api/v1/query",
        {"query": said, "time": "160"},
    )
    assert asked(Query("a", 'car_info{region=~"$region"}', label="instance")) == (
        "/api/v1/label/instance/values",
        {"match[]": 'car_info{region=~".*"}', **span},
    )
    assert asked(Query("a", "up"), end=2101)[1]["step"] == "3s"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([], False),
        (["eu"], True),
        ({"result": []}, False),
        ({"result": [{"values": [[1, "NaN"], [2, "+Inf"]]}]}, False),
        ({"result": [{"values": [[1, "NaN"]]}, {"values": [[1, "0"]]}]}, True),
        ({"result": [{"value": [1, "0.5"]}]}, True),
    ],
)
def test_an_answer_without_a_finite_number_is_empty(data: Any, expected: bool) -> None:
    assert has_a_number(data) is expected


def test_what_prometheus_refuses_and_what_it_does_not_know_are_told_apart(tmp_path: Path) -> None:
    with serving(tmp_path, "{}\n") as url:
        told = {
            text: fault_of(Query("a", text), url, 100, 160)
            for text in ("vector(1)", "sum(nobody)", "sum(")
        }
    assert told["vector(1)"] == ""
    assert told["sum(nobody)"] == "empty"
    assert re.match(r"in error: .*parse error", told["sum("])


def test_the_plan_is_made_of_rates_that_its_law_can_do() -> None:
    assert max(map(planned_record.throughput, range(1, 20))) > max(planned_record.RATES)
