"""Maintenance by the admin API, on the wire: announced, extended, ended, or refused in words."""

from __future__ import annotations

from typing import Any

from launchday import Maintenance
from launchday.admission.admin_changes import schedule_maintenance
from tests.admission.admin_support import Shop, ask

WINDOW = {
    "starts_at": "2099-12-01T03:00:00Z",
    "ends_at": "2099-12-01T03:05:00+00:00",
    "sentence": "New database",
    "open_classes": ["critical_plus"],
}


async def test_a_window_is_announced_shown_extended_and_ended(serve: Any, connect: Any) -> None:
    now = [1_000_000.0]
    shop = Shop(maintenance=Maintenance(clock=lambda: now[0]))
    path = "/admin/maintenance"
    wanted = {
        "starts_at": "1970-01-12T13:50:00+00:00",
        "ends_at": "1970-01-12T14:00:00Z",
        "sentence": "New database",
    }
    async with serve(shop.app) as port:
        admin, client = await connect(port), await connect(port)
        assert (await ask(admin, f"GET {path}"))[2]["phase"] == "none"
        status, _, shown = await ask(admin, f"POST {path}", json_body=wanted)
        assert (status, shown["phase"]) == (201, "announced")
        assert shown["window"] == {
            "starts_at": "1970-01-12T13:50:00Z",
            "ends_at": "1970-01-12T14:00:00Z",
            "sentence": "New database",
            "open_classes": [],
            "ends_by_itself": True,
        }
        assert shown["seconds_left"] == 200
        assert (await client.ask("GET /nothing"))[0] == 404

        now[0] += 300
        assert (await client.ask("GET /nothing"))[0] == 503
        status, _, shown = await ask(
            admin, f"PATCH {path}", json_body={"ends_at": "1970-01-12T14:10:00Z"}
        )
        assert (status, shown["phase"]) == (200, "closed")
        assert shown["window"]["ends_at"] == "1970-01-12T14:10:00Z"
        status, _, shown = await ask(admin, f"DELETE {path}")
        assert (status, shown["phase"]) == (200, "none")
        assert (await client.ask("GET /nothing"))[0] == 404


async def test_a_planned_window_is_withdrawn_by_its_start(serve: Any, connect: Any) -> None:
    path = "/admin/maintenance"
    async with serve(Shop(maintenance=Maintenance()).app) as port:
        admin = await connect(port)
        assert (await ask(admin, f"POST {path}", json_body=WINDOW))[0] == 201
        status, _, problem = await ask(admin, f"DELETE {path}?starts_at=2099-01-01T00:00:00Z")
        assert (status, "2099-01-01" in problem["detail"]) == (409, True)
        status, _, shown = await ask(admin, f"DELETE {path}?starts_at=2099-12-01T03:00:00Z")
        assert (status, shown["phase"]) == (200, "none")


NO_WINDOW: tuple[tuple[str, Any, int, str], ...] = (
    ("POST", {"starts_at": "2099-01-01T00:00:00Z"}, 422, "ends_at is missing"),
    ("POST", {**WINDOW, "until": 3}, 422, "'until' is not known"),
    ("POST", {**WINDOW, "starts_at": 4_099_680_000}, 422, "starts_at must be a time"),
    ("POST", {**WINDOW, "starts_at": "2099-12-01T03:00:00"}, 422, "with its zone"),
    ("POST", {**WINDOW, "starts_at": "1900-12-01T03:00:00Z"}, 422, "since 1970"),
    ("POST", {**WINDOW, "ends_at": "2099-12-01T02:00:00Z"}, 422, "after starts_at"),
    ("POST", {**WINDOW, "sentence": ""}, 422, "sentence"),
    ("POST", {**WINDOW, "sentence": 5}, 422, "sentence"),
    ("POST", {**WINDOW, "open_classes": "critical"}, 422, "open_classes"),
    ("POST", {**WINDOW, "open_classes": ["urgent"]}, 422, "open_classes"),
    ("POST", {**WINDOW, "open_classes": [{}]}, 422, "open_classes"),
    ("POST", {**WINDOW, "ends_by_itself": "no"}, 422, "ends_by_itself"),
    ("POST", WINDOW, 409, "must not overlap"),
    (
        "POST",
        {**WINDOW, "starts_at": "2000-01-01T00:00:00Z", "ends_at": "2000-01-02T00:00:00Z"},
        409,
        "was over",
    ),
    ("PATCH", {"ends_at": "2099-12-01T04:00:00Z"}, 409, "no window closes the doors"),
    ("PATCH", {"ends_at": "soon"}, 422, "must be a time"),
    ("DELETE", None, 409, "no window closes the doors"),
)


async def test_what_does_not_fit_a_maintenance_is_said_and_changes_nothing(
    serve: Any, connect: Any
) -> None:
    path = "/admin/maintenance"
    maintenance = Maintenance()
    schedule_maintenance(maintenance, WINDOW)
    planned = maintenance.windows
    async with serve(Shop(maintenance=maintenance).app) as port:
        admin = await connect(port)
        for method, wanted, status, words in NO_WINDOW:
            found, _, problem = await ask(admin, f"{method} {path}", json_body=wanted)
            assert (found, words in problem["detail"]) == (status, True), problem
            assert maintenance.windows == planned
        found, _, problem = await ask(admin, f"DELETE {path}?window=1")
        assert (found, "'window' is not known" in problem["detail"]) == (422, True)
