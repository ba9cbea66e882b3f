"""The 503 of the shedder: rendered once, sent often."""

from __future__ import annotations

import json

from launchday.admission.asgi import Scope, Send
from launchday.admission.limiter import Refusal

STATUS = 503
# draft-ietf-httpapi-ratelimit-headers-11 defines this RFC 9457 type.
PROBLEM_TYPE = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
TITLE = "Temporarily over capacity"

_Rendered = tuple[list[tuple[bytes, bytes]], bytes]


class RefusalReply:
    """Answers 503 problem+json for every reason and every Retry-After in `seconds`."""

    def __init__(self, seconds: range) -> None:
        self._rendered: dict[tuple[Refusal, int], _Rendered] = {
            (reason, after): _render(reason, after) for reason in Refusal for after in seconds
        }

    async def __call__(
        self, scope: Scope, send: Send, reason: Refusal, retry_after_seconds: int
    ) -> None:
        headers, body = self._rendered[reason, retry_after_seconds]
        # A copy, because middlewares further out add their headers to this very list.
        await send({"type": "http.response.start", "status": STATUS, "headers": headers.copy()})
        if scope["method"] == "HEAD":
            body = b""
        await send({"type": "http.response.body", "body": body})


def _render(reason: Refusal, retry_after_seconds: int) -> _Rendered:
    problem = {
        "type": PROBLEM_TYPE,
        "title": TITLE,
        "status": STATUS,
        "reason": reason.value,
        "retry_after_ms": retry_after_seconds * 1000,
        "processed": False,
    }
    body = json.dumps(problem, separators=(",", ":")).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"%d" % retry_after_seconds),
        (b"cache-control", b"no-store"),
    ]
    return headers, body
