"""What is told of a request that ended: Locust's request event, or whoever takes its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from launchday.load.http.response import Response


@runtime_checkable
class Recorder(Protocol):
    """Who is told of every request that ended, once: `launchday.load.recorder.Recorder`."""

    def finished(
        self, response: Response, context: Mapping[str, Any], exception: BaseException | None
    ) -> None:
        """`exception` is what is held against the answer, or why there is none; None if nothing."""


class EventHook(Protocol):
    """Locust's `environment.events.request`."""

    @property
    def fire(self) -> Callable[..., None]: ...


class FiredEvents:
    """Fires the event for every request."""

    def __init__(self, event: EventHook) -> None:
        self._event = event

    def finished(
        self, response: Response, context: Mapping[str, Any], exception: BaseException | None
    ) -> None:
        """Fire the event, with what Locust's own clients put into it."""
        request = response.request
        ago_seconds = perf_counter() - response.ended + response.elapsed_seconds
        self._event.fire(
            request_type=request.method if request else "",
            name=request.name if request else "",
            context=context,
            response=response,
            response_time=response.elapsed_seconds * 1000,
            response_length=len(response.content),
            start_time=time() - ago_seconds,
            url=response.url,
            exception=exception,
        )
