"""Planned maintenance on the wire: announced, draining, ended, over restarts and replicas."""

from __future__ import annotations

import json
import math
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from target_service.database.fleet import vin_of
from tests.target_service.processes import ADMIN, ADMIN_TOKEN, ROOT, Process, environment
from tests.target_service.sse import listen

Told = Callable[[], list[str]]

PATH = "/admin/maintenance"
SENTENCE = "New <database>: back soon"
STATE = f"/v1/vehicles/{vin_of('us', 0)}/state"


def at(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat()


def window(begins_in: float, ends_in: float, **more: Any) -> dict[str, Any]:
    now = time.time()
    times = {"starts_at": at(now + begins_in), "ends_at": at(now + ends_in)}
    return {**times, "sentence": SENTENCE, **more}


def announce(process: Process, begins_in: float, ends_in: float, **more: Any) -> str:
    answer = process.http.post(PATH, json=window(begins_in, ends_in, **more), headers=ADMIN)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def end(process: Process, window_id: str) -> None:
    answer = process.http.delete(PATH, params={"id": window_id}, headers=ADMIN)
    assert answer.status_code == 200, answer.text


def planned(process: Process) -> Any:
    return process.http.get(PATH, headers=ADMIN).json()


def check_closed(answer: httpx.Response, seconds_left: float) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["unavailable-cause"] == "maintenance"
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= math.floor(seconds_left)
    assert answer.json()["title"] == SENTENCE


@pytest.fixture(scope="module")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('shared') / 'car.db'}"


@pytest.fixture(scope="module")
def service(start: Any, gateway: Process, database_url: str) -> Process:
    process: Process = start(
        "target_service",
        TARGET_DATABASE_URL=database_url,
        TARGET_GATEWAY_URL=gateway.url,
        TARGET_ADMIN_TOKEN=ADMIN_TOKEN,
        TARGET_SERVICE_CV="0",
        TARGET_SERVICE_MEAN_SECONDS_BY_ROUTE='{"energy": 2}',
    )
    return process


@pytest.fixture
def signed_in(service: Process, sign_in: Any) -> Any:
    return sign_in(service)


@pytest.fixture
def told(database_url: str) -> Told:
    """What everybody was told, oldest first; readable while the doors are closed."""

    def read() -> list[str]:
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
            sql = "SELECT title FROM notifications WHERE kind = 'maintenance' ORDER BY id"
            return [row[0] for row in connection.execute(sql)]

    return read


def test_it_is_announced_to_everybody_before_it_begins(
    service: Process, signed_in: Any, told: Told
) -> None:
    with (
        listen(service, "/status/events") as changes,
        listen(service, "/v1/notifications/stream", **signed_in) as news,
    ):
        assert next(changes).data["maintenance"] is None
        window_id = announce(service, 60, 120)
        status = next(
            change.data
            for change in changes
            if change.name == "status" and change.data["maintenance"]
        )
        assert (status["status"], status["maintenance"]["phase"]) == ("operational", "announced")
        notification = next(news)
        assert notification.data["kind"] == "maintenance"
        assert notification.data["title"].startswith(SENTENCE)
    page = service.http.get("/status", headers={"accept": "text/html"}).text
    assert "Planned maintenance" in page
    assert "New &lt;database&gt;: back soon" in page
    assert service.http.get(STATE, headers=signed_in).status_code == 200, "not closed yet"
    assert planned(service)["phase"] == "announced"
    end(service, window_id)
    assert service.http.get("/status").json()["maintenance"] is None
    assert told()[-1] == f"Maintenance is cancelled: {SENTENCE}"


def test_the_doors_stay_open_and_the_rest_is_told_when_to_come_back(
    service: Process, signed_in: Any
) -> None:
    vin = vin_of("us", 0)
    refused = {"cause": "maintenance", "detail": "maintenance"}
    before = service.metric("car_unavailable_total", **refused)
    window_id = announce(service, -1, 300, open_classes=["critical_plus"])
    try:
        check_closed(service.http.get(STATE, headers=signed_in), 295)
        check_closed(service.http.post("/v1/sessions", json={}), 295)
        check_closed(service.http.get("/v1/notifications/stream", headers=signed_in), 295)
        check_closed(service.http.get("/no/such/thing"), 295)
        assert service.metric("car_unavailable_total", **refused) == before + 4
        assert "503 maintenance" in service.log.read_text()
        unlock = service.http.post(f"/v1/vehicles/{vin}/commands/unlock", headers=signed_in)
        assert unlock.status_code in (200, 202), unlock.text
        keyed = {**signed_in, "idempotency-key": "in-maintenance"}
        charge = service.http.post("/v1/chargers/c1/sessions", json={"vin": vin}, headers=keyed)
        assert charge.status_code == 201, charge.text
        for path in ("/healthz", "/readyz", "/docs", "/docs-assets/swagger-ui.css"):
            assert service.http.get(path).status_code == 200, path
        status = service.http.get("/status").json()
        states = {feature["name"]: feature["state"] for feature in status["features"]}
        assert status["status"] == "maintenance"
        assert states.pop("Lock and unlock") == "works"
        assert states.pop("Fast charging at public chargers") == "works"
        assert set(states.values()) == {"down"}
    finally:
        end(service, window_id)
    assert service.http.get(STATE, headers=signed_in).status_code == 200, "ended early"


