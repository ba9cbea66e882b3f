"""What a scrape of the backend holds, and how much of it there is."""

from __future__ import annotations

import urllib.request
from typing import Any

from launchday.metric_names import CRITICALITIES
from target_service import routes
from target_service.metrics import OUTCOMES
from tests.target_service.processes import sign_in

MOST_SERIES = 2000


def test_a_scrape_stays_small_also_when_every_class_had_every_outcome(target: Any) -> None:
    target.http.get("/nowhere")
    url = f"http://127.0.0.1:{target.metrics_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    assert 500 < sum(not line.startswith("#") for line in lines) < MOST_SERIES


def test_latency_is_by_class_and_outcome_and_each_starts_at_0(start: Any) -> None:
    fresh = start("target_service")
    name = "car_request_seconds_count"
    classes = (*CRITICALITIES, routes.EXEMPT)
    started = {
        (c, o): fresh.metric(name, **{"class": c, "outcome": o}) for c in classes for o in OUTCOMES
    }
    assert {key for key, count in started.items() if count} <= {("exempt", "ok")}
    owner = sign_in(fresh)
    fresh.http.get("/v1/vehicles/none/state", headers=owner)
    fresh.http.get("/v1/vehicles", headers=owner)
    fresh.http.get("/v1/vehicles")
    fresh.http.get("/status")
    found = {key: fresh.metric(name, **{"class": key[0], "outcome": key[1]}) for key in started}
    rose = {key: found[key] - started[key] for key in found if found[key] > started[key]}
    assert rose == {
        ("critical", "ok"): 2,  # the sign-in and the list of vehicles
        ("critical", "client_error"): 1,
        ("sheddable_plus", "client_error"): 1,
        ("exempt", "ok"): 1,
    }


def test_the_time_of_a_route_is_counted_in_seconds(start: Any) -> None:
    fresh = start("target_service", TARGET_SERVICE_MEAN_SECONDS="0.05")
    owner = sign_in(fresh)
    labels = {"route": "/v1/vehicles", "method": "GET"}
    assert fresh.metric("car_route_seconds_total", **labels) == 0
    for _ in range(4):
        fresh.http.get("/v1/vehicles", headers=owner)
    assert fresh.metric("car_requests_total", **labels, code="200") == 4
    seconds = fresh.metric("car_route_seconds_total", **labels)
    assert seconds > 0.02
    latency = {"class": "critical", "outcome": "ok"}
    assert fresh.metric("car_request_seconds_sum", **latency) >= seconds


def test_the_backend_says_in_which_region_it_is(start: Any) -> None:
    assert start("target_service", TARGET_REGION="eu").metric("car_info", region="eu") == 1
