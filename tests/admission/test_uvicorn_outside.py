"""Who may stand outside the shedder when uvicorn's protocol refuses, and who may not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from launchday.admission.middleware import LoadSheddingMiddleware
from launchday.admission.observer import Silence
from launchday.admission.outside import find
from launchday.admission.queue_rules import QueueRules
from launchday.admission.refusal import Refusal
from launchday.admission.uvicorn import SheddingProtocol
from tests.admission.two_ways import REFUSED, Shedder, both_ways, connection, head, serving


class Door:
    """Answers everything itself while it is closed, like a maintenance window."""

    transparent_to_refusals = True

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.passed: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.passed.append(f"{scope['method']} {scope['path']}")
        if self.transparent_to_refusals:
            await self.app(scope, receive, send)
            return
        headers = [(b"content-length", b"6")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b"closed"})


class Silent(CORSMiddleware):
    """CORS that answers nobody: a subclass is not what its parent is."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)


def framework(make: Callable[..., Any], *outer: Middleware, **more: Any) -> Callable[[Any], Any]:
    def wrap(shedder: Shedder) -> Any:
        return make(middleware=[*outer, Middleware(lambda app: shedder)], **more)

    return wrap


CORS = Middleware(CORSMiddleware, allow_origins=["https://a.example"], allow_credentials=True)


@pytest.mark.parametrize("make", [Starlette, FastAPI])
@pytest.mark.parametrize("outer", [(), (CORS, CORS)], ids=["bare", "two cors"])
async def test_cors_and_the_frameworks_own_middlewares_add_what_they_would_add(
    make: Callable[..., Any], outer: tuple[Middleware, ...]
) -> None:
    async with both_ways(framework(make, *outer), lifespan="on") as ask:
        for method in ("GET", "HEAD"):
            fast, slow, answer = await ask(head(f"{method} /a"))
            assert answer.startswith(REFUSED)
            assert (b"\r\nvary: Origin" in answer) == bool(outer)
            assert (len(fast.fast), fast.slow) == (1, [])
            assert fast.fast == slow.slow
        fast, slow, answer = await ask(head("GET /a", "Origin: https://a.example"))
        assert (b"access-control-allow-origin: https://a.example" in answer) == bool(outer)
        assert fast.fast == []


async def test_fastapis_root_path_and_body_limit_reach_the_shedder_alike() -> None:
    def wrap(shedder: Shedder) -> Any:
        app = framework(FastAPI, max_body_size=100)(shedder)
        app.root_path = "/v1"  # the argument is deprecated, what it sets is not
        return app

    async with both_ways(wrap, lifespan="on") as ask:
        fast, slow, _ = await ask(head("GET /a"))
    assert [scope["root_path"] for scope in fast.fast] == ["/v1"]
    assert fast.fast == slow.slow


async def test_without_lifespan_the_first_request_builds_the_app_and_the_second_is_refused() -> (
    None
):
    shedder = Shedder()
    app = framework(FastAPI, CORS)(shedder)
    async with serving(app) as server, connection(server) as client:
        first = await client.ask(head("GET /a"))
        assert await client.ask(head("GET /a")) == first
    assert (len(shedder.slow), len(shedder.fast)) == (1, 1)


async def test_a_door_is_asked_at_every_request_whether_refusals_pass() -> None:
    shedder = Shedder()
    door = Door(shedder)
    async with serving(door) as server, connection(server) as client:
        refused = await client.ask(head("GET /a"))
        door.transparent_to_refusals = False
        assert (await client.ask(head("GET /a"))).endswith(b"closed")
        door.transparent_to_refusals = True
        assert await client.ask(head("GET /a")) == refused
    assert len(shedder.fast) == 2


