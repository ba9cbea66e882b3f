"""The vehicle gateway: passes commands to the cars, each command id at most once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import re
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, ProcessCollector
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from launchday.metric_names import CAR_GATEWAY_COMMANDS
from target_service import problems
from target_service.cars import Cars, Outcome
from target_service.executions import Execution, Executions, KeyReused, Order, canonical
from target_service.gateway_settings import GatewaySettings
from target_service.problems import Problem
from target_service.serve import Addresses, CannotStart, run, start

LARGEST_ARGUMENTS_BYTES = 4 * 1024
# Lines of the audit's stream that are made at once; commands go on in between.
LINES_AT_ONCE = 500
REFUSALS = {
    Outcome.OFFLINE: (504, "vehicle_offline", "The car cannot be reached: nothing was executed"),
    Outcome.FAILED: (502, "gateway_failed", "The gateway failed: nothing was executed"),
}

_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)

logger = logging.getLogger(__name__)


class Gateway:
    """Takes orders for cars. Once taken, an order is executed also when its client hangs up."""

    def __init__(self, cars: Cars, executions: Executions, registry: CollectorRegistry) -> None:
        self._cars = cars
        self._executions = executions
        self._waking: dict[str, tuple[Order, asyncio.Task[Outcome]]] = {}
        self._started_at_seconds = time.monotonic()
        metric = CAR_GATEWAY_COMMANDS
        counts = Counter(metric.name, metric.help, metric.labels, registry=registry)
        self._counts = {outcome: counts.labels(outcome) for outcome in Outcome}

    async def deliver(self, order: Order) -> Outcome:
        """Send an order to its car and wait for the answer. Raises KeyReused.

        An order that is on its way already is waited for, and is then a duplicate. A duplicate
        is answered at once: an injected failure would tell a lie, for it says "not executed".
        """
        if self._executions.knows(order):
            return self._counted(Outcome.DUPLICATE)
        if waking := self._waking.get(order.key):
            waking[0].require_same(order)
            return await self._second(waking[1])
        visit = self._cars.visit(order.vin, time.monotonic() - self._started_at_seconds)
        outcome = visit.outcome
        if visit.wake_seconds > 0:
            outcome = await self._when_awake(order, outcome, visit.wake_seconds)
        elif outcome in REFUSALS:
            self._counted(outcome)
        else:
            outcome = self._execute(order, outcome)
        await asyncio.sleep(visit.answer_seconds)
        return outcome

    async def _second(self, waking: asyncio.Task[Outcome]) -> Outcome:
        first = await asyncio.shield(waking)
        return self._counted(first if first in REFUSALS else Outcome.DUPLICATE)

    async def _when_awake(self, order: Order, outcome: Outcome, wake_seconds: float) -> Outcome:
        """Execute in a task of its own, so that a client that hangs up cancels nothing."""

        async def wake_and_execute() -> Outcome:
            try:
                await asyncio.sleep(wake_seconds)
                return self._execute(order, outcome)
            finally:
                del self._waking[order.key]

        task = asyncio.create_task(wake_and_execute())
        self._waking[order.key] = order, task
        return await asyncio.shield(task)

    def _execute(self, order: Order, outcome: Outcome) -> Outcome:
        try:
            self._executions.add(order, time.time())
        except OSError as error:
            logger.warning("GATEWAY_JOURNAL: %s", error.strerror)
            outcome = Outcome.FAILED
        return self._counted(outcome)

    def _counted(self, outcome: Outcome) -> Outcome:
        self._counts[outcome].inc()
        return outcome


def create_gateway(
    settings: GatewaySettings, executions: Executions, registry: CollectorRegistry
) -> Starlette:
    """Build the gateway. Its owner closes `executions`."""
    gateway = Gateway(Cars(settings), executions, registry)
    app = Starlette(
        routes=[
            Route(
                "/vehicles/{vin}/commands/{command}", partial(_command, gateway), methods=["POST"]
            ),
            Route("/vehicles/{vin}/commands", partial(_commands_of_car, executions)),
            Route("/executions", partial(_all_executions, executions)),
            Route("/healthz", _healthz),
        ]
    )
    problems.install(app)
    return app


async def _command(gateway: Gateway, request: Request) -> Response:
    key = request.headers.get("idempotency-key", "")
    if not _KEY.fullmatch(key):
        title = "Idempotency-Key must be 1 to 255 visible characters"
        raise Problem(400, "idempotency_key", title)
    vin, command = request.path_params["vin"], request.path_params["command"]
    try:
        outcome = await gateway.deliver(Order(key, vin, command, await _arguments(request)))
    except KeyReused:
        title = "This Idempotency-Key belongs to another command"
        raise Problem(409, "idempotency_key_reused", title) from None
    if outcome in REFUSALS:
        raise Problem(*REFUSALS[outcome])
    executed = outcome is not Outcome.DUPLICATE
    return JSONResponse({"outcome": Outcome.EXECUTED if executed else Outcome.DUPLICATE})


async def _arguments(request: Request) -> str:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_ARGUMENTS_BYTES:
                raise Problem(413, "too_large", f"The body is over {LARGEST_ARGUMENTS_BYTES} bytes")
    except ClientDisconnect:
        raise Problem(400, "client_gone", "The client left before its request was read") from None
    try:
        return canonical(json.loads(body)) if body else "{}"
    except (ValueError, RecursionError):
        raise Problem(400, "arguments", "The body must be a JSON object") from None


async def _commands_of_car(executions: Executions, request: Request) -> Response:
    return JSONResponse({"executed": executions.keys(request.path_params["vin"])})


async def _all_executions(executions: Executions, request: Request) -> Response:
    try:
        since_unix = float(request.query_params.get("since_unix", 0))
    except ValueError:
        since_unix = math.nan
    if math.isnan(since_unix):
        raise Problem(400, "since_unix", "since_unix must be a time in seconds")
    lines = _lines(executions.since(since_unix))
    return StreamingResponse(lines, media_type="application/x-ndjson")


async def _lines(found: list[Execution]) -> AsyncIterator[bytes]:
    for first in range(0, len(found), LINES_AT_ONCE):
        yield b"".join(execution.line() for execution in found[first : first + LINES_AT_ONCE])
        await asyncio.sleep(0)


async def _healthz(_request: Request) -> Response:
    return JSONResponse({"alive": True})


def _open_executions(journal: Path | None) -> Executions:
    try:
        return Executions(journal)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CannotStart(f"GATEWAY_JOURNAL: {str(journal)!r} is not allowed: {reason}") from None


async def main(settings: GatewaySettings) -> None:
    """Serve the gateway until it is told to stop. Raises CannotStart."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    with contextlib.closing(_open_executions(settings.journal)) as executions:
        app = create_gateway(settings, executions, registry)
        await start("gateway", app, Addresses.of(settings), registry)


if __name__ == "__main__":
    sys.exit(run(GatewaySettings, main))
