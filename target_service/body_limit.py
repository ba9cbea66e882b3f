"""Bodies are bounded in size and time, and are read before a request takes anybody's place."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from target_service.problems import Problem

LARGEST_BODY_BYTES = 64 * 1024
LONGEST_BODY_SECONDS = 30.0
# After a refusal: so much and so long the rest is read, or a reset could swallow the answer.
LINGER_BYTES, LINGER_SECONDS = 1024 * 1024, 1.0

BODYLESS_METHODS = frozenset({"GET", "HEAD"})


class BodyLimit:
    """Answers 413 to a body over `largest_bytes` (default 64 KiB) and 408 to one over 30 s.

    Put it outside the shedder: a phone with a bad connection then holds no permit while it
    sends. A length that is declared and too large is refused before anything is read. GET and
    HEAD pass; what they send is not read by anybody.
    """

    # What has no body passes, and only that is refused before it comes here.
    transparent_to_refusals = True

    def __init__(self, app: ASGIApp, *, largest_bytes: int = LARGEST_BODY_BYTES) -> None:
        self.app = app
        self._largest_bytes = largest_bytes
        title = f"The body is over {largest_bytes} bytes"
        self._too_large = Problem(413, "too_large", title, headers={"connection": "close"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in BODYLESS_METHODS:
            await self.app(scope, receive, send)
            return
        declared_bytes = _declared_bytes(scope)
        if declared_bytes == 0:
            await self.app(scope, receive, send)
        elif declared_bytes is not None and declared_bytes > self._largest_bytes:
            await _refuse(self._too_large, scope, receive, send)
        else:
            await self._read_and_serve(scope, receive, send)

    async def _read_and_serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(LONGEST_BODY_SECONDS):
                body, is_whole = await self._read(receive)
        except TimeoutError:
            title = f"The body took over {LONGEST_BODY_SECONDS:.0f} s"
            problem = Problem(408, "body_too_slow", title, headers={"connection": "close"})
            await problem.response()(scope, receive, send)
            return
        if body is None:
            return  # the client left: nobody waits for an answer
        if len(body) > self._largest_bytes:
            rest = _nothing if is_whole else receive
            await _refuse(self._too_large, scope, rest, send)
            return
        await self.app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> tuple[bytes | None, bool]:
        """Return the body and whether it is whole; it is not when it is seen to be too large.

        None when the client left.
        """
        message = await receive()
        if not message.get("more_body", True):  # nearly always: all of it is there
            return message.get("body", b""), True
        body = bytearray()
        while message["type"] == "http.request":
            body += message.get("body", b"")
            is_whole = not message.get("more_body", False)
            if is_whole or len(body) > self._largest_bytes:
                return bytes(body), is_whole
            message = await receive()
        return None, True


def _declared_bytes(scope: Scope) -> int | None:
    """Return the length that the head declares: 0 when there is no body, None when chunked.

    The parser has refused a length that is no number, and one beside `transfer-encoding`.
    """
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
        if name == b"transfer-encoding":
            return None
    return 0


def _replay(body: bytes, receive: Receive) -> Receive:
    first: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replay() -> Message:
        nonlocal first
        if first is None:
            return await receive()
        message, first = first, None
        return message

    return replay


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the whole answer, then read on for a while, then let the connection close."""

    async def send_but_stay_open(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "more_body": True}
        await send(message)

    await problem.response()(scope, receive, send_but_stay_open)
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            await _discard(receive)
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _discard(receive: Receive) -> None:
    discarded_bytes = 0
    while discarded_bytes <= LINGER_BYTES:
        message = await receive()
        if not message.get("more_body", False):
            return
        discarded_bytes += len(message.get("body", b""))
