"""Maintenance on the wire: who is let in, who is told when to come back, what is finished."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from launchday import (
    LoadSheddingMiddleware,
    Maintenance,
    MaintenanceMiddleware,
    MaintenanceWindow,
)

START = 1_800_000_000.0
END = START + 300
SENTENCE = "Wartung bis zwölf: back at noon"


class Service:
    """A service whose clock is set by hand; `/hold` answers only after `release` is set."""

    def __init__(self, **arguments: Any) -> None:
        self.now = START - 60
        self.release = asyncio.Event()
        self.refused: list[tuple[str, int]] = []
        self.maintenance = Maintenance(clock=lambda: self.now, spread_seconds=10)
        methods = ["GET", "HEAD", "OPTIONS"]
        paths = ("/fast", "/unlock", "/healthz", "/admin/maintenance", "/administrator")
        routes = [Route(path, self.fast, methods=methods) for path in paths]
        routes += [Route("/hold", self.hold), Route("/boom", self.boom)]
        self.app = MaintenanceMiddleware(
            LoadSheddingMiddleware(Starlette(routes=routes), limit=10),
            maintenance=self.maintenance,
            on_refused=lambda scope, after: self.refused.append((scope["path"], after)),
            **arguments,
        )

    def plan(self, **more: Any) -> None:
        self.maintenance.schedule(MaintenanceWindow(START, END, SENTENCE, **more))

    async def fast(self, request: Request) -> Response:
        return PlainTextResponse("fast")

    async def hold(self, request: Request) -> Response:
        await self.release.wait()
        return PlainTextResponse("held")

    async def boom(self, request: Request) -> Response:
        raise ZeroDivisionError


async def status_of(client: Any, path: str) -> int:
    status: int = (await client.ask(f"GET {path}"))[0]
    return status


async def test_a_refusal_says_why_and_when_to_come_back(serve: Any, connect: Any) -> None:
    service = Service()
    service.plan()
    async with serve(service.app) as port:
        client = await connect(port)
        assert await status_of(client, "/fast") == 200, "announced is not closed"
        service.now = START + 0.5
        status, headers, body = await client.ask("GET /fast")
        after = int(headers["retry-after"])
        assert (status, headers["unavailable-cause"]) == (503, "maintenance")
        assert headers["content-type"] == "application/problem+json"
        assert headers["cache-control"] == "no-store"
        assert 300 <= after <= 310
        assert json.loads(body) == {
            "type": "urn:launchday:problem:maintenance",
            "title": SENTENCE,
            "status": 503,
            "reason": "maintenance",
            "retry_after_ms": after * 1000,
            "processed": False,
            "ends_at": "2027-01-15T08:05:00Z",
        }
        assert service.refused == [("/fast", after)]
        service.now = END
        assert await status_of(client, "/fast") == 200, "the refused connection stays usable"


async def test_what_is_in_flight_is_finished_while_newcomers_are_refused(
    serve: Any, connect: Any, until: Any
) -> None:
    service = Service()
    service.plan()
    async with serve(service.app) as port:
        holder, other = await connect(port), await connect(port)
        holder.send("GET /hold")
        await until(lambda: service.maintenance.in_flight == 1)
        assert not service.maintenance.draining
        service.now = START
        assert await status_of(other, "/fast") == 503
        assert service.maintenance.draining
        assert service.maintenance.snapshot().in_flight == 1
        service.release.set()
        status, _, body = await holder.answer()
        assert (status, body) == (200, b"held")
        await until(lambda: not service.maintenance.draining)
        assert service.maintenance.phase == "closed"


async def test_an_early_end_an_extension_and_an_overrun_reach_the_clients(
    serve: Any, connect: Any
) -> None:
    service = Service()
    service.plan(ends_by_itself=False)
    async with serve(service.app) as port:
        client = await connect(port)
        service.now = END - 10
        assert 10 <= int((await client.ask("GET /fast"))[1]["retry-after"]) <= 20
        service.maintenance.extend(END + 600)
        _, headers, body = await client.ask("GET /fast")
        assert 610 <= int(headers["retry-after"]) <= 620
        assert json.loads(body)["ends_at"] == "2027-01-15T08:15:00Z"
        service.now = END + 601
        _, headers, body = await client.ask("GET /fast")
        assert 30 <= int(headers["retry-after"]) <= 40
        assert json.loads(body)["ends_at"] is None, "nobody knows the end"
        service.maintenance.end()
        assert await status_of(client, "/fast") == 200


async def test_the_doors_stay_unlocked_for_the_classes_that_stay_open(
    serve: Any, connect: Any
) -> None:
    def criticality(scope: Any) -> str:
        return "critical_plus" if scope["path"] == "/unlock" else "critical"

    service = Service(criticality=criticality)
    service.plan(open_classes=frozenset({"critical_plus"}))
    async with serve(service.app) as port:
        client = await connect(port)
        service.now = START
        assert await status_of(client, "/unlock") == 200
        assert await status_of(client, "/fast") == 503
        assert service.maintenance.in_flight == 0, "only what must drain is counted"


async def test_without_criticalities_everything_is_critical(serve: Any, connect: Any) -> None:
    service = Service()
    service.plan(open_classes=frozenset({"critical"}))
    service.now = START
    async with serve(service.app) as port:
        assert await status_of(await connect(port), "/fast") == 200


@pytest.mark.parametrize("root_path", ["", "/api"])
async def test_health_admin_and_preflight_are_never_refused(
    serve: Any, connect: Any, root_path: str
) -> None:
    service = Service(exempt_paths=("/healthz", "/admin/", "/"))
    service.plan()
    service.now = START
    async with serve(service.app, root_path=root_path) as port:
        client = await connect(port)
        assert await status_of(client, "/healthz") == 200
        assert await status_of(client, "/admin/maintenance") == 200
        assert await status_of(client, "/administrator") == 503
        assert await status_of(client, "/") == 404, "reaches the app, alone"
        preflight = await client.ask("OPTIONS /fast", "access-control-request-method: GET")
        assert preflight[0] == 200
        assert (await client.ask("OPTIONS /fast"))[0] == 503


async def test_a_refused_head_has_headers_and_no_body(serve: Any, connect: Any) -> None:
    service = Service()
    service.plan()
    service.now = START
    async with serve(service.app) as port:
        client = await connect(port)
        for _ in range(2):  # a stray body would be read as the start of the next answer
            status, headers, _ = await client.ask("HEAD /fast")
            assert (status, headers["unavailable-cause"]) == (503, "maintenance")
            assert int(headers["content-length"]) > 0


async def test_a_crash_and_a_client_that_hangs_up_leave_nothing_in_flight(
    serve: Any, connect: Any, until: Any
) -> None:
    service = Service()
    async with serve(service.app) as port:
        crashed, gone = await connect(port), await connect(port)
        assert await status_of(crashed, "/boom") == 500
        gone.send("GET /hold")
        await until(lambda: service.maintenance.in_flight == 1)
        gone.close()
        service.release.set()
        await until(lambda: service.maintenance.in_flight == 0)


async def test_a_cancelled_request_leaves_nothing_in_flight() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    maintenance = Maintenance()
    middleware = MaintenanceMiddleware(app, maintenance=maintenance)
    task = asyncio.create_task(call(middleware))
    await asyncio.sleep(0)
    assert maintenance.in_flight == 1
    task.cancel()
    await asyncio.wait({task})
    assert maintenance.in_flight == 0


async def test_in_a_whole_day_closed_every_answer_carries_its_own_numbers() -> None:
    service = Service()
    service.maintenance.schedule(MaintenanceWindow(START, START + 86_400, SENTENCE))
    for second in range(0, 86_400, 20):
        service.now = START + second
        start, body = await call(service.app)
        headers = dict(start["headers"])
        problem = json.loads(body["body"])
        assert int(headers[b"content-length"]) == len(body["body"])
        assert problem["retry_after_ms"] == int(headers[b"retry-after"]) * 1000
        assert 0 <= int(headers[b"retry-after"]) - (86_400 - second) <= 10


async def test_headers_added_further_out_stay_with_their_answer() -> None:
    service = Service()
    service.maintenance = service.app.maintenance = Maintenance(
        clock=lambda: END - 1, spread_seconds=1
    )
    service.plan()
    starts = []
    for _ in range(10):
        start = (await call(service.app))[0]
        start["headers"].append((b"x-added", b"1"))
        starts.append(start)
    added = [[name for name, _ in start["headers"]].count(b"x-added") for start in starts]
    assert added == [1] * 10


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_pass_untouched(kind: str) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    maintenance = Maintenance(clock=lambda: START)
    maintenance.schedule(MaintenanceWindow(START, END, SENTENCE))
    await call(MaintenanceMiddleware(app, maintenance=maintenance), type=kind)
    assert seen == [kind]


@pytest.mark.parametrize("exempt_paths", ["/healthz", ["healthz"], [7]])
def test_wrong_exempt_paths_are_refused_at_construction(exempt_paths: Any) -> None:
    with pytest.raises(ValueError, match=r"exempt_paths must be several paths, .* leading slash"):
        Service(exempt_paths=exempt_paths)


async def call(app: Any, **scope: Any) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    defaults = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await app({**defaults, **scope}, receive, send)
    return sent


def test_refusals_of_the_shedder_may_pass_it_by_only_while_the_doors_are_open() -> None:
    service = Service()
    assert service.app.transparent_to_refusals
    service.plan()
    assert service.app.transparent_to_refusals, "announced is not closed"
    service.now = START
    assert not service.app.transparent_to_refusals
    service.now = END
    assert service.app.transparent_to_refusals
