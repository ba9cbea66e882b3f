"""The status for people and machines, and the probes."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge

from launchday import Maintenance, MaintenanceWindow
from target_service.database.fleet import vin_of
from target_service.dependencies import DATABASE, GATEWAY, Dependencies
from target_service.http_client import HttpClient
from target_service.lifecycle import Lifecycle
from target_service.pages import main_of, page_of
from target_service.status import FEATURES, StatusBoard
from target_service.streams import Streams
from tests.ports import free_port
from tests.target_service.postgres import Postgres
from tests.target_service.processes import ADMIN, ADMIN_TOKEN, FREE_PORTS, Process, environment
from tests.target_service.sse import listen

UNLOCK = f"/v1/vehicles/{vin_of('us', 0)}/commands/unlock"
STORIES = {
    "Lock and unlock", "Fast charging at public chargers",
    "Start, stop, limit, schedule charging", "Climate, summon, valet mode, honk, flash",
    "Vehicle state", "Sign in and list vehicles", "Reservations", "Software updates",
    "Home battery and solar", "Service appointments", "Notifications", "Data from the car",
}  # fmt: skip


@pytest.fixture(scope="module")
def on_postgresql(start: Any, postgres: Postgres) -> Process:
    url = postgres.url_by(postgres.port, postgres.create())
    process: Process = start(
        "target_service", TARGET_DATABASE_URL=url, TARGET_ADMIN_TOKEN=ADMIN_TOKEN
    )
    return process


class Board:
    """A status board of a service whose dependencies fail when told so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.dependencies = Dependencies(CollectorRegistry(), Random(1))
        self.doors = Maintenance(clock=lambda: self.now)
        self.lifecycle = Lifecycle()
        self.board = StatusBoard(
            region="eu",
            dependencies=self.dependencies,
            doors=self.doors,
            lifecycle=self.lifecycle,
            streams=Streams(1, Gauge("open", "Open", registry=CollectorRegistry())),
            gateway=HttpClient("http://127.0.0.1:1"),
            clock=lambda: self.now,
        )

    def call(self, dependency: str, *, fails: bool) -> None:
        try:
            with self.dependencies.call(dependency):
                if fails:
                    raise OSError("it is down")
        except OSError:
            return

    def states(self) -> dict[str, str]:
        return {each["name"]: each["state"] for each in self.board.refresh()["features"]}


async def test_without_the_gateway_commands_do_not_work_and_the_rest_does() -> None:
    service = Board()
    assert set(service.states()) == STORIES
    assert set(service.states().values()) == {"works"}
    service.call(GATEWAY, fails=True)
    down = {name for name, state in service.states().items() if state == "down"}
    assert down == {
        "Lock and unlock",
        "Start, stop, limit, schedule charging",
        "Climate, summon, valet mode, honk, flash",
    }
    assert service.board.refresh()["status"] == "degraded"
    service.call(GATEWAY, fails=False)
    assert set(service.states().values()) == {"works"}


async def test_without_the_database_what_was_known_is_served() -> None:
    service = Board()
    service.call(DATABASE, fails=True)
    states = service.states()
    assert states["Vehicle state"] == states["Lock and unlock"] == "last_known"
    assert states["Reservations"] == "down"
    assert states["Home battery and solar"] == "works"
    page = page_of(service.board.refresh())
    assert "What was confirmed stays confirmed." in page
    assert "works from last known state" in page


async def test_a_dependency_that_the_start_waits_for_does_not_work() -> None:
    service = Board()
    service.lifecycle.missing[DATABASE] = "waiting"
    assert service.states()["Reservations"] == "down"


async def test_it_is_said_since_when() -> None:
    service = Board()
    began = service.board.refresh()["since"]
    service.now += 10
    assert service.board.refresh()["since"] == began
    service.call(DATABASE, fails=True)
    broke = service.board.refresh()["since"]
    assert broke > began
    service.now += 10
    features = {each["name"]: each for each in service.board.refresh()["features"]}
    assert service.board.refresh()["since"] == broke
    assert features["Reservations"]["since"] == broke
    assert features["Home battery and solar"]["since"] == began


async def test_in_maintenance_only_open_classes_work_and_the_page_says_which() -> None:
    service = Board()
    open_classes = frozenset({"critical_plus"})
    begins, ends = service.now + 60, service.now + 360
    window = MaintenanceWindow(begins, ends, "New <b>disks</b>", open_classes)
    service.doors.schedule(window)
    assert "Planned maintenance" in main_of(service.board.refresh())
    assert set(service.states().values()) == {"works"}
    service.now += 61
    status = service.board.refresh()
    works = {each["name"] for each in status["features"] if each["works"]}
    assert works == {feature.name for feature in FEATURES if feature.criticality in open_classes}
    page = main_of(status)
    assert "Stays open: locking, unlocking and fast charging." in page
    assert "New &lt;b&gt;disks&lt;/b&gt;" in page
    assert status["maintenance"]["ends_at"] in page, "for the script: the reader's time zone"


