"""A service with nothing but our lifecycle and limits, as a process of its own.

It is ready when something listens on TINY_NEEDS_PORT; without that at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from target_service.body_limit import BodyLimit
from target_service.lifecycle import Lifecycle, LifecycleMiddleware, wait_for_dependency
from target_service.serve import Addresses, CannotStart, Stages, run, start
from target_service.settings import TargetSettings


class Unreachable(Exception):
    """Nothing listens there."""


async def _slow(request: Request) -> Response:
    await asyncio.sleep(float(request.query_params["seconds"]))
    return JSONResponse({"done": True})


async def _echo(request: Request) -> Response:
    return JSONResponse({"bytes": len(await request.body())})


async def _half(_request: Request) -> Response:
    async def forever() -> AsyncIterator[bytes]:
        yield b"begun"
        await asyncio.sleep(60)

    return StreamingResponse(forever())


def create_tiny(lifecycle: Lifecycle) -> Starlette:
    async def readyz(_request: Request) -> Response:
        ready, body = lifecycle.readiness()
        return JSONResponse(body, 200 if ready else 503)

    async def inside(_request: Request) -> Response:
        return JSONResponse(len(lifecycle.in_flight) - 1)

    async def stream(_request: Request) -> Response:
        async def until_stop() -> AsyncIterator[bytes]:
            yield b"begun"
            await lifecycle.stopping.wait()
            yield b" ended"

        return StreamingResponse(until_stop())

    app = Starlette(
        routes=[
            Route("/readyz", readyz),
            Route("/inside", inside),
            Route("/stream", stream),
            Route("/slow", _slow),
            Route("/half", _half),
            Route("/echo", _echo, methods=["GET", "POST"]),
        ]
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(LifecycleMiddleware, lifecycle=lifecycle)
    return app


async def _connect(port: int) -> None:
    if port:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            raise Unreachable("connection refused") from None
        writer.close()


async def main(settings: TargetSettings) -> None:
    lifecycle = Lifecycle()
    port = int(os.environ.get("TINY_NEEDS_PORT", "0"))

    async def prepare() -> None:
        try:
            await wait_for_dependency(
                lambda: _connect(port),
                name="database",
                address=f"127.0.0.1:{port}",
                failures=(Unreachable,),
                wait_seconds=settings.database_wait_seconds,
                lifecycle=lifecycle,
            )
        except Unreachable as error:
            raise CannotStart(f"no database there: {error}") from None

    stages = Stages(lifecycle, prepare, settings.drain_delay_seconds, settings.drain_seconds)
    app = create_tiny(lifecycle)
    await start("tiny", app, Addresses.of(settings), CollectorRegistry(), stages)


if __name__ == "__main__":
    sys.exit(run(TargetSettings, main))
