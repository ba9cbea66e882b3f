"""From start to end: waiting for what is missing, ready, draining; everybody gets an answer."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from enum import StrEnum
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from target_service.problems import Problem
from target_service.unavailable import Cause

# They answer in every state, so that whoever restarts or watches the service learns the state.
EXEMPT_PATHS = ("/healthz", "/readyz", "/status", "/metrics")
RETRY_AFTER_SECONDS = (1, 3)
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 1.0

logger = logging.getLogger(__name__)

OnRefused = Callable[[Cause, str], None]


class State(StrEnum):
    """Where the service is between its start and its end."""

    STARTING = "starting"  # something is missing; only the exempt paths answer
    READY = "ready"
    DRAINING = "draining"  # told to stop: not ready, but what comes is still served


class Lifecycle:
    """The one place that knows in which state the service is. All times are in seconds.

    `missing`: what the service waits for and why, by dependency, for `/readyz`.
    `stopping`: set when the listeners close; streams that would never end must end then.
    `is_over`: the time to drain has run out; what is not answered by now is given up.
    """

    def __init__(self) -> None:
        self.state = State.STARTING
        self.missing: dict[str, str] = {}
        self.stopping = asyncio.Event()
        self.is_over = False
        self.in_flight: set[asyncio.Timeout] = set()

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Return whether requests should be sent here, and the body of `/readyz`."""
        ready = self.state is State.READY
        return ready, {"ready": ready, "state": self.state.value, "missing": dict(self.missing)}

    def ready(self) -> None:
        """Nothing is missing any more; without effect once the service was told to stop."""
        self.missing.clear()
        if self.state is State.STARTING:
            self.state = State.READY

    def drain(self) -> None:
        """Say not ready from now on, and serve what comes all the same, if it ever was ready."""
        self.is_over = self.state is State.STARTING
        self.state = State.DRAINING

    def stop(self) -> None:
        """End the endless streams: the listeners close now."""
        self.stopping.set()

    def end(self) -> None:
        """Give up every request in flight, and refuse those that still come."""
        self.is_over = True
        now = asyncio.get_running_loop().time()
        for request in self.in_flight:
            request.reschedule(now)
        self.in_flight.clear()


class LifecycleMiddleware:
    """Answers 503 while the service starts, and to what is in flight when its drain ends.

    Put it outermost. `exempt_paths` are served in every state. `on_refused(cause, detail)` hears
    of every 503; the detail is "draining" or the dependency that is missing.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        lifecycle: Lifecycle,
        exempt_paths: Collection[str] = EXEMPT_PATHS,
        on_refused: OnRefused | None = None,
    ) -> None:
        self.app = app
        self._lifecycle = lifecycle
        self._exempt_paths = frozenset(exempt_paths)
        self._on_refused = on_refused

    @property
    def transparent_to_refusals(self) -> bool:
        """Whether a refusal from further in passes as it is; see `launchday.admission.outside`."""
        return self._lifecycle.state is State.READY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        lifecycle = self._lifecycle
        if lifecycle.state is not State.READY and scope["path"] not in self._exempt_paths:
            if lifecycle.is_over:
                await self._refuse(_draining(processed=False), scope, receive, send)
                return
            if lifecycle.state is State.STARTING:
                await self._refuse(_starting(lifecycle), scope, receive, send)
                return
        await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        lifecycle = self._lifecycle
        begun = False

        def watch(message: Message) -> Awaitable[None]:
            nonlocal begun
            if not begun:
                begun = True
                if lifecycle.state is State.DRAINING:
                    # A kept connection moves on to a service that is ready.
                    headers = [*message.get("headers", ()), (b"connection", b"close")]
                    message = {**message, "headers": headers}
            return send(message)

        # No time limit, until `Lifecycle.end` sets one: that cancels this request and no other.
        limit = asyncio.timeout(None)
        try:
            async with limit:
                lifecycle.in_flight.add(limit)
                try:
                    await self.app(scope, receive, watch)
                finally:
                    lifecycle.in_flight.discard(limit)
        except TimeoutError:
            if not limit.expired():
                raise
            if begun:  # half an answer cannot be taken back: uvicorn closes the connection
                raise asyncio.CancelledError("the drain ended") from None
            await self._refuse(_draining(), scope, receive, send)

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        if self._on_refused is not None and problem.cause is not None:
            self._on_refused(problem.cause, problem.details.get("dependency", problem.reason))
        await problem.response()(scope, receive, send)


def _starting(lifecycle: Lifecycle) -> Problem:
    dependency = next(iter(lifecycle.missing), "database")
    return Problem(
        503,
        "dependency",
        f"The service is starting and waits for its {dependency}; try again soon",
        cause=Cause.DEPENDENCY,
        retry_after_seconds=random.randint(*RETRY_AFTER_SECONDS),
        dependency=dependency,
        processed=False,
    )


def _draining(**details: Any) -> Problem:
    """Return the 503 at the end; nothing is said of `processed` when the work had begun."""
    return Problem(
        503,
        "draining",
        "The service is being restarted; try again soon",
        cause=Cause.MAINTENANCE,
        retry_after_seconds=random.randint(*RETRY_AFTER_SECONDS),
        headers={"connection": "close"},
        **details,
    )


async def wait_for_dependency(
    open_it: Callable[[], Awaitable[None]],
    *,
    name: str,
    address: str,
    failures: tuple[type[Exception], ...],
    wait_seconds: float,
    lifecycle: Lifecycle,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Try `open_it` until it works; say once per reason in the log what is waited for.

    `failures` are worth another try: after 0.1 s, then twice as long each time, at most 1 s.
    After `wait_seconds` (0: at once) the last of them is raised. `address` is put into words
    only, so it must not carry a password.
    """
    gives_up_at = clock() + wait_seconds
    pause_seconds, said = FIRST_PAUSE_SECONDS, ""
    lifecycle.missing[name] = f"connecting to {address}"
    while True:
        try:
            await open_it()
        except failures as error:
            left_seconds = gives_up_at - clock()
            if left_seconds <= 0:
                raise
            said = _say(str(error), said, name, address, left_seconds)
            lifecycle.missing[name] = f"waiting for {address}: {said}"
        else:
            del lifecycle.missing[name]
            return
        await sleep(min(pause_seconds, left_seconds))
        pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)


def _say(reason: str, said: str, name: str, address: str, left_seconds: float) -> str:
    if reason != said:
        words = "waiting for the %s at %s: %s; giving up in %.0f s"
        logger.info(words, name, address, reason, left_seconds)
    return reason