def test_it_ends_on_time_and_not_before(
    service: Process, signed_in: Any, told: Told, eventually: Any
) -> None:
    ends_unix = time.time() + 2
    announce(service, -1, 2)
    with listen(service, "/status/events") as changes:
        assert next(changes).data["status"] == "maintenance"
        while service.http.get(STATE, headers=signed_in).status_code == 503:
            time.sleep(0.02)
        first_in = time.time()
        assert next(change.data for change in changes if change.name == "status")["status"] == (
            "operational"
        )
    assert first_in >= ends_unix
    eventually(lambda: told()[-1] == f"Maintenance is over: {SENTENCE}")
    assert planned(service)["windows"] == []


def test_it_is_extended_and_it_overruns_until_somebody_ends_it(
    service: Process, signed_in: Any, told: Told, eventually: Any
) -> None:
    window_id = announce(service, -1, 60, ends_by_itself=False)
    check_closed(service.http.get(STATE, headers=signed_in), 58)
    move_end(service, window_id, 600)
    check_closed(service.http.get(STATE, headers=signed_in), 595)
    assert told()[-1].startswith("Maintenance ends at")
    move_end(service, window_id, 0.5)
    eventually(lambda: planned(service)["phase"] == "overrun")
    answer = service.http.get(STATE, headers=signed_in)
    check_closed(answer, 1)
    assert answer.json()["ends_at"] is None, "nobody knows"
    assert service.http.get("/status").json()["maintenance"]["phase"] == "overrun"
    end(service, window_id)
    assert service.http.get(STATE, headers=signed_in).status_code == 200


def move_end(service: Process, window_id: str, ends_in: float) -> None:
    change = {"id": window_id, "ends_at": at(time.time() + ends_in)}
    answer = service.http.patch(PATH, json=change, headers=ADMIN)
    assert answer.status_code == 200, answer.text


def test_what_is_in_flight_when_the_doors_close_is_finished(
    service: Process, signed_in: Any, eventually: Any
) -> None:
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(httpx.get, f"{service.url}/v1/energy/site-0", headers=signed_in)
        eventually(lambda: service.metric("car_slots_busy") == 1)
        window_id = announce(service, -1, 60)
        try:
            assert planned(service)["draining"]
            check_closed(service.http.get(STATE, headers=signed_in), 58)
            assert slow.result().status_code == 200
            eventually(lambda: not planned(service)["draining"])
        finally:
            end(service, window_id)


def test_streams_end_when_the_doors_close(service: Process, signed_in: Any) -> None:
    with listen(service, "/v1/notifications/stream", **signed_in) as news:
        window_id = announce(service, -1, 60)
        try:
            assert [each.data["kind"] for each in news] == ["maintenance"]
        finally:
            end(service, window_id)


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"ends_at": at(time.time() - 1)}, 422, "future"),
        ({"starts_at": at(time.time() + 5000)}, 422, "ends_at must be after starts_at"),
        ({"sentence": " "}, 422, "sentence"),
        ({"open_classes": ["unlock"]}, 422, "open_classes"),
        ({"starts_at": "2030-01-01T00:00:00"}, 422, "timezone"),
        ({}, 409, "overlaps"),
    ],
)
def test_a_window_that_cannot_be_is_refused_with_words(
    service: Process, change: dict[str, Any], status: int, words: str
) -> None:
    window_id = announce(service, 1000, 2000)
    try:
        wanted = window(1500, 2500) | change
        answer = service.http.post(PATH, json=wanted, headers=ADMIN)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert words in answer.json()["title"]
        assert [each["id"] for each in planned(service)["windows"]] == [window_id]
    finally:
        end(service, window_id)


def test_only_an_operator_may_and_only_what_is_planned_can_be_changed(
    service: Process, signed_in: Any
) -> None:
    for headers in ({}, signed_in, {"authorization": "Bearer wrong"}):
        assert service.http.get(PATH, headers=headers).status_code == 401
        answer = service.http.post(PATH, json=window(10, 20), headers=headers)
        assert answer.status_code == 401
    assert service.http.delete(f"{PATH}?id=none", headers=ADMIN).status_code == 404
    assert service.http.delete(PATH, headers=ADMIN).status_code == 422
    change = {"id": "none", "ends_at": at(time.time() + 10)}
    assert service.http.patch(PATH, json=change, headers=ADMIN).status_code == 404
    first, second = announce(service, 1000, 2000), announce(service, 2000, 3000)
    into = {"id": first, "ends_at": at(time.time() + 2500)}
    assert service.http.patch(PATH, json=into, headers=ADMIN).status_code == 409
    end(service, first)
    end(service, second)


