"""The vehicle gateway: passes commands to the cars, each command id at most once."""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict

from prometheus_client import CollectorRegistry, ProcessCollector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from launchday.metric_names import CAR_GATEWAY_COMMANDS
from target_service.metrics import counter
from target_service.problems import Problem
from target_service.serve import Addresses, run, start
from target_service.settings import GatewaySettings

# Far more than clients retry across: the memory of the cars is bounded.
REMEMBERED_COMMANDS = 1_000_000


class Cars:
    """What the cars executed, by command id."""

    def __init__(self) -> None:
        self._executed: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def execute(self, command_id: str, vin: str, command: str) -> bool:
        """Execute a command unless its id was executed before; return whether it was new.

        Raises ValueError when the id belongs to another car or command.
        """
        before = self._executed.get(command_id)
        if before is not None and before != (vin, command):
            raise ValueError("command id used for another command")
        self._executed[command_id] = (vin, command)
        if len(self._executed) > REMEMBERED_COMMANDS:
            self._executed.popitem(last=False)
        return before is None

    def executed(self, vin: str) -> list[str]:
        """Return the ids that this car executed, oldest first."""
        return [key for key, (its_vin, _) in self._executed.items() if its_vin == vin]


def create_gateway(latency_seconds: float, registry: CollectorRegistry) -> Starlette:
    """Build the gateway. A car takes `latency_seconds` to answer."""
    cars = Cars()
    counts = counter(CAR_GATEWAY_COMMANDS, registry, ("executed", "duplicate"))

    async def execute(request: Request) -> Response:
        command_id = request.headers.get("idempotency-key")
        if not command_id:
            return Problem(400, "idempotency_key", "Idempotency-Key is missing").response()
        vin, command = request.path_params["vin"], request.path_params["command"]
        try:
            outcome = "executed" if cars.execute(command_id, vin, command) else "duplicate"
        except ValueError as error:
            return Problem(409, "idempotency_key_reused", str(error)).response()
        counts.labels(outcome).inc()
        await asyncio.sleep(latency_seconds)
        return JSONResponse({"outcome": outcome})

    async def executed(request: Request) -> Response:
        return JSONResponse({"executed": cars.executed(request.path_params["vin"])})

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"alive": True})

    return Starlette(
        routes=[
            Route("/vehicles/{vin}/commands/{command}", execute, methods=["POST"]),
            Route("/vehicles/{vin}/commands", executed),
            Route("/healthz", healthz),
        ]
    )


async def main(settings: GatewaySettings) -> None:
    """Serve the gateway until it is told to stop."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    app = create_gateway(settings.latency_seconds, registry)
    await start("gateway", app, Addresses.of(settings), registry)


if __name__ == "__main__":
    sys.exit(run(GatewaySettings, main))
