"""One request to the admin API: its body within bounds, and its answer."""

from __future__ import annotations

import json
from http import HTTPStatus

from launchday.admission.admin_changes import Document
from launchday.admission.asgi import Receive, Scope, Send
from launchday.admission.uploads import plan_body, refuse_upload

LARGEST_BODY_BYTES = 64 * 1024
LONGEST_DETAIL = 300

Headers = list[tuple[bytes, bytes]]


class Refused(Exception):
    """The answer is an error: its status, what is wrong in words, and headers of its own."""

    def __init__(self, status: HTTPStatus, detail: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers


class ClientLeft(Exception):
    """There is nobody to answer."""


class Exchange:
    """The body of one request, and the answer: what nobody read must not hold up a connection."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self._ended = False

    async def document(self) -> Document:
        """Return the JSON object that the body is. Raises `Refused` or `ClientLeft`."""
        try:
            document = json.loads(await self._read())
            # What cannot be written as UTF-8 (half a surrogate pair) would fail later, elsewhere.
            json.dumps(document, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            raise Refused(HTTPStatus.BAD_REQUEST, "the body must be JSON in UTF-8") from None
        if not isinstance(document, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
        return document

    async def _read(self) -> bytes:
        body = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            body += message.get("body", b"")
            self._ended = not message.get("more_body", False)
            if len(body) > LARGEST_BODY_BYTES:
                limit = f"the body must not be larger than {LARGEST_BODY_BYTES} bytes"
                raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit)
            if self._ended:
                return bytes(body)

    async def reply(
        self,
        send: Send,
        status: HTTPStatus,
        document: Document,
        more_headers: tuple[tuple[bytes, bytes], ...],
    ) -> None:
        """Send the document; a HEAD request gets its headers alone."""
        content = json.dumps(document).encode()
        kind = b"application/json" if status < 400 else b"application/problem+json"
        headers: Headers = [
            (b"content-type", kind),
            (b"content-length", b"%d" % len(content)),
            (b"cache-control", b"no-store"),
            *more_headers,
        ]
        start = {"type": "http.response.start", "status": status, "headers": headers}
        if self._scope["method"] == "HEAD":
            content = b""
        plan = None if self._ended else plan_body(self._scope)
        if plan is not None:
            await refuse_upload(plan, self._receive, send, start, content)
            return
        await send(start)
        await send({"type": "http.response.body", "body": content})


def problem(status: HTTPStatus, detail: str) -> Document:
    """Return RFC 9457's members; the type "about:blank" says that the status says it all."""
    shown = detail if len(detail) <= LONGEST_DETAIL else f"{detail[:LONGEST_DETAIL]}…"
    return {"type": "about:blank", "title": status.phrase, "status": status, "detail": shown}
