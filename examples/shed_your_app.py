"""A shop behind the load shedder: serve it, flood it, and see who gets in.

SHOP_ADMIN_TOKEN=… python examples/shed_your_app.py [--port 8000] [--metrics-port 9100]
"""

from __future__ import annotations

import argparse
import asyncio
import os

import uvicorn
from fastapi import FastAPI

from launchday import LoadSheddingMiddleware, Maintenance, MaintenanceMiddleware
from launchday.admission import Classifier, RouteRule, client_address
from launchday.admission.admin import AdminAPI
from launchday.admission.prometheus import PrometheusObserver, serve_metrics

POOL = 20
QUERY_SECONDS = 0.05
ROUTES = (
    RouteRule("/v1/orders", "critical_plus", methods=("POST",)),
    RouteRule("/v1/suggestions", "sheddable"),
    RouteRule("/v1/report", "sheddable_plus", cost=4),
)

app = FastAPI()
# Stands for the connection pool of a database: 20 queries of 50 ms at once are 400 per second.
connections = asyncio.Semaphore(POOL)


async def query(seconds: float = QUERY_SECONDS) -> None:
    """Hold one connection for so long."""
    async with connections:
        await asyncio.sleep(seconds)


@app.post("/v1/orders")
async def order() -> dict[str, str]:
    """Take an order: the last thing to refuse."""
    await query()
    return {"order": "accepted"}


@app.get("/v1/products")
async def products() -> list[str]:
    """List what there is: no rule names it, so it is critical."""
    await query()
    return ["chair", "table"]


@app.get("/v1/suggestions")
async def suggestions() -> list[str]:
    """Suggest something: the first thing to refuse."""
    await query()
    return ["lamp"]


@app.get("/v1/report")
async def report() -> dict[str, int]:
    """Add up the month: four connections at once, and a rule that says so."""
    await asyncio.gather(*(query() for _ in range(4)))
    return {"orders": 0}


@app.get("/healthz")
async def healthz() -> str:
    """Say that the process lives: exempt by default."""
    return "ok"


# From the inside out: who is added last is asked first.
app.add_middleware(
    LoadSheddingMiddleware,
    pool=POOL,
    routes=Classifier(ROUTES, client_key=client_address()),
    observer=PrometheusObserver(),
)
app.add_middleware(MaintenanceMiddleware, maintenance=Maintenance())
app.add_middleware(AdminAPI, token=os.environ.get("SHOP_ADMIN_TOKEN"))


def main() -> None:
    """Serve the shop on one port, and its metrics on another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--metrics-port", type=int, default=9100)
    arguments = parser.parse_args()
    metrics = serve_metrics(arguments.metrics_port)
    try:
        uvicorn.run(app, port=arguments.port, access_log=False)
    finally:
        metrics.close()


if __name__ == "__main__":
    main()
