"""What works now: for people (a page), for machines (JSON), and for whoever restarts processes."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.responses import Response

from target_service.backend import Backend
from target_service.dependencies import DATABASE, GATEWAY
from target_service.schema import now_text

# Which dependency each feature stands or falls with.
FEATURES = (
    ("Lock and unlock", GATEWAY),
    ("Vehicle state", DATABASE),
    ("Reservations", DATABASE),
)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Status: {headline}</title>
<style>
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 2rem auto;
  padding: 0 1rem; color-scheme: light dark }}
li {{ display: flex; justify-content: space-between; padding: .6rem 0;
  border-top: 1px solid #8886 }}
ul {{ list-style: none; padding: 0 }}
</style>
<h1>{headline}</h1>
<ul>
{rows}
</ul>
<p>As of <time datetime="{as_of}">{as_of}</time>. Your phone key and key card work without us.</p>
</html>
"""


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature; none of them takes a slot."""

    @app.get("/status")
    async def status(request: Request) -> Response:
        works = {name: backend.dependencies.works[behind] for name, behind in FEATURES}
        headers = {"cache-control": "no-store", "vary": "Accept"}
        if "text/html" in request.headers.get("accept", ""):
            return HTMLResponse(_page(works), headers=headers)
        body = {
            "status": "operational" if all(works.values()) else "degraded",
            "features": [{"name": name, "works": value} for name, value in works.items()],
            "as_of": now_text(),
        }
        return JSONResponse(body, headers=headers)

    @app.get("/healthz")
    async def healthz() -> Response:
        return JSONResponse({"alive": True})

    @app.get("/readyz")
    async def readyz() -> Response:
        await backend.storage.ping()
        return JSONResponse({"ready": True})


def _page(works: dict[str, bool]) -> str:
    headline = "Everything works" if all(works.values()) else "Some things do not work"
    rows = "\n".join(
        f"<li><span>{name}</span><strong>{'works' if value else 'does not work'}</strong></li>"
        for name, value in works.items()
    )
    return PAGE.format(headline=headline, rows=rows, as_of=now_text())