@pytest.mark.parametrize("stranger", [GZipMiddleware, Silent])
async def test_a_stranger_outside_is_named_once_in_the_log_and_everything_goes_through_the_app(
    stranger: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with both_ways(framework(Starlette, Middleware(stranger)), lifespan="on") as ask:
        for _ in range(3):
            fast, _slow, _ = await ask(head("GET /a", "Accept-Encoding: gzip"))
            assert (len(fast.slow), fast.fast) == (1, [])
    (warning,) = [each for each in caplog.records if each.name == "launchday.admission"]
    assert stranger.__qualname__ in warning.getMessage()


async def test_an_app_without_a_shedder_is_served_as_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    door = Door(FastAPI())
    async with serving(door, lifespan="on") as server, connection(server) as client:
        assert b" 404 " in await client.ask(head("GET /a"))
        assert b" 404 " in await client.ask(head("GET /a"))
    (warning,) = [each for each in caplog.records if each.name == "launchday.admission"]
    assert "no load shedder" in warning.getMessage()


@pytest.mark.parametrize(
    ("trusted", "headers"),
    [
        ("127.0.0.1", ("X-Forwarded-For: 203.0.113.7, 127.0.0.1", "X-Forwarded-Proto: https")),
        ("127.0.0.1", ("x-forwarded-for: nonsense",)),
        ("127.0.0.1", ()),
        ("192.0.2.1", ("X-Forwarded-For: 203.0.113.7",)),
    ],
)
async def test_the_shedder_sees_the_client_that_a_trusted_proxy_names(
    trusted: str, headers: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="uvicorn.access")
    async with both_ways(forwarded_allow_ips=trusted, access_log=True) as ask:
        fast, slow, _ = await ask(head("GET /a", *headers))
    assert len(fast.fast) == 1
    assert fast.fast == slow.slow
    logged = [each.getMessage() for each in caplog.records if each.name == "uvicorn.access"]
    first, second = (line.split(" - ")[0].rpartition(":")[0] for line in logged)
    assert first == second == fast.fast[0]["client"]


async def test_a_shedder_that_needs_no_headers_gets_none_but_still_the_right_client() -> None:
    shedder = Shedder()
    shedder.needs_headers = False
    async with serving(shedder) as server, connection(server) as client:
        await client.ask(head("GET /a", "accept: */*"))
        await client.ask(head("GET /a", "x-forwarded-for: 203.0.113.7"))
    first, second = shedder.fast
    assert (first["headers"], first["client"]) == ([], "127.0.0.1")
    assert second["client"] == "203.0.113.7"


def test_fastapis_telemetry_is_a_stranger_while_it_is_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = framework(FastAPI)(Shedder())
    app.middleware_stack = app.build_middleware_stack()
    telemetry = getattr(app, "_native_telemetry", None)
    if telemetry is None:
        pytest.skip("this FastAPI has no telemetry of its own")
    found = find(app)
    assert found is not None
    assert found.shedder.refusing
    monkeypatch.setattr(telemetry, "enabled", lambda: True)
    found = find(app)
    assert found is not None
    assert not found.shedder.refusing


async def test_an_answer_that_closes_the_connection_closes_it() -> None:
    shedder = Shedder(more=[(b"connection", b"close")])
    async with serving(shedder, timeout_keep_alive=600) as server, connection(server) as client:
        assert b"\r\nconnection: close\r\n" in await client.ask(head("GET /a"))
        assert await client.end() == b""
    assert len(shedder.fast) == 1


async def test_answers_are_told_apart_by_status_body_and_headers() -> None:
    shedder = Shedder(b'{"reason": "?"}')
    headers, _, _ = shedder.answer
    bodies = [b'{"reason": "a"}', b'{"reason": "b"}']
    async with serving(shedder) as server, connection(server) as client:
        for status in (503, 429):
            for body in bodies:
                shedder.answer = headers, body, status
                answer = await client.ask(head("GET /a"))
                assert answer.startswith(b"HTTP/1.1 %d " % status)
                assert answer.endswith(b"\r\n\r\n" + body)
    assert len(shedder.fast) == 4


class Counted(Silence):
    """How many were exempt, admitted and rejected."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    def exempt(self, criticality: str) -> None:
        self.outcomes["exempt"] += 1

    def admitted(self, criticality: str, waited_seconds: float) -> None:
        self.outcomes["admitted"] += 1

    def rejected(
        self, criticality: str, reason: Refusal, retry_after_seconds: int, waited_seconds: float
    ) -> None:
        self.outcomes["rejected"] += 1


@pytest.mark.parametrize("http", [SheddingProtocol, "httptools"])
async def test_the_real_middleware_counts_every_request_once_by_both_ways(http: Any) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    tasks: list[str] = []

    async def hold(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.append(scope["path"])
        if scope["path"] == "/hold":
            entered.set()
            await leave.wait()
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    counted = Counted()
    shedder = LoadSheddingMiddleware(
        hold,
        limit=1,
        queue=QueueRules(length=0),
        loop_lag=False,
        retry_after_seconds=(3, 3),
        observer=counted,
    )
    door = Door(shedder)
    async with (
        serving(door, http) as server,
        connection(server) as holder,
        connection(server) as client,
    ):
        holder.send(head("GET /hold"))
        async with asyncio.timeout(20):
            await entered.wait()
        answers = [await client.ask(head(f"{verb} /a")) for verb in ("GET", "HEAD", "POST")]
        assert b" 200 " in await client.ask(head("GET /healthz"))
        leave.set()
        assert b" 200 " in await holder.answer()
        assert b" 200 " in await client.ask(head("GET /a"))
    assert all(b"\r\nretry-after: 3\r\n" in answer for answer in answers)
    assert answers[0].startswith(answers[1])
    assert answers[0] == answers[2]
    by_the_app = [] if http is SheddingProtocol else ["GET /a", "HEAD /a"]
    assert door.passed == ["GET /hold", *by_the_app, "POST /a", "GET /healthz", "GET /a"]
    assert tasks == ["/hold", "/healthz", "/a"]
    assert counted.outcomes == {"admitted": 2, "rejected": 3, "exempt": 1}
