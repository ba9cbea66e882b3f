"""An admitted request on its way out: its slots come back at the end of the body, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from launchday.admission.asgi import Message, Send
from launchday.admission.limits import Outcome
from launchday.admission.pool import Admission, PoolPermit

if TYPE_CHECKING:
    from launchday.admission.middleware import LoadSheddingMiddleware


class Answer:
    """Watches what the app sends; `end` as often as you like, the first counts.

    An answer that still sends after `shedder.stream_after_seconds` goes on in `shedder.streams`;
    its slots are free then. With no place there it keeps them: nothing is cut off. What the limit
    learns from is the time to the first byte: how fast a client reads says nothing about load.
    """

    __slots__ = (
        "_begun", "_criticality", "_ended", "_move", "_permit", "_send", "_shedder", "_started_at",
        "outcome",
    )  # fmt: skip

    def __init__(
        self, shedder: LoadSheddingMiddleware, permit: Admission, criticality: str, send: Send
    ) -> None:
        self._shedder = shedder
        self._permit = permit
        self._criticality = criticality
        self._send = send
        self._begun = self._ended = False
        self._started_at: float | None = None
        self._move: asyncio.TimerHandle | None = None
        self.outcome = Outcome.IGNORED

    def begin(self) -> None:
        """The app is called now."""
        self._begun = True
        self._shedder.observer.admitted(self._criticality, self._permit.waited_seconds)

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on."""
        # Not async itself: one coroutine less for every answer.
        if message["type"] == "http.response.start":
            self._started_at = self._shedder.clock()
            self.outcome = _outcome_of(message["status"])
            return self._send(message)
        if message.get("more_body", False):
            if self._move is None and not self._ended:
                self._watch()
            return self._send(message)
        return self._send_last(message)

    async def _send_last(self, message: Message) -> None:
        await self._send(message)
        if message["type"] == "http.response.body":
            self.end()

    def end(self) -> None:
        """Give the slots back."""
        if self._ended:
            return
        self._ended = True
        if self._move is not None:
            self._move.cancel()
        seconds = self._permit.release(self.outcome, self._started_at)
        if self._begun:
            self._shedder.observer.finished(self._criticality, seconds)
        else:
            self._shedder.observer.cancelled(self._criticality, self._permit.waited_seconds)

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._move = loop.call_later(self._shedder.stream_after_seconds, self._move_to_streams)

    def _move_to_streams(self) -> None:
        streams = self._shedder.streams
        if self._ended or isinstance(self._permit, PoolPermit) or not streams.try_enter():
            return
        self._permit.release(self.outcome, self._started_at)
        self._permit = PoolPermit(streams, self._shedder.clock)


def _outcome_of(status: int) -> Outcome:
    if status >= 500:
        return Outcome.DROPPED
    return Outcome.SUCCESS if status < 400 else Outcome.IGNORED
