"""Every answer that is not what the client wanted: RFC 9457 problem+json, never internals."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from target_service.dependencies import DependencyFailed
from target_service.routes import methods_of
from target_service.unavailable import Cause, Unavailable

# Long enough to help what failed, and spread so that clients do not come back together.
RETRY_AFTER_SECONDS = (1, 5)
# What a part of a path names, where that is not the parameter's own name.
_NOUNS = {"vin": "vehicle"}
DEPENDENCY_TITLE = "Something behind the service failed; try again soon"


class Problem(Exception):
    """An answer as problem+json. `reason` is the machine-readable word, `title` the human one.

    `cause` belongs to a 503, which also says when to come back: after `retry_after_seconds`.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        title: str,
        *,
        headers: Mapping[str, str] | None = None,
        cause: Cause | None = None,
        retry_after_seconds: int | None = None,
        **details: Any,
    ) -> None:
        super().__init__(title)
        self.status = status
        self.reason = reason
        self.title = title
        self.details = details
        self.cause = cause
        self.retry_after_seconds = retry_after_seconds
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Render it; what is to be retried says when, and nothing of it is cached."""
        body = {
            "type": f"urn:launchday:problem:{self.reason}",
            "title": self.title,
            "status": self.status,
            "reason": self.reason,
            **self.details,
        }
        headers = {"cache-control": "no-store", **self.headers}
        if self.retry_after_seconds is not None:
            headers["retry-after"] = str(self.retry_after_seconds)
            body["retry_after_ms"] = 1000 * self.retry_after_seconds
        if self.cause is not None:
            headers["unavailable-cause"] = self.cause.value
        return JSONResponse(body, self.status, headers, "application/problem+json")


def dependency_problem(dependency: str, wait_seconds: float = 0.0) -> Problem:
    """Return the 503 for something behind the backend that failed.

    `wait_seconds`: how long its breaker stays open; nobody need come back before.
    """
    return Problem(
        503,
        "dependency",
        DEPENDENCY_TITLE,
        cause=Cause.DEPENDENCY,
        retry_after_seconds=math.ceil(wait_seconds) + random.randint(*RETRY_AFTER_SECONDS),
        dependency=dependency,
    )


def overload_problem(title: str) -> Problem:
    """Return the 503 for a pool of the service itself that is full."""
    seconds = random.randint(*RETRY_AFTER_SECONDS)
    return Problem(503, "overload", title, cause=Cause.OVERLOAD, retry_after_seconds=seconds)


def not_found(what: str) -> Problem:
    """Return the 404 for a thing that is not there, or that is somebody else's."""
    return Problem(404, "not_found", f"Unknown {what}")


def install(app: Starlette, unavailable: Unavailable | None = None) -> None:
    """Make every error of the app a problem+json; `unavailable` counts the 503s among them."""

    async def on_problem(_request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        if unavailable is not None and error.cause is not None:
            unavailable.count(error.cause, error.details.get("dependency", error.reason))
        return error.response()

    async def on_dependency_failed(request: Request, error: Exception) -> Response:
        assert isinstance(error, DependencyFailed)
        problem = dependency_problem(error.dependency, error.retry_after_seconds)
        return await on_problem(request, problem)

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(DependencyFailed, on_dependency_failed)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_exception)
    # Under overload thousands leave while they wait: not an error of ours, nothing to log.
    app.add_exception_handler(ClientDisconnect, _on_client_gone)
    app.add_exception_handler(Exception, _on_exception)


async def _on_invalid(_request: Request, error: Exception) -> Response:
    """Put in one sentence what of the request is wrong; what was sent is not repeated."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where, *rest = [str(part) for part in first["loc"]]
    name = ".".join(rest) or where
    if where == "path":
        return not_found(_NOUNS.get(name, name.removesuffix("_id"))).response()
    if where == "header" and name.lower() == "idempotency-key":
        title = "Idempotency-Key must be there: 1 to 128 letters, digits or any of . _ ~ : -"
        return Problem(400, "idempotency_key", title).response()
    reason = (
        "The body must be JSON"
        if first["type"] == "json_invalid"
        else first["msg"].removeprefix("Value error, ")
    )
    title = f"{reason} ({where}: {name})" if rest else reason
    return Problem(422, "invalid", title).response()


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
    response = Problem(error.status_code, reason, error.detail).response()
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        # Starlette names only the methods of the first route with this path.
        response.headers["allow"] = ", ".join(methods_of(request.url.path))
    return response


async def _on_client_gone(_request: Request, _error: Exception) -> Response:
    return Problem(400, "client_gone", "The client left before its request was read").response()


async def _on_exception(_request: Request, _error: Exception) -> Response:
    return Problem(500, "internal", "The service failed").response()
