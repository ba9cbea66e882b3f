"""What a refusal costs: our 503s beside the cheapest 503 that ASGI allows, in process."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from random import Random

from prometheus_client import CollectorRegistry

from launchday import (
    LoadSheddingMiddleware,
    Maintenance,
    MaintenanceMiddleware,
    MaintenanceWindow,
    Permit,
)
from launchday.admission import QueueRules
from launchday.admission.asgi import ASGIApp, Message, Receive, Scope, Send
from launchday.admission.prometheus import PrometheusObserver

# A permit that is garbage gives its slot back.
_HELD: list[Permit | None] = []

ROUNDS = 31
CALLS_PER_ROUND = 1000

_BODY = b'{"status":503}'
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"14")]


async def bare_503(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 503 with constant bytes: the floor."""
    await send({"type": "http.response.start", "status": 503, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


async def bare_200(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 200 with constant bytes: what an admission is measured around."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


def saturated(observer: PrometheusObserver | None) -> ASGIApp:
    """Return a shedder that refuses everything."""
    shedder = LoadSheddingMiddleware(
        bare_200, limit=1, queue=QueueRules(length=0), observer=observer, random=Random(1)
    )
    _HELD.append(shedder.limiter.try_acquire())
    return shedder


def idle(observer: PrometheusObserver | None) -> ASGIApp:
    """Return a shedder that admits everything."""
    return LoadSheddingMiddleware(bare_200, limit=100, observer=observer, random=Random(1))


def in_maintenance(starts_in_seconds: float | None) -> ASGIApp:
    """Return a service whose doors close then, for an hour; None: nothing is planned."""
    maintenance = Maintenance(random=Random(1))
    if starts_in_seconds is not None:
        starts_at = time.time() + starts_in_seconds
        maintenance.schedule(MaintenanceWindow(starts_at, starts_at + 3600, "Back soon"))
    return MaintenanceMiddleware(bare_200, maintenance=maintenance)


async def microseconds_per_call(app: ASGIApp) -> float:
    """Return the CPU time of one call, averaged over one round."""
    headers = [(b"host", b"127.0.0.1"), (b"accept", b"*/*"), (b"user-agent", b"benchmark")]
    scope: Scope = {"type": "http", "method": "GET", "path": "/v1/state", "headers": headers}

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None: ...

    # Nothing below gives way to the loop: it has to be in time, or its guard would refuse.
    await asyncio.sleep(0.03)
    started_at = time.process_time()
    for _ in range(CALLS_PER_ROUND):
        await app(scope, receive, send)
    return (time.process_time() - started_at) / CALLS_PER_ROUND * 1e6


async def measure() -> dict[str, float]:
    """Return the median of each candidate; the candidates take turns in every round."""
    apps: dict[str, Callable[[], ASGIApp]] = {
        "bare 503": lambda: bare_503,
        "refusal": lambda: saturated(None),
        "refusal, with metrics": lambda: saturated(PrometheusObserver(CollectorRegistry())),
        "maintenance refusal": lambda: in_maintenance(0),
        "bare 200": lambda: bare_200,
        "no maintenance": lambda: in_maintenance(None),
        "maintenance announced": lambda: in_maintenance(1800),
        "admission": lambda: idle(None),
        "admission, with metrics": lambda: idle(PrometheusObserver(CollectorRegistry())),
    }
    built = {name: build() for name, build in apps.items()}
    rounds: dict[str, list[float]] = {name: [] for name in built}
    for _ in range(ROUNDS):
        for name, app in built.items():
            rounds[name].append(await microseconds_per_call(app))
    return {name: statistics.median(values) for name, values in rounds.items()}


def main() -> None:
    """Print the medians and what each adds to its floor."""
    medians = asyncio.run(measure())
    for name, value in medians.items():
        floor = medians["bare 503" if "refusal" in name or "503" in name else "bare 200"]
        line = f"{name:24} {value:7.2f} us  {value - floor:+7.2f} us  {value / floor:5.2f} x\n"
        sys.stdout.write(line)


if __name__ == "__main__":
    main()
