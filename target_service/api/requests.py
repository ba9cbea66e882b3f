"""What several endpoints read from a request, and how routes are declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Path, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from target_service.backend import Backend
from target_service.problems import not_found
from target_service.routes import BY_NAME, EXEMPT

REPLAYED_HEADERS = {"idempotency-replayed": "true"}
NO_STORE = {"cache-control": "no-store"}

Vin = Annotated[str, Path(pattern="^[A-Z0-9]{17}$", description="17 capital letters or digits")]
# PostgreSQL fails on characters that an id cannot have; that must not look like an outage.
Id = Annotated[str, Path(pattern="^[A-Za-z0-9._~:-]{1,128}$")]
IDEMPOTENCY_PATTERN = "^[A-Za-z0-9._~:-]{1,128}$"
_KEY_HEADER = Header(
    alias="Idempotency-Key",
    pattern=IDEMPOTENCY_PATTERN,
    description="Chosen by the client; the same key again gets the same answer",
)
IdempotencyKey = Annotated[str, _KEY_HEADER]
# Not `IdempotencyKey | None`: FastAPI finds the header only at the top of the annotation.
OptionalIdempotencyKey = Annotated[str | None, _KEY_HEADER]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must consist of printable characters")
    return text


# The pattern says the same to those who read the OpenAPI document.
Text = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[ -~]+$"), AfterValidator(_printable)
]


class Body(BaseModel):
    """A request or answer; fields that nobody knows are refused, so that typing errors show."""

    model_config = ConfigDict(extra="forbid")


class ProblemBody(BaseModel):
    """RFC 9457 problem details. A 503 says in `retry_after_ms` when to come back."""

    type: str
    title: str
    status: int
    reason: str
    retry_after_ms: int | None = None
    processed: Literal[False] | None = None
    dependency: str | None = None
    ends_at: str | None = None
    state: str | None = None
    missing: dict[str, str] | None = None


SENTENCES = {
    400: "The request cannot be understood",
    401: "Nobody is signed in",
    404: "There is no such thing, or it is somebody else's",
    408: "The body came too slowly",
    409: "It cannot be done now",
    413: "The body is too large",
    422: "The body or a parameter is not allowed",
    429: "Too many attempts",
    500: "The service failed",
    503: "Overload, maintenance, or something behind the service failed; see unavailable-cause",
}
_RETRY_AFTER = {
    "Retry-After": {"schema": {"type": "integer", "minimum": 1}, "required": True},
}
_CAUSE = {
    "Unavailable-Cause": {
        "schema": {"type": "string", "enum": ["overload", "maintenance", "dependency"]},
        "required": True,
    },
}


def add(app: FastAPI, name: str, answer: type[Any] | None, **more: Any) -> Callable[[Any], Any]:
    """Return the decorator for the route `name` of `routes.ALL`; `answer` types what it returns.

    The endpoint returns a Response: what it answers was typed by the database and by itself, so
    checking it once more would double its cost.
    """
    route = BY_NAME[name]
    responses: dict[int | str, dict[str, Any]] = {}
    slow_body = (408,) if 413 in route.codes else ()
    for code in (*route.codes, *slow_body, 500, 503):
        responses[code] = _described(code, answer)
    if 422 not in responses:
        responses[422] = _described(422, None)  # instead of FastAPI's own
    secured = 401 in route.codes and name not in ("sign_in", "refresh")
    scheme = "bearer" if route.criticality != EXEMPT else "admin"
    extra: dict[str, Any] = {"security": [{scheme: []}]} if secured else {}
    return app.api_route(
        route.path,
        methods=[route.method],
        operation_id=name,
        name=name,
        status_code=next(code for code in route.codes if code < 300),
        response_model=None,
        responses=responses,
        openapi_extra={"x-criticality": route.criticality, **extra},
        **more,
    )


def _described(code: int, answer: type[Any] | None) -> dict[str, Any]:
    if code < 300:
        return {"description": "Done", **({"model": answer} if answer else {})}
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    described: dict[str, Any] = {
        "description": SENTENCES[code],
        "content": {"application/problem+json": {"schema": schema}},
    }
    if code in (429, 503):
        described["headers"] = _RETRY_AFTER | (_CAUSE if code == 503 else {})
    return described


def owner_of(request: Request, backend: Backend) -> int:
    """Return the owner who is signed in. Raises the 401."""
    return backend.tokens.bearer(request.headers.get("authorization")).owner_id


async def require_car(vin: str, owner_id: int, backend: Backend) -> None:
    """Return when this owner owns the car; for anybody else there is no such car: 404."""
    if await backend.garage.owner_of(vin) != owner_id:
        raise not_found("vehicle")


def created(stored: dict[str, Any], location: str, made: bool) -> Response:
    """Return the 201; equal for the first request with a key and for every one after it."""
    headers = {"location": location} | ({} if made else REPLAYED_HEADERS)
    return JSONResponse(stored, 201, headers)