def test_replicas_agree_and_a_restart_in_the_middle_keeps_it(
    service: Process,
    start: Any,
    database_url: str,
    signed_in: Any,
    told: Told,
    eventually: Any,
) -> None:
    def replica() -> Process:
        process: Process = start(
            "target_service", TARGET_DATABASE_URL=database_url, TARGET_ADMIN_TOKEN=ADMIN_TOKEN
        )
        return process

    def status_at(process: Process) -> int:
        return process.http.get(STATE, headers=signed_in).status_code

    other = replica()
    window_id = announce(service, -1, 300)
    eventually(lambda: status_at(other) == 503)
    check_closed(other.http.get(STATE, headers=signed_in), 290)
    other.stop(9)
    other = replica()
    check_closed(other.http.get(STATE, headers=signed_in), 290)
    before = len(told())
    end(other, window_id)
    eventually(lambda: status_at(service) == 200)
    assert status_at(other) == 200
    assert other.http.delete(f"{PATH}?id={window_id}", headers=ADMIN).status_code == 404

    announce(service, -1, 1)
    eventually(lambda: status_at(service) == status_at(other) == 200)
    eventually(lambda: not planned(service)["windows"] and not planned(other)["windows"])
    eventually(lambda: told()[-1].startswith("Maintenance is over"))
    time.sleep(1.2)  # for the replica that would tell it a second time
    assert len(told()) == before + 3, "ended early; announced, ended on time: each told once"


def test_a_window_of_the_settings_is_one_too(start: Any, tmp_path: Path) -> None:
    now = time.time()
    database = {"TARGET_DATABASE_URL": f"sqlite:///{tmp_path / 'car.db'}"}

    def service_with(**more: str) -> Process:
        process: Process = start("target_service", TARGET_ADMIN_TOKEN=ADMIN_TOKEN, **more)
        return process

    times = {
        "TARGET_MAINTENANCE_STARTS_AT": at(now - 10),
        "TARGET_MAINTENANCE_ENDS_AT": at(now + 300),
    }
    first = service_with(**times, **database)
    assert first.http.get("/v1/vehicles").status_code == 503
    (listed,) = planned(first)["windows"]
    end(first, listed["id"])
    assert first.http.get("/v1/vehicles").status_code == 401
    announce(first, 100, 200)
    first.stop()
    again = service_with(**times, **database)
    assert again.http.get("/v1/vehicles").status_code == 401, "ended early it stays ended"
    times["TARGET_MAINTENANCE_ENDS_AT"] = at(now + 150)
    again.stop()
    code, words = failing_start(**times, **database)
    assert code == 2
    assert words.startswith("TARGET_MAINTENANCE_STARTS_AT: ")
    assert "overlaps" in words


def failing_start(**settings: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "target_service"]
    ports = {"TARGET_PORT": "0", "TARGET_METRICS_PORT": "0", "TARGET_FLEET_SIZE": "20"}
    done = subprocess.run(
        command,
        env=environment(**ports, **settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()[-1]


@contextmanager
def hook() -> Iterator[tuple[str, list[Any]]]:
    """A server that takes JSON and fails at first; yields its URL and what it was sent."""
    sent: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            sent.append((self.path, json.loads(self.rfile.read(length))))
            self.send_response(500 if len(sent) == 1 else 204)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", sent
        finally:
            server.shutdown()
            thread.join()


def test_the_hook_for_mail_hears_of_it_and_never_holds_anybody_up(
    start: Any, eventually: Any
) -> None:
    def count(outcome: str) -> float:
        return notified.metric("car_announcements_total", outcome=outcome)

    with hook() as (url, sent):
        notified: Process = start(
            "target_service",
            TARGET_ADMIN_TOKEN=ADMIN_TOKEN,
            TARGET_ANNOUNCE_URL=f"{url}/mail?to=all",
        )
        window_id = announce(notified, 100, 200)
        eventually(lambda: count("failed") == 1)
        end(notified, window_id)
        eventually(lambda: count("delivered") == 1)
    assert [where for where, _ in sent] == ["/mail?to=all"] * 2
    bodies = [body for _, body in sent]
    said = [(body["change"], body["id"], body["sentence"], body["region"]) for body in bodies]
    assert said == [(change, window_id, SENTENCE, "us") for change in ("announced", "cancelled")]
