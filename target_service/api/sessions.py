"""Sign in, refresh a session, sign out. A 5xx never signs anybody out."""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated, Literal

from fastapi import FastAPI, Request
from pydantic import AfterValidator, BaseModel, Field, JsonValue, SecretStr
from starlette.responses import JSONResponse, Response

from target_service.api.requests import NO_STORE, Body, add
from target_service.backend import Backend
from target_service.database import Database
from target_service.database.fleet import password_hash
from target_service.dependencies import DependencyFailed
from target_service.sessions import TRUST_WITHOUT_DATABASE_SECONDS, Bearer, not_signed_in

_OWNER = "SELECT id, password_hash FROM owners WHERE email = $1"
_START = "INSERT INTO sessions (id, owner_id, expires_unix, ended) VALUES ($1, $2, $3, 0)"
_PROLONG = "UPDATE sessions SET expires_unix = $2 WHERE id = $1 AND ended = 0 RETURNING id"
_END = "UPDATE sessions SET ended = 1 WHERE id = $1"
# Compared with when there is no such owner: both refusals take equally long.
_NOBODY = password_hash("")


def _plain(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not (text.isascii() and text.isprintable()):
        raise ValueError("must consist of printable ASCII characters")
    return secret


# The pattern says the same to those who read the OpenAPI document.
_PLAIN: dict[str, JsonValue] = {"pattern": "^[ -~]+$"}


class SignIn(Body):
    """Who signs in."""

    email: str = Field(min_length=3, max_length=254, pattern=r"^[!-?A-~]+@[!-?A-~]+$")
    password: Annotated[SecretStr, AfterValidator(_plain)] = Field(
        min_length=1, max_length=128, json_schema_extra=_PLAIN
    )


class Refresh(Body):
    """The refresh token of a session."""

    refresh_token: Annotated[SecretStr, AfterValidator(_plain)] = Field(
        min_length=1, max_length=512, json_schema_extra=_PLAIN
    )


class Session(BaseModel):
    """Send `access_token` as `Authorization: Bearer`; after `expires_in` seconds refresh it."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: float


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Add the routes of this feature."""

    @add(app, "sign_in", Session)
    async def sign_in(wanted: SignIn, request: Request) -> Response:
        client = request.client.host if request.client else ""
        async with backend.work.slot("sign_in"):
            with backend.guard.attempt(wanted.email, client) as attempt:
                owner_id = await _owner_with(wanted, backend.database)
                attempt.was_right = owner_id is not None
            if owner_id is None:
                raise not_signed_in("There is no owner with this address and password")
            bearer = Bearer(owner_id, secrets.token_urlsafe(12))
            expires_unix = backend.tokens.refresh_until_unix()
            await backend.database.write((_START, bearer.session_id, owner_id, expires_unix))
        return JSONResponse(backend.tokens.issue(bearer), 201, NO_STORE)

    @add(app, "refresh", Session)
    async def refresh(wanted: Refresh) -> Response:
        bearer = backend.tokens.refresher(wanted.refresh_token.get_secret_value())
        async with backend.work.slot("refresh"):
            try:
                [prolonged] = await backend.database.write(
                    (_PROLONG, bearer.session_id, backend.tokens.refresh_until_unix())
                )
                if not prolonged:
                    raise not_signed_in("This session has ended; sign in again")
            except DependencyFailed:
                # Signed by us and not expired: an outage signs nobody out, but soon we ask again.
                issued = backend.tokens.issue(bearer, TRUST_WITHOUT_DATABASE_SECONDS)
                return JSONResponse(issued, 200, NO_STORE)
        return JSONResponse(backend.tokens.issue(bearer), 200, NO_STORE)

    @add(app, "sign_out", None)
    async def sign_out(request: Request) -> Response:
        bearer = backend.tokens.bearer(request.headers.get("authorization"))
        async with backend.work.slot("sign_out"):
            await backend.database.write((_END, bearer.session_id))
        backend.tokens.end(bearer.session_id)
        return Response(status_code=204)


async def _owner_with(wanted: SignIn, database: Database) -> int | None:
    row = await database.one(_OWNER, wanted.email)
    given = password_hash(wanted.password.get_secret_value())
    right = hmac.compare_digest(given, row["password_hash"] if row else _NOBODY)
    return int(row["id"]) if row is not None and right else None
