"""A refusal as problem+json: rendered once, sent often."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from launchday.admission.asgi import Scope, Send
from launchday.admission.refusal import Refusal

# draft-ietf-httpapi-ratelimit-headers-11 defines these RFC 9457 types.
TYPES = "https://iana.org/assignments/http-problem-types#"
# RFC 9110, 15.6.4: the service is short. RFC 6585, 4: this client takes more than its share.
SERVICE_UNAVAILABLE = 503
TOO_MANY_REQUESTS = 429

Headers = list[tuple[bytes, bytes]]
Rendered = tuple[Headers, bytes]


class RefusalReplies:
    """The rendered answer for a reason and a Retry-After in seconds; made when first asked for."""

    def __init__(self) -> None:
        self._by_reason: list[dict[int, Rendered]] = [{} for _ in Refusal]

    def get(self, refusal: Refusal, retry_after_seconds: int) -> Rendered:
        """Return headers, which must not be changed, and body."""
        known = self._by_reason[refusal.number]
        return known.get(retry_after_seconds) or self._render(known, refusal, retry_after_seconds)

    def _render(
        self, known: dict[int, Rendered], refusal: Refusal, retry_after_seconds: int
    ) -> Rendered:
        if refusal is Refusal.FAIRNESS:
            problem, title, cause = "quota-exceeded", "Too many requests from this client", None
        else:
            problem, title = "temporary-reduced-capacity", "Temporarily over capacity"
            cause = "overload"
        status = status_of(refusal)
        rendered = render(TYPES + problem, title, refusal, retry_after_seconds, status, cause=cause)
        known[retry_after_seconds] = rendered
        return rendered


def status_of(refusal: Refusal) -> int:
    """Return 429 for a client that takes more than its share, else 503."""
    return TOO_MANY_REQUESTS if refusal is Refusal.FAIRNESS else SERVICE_UNAVAILABLE


async def reply(rendered: Rendered, scope: Scope, send: Send) -> None:
    """Send a rendered 503; a HEAD request gets the headers alone."""
    headers, body = rendered
    # A copy, because middlewares further out add their headers to this very list.
    start = {"type": "http.response.start", "status": SERVICE_UNAVAILABLE, "headers": [*headers]}
    await send(start)
    if scope["method"] == "HEAD":
        body = b""
    await send({"type": "http.response.body", "body": body})


def render(
    problem_type: str,
    title: str,
    reason: str,
    retry_after_seconds: int,
    status: int = SERVICE_UNAVAILABLE,
    *,
    cause: str | None = None,
    **more: Any,
) -> Rendered:
    """Return headers and body of a refusal; `more` are further members of the problem.

    `cause` tells people and proxies why it is a 503, without reading the body: "overload" or
    "maintenance".
    """
    problem: Mapping[str, Any] = {
        "type": problem_type,
        "title": title,
        "status": status,
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
        # A page of another origin may read only headers that are named here.
        (b"access-control-expose-headers", b"retry-after, unavailable-cause"),
    ]
    if cause is not None:
        headers.append((b"unavailable-cause", cause.encode()))
    return headers, body
