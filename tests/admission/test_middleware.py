"""The middleware on the wire: who gets in, who is refused and how, and when slots come back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from launchday import LoadSheddingMiddleware
from launchday.admission import QueueRules

PROBLEM_TYPE = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"


class Gate:
    """An app whose `/hold` answers only after `open` is set; it counts who got in."""

    def __init__(self, **arguments: Any) -> None:
        self.open = asyncio.Event()
        self.entered: list[str] = []
        self.bodies: list[bytes] = []
        self.limiter: Any = None
        routes = [
            Route("/hold", self.hold, methods=["GET", "POST", "HEAD"]),
            Route("/stream", self.stream),
            Route("/background", self.background),
            Route("/boom", self.boom),
            Route("/fast", self.fast, methods=["GET", "HEAD", "OPTIONS"]),
            Route("/healthz", self.fast),
        ]
        self.app = LoadSheddingMiddleware(Starlette(routes=routes), **arguments)
        self.limiter = self.app.limiter

    async def hold(self, request: Request) -> Response:
        self.entered.append(request.method)
        self.bodies.append(await request.body())
        await self.open.wait()
        return PlainTextResponse("held")

    async def stream(self, request: Request) -> Response:
        self.entered.append("stream")

        async def chunks() -> Any:
            yield b"first"
            await self.open.wait()
            yield b"last"

        return StreamingResponse(chunks(), headers={"content-length": "9"})

    async def background(self, request: Request) -> Response:
        self.entered.append("background")
        return PlainTextResponse("done", background=BackgroundTask(self.open.wait))

    async def boom(self, request: Request) -> Response:
        raise ZeroDivisionError

    async def fast(self, request: Request) -> Response:
        return PlainTextResponse("fast")


async def test_a_refusal_says_everything_a_client_needs(
    serve: Any, connect: Any, until: Any
) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=0))
    async with serve(gate.app) as port:
        holder, refused = await connect(port), await connect(port)
        holder.send("GET /hold")
        await until(lambda: gate.entered)
        status, headers, body = await refused.ask("GET /fast")
        problem = json.loads(body)
        assert status == 503
        assert headers["content-type"] == "application/problem+json"
        assert headers["cache-control"] == "no-store"
        assert headers["unavailable-cause"] == "overload"
        assert headers["retry-after"].isdigit()
        assert 1 <= int(headers["retry-after"]) <= 5
        assert problem == {
            "type": PROBLEM_TYPE,
            "title": "Temporarily over capacity",
            "status": 503,
            "reason": "limit",
            "retry_after_ms": int(headers["retry-after"]) * 1000,
            "processed": False,
        }
        gate.open.set()
        assert (await holder.answer())[0] == 200
        assert (await refused.ask("GET /fast"))[0] == 200, "the refused connection stays usable"
        assert gate.limiter.inflight == 0


async def test_a_refused_head_has_headers_and_no_body(serve: Any, connect: Any, until: Any) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=0))
    async with serve(gate.app) as port:
        holder, refused = await connect(port), await connect(port)
        holder.send("GET /hold")
        await until(lambda: gate.entered)
        status, headers, _ = await refused.ask("HEAD /fast")
        assert (status, headers["retry-after"].isdigit()) == (503, True)
        # A stray body would be read as the start of the next answer.
        assert (await refused.ask("HEAD /fast"))[0] == 503
        gate.open.set()
        await holder.answer()


async def test_retry_after_is_spread_within_its_setting(
    serve: Any, connect: Any, until: Any
) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=0), retry_after_seconds=(2, 4))
    async with serve(gate.app) as port:
        holder, refused = await connect(port), await connect(port)
        holder.send("GET /hold")
        await until(lambda: gate.entered)
        answers = [await refused.ask("GET /fast") for _ in range(60)]
        assert {headers["retry-after"] for _, headers, _ in answers} == {"2", "3", "4"}
        gate.open.set()
        await holder.answer()


async def test_health_status_metrics_and_preflight_are_never_shed(
    serve: Any, connect: Any, until: Any
) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=0))
    async with serve(gate.app) as port:
        holder, other = await connect(port), await connect(port)
        holder.send("GET /hold")
        await until(lambda: gate.entered)
        assert (await other.ask("GET /healthz"))[0] == 200
        for path in ("/readyz", "/status", "/metrics"):
            assert (await other.ask(f"GET {path}"))[0] == 404, "reaches the app"
        preflight = await other.ask("OPTIONS /fast", "access-control-request-method: GET")
        assert preflight[0] == 200
        assert (await other.ask("OPTIONS /fast"))[0] == 503
        assert (await other.ask("GET /healthz2"))[0] == 503
        gate.open.set()
        await holder.answer()


async def test_exempt_paths_hold_below_a_root_path(serve: Any, connect: Any, until: Any) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=0))
    async with serve(gate.app, root_path="/api") as port:
        holder, other = await connect(port), await connect(port)
        holder.send("GET /hold")
        await until(lambda: gate.entered)
        assert (await other.ask("GET /healthz"))[0] == 200
        gate.open.set()
        await holder.answer()


async def test_a_stream_holds_its_slot_to_the_last_byte(serve: Any, connect: Any) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=0))
    async with serve(gate.app) as port:
        holder, other = await connect(port), await connect(port)
        holder.send("GET /stream")
        await holder.reader.readuntil(b"first")
        assert (await other.ask("GET /fast"))[0] == 503
        gate.open.set()
        await holder.reader.readuntil(b"last")
        assert (await other.ask("GET /fast"))[0] == 200


async def test_work_after_the_body_holds_no_slot(serve: Any, connect: Any) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=0))
    async with serve(gate.app) as port:
        holder, other = await connect(port), await connect(port)
        assert (await holder.ask("GET /background"))[0] == 200
        assert (await other.ask("GET /fast"))[0] == 200
        gate.open.set()


async def test_a_crash_gives_the_slot_back(serve: Any, connect: Any, until: Any) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=0))
    async with serve(gate.app) as port:
        for _ in range(3):
            client = await connect(port)
            assert (await client.ask("GET /boom"))[0] == 500
        await until(lambda: gate.limiter.inflight == 0)


async def test_a_client_that_hangs_up_in_a_stream_gives_the_slot_back(
    serve: Any, connect: Any, until: Any
) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=0))
    async with serve(gate.app) as port:
        client = await connect(port)
        client.send("GET /stream")
        await client.reader.readuntil(b"first")
        client.close()
        await until(lambda: gate.limiter.inflight == 0)


async def test_a_cancelled_request_gives_the_slot_back() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    middleware = LoadSheddingMiddleware(app, limit=1)
    task = asyncio.create_task(_call(middleware))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert middleware.limiter.inflight == 1
    task.cancel()
    await asyncio.wait({task})
    assert middleware.limiter.inflight == 0


async def _call(app: Any, **scope: Any) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    defaults = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await app({**defaults, **scope}, receive, send)
    return sent


async def test_a_short_wait_is_admitted_with_its_body_intact(
    serve: Any, connect: Any, until: Any
) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=2, timeout_seconds=20))
    async with serve(gate.app) as port:
        holder, poster, getter = [await connect(port) for _ in range(3)]
        holder.send("GET /hold")
        await until(lambda: gate.entered)
        poster.send("POST /hold", body=b"precious")
        await until(lambda: gate.limiter.queued == 1)
        getter.send("GET /hold")
        await until(lambda: gate.limiter.queued == 2)
        gate.open.set()
        for client in (holder, poster, getter):
            assert (await client.answer())[0] == 200
        assert gate.entered == ["GET", "POST", "GET"]
        assert gate.bodies == [b"", b"precious", b""]


async def test_the_reason_tells_a_full_queue_from_a_long_wait(
    serve: Any, connect: Any, until: Any
) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=1, timeout_seconds=0.3))
    async with serve(gate.app) as port:
        holder, waiter, third = [await connect(port) for _ in range(3)]
        holder.send("GET /hold")
        await until(lambda: gate.entered)
        waiter.send("GET /fast")
        await until(lambda: gate.limiter.queued == 1)
        third.send("GET /fast")
        # Whoever has waited longest makes room: his client is the next to give up.
        status, headers, body = await waiter.answer()
        assert (status, json.loads(body)["reason"]) == (503, "queue_full")
        assert "retry-after" in headers
        status, headers, body = await third.answer()
        assert (status, json.loads(body)["reason"]) == (503, "queue_timeout")
        assert "retry-after" in headers
        gate.open.set()
        await holder.answer()


async def test_the_handler_never_runs_for_a_client_that_left_the_queue(
    serve: Any, connect: Any, until: Any
) -> None:
    gate = Gate(limit=1, queue=QueueRules(length=1, timeout_seconds=20))
    async with serve(gate.app) as port:
        holder, leaver = await connect(port), await connect(port)
        holder.send("GET /hold")
        await until(lambda: gate.entered)
        leaver.send("GET /hold")
        await until(lambda: gate.limiter.queued == 1)
        leaver.close()
        await asyncio.sleep(0.1)
        gate.open.set()
        await holder.answer()
        await until(lambda: gate.limiter.inflight == gate.limiter.queued == 0)
        assert gate.entered == ["GET"]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_pass_untouched(kind: str) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    middleware = LoadSheddingMiddleware(app, limit=1, queue=QueueRules(length=0))
    _held = middleware.limiter.try_acquire()
    await _call(middleware, type=kind)
    assert seen == [kind]


async def test_headers_added_further_out_stay_with_their_answer() -> None:
    refuse = _saturated(retry_after_seconds=(3, 3))

    async def further_out(scope: Any, receive: Any, send: Any) -> None:
        async def add(message: Any) -> None:
            if "headers" in message:
                message["headers"].append((b"x-added", b"1"))
            await send(message)

        await refuse(scope, receive, add)

    starts = [(await _call(further_out))[0] for _ in range(2)]
    assert [[name for name, _ in start["headers"]].count(b"x-added") for start in starts] == [1, 1]


async def test_a_refusal_can_be_read_across_origins() -> None:
    cors = CORSMiddleware(_saturated(), allow_origins=["https://app.example"])
    start, _ = await _call(cors, headers=[(b"origin", b"https://app.example")])
    assert dict(start["headers"])[b"access-control-allow-origin"] == b"https://app.example"


async def test_a_refused_head_sends_no_body_to_the_server() -> None:
    start, body = await _call(_saturated(), method="HEAD")
    assert int(dict(start["headers"])[b"content-length"]) > 0
    assert body["body"] == b""


def _saturated(**arguments: Any) -> LoadSheddingMiddleware:
    class App:
        held: Any = None

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    app = App()
    middleware = LoadSheddingMiddleware(app, limit=1, queue=QueueRules(length=0), **arguments)
    app.held = middleware.limiter.try_acquire()  # a permit that is garbage would come back
    return middleware


async def test_a_flood_is_conserved_and_never_above_the_limit(serve: Any, connect: Any) -> None:
    inflight = peak = handled = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inflight, peak, handled
        inflight += 1
        handled += 1
        peak = max(peak, inflight)
        await asyncio.sleep(0.01)
        inflight -= 1
        await PlainTextResponse("ok")(scope, receive, send)

    middleware = LoadSheddingMiddleware(app, limit=4, queue=QueueRules(timeout_seconds=0.02))

    async def client() -> list[tuple[int, bool]]:
        connection = await connect(port)
        answers = [await connection.ask("GET /") for _ in range(20)]
        connection.close()
        return [(status, "retry-after" in headers) for status, headers, _ in answers]

    async with serve(middleware) as port:
        answers = await asyncio.gather(*[client() for _ in range(30)])
    counts = Counter(pair for each in answers for pair in each)
    assert set(counts) == {(200, False), (503, True)}
    assert counts[200, False] == handled
    assert counts.total() == 600
    assert peak == 4
    assert (middleware.limiter.inflight, middleware.limiter.queued) == (0, 0)


async def test_an_unknown_criticality_counts_as_the_default() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    def fails(scope: Any) -> str:
        raise ZeroDivisionError

    wrongs: list[Any] = [lambda scope: "urgent", lambda scope: None, fails]
    for wrong in wrongs:
        middleware = LoadSheddingMiddleware(app, limit=1, criticality=wrong)
        await _call(middleware)
        assert middleware.classifier.clamped == 1
        assert middleware.limiter.inflight == 0