def test_the_page_says_it_by_words_and_loads_nothing_from_elsewhere(target: Process) -> None:
    answer = target.http.get("/status", headers={"accept": "text/html,*/*"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    assert all(name in page for name in STORIES)
    assert page.count("</b> works</strong>") == len(STORIES)
    assert "Your phone key and key card open the car without us." in page
    assert '<meta name="viewport" content="width=device-width' in page
    assert '<noscript><meta http-equiv="refresh"' in page
    assert not re.search(r"https?://|src=|@import|url\(", page)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_failure_and_its_end_reach_the_page_without_reload(
    start: Any, sign_in: Any, eventually: Any
) -> None:
    port = free_port()
    target = start("target_service", TARGET_GATEWAY_URL=f"http://127.0.0.1:{port}")
    with listen(target, "/status/events") as events:
        assert next(events).data["status"] == "operational"
        assert "Everything works" in next(events).data
        assert target.http.post(UNLOCK, headers=sign_in(target)).status_code == 503
        changed = next(events)
        assert (changed.name, changed.data["status"]) == ("status", "degraded")
        assert "does not work" in next(events).data
        assert target.http.get("/readyz").status_code == 200, "other features work"
        start("target_service.gateway", GATEWAY_PORT=str(port))
        back = next(each for each in events if each.name == "status")
        while back.data["status"] != "operational":  # nobody asks but the service itself
            back = next(each for each in events if each.name == "status")
    gateway = back.data["dependencies"][1]
    assert gateway == {"name": "gateway", "works": True, "breaker": "closed"}


def test_while_it_waits_for_its_database_it_is_alive_and_says_what_is_missing(
    tmp_path: Any, eventually: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        database_url = f"postgresql://car@127.0.0.1:{closed.getsockname()[1]}/car"
        free.close()
        settings = {**FREE_PORTS, "TARGET_PORT": str(port), "TARGET_DATABASE_URL": database_url}
        command = [sys.executable, "-m", "target_service"]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, env=environment(**settings), stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
                eventually(lambda: answers(http))
                assert http.get("/healthz").json() == {"alive": True}
                answer = http.get("/readyz")
                status = http.get("/status").json()
        finally:
            process.terminate()
            process.wait(30)
    check_not_ready(answer, "dependency")
    assert answer.json()["missing"]["database"].startswith("waiting for 127.0.0.1:")
    assert (status["status"], status["dependencies"][0]["works"]) == ("degraded", False)


def answers(http: httpx.Client) -> bool:
    try:
        return "waiting" in http.get("/readyz").text
    except httpx.TransportError:
        return False


def check_not_ready(answer: httpx.Response, cause: str) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["unavailable-cause"] == cause
    assert int(answer.headers["retry-after"]) >= 1


def test_ready_and_then_draining(start: Any, eventually: Any) -> None:
    service = start("target_service", TARGET_DRAIN_DELAY_SECONDS="30")
    ready = {"ready": True, "state": "ready", "missing": {}}
    assert service.http.get("/readyz").json() == ready
    service.popen.terminate()
    eventually(lambda: service.http.get("/readyz").status_code == 503)
    answer = service.http.get("/readyz")
    check_not_ready(answer, "maintenance")
    assert answer.json()["missing"] == {"service": "it was told to stop"}
    assert service.http.get("/healthz").status_code == 200


def test_on_postgresql_too_maintenance_reaches_the_status_and_the_owners(
    on_postgresql: Process, sign_in: Any
) -> None:
    service, now = on_postgresql, datetime.now(UTC)
    window = {"starts_at": now.isoformat(), "sentence": "Back soon", "open_classes": ["critical"]}
    wanted = window | {"ends_at": (now + timedelta(minutes=5)).isoformat()}
    owner = sign_in(service)
    path = "/admin/maintenance"
    with listen(service, "/v1/notifications/stream", **owner) as news:
        made = service.http.post(path, json=wanted, headers=ADMIN)
        assert made.status_code == 201, made.text
        assert service.http.post(path, json=wanted, headers=ADMIN).status_code == 409
        moved = {"id": made.json()["id"], "ends_at": (now + timedelta(hours=1)).isoformat()}
        assert service.http.patch(path, json=moved, headers=ADMIN).status_code == 200
        status = service.http.get("/status").json()
        assert (status["status"], status["maintenance"]["phase"]) == ("maintenance", "closed")
        ended = service.http.delete(path, params={"id": moved["id"]}, headers=ADMIN)
        assert ended.status_code == 200, ended.text
        titles = [next(news).data["title"] for _ in range(2)]
    assert titles[0].startswith("Back soon (")
    assert titles[1].startswith("Maintenance ends at ")
    # No gateway is there: once that is noticed it is degraded, but not in maintenance.
    assert service.http.get("/status").json()["maintenance"] is None


def test_a_database_that_stopped_answering_makes_it_unready(
    on_postgresql: Process, postgres: Postgres
) -> None:
    service = on_postgresql
    assert service.http.get("/readyz").status_code == 200
    postgres.stop()
    try:
        answer = service.http.get("/readyz")
        check_not_ready(answer, "dependency")
        assert list(answer.json()["missing"]) == ["database"]
    finally:
        postgres.start()
    assert service.http.get("/readyz").status_code == 200
