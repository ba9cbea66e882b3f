"""The conductor's own metrics, asked for over HTTP."""

from __future__ import annotations

import math
import socket

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from launchday.errors import PreflightError
from launchday.metric_names import CHAOS_FAULT_ACTIVE, CHAOS_STEADY_STATE
from launchday.runs.exposition import exposed
from launchday.runs.hypotheses import Judged
from tests.ports import free_port

FAULT = {"experiment": "Slow", "link": "gateway", "fault": "latency 400 ms", "unix": 1.0}


def active(port: int) -> dict[str, float]:
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
    assert answer.status_code == 200
    return {
        sample.labels["fault"]: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == CHAOS_FAULT_ACTIVE.name
        and sample.labels["experiment"] == "Slow"
        and sample.labels["link"] == "gateway"
    }


def test_a_fault_is_0_then_1_while_it_is_in_then_0_as_long_as_the_run_lasts() -> None:
    port = free_port()
    with exposed(port) as gauges:
        seen = []
        for event in ("planned", "applied", "verified", "updated", "undone"):
            gauges.saw({"event": event, **FAULT})
            seen.append(active(port)["latency 400 ms"])
        assert seen == [0, 1, 1, 1, 0]
        gauges.saw({"event": "applied", **FAULT})
        gauges.saw({"event": "residual", **FAULT, "reasons": ["still there"]})
        assert active(port)["latency 400 ms"] == 1
        gauges.saw({"event": "aborted", "experiment": "Slow", "unix": 1.0, "reason": "floor"})
    with pytest.raises(httpx.ConnectError):
        active(port)


def test_who_ends_at_once_lets_two_scrapes_hear_that_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, heard = free_port(), []

    def sleep(seconds: float) -> None:
        heard.append((seconds, active(port)["latency 400 ms"]))

    def run() -> None:
        with exposed(port) as gauges:
            gauges.saw({"event": "applied", **FAULT})
            gauges.saw({"event": "undone", **FAULT})
            raise KeyboardInterrupt

    monkeypatch.setattr("launchday.runs.exposition.time.sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        run()
    ((seconds, still_in),) = heard
    assert seconds > 0
    assert still_in == 0
    with exposed(free_port()):
        pass
    assert len(heard) == 1  # without a fault nobody waits


def values(port: int) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
    return {
        (
            sample.name,
            tuple(sample.labels[name] for name in ("run", "phase") if sample.labels),
        ): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def judged(title: str, held: bool | None) -> Judged:
    return Judged("before", title, "success_share", held, None, None, None, None, "so it is")


def test_what_holds_of_the_steady_state_is_told_and_what_nobody_can_tell_is_no_number() -> None:
    port = free_port()
    with exposed(port) as gauges:
        gauges.steady("Slow", [judged("success", True), judged("p99", None)])
        gauges.steady("Slow", [judged("success", False)])
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    found = {
        sample.labels["expectation"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == CHAOS_STEADY_STATE.name and sample.labels["experiment"] == "Slow"
    }
    assert found["success"] == 0
    assert math.isnan(found["p99"])


def test_one_phase_of_the_schedule_is_1_at_a_time_and_the_planned_rate_is_told() -> None:
    port = free_port()
    phases = ("quiet", "peak", "tail")
    with exposed(port) as gauges:
        seen = []
        for phase, rate in (("starting", 0.0), ("quiet", 20.0), ("peak", 800.0), ("draining", 0.0)):
            gauges.at("run-1", phases, phase, rate)
            found = values(port)
            on = {key[1] for key, value in found.items() if value and key[0] == "launchday_phase"}
            seen.append((on, found["launchday_planned_rate", ()]))
        assert {key[1] for key in found if key[0] == "launchday_phase"} == {
            ("run-1", name) for name in (*phases, "starting", "draining")
        }
    assert seen == [
        ({("run-1", "starting")}, 0),
        ({("run-1", "quiet")}, 20),
        ({("run-1", "peak")}, 800),
        ({("run-1", "draining")}, 0),
    ]


def test_a_port_that_is_taken_is_refused_with_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PreflightError, match=f"run.metrics_port is {port}"), exposed(port):
            pass


def test_without_a_port_nobody_is_told_and_nothing_fails() -> None:
    with exposed(None) as gauges:
        gauges.saw({"event": "applied", **FAULT})
