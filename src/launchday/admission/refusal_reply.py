"""A 503 as problem+json: rendered once, sent often."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any

from launchday.admission.asgi import Scope, Send
from launchday.admission.limiter import Refusal

STATUS = 503
# draft-ietf-httpapi-ratelimit-headers-11 defines this RFC 9457 type.
PROBLEM_TYPE = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
TITLE = "Temporarily over capacity"

Rendered = tuple[list[tuple[bytes, bytes]], bytes]


class RefusalReply:
    """Answers the shedder's 503 for every reason and every Retry-After in `seconds`."""

    def __init__(self, seconds: range) -> None:
        self._rendered: dict[tuple[Refusal, int], Rendered] = {
            (reason, after): render(PROBLEM_TYPE, TITLE, reason, after, cause="overload")
            for reason in Refusal
            for after in seconds
        }

    def __call__(
        self, scope: Scope, send: Send, reason: Refusal, retry_after_seconds: int
    ) -> Awaitable[None]:
        # Not async itself: one coroutine less on the path that must be cheap.
        return reply(self._rendered[reason, retry_after_seconds], scope, send)


async def reply(rendered: Rendered, scope: Scope, send: Send) -> None:
    """Send a rendered refusal; a HEAD request gets the headers alone."""
    headers, body = rendered
    # A copy, because middlewares further out add their headers to this very list.
    await send({"type": "http.response.start", "status": STATUS, "headers": headers.copy()})
    if scope["method"] == "HEAD":
        body = b""
    await send({"type": "http.response.body", "body": body})


def render(
    problem_type: str, title: str, reason: str, retry_after_seconds: int, *, cause: str, **more: Any
) -> Rendered:
    """Return headers and body of a 503; `more` are further members of the problem.

    `cause` tells people and proxies why, without reading the body: "overload" or "maintenance".
    """
    problem = {
        "type": problem_type,
        "title": title,
        "status": STATUS,
        "reason": reason,
        "retry_after_ms": retry_after_seconds * 1000,
        "processed": False,
        **more,
    }
    body = json.dumps(problem, separators=(",", ":")).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"%d" % retry_after_seconds),
        (b"cache-control", b"no-store"),
        (b"unavailable-cause", cause.encode()),
    ]
    return headers, body
