"""The shedder in the backend: who a request is, settings, and changes at run time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday import MaintenanceWindow
from launchday.admission import Classifier
from launchday.admission.outside import find
from launchday.admission.refusal import Refusal
from launchday.metric_names import CRITICALITIES
from target_service import routes
from target_service.app import create_app
from target_service.backend import Backend
from target_service.settings import TargetSettings
from target_service.shedding import cgroup_signals, limit_of, tolerance_seconds
from target_service.work import Work
from tests.target_service.processes import ADMIN, ADMIN_TOKEN, FREE_PORTS, Process, environment
from tests.target_service.shedding import (
    CAR,
    SHED,
    STATE,
    Eventually,
    flood,
    refused,
    total,
)
from tests.target_service.sse import listen

ALGORITHMS = ("fixed", "aimd", "vegas", "gradient2", "elastic")
STREAM = "/v1/notifications/stream"


# ---- who a request is


def test_every_route_is_classified_as_the_table_says_and_only_the_stream_is_long() -> None:
    classify = Classifier(routes.RULES).classify
    assert classify({"method": "GET", "path": "/nowhere"}).criticality == 1
    for route in routes.ALL:
        if route.criticality == routes.EXEMPT:
            continue
        path = route.path.replace("{command}", "honk").replace("{", "").replace("}", "")
        found = classify({"method": route.method, "path": path})
        assert CRITICALITIES[found.criticality] == route.criticality, route.name
        assert found.cost == 1
        assert found.long_lived == (route.name == "notification_stream")


@pytest.mark.parametrize(
    ("method", "command", "criticality"),
    [
        ("POST", "lock", "critical_plus"),
        ("POST", "unlock", "critical_plus"),
        ("POST", "climate_on", "critical"),
        ("GET", "unlock", "critical"),  # there is no such route: a 405 is nothing to hurry for
    ],
)
def test_doors_go_first(method: str, command: str, criticality: str) -> None:
    scope = {"method": method, "path": f"{CAR}/commands/{command}"}
    assert CRITICALITIES[Classifier(routes.RULES).classify(scope).criticality] == criticality


# ---- settings


@given(st.sampled_from(ALGORITHMS), st.integers(1, 100_000), st.integers(1, 10_000))
def test_every_limit_and_number_of_slots_that_may_be_set_makes_a_limit(
    algorithm: str, initial: int, slots: int
) -> None:
    limit = limit_of(algorithm, initial, slots)
    assert (limit.algorithm, limit.limit) == (algorithm, initial)
    assert algorithm == "fixed" or getattr(limit, "floor", 0) == min(slots, initial)


def test_what_the_settings_burn_on_the_cpu_is_tolerated() -> None:
    def tolerance(**settings: Any) -> float:
        return tolerance_seconds(Work(TargetSettings.model_validate(settings)))

    assert tolerance() == 0.1
    assert tolerance(profile="cpu_bound", service_mean_seconds=0.05) == pytest.approx(0.5)
    assert tolerance(cpu_seconds_by_route={"state": 0.02}) == pytest.approx(0.2)
    assert tolerance(cpu_seconds=60) == 60


@pytest.mark.parametrize(
    ("cpu", "memory", "reasons"),
    [
        ("max 100000", "max", []),
        ("50000 100000", "max", [Refusal.CPU]),
        ("max 100000", "1000000", [Refusal.MEMORY]),
        ("50000 100000", "1000000", [Refusal.CPU, Refusal.MEMORY]),
    ],
)
def test_only_a_control_group_with_a_limit_is_listened_to(
    cpu: str, memory: str, reasons: list[Refusal], tmp_path: Path
) -> None:
    group = tmp_path / "ours"
    group.mkdir()
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (tmp_path / "membership").write_text("0::/ours\n")
    for name, text in {
        "cpu.max": cpu,
        "cpu.stat": "usage_usec 1",
        "cpuset.cpus.effective": f"0-{(os.cpu_count() or 1) - 1}",
        "memory.max": memory,
        "memory.current": "1000",
        "memory.stat": "inactive_file 0",
    }.items():
        (group / name).write_text(f"{text}\n")
    signals = cgroup_signals(tmp_path, tmp_path / "membership")
    assert [signal.reason for signal in signals] == reasons


def test_a_file_that_cannot_be_shared_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "limit"
    file.write_text("of somebody else")
    settings = {"TARGET_SHED_SHARED": str(file), "TARGET_SHED_LIMIT": "4"}
    done = subprocess.run(
        [sys.executable, "-m", "target_service"],
        env=environment(**FREE_PORTS, **settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"TARGET_SHED_SHARED: {str(file)!r} is not allowed: ")
    assert file.read_text() == "of somebody else"


# ---- modes


def test_observing_refuses_nobody_and_says_whom_it_would(start: Any, sign_in: Any) -> None:
    target: Process = start(
        "target_service",
        TARGET_SHEDDING="Observe",
        TARGET_SHED_ALGORITHM="elastic",
        TARGET_SLOTS="1",
        TARGET_SERVICE_MEAN_SECONDS="0.02",
    )
    with flood(target, sign_in(target)) as answers:
        deadline = time.monotonic() + 30
        while total(target, "shed_would_reject_total") < 5:
            assert time.monotonic() < deadline
    assert refused(answers) == []
    assert total(target, "shed_rejections_total") == 0
    assert total(target, "shed_info", "elastic", "observe") == 1


def test_there_are_as_many_streams_as_set_without_the_shedder_too(start: Any, sign_in: Any) -> None:
    target: Process = start("target_service", TARGET_SHEDDING="off", TARGET_STREAMS="1")
    owner = sign_in(target)
    with listen(target, STREAM, **owner):
        answer = target.http.get(STREAM, headers=owner)
    assert (answer.status_code, answer.json()["reason"]) == (503, "overload")


def test_streams_hold_no_slots(start: Any, sign_in: Any, eventually: Eventually) -> None:
    target: Process = start("target_service", TARGET_SHED_LIMIT="1", TARGET_STREAMS="3")
    owner = sign_in(target)
    with ExitStack() as streams:
        for _ in range(3):
            streams.enter_context(listen(target, STREAM, **owner))
        assert total(target, "shed_long_lived", "stream") == 3
        for _ in range(5):
            assert target.http.get(STATE, headers=owner).status_code == 200
        refusal = target.http.get(STREAM, headers=owner)
        assert (refusal.status_code, refusal.json()["reason"]) == (503, "limit")
        assert 1 <= int(refusal.headers["retry-after"]) <= 30
    eventually(lambda: total(target, "shed_long_lived", "stream") == 0)


# ---- fairness


def test_a_client_above_its_share_gets_a_429_and_no_503_is_counted_for_it(
    start: Any, sign_in: Any
) -> None:
    target: Process = start(
        "target_service",
        TARGET_SLOTS="2",
        TARGET_SHED_LIMIT="3",
        TARGET_SERVICE_MEAN_SECONDS="0.02",
        TARGET_CLIENT_SHARE="0.2",
    )
    greedy, modest = sign_in(target, 0), sign_in(target, 1)
    own_state = STATE.replace("00000000", "00000001")
    seen = []
    with flood(target, greedy) as answers:
        deadline = time.monotonic() + 30
        while sum(each.status_code == 429 for each in answers) < 20:
            seen.append(target.http.get(own_state, headers=modest))
            time.sleep(0.25)
            assert time.monotonic() < deadline
    excess = [each for each in answers if each.status_code == 429]
    assert all(1 <= int(each.headers["retry-after"]) <= 30 for each in excess)
    assert all("unavailable-cause" not in each.headers for each in excess)
    assert {each.json()["reason"] for each in excess} == {"fairness"}
    assert 429 not in {each.status_code for each in seen}
    short = sum(each.status_code == 503 for each in (*answers, *seen))
    assert total(target, "car_unavailable_total", "shed") == short
    assert total(target, "shed_rejections_total", "429") == len(excess)


# ---- refusals in front of the application


async def test_refusals_pass_everything_in_front_of_the_shedder_only_while_it_is_right(
    tmp_path: Path,
) -> None:
    settings = TargetSettings(database_url=f"sqlite:///{tmp_path / 'car.db'}")
    app = create_app(settings)
    backend: Backend = app.state.backend
    outside = find(app)
    assert outside is not None
    assert id(outside.shedder) == id(backend.shedding.shedder)
    assert not outside.is_transparent(), "starting"
    backend.lifecycle.ready()
    assert outside.is_transparent()
    doors, now = backend.maintenance.doors, time.time()
    doors.schedule(MaintenanceWindow(now + 60, now + 120, "Back soon"))
    assert outside.is_transparent(), "only announced"
    doors.replace_windows([MaintenanceWindow(now - 1, now + 60, "Back soon")])
    assert not outside.is_transparent(), "closed"
    doors.replace_windows([])
    assert outside.is_transparent()
    backend.lifecycle.drain()
    assert not outside.is_transparent(), "answers say that the connection closes"


def test_while_it_sheds_maintenance_is_maintenance_and_every_request_is_counted_once(
    small: Process, sign_in: Any, eventually: Eventually
) -> None:
    owner = sign_in(small)
    before = total(small, "shed_requests_total", "sheddable_plus")
    now = datetime.now(UTC)
    window = {
        "starts_at": now.isoformat(),
        "ends_at": (now + timedelta(seconds=300)).isoformat(),
        "sentence": "Back soon",
    }
    with flood(small, owner) as answers:
        eventually(lambda: len(refused(answers)) > 0)
        made = small.http.post("/admin/maintenance", json=window, headers=ADMIN)
        assert made.status_code == 201, made.text
        closed = [small.http.get(STATE, headers=owner) for _ in range(10)]
        small.http.delete(
            "/admin/maintenance", params={"id": made.json()["id"]}, headers=ADMIN
        ).raise_for_status()
    assert {each.headers["unavailable-cause"] for each in closed} == {"maintenance"}
    by_cause = [each.headers["unavailable-cause"] for each in refused(answers)]
    assert set(by_cause) == {"overload", "maintenance"}
    assert all(1 <= int(each.headers["retry-after"]) <= 400 for each in refused(answers))
    counted = total(small, "shed_requests_total", "sheddable_plus") - before
    assert counted == len(answers) - by_cause.count("maintenance")
    assert total(small, "shed_inflight") == 0


def test_no_request_of_a_backend_that_has_time_is_refused(start: Any, sign_in: Any) -> None:
    """Nothing that it does by itself, or for anybody, holds up its event loop for long."""
    target: Process = start("target_service", TARGET_ADMIN_TOKEN=ADMIN_TOKEN)
    owner = sign_in(target)
    paths = ("/openapi.json", "/docs", "/status", SHED, "/debug/capacity", "/v1/notifications")
    with ThreadPoolExecutor(2) as pool:
        others = pool.submit(
            lambda: [httpx.get(target.url + p, headers=ADMIN, trust_env=False) for p in 3 * paths]
        )
        answers = []
        while not others.done():
            answers.append(target.http.get("/v1/energy/site-LAUNCHDAY00000000", headers=owner))
    assert {each.status_code for each in answers} <= {200, 404}
    assert total(target, "shed_rejections_total") == 0
