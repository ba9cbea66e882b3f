"""A small service with one lock: `python -m benchmarks._planted_service PORT METRICS_PORT SECONDS`.

Each request holds the lock for SECONDS without using the CPU, so that 1 / SECONDS are served, and
no metric says why.
"""

from __future__ import annotations

import asyncio
import sys

import uvicorn
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from launchday.admission.asgi import ASGIApp, Receive, Scope, Send

_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2")]


def locked(seconds: float) -> ASGIApp:
    """Return an app of which one request at a time goes on."""
    lock = asyncio.Lock()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if seconds and scope["path"] == "/":
            async with lock:
                await asyncio.sleep(seconds)
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


def main() -> None:
    """Serve until the process is ended."""
    port, metrics_port, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    start_http_server(metrics_port, "127.0.0.1", registry)
    uvicorn.run(
        locked(seconds), host="127.0.0.1", port=port, log_level="error", access_log=False,
        lifespan="off", ws="none",
    )  # fmt: skip


if __name__ == "__main__":
    main()
