"""What several endpoints read from a request."""

from __future__ import annotations

import re

from fastapi import Request
from starlette.requests import ClientDisconnect

from target_service.problems import Problem, not_found

IDEMPOTENCY_HEADER = "idempotency-key"
REPLAYED_HEADERS = {"idempotency-replayed": "true"}
LARGEST_BODY_BYTES = 16 * 1024

_KEY = re.compile(r"[A-Za-z0-9._~:-]{1,128}", re.ASCII)
_VIN = re.compile(r"[A-Z0-9]{17}", re.ASCII)


def idempotency_key(request: Request) -> str | None:
    """Return the key, or None without the header. A malformed key is a 400."""
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        title = "Idempotency-Key must be 1 to 128 letters, digits or any of . _ ~ : -"
        raise Problem(400, "idempotency_key", title)
    return key


def check_vin(vin: str) -> None:
    """Return when a car could have this VIN (17 capital letters or digits); else a 404."""
    if not _VIN.fullmatch(vin):
        raise not_found("vehicle")


def check_id(what: str, value: str) -> None:
    """Return when a reservation or command (`what`) could have this id; else a 404.

    PostgreSQL fails on characters that an id cannot have, and that must not look like an outage.
    """
    if not _KEY.fullmatch(value):
        raise not_found(what)


async def read_body(request: Request) -> bytes:
    """Return the body; one above 16 KiB is a 413."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY_BYTES:
                raise Problem(413, "too_large", f"The body is over {LARGEST_BODY_BYTES} bytes")
    except ClientDisconnect:
        # Under overload thousands leave while they wait: not an error of ours, nothing to log.
        raise Problem(400, "client_gone", "The client left before its request was read") from None
    return bytes(body)
