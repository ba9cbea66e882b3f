"""What the live ladder serves: two profiles of work, and every system that protects them."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from random import Random
from statistics import NormalDist
from typing import Any

from launchday import LoadSheddingMiddleware
from launchday.admission import QueueRules
from launchday.admission.asgi import ASGIApp, Receive, Scope, Send

SLOTS = 20
# 1.2 x the slots, what the documentation recommends; every system that takes a number gets it.
LIMIT = 24
MEAN_SECONDS, VARIATION = 0.05, 0.5
CPU_SECONDS = 0.005
# Whoever asks for this is never answered, and so holds its slot: everybody else is refused.
HOLD_PATH = "/hold"
PROTOCOL = "launchday.admission.uvicorn:SheddingProtocol"
# The published shedders on PyPI for ASGI are few; of those that bound what is in flight this one
# is the most complete. Optional: without it, its rows are left out.
PEER = "aioresilience"

_SAMPLES = 1000
_BODY = b'{"status":"ok"}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"15")]
_SHED_BODY = b'{"status":503}'
_SHED_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"14")]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 with constant bytes, or hold."""
    if scope["path"] == HOLD_PATH:
        await asyncio.Event().wait()
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


async def bare_503(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 503 with constant bytes: the cheapest refusal that ASGI allows."""
    await send({"type": "http.response.start", "status": 503, "headers": _SHED_HEADERS})
    await send({"type": "http.response.body", "body": _SHED_BODY})


def service_seconds(random: Random) -> Iterator[float]:
    """Yield lognormal service times for ever: mean 50 ms, coefficient of variation 0.5.

    They are 1000 evenly spaced quantiles in random order, again and again, so that short rows
    get the same work as long ones::

        sigma^2 = ln(1 + cv^2),  mu = ln(mean) - sigma^2 / 2
    """
    variance = math.log(1 + VARIATION**2)
    normal = NormalDist(math.log(MEAN_SECONDS) - variance / 2, math.sqrt(variance))
    times = [math.exp(normal.inv_cdf((i + 0.5) / _SAMPLES)) for i in range(_SAMPLES)]
    scale = MEAN_SECONDS * _SAMPLES / sum(times)
    times = [seconds * scale for seconds in times]
    random.shuffle(times)
    return itertools.cycle(times)


def io_bound() -> ASGIApp:
    """Return an app whose requests need one of 20 slots for 50 ms, as of a database pool.

    It waits when its slots are taken, and serves also those whose client has given up.
    """
    slots, times = asyncio.Semaphore(SLOTS), service_seconds(Random(1))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with slots:
            await asyncio.sleep(next(times))
        await hello(scope, receive, send)

    return app


def cpu_bound() -> ASGIApp:
    """Return an app whose requests burn 5 ms of CPU each, and never await meanwhile."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # CPU time, not the clock: it is the same work when something else runs on this core.
        ends_at = time.thread_time() + CPU_SECONDS
        while time.thread_time() < ends_at:
            pass
        await hello(scope, receive, send)

    return app


PROFILES: dict[str, Callable[[], ASGIApp]] = {
    "io_bound": io_bound,
    "cpu_bound": cpu_bound,
    "hello": lambda: hello,
    "bare_503": lambda: bare_503,
}


def semaphore(app: ASGIApp, limit: int) -> ASGIApp:
    """Return what people write by hand: a semaphore, and 503 at once when it is locked."""
    permits = asyncio.Semaphore(limit)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if permits.locked():
            await bare_503(scope, receive, send)
            return
        async with permits:
            await app(scope, receive, send)

    return guarded


def peer(app: ASGIApp, limit: int) -> ASGIApp:
    """Return the published shedder around the app, as its documentation says."""
    shedders: Any = importlib.import_module(PEER)
    middleware: Any = importlib.import_module(f"{PEER}.integrations.fastapi")
    shedder = shedders.LoadShedder(config=shedders.LoadSheddingConfig(max_requests=limit))
    guarded: ASGIApp = middleware.LoadSheddingMiddleware(app, load_shedder=shedder)
    return guarded


def launchday(app: ASGIApp, limit: int) -> ASGIApp:
    """Return ours as a stranger writes it; with a limit of 1, without a queue."""
    if limit == 1:
        return LoadSheddingMiddleware(app, limit=1, queue=QueueRules(length=0))
    return LoadSheddingMiddleware(app, limit=limit)


# `uvicorn_limit` counts connections, idle ones too, as well as requests: with 24 it refuses
# before 24 are in flight. The number that is meant for it is the same all the same.
SYSTEMS: dict[str, Callable[[ASGIApp, int], ASGIApp]] = {
    "none": lambda app, limit: app,
    "uvicorn_limit": lambda app, limit: app,
    "semaphore": semaphore,
    PEER: peer,
    "launchday": launchday,
    "launchday_protocol": launchday,
}


def server_settings(system: str, limit: int) -> dict[str, Any]:
    """Return what the system asks of uvicorn itself."""
    if system == "uvicorn_limit":
        return {"http": "httptools", "limit_concurrency": limit}
    return {"http": PROTOCOL if system == "launchday_protocol" else "httptools"}


def why_missing(system: str) -> str | None:
    """Return why a system cannot run here; None when it can."""
    try:
        if system == PEER:
            importlib.import_module(f"{PEER}.integrations.fastapi")
        if system == "launchday_protocol":
            module, _, name = PROTOCOL.partition(":")
            getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        return f"not installed: {error}"
    return None
