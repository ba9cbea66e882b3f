"""Every answer that is not what the client wanted: RFC 9457 problem+json, never internals."""

from __future__ import annotations

import random
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from target_service.dependencies import DependencyFailed

# Long enough to help what failed, and spread so that clients do not come back together.
RETRY_AFTER_SECONDS = (1, 5)


class Problem(Exception):
    """An answer as problem+json. `reason` is the machine-readable word, `title` the human one."""

    def __init__(self, status: int, reason: str, title: str, **details: Any) -> None:
        super().__init__(title)
        self.status = status
        self.reason = reason
        self.title = title
        self.details = details

    def response(self) -> Response:
        """Render it; a 503 always says when to come back and is never cached."""
        body = {
            "type": f"urn:launchday:problem:{self.reason}",
            "title": self.title,
            "status": self.status,
            "reason": self.reason,
            **self.details,
        }
        headers = {"cache-control": "no-store"}
        if self.status == 503:
            headers["retry-after"] = str(random.randint(*RETRY_AFTER_SECONDS))
        return JSONResponse(body, self.status, headers, "application/problem+json")


def dependency_problem(dependency: str) -> Problem:
    """Return the 503 for something behind the backend that failed."""
    title = "Something behind the service failed"
    return Problem(503, "dependency", title, dependency=dependency)


def not_found(what: str) -> Problem:
    """Return the 404 for a thing that is not there."""
    return Problem(404, "not_found", f"Unknown {what}")


def install(app: Starlette) -> None:
    """Make every error of the app a problem+json."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(DependencyFailed, _on_dependency_failed)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_exception)


async def _on_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _on_dependency_failed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DependencyFailed)
    return dependency_problem(error.dependency).response()


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    response = Problem(error.status_code, reason, error.detail).response()
    response.headers.update(error.headers or {})
    return response


async def _on_exception(_request: Request, _error: Exception) -> Response:
    return Problem(500, "internal", "The service failed").response()
