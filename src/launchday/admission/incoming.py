"""The body of a request on its way in: read before the request takes a slot."""

from __future__ import annotations

import asyncio
from collections import deque

from launchday.admission.asgi import Message, Receive
from launchday.admission.uploads import LINGER_SECONDS

# So much of a body is read before its request takes a slot; uvicorn itself buffers as much.
AHEAD_BYTES = 64 * 1024
# A server that knows that a client left says so at once; one that does not waits for that.
ANSWER_TURNS = 3


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


class Incoming:
    """What was read ahead comes to the app first.

    `may_ask`: whether `receive` may be called before the app does; with `Expect: 100-continue`
    that would ask the client for its body.
    """

    __slots__ = ("_ended", "_may_ask", "_read", "_receive")

    def __init__(self, receive: Receive, *, may_ask: bool) -> None:
        self._receive = receive
        self._may_ask = may_ask
        self._read: deque[Message] = deque()
        self._ended = False

    async def receive(self) -> Message:
        """Return the next message, as the app is to get it."""
        return self._read.popleft() if self._read else await self._receive()

    async def read_ahead(self, *, hurried: bool) -> bool:
        """Read the body, 64 KiB of it at most: a slow client must not hold a slot meanwhile.

        `hurried`: for 0.25 s at most; returns whether that was enough. Raises ClientLeft.
        """
        if not hurried:
            await self._read_some()
            return True
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._read_some()
        except TimeoutError:
            return False
        return True

    async def has_left(self) -> bool:
        """Return whether the client is known to be gone."""
        if not self._may_ask:
            return False
        if not self._ended:
            return self._keep(await self._receive())
        asking = asyncio.ensure_future(self._receive())
        try:
            for _ in range(ANSWER_TURNS):
                await asyncio.sleep(0)
                if asking.done():
                    return asking.exception() is not None or self._keep(asking.result())
            return False
        finally:
            asking.cancel()

    async def _read_some(self) -> None:
        byte_count = 0
        while self._may_ask and not self._ended and byte_count < AHEAD_BYTES:
            message = await self._receive()
            if self._keep(message):
                raise ClientLeft
            byte_count += len(message.get("body", b""))

    def _keep(self, message: Message) -> bool:
        """Note a message for the app; return whether it says that the client left."""
        self._read.append(message)
        self._ended = not message.get("more_body", False)
        return bool(message["type"] == "http.disconnect")
