"""The body of a refused request: how much of it to read, and whether its connection can stay."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, cast

from launchday.admission.asgi import Message, Receive, Scope, Send

# Up to here it costs less to read a body than to open a new connection.
KEEP_BYTES = 1024 * 1024
# What a client has in flight before it can see the refusal.
LINGER_BYTES = 256 * 1024
LINGER_SECONDS = 0.25

Header = tuple[bytes, bytes]

_BODY_HEADERS = frozenset((b"content-length", b"transfer-encoding", b"expect"))
_CLOSE = (b"connection", b"close")
# More digits are no length that anyone means, and int() refuses some thousands of them.
_LENGTH_DIGITS = 18


class BodyPlan(NamedTuple):
    """What to do with the body of one refused request.

    `close`: the answer must carry `connection: close`, unless the body is seen to end.
    `read_bytes`: read and drop up to this many, in bytes; 0 means never call `receive`.
    """

    close: bool
    read_bytes: int


class DiscardedBody(NamedTuple):
    """What became of the body of one refused request.

    `byte_count`: read and dropped, in bytes; a server hands out whole chunks, so it may exceed the
    plan by one (uvicorn: up to 256 KiB). `ended`: all of it was read, so the connection can stay
    open. `client_left`: nobody is there to be answered.
    """

    byte_count: int
    ended: bool
    client_left: bool


_NEVER_READ = BodyPlan(close=True, read_bytes=0)
_LINGER = BodyPlan(close=True, read_bytes=LINGER_BYTES)
_NOTHING = DiscardedBody(0, ended=False, client_left=False)


def plan_body(scope: Scope) -> BodyPlan | None:
    """Return what to do with the body of a refused http request; None if it has none.

    - `Expect: 100-continue`: nothing is read, because `receive` would ask the client for the body;
      close, because a client that then does not send it would have its next request taken for it
      (RFC 9110 section 10.1.1).
    - a length up to 1 MiB: read it and keep the connection. Small bodies too: uvicorn 0.54 keeps
      a connection open for ever when a body comes after its answer, as it stops the keep-alive
      timer at every byte and starts it only at the end of an answer.
    - a larger or unknown length: close, and linger (RFC 9112 section 9.6).

    HTTP/2 and 3 end a stream without its connection: None. Headers that are no length count as an
    unknown length; nothing raises.
    """
    found = [header for header in scope["headers"] if header[0] in _BODY_HEADERS]
    if not found or not scope.get("http_version", "1.1").startswith("1"):
        return None
    length = _declared_length(found)
    if length == 0:
        return None
    if len(found) > 1 and _expects_continue(found):
        return _NEVER_READ
    if length is None or length > KEEP_BYTES:
        return _LINGER
    return BodyPlan(False, length)


def _declared_length(found: list[Header]) -> int | None:
    """Return the length of the body in bytes; None if chunked, contradictory or not a number."""
    if len(found) > 1:
        found = [header for header in found if header[0] != b"expect"]
        if len(found) != 1:
            return None
    name, value = found[0]
    if name != b"content-length":
        return 0 if name == b"expect" else None
    return int(value) if value.isdigit() and len(value) <= _LENGTH_DIGITS else None


def _expects_continue(found: list[Header]) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in found)


class _TimeLimit:
    """What `asyncio.timeout` does, for 2 us of CPU instead of 7 (a bare 503 of uvicorn costs 32).

    It swallows the cancellation that it asked for itself, and no other.
    """

    __slots__ = ("_cancelling", "_expired", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self._expired = False
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._timer.cancel()
        if not self._expired:
            return False
        others = self._task.uncancel() > self._cancelling
        return kind is asyncio.CancelledError and not others


async def discard_body(
    receive: Receive, plan: BodyPlan, *, seconds: float = LINGER_SECONDS
) -> DiscardedBody:
    """Read and drop the body until it ends, `plan.read_bytes` are exceeded or time is up.

    Holds at most one message of the body at a time. Never raises for what a client does.
    """
    byte_count = 0
    with _TimeLimit(seconds):
        # `>=`: some servers tell the end in a message of its own.
        while 0 < plan.read_bytes >= byte_count:
            message = await receive()
            if message["type"] != "http.request":
                return DiscardedBody(byte_count, False, True)
            byte_count += len(message.get("body", b""))
            if not message.get("more_body", False):
                return DiscardedBody(byte_count, True, False)
    return DiscardedBody(byte_count, False, False)


async def refuse_upload(
    plan: BodyPlan,
    receive: Receive,
    send: Send,
    start: Message,
    body: bytes,
    *,
    seconds: float = LINGER_SECONDS,
) -> DiscardedBody:
    """Send the refusal `start` and `body` as `plan` wants it, and return what was dropped.

    A body that can be read to its end is read first, for `seconds` at most: the connection stays.
    Otherwise the answer goes out before the body is read, whole but not ended, so that a client
    that looks up while it sends sees it. Its connection is closed up to `seconds` later: a close
    with unread bytes is a reset, and a reset can overtake the answer. `start["headers"]`, a list,
    gets its `connection: close` here.
    """
    before = _NOTHING
    if not plan.close:
        before = await discard_body(receive, plan, seconds=seconds)
        if before.client_left:
            return before
        if before.ended:
            await send(start)
            await send({"type": "http.response.body", "body": body})
            return before
    start["headers"].append(_CLOSE)
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": True})
    after = await _linger(receive, plan, seconds)
    if not after.client_left:
        await send({"type": "http.response.body", "body": b""})
    return after._replace(byte_count=before.byte_count + after.byte_count)


async def _linger(receive: Receive, plan: BodyPlan, seconds: float) -> DiscardedBody:
    if not plan.read_bytes:
        return _NOTHING
    clock = asyncio.get_running_loop().time
    started_at = clock()
    discarded = await discard_body(receive, plan, seconds=seconds)
    if not (discarded.ended or discarded.client_left):
        # Enough is read: the rest stays in the sockets while the client may still see the answer.
        await asyncio.sleep(seconds - (clock() - started_at))
    return discarded
