"""Streams of server-sent events: bounded in number, kept alive, ended when the service stops."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from prometheus_client import Gauge
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from target_service.dependencies import DependencyFailed
from target_service.problems import Problem, overload_problem

HEARTBEAT_SECONDS = 15.0
# After a failed read; what is new is still there then.
PAUSE_SECONDS = 1.0
# `x-accel-buffering`: nginx would hold events back until its buffer is full.
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

News = Callable[[], AsyncIterator[bytes]]


def event(name: str, data: Any, event_id: int | None = None) -> bytes:
    """Return one event with `data` as JSON."""
    text = json.dumps(data, separators=(",", ":"))
    shown_id = None if event_id is None else str(event_id)
    return format_sse_event(event=name, data_str=text, id=shown_id)


class Streams:
    """At most `limit` streams at a time; `open_now` shows how many there are.

    A stream keeps nothing but its place: it reads what is new when it is woken, and only as fast
    as its client takes it.
    """

    def __init__(self, limit: int, open_now: Gauge) -> None:
        self._limit = limit
        self._open_now = open_now
        self._open = 0
        self._ended = False
        self._generation = 0
        self._listening: dict[int | None, set[asyncio.Event]] = {}

    def answer(self, news: News, topic: int | None = None) -> EventStream:
        """Return a stream that sends what `news()` yields: at once, and whenever it is woken.

        A Problem that `news` raises ends the stream. Raises the 503 when there are too many.
        """
        if self._open >= self._limit or self._ended:
            raise overload_problem("There are as many streams as the service can hold")
        self._open += 1
        self._open_now.set(self._open)
        return EventStream(self._events(news, topic), self._closed)

    def wake(self, topic: int | None = None) -> None:
        """Let the streams of a topic look for what is new; None for all streams."""
        woken = self._listening.values() if topic is None else [self._listening.get(topic, set())]
        for events in woken:
            for each in events:
                each.set()

    def end_open(self) -> None:
        """End the streams that are open now."""
        self._generation += 1
        self.wake()

    def end(self) -> None:
        """End every stream and open no other."""
        self._ended = True
        self.end_open()

    def _closed(self) -> None:
        self._open -= 1
        self._open_now.set(self._open)

    async def _events(self, news: News, topic: int | None) -> AsyncIterator[bytes]:
        generation = self._generation
        with self._listener(topic) as woken:
            while generation == self._generation:
                woken.clear()
                patience_seconds, silent = HEARTBEAT_SECONDS, True
                try:
                    async for chunk in news():
                        silent = False
                        yield chunk
                except DependencyFailed:
                    patience_seconds = PAUSE_SECONDS
                except Problem:
                    return
                if silent:
                    yield KEEPALIVE_COMMENT
                await _wait(woken, patience_seconds)

    @contextmanager
    def _listener(self, topic: int | None) -> Iterator[asyncio.Event]:
        woken = asyncio.Event()
        listening = self._listening.setdefault(topic, set())
        listening.add(woken)
        try:
            yield woken
        finally:
            listening.discard(woken)
            if not listening:
                self._listening.pop(topic, None)


async def _wait(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return


class EventStream(StreamingResponse):
    """A stream that says when it is over, also when its client left before the first byte."""

    # Not FastAPI's EventSourceResponse: whatever is wrong must be known before the answer begins.
    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], on_end: Callable[[], None]) -> None:
        super().__init__(events, headers=HEADERS)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()
