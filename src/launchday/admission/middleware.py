"""The load-shedding middleware: every http request is exempt, admitted, refused or cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import Random

from launchday.admission.asgi import ASGIApp, Message, Receive, Scope, Send
from launchday.admission.exempt import EXEMPT_PATHS, Exemptions
from launchday.admission.limiter import Limiter, Permit, Refusal
from launchday.admission.limits import FixedLimit, Limit, Outcome
from launchday.admission.observer import Observer, Silence
from launchday.admission.refusal_reply import RefusalReply
from launchday.admission.retry_after import RetryAfter
from launchday.metric_names import CRITICALITIES

DEFAULT_CRITICALITY = "critical"


class LoadSheddingMiddleware:
    """Keep at most `limit` requests in flight, let few wait briefly, answer the others 503.

    `app.add_middleware(LoadSheddingMiddleware, limit=24)` is enough. Put only CORS further out.
    Websockets and lifespan pass. The arguments:

    - `limit`: requests in flight, an integer of at least 1, or a `Limit`.
    - `queue_length`: requests that may wait; default half the limit, at least 1; 0 for none.
    - `queue_timeout_seconds`: longest wait; default 0.1, above 0, at most 60.
    - `exempt_paths`: paths that are never shed, each with a leading slash; "/admin/" means all
      below. CORS preflight is always exempt.
    - `retry_after_seconds`: smallest and largest `Retry-After`, whole seconds; default (1, 5).
    - `criticality`: from an ASGI scope to one of the four criticalities; default all "critical".
    - `observer`: hears of every decision, e.g. `PrometheusObserver` of `admission.prometheus`.
    - `random`: where the spread of `Retry-After` comes from.

    Raises ValueError that names the argument, the value and what is allowed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limit: int | Limit,
        queue_length: int | None = None,
        queue_timeout_seconds: float = 0.1,
        exempt_paths: Iterable[str] = EXEMPT_PATHS,
        retry_after_seconds: tuple[int, int] = (1, 5),
        criticality: Callable[[Scope], str] | None = None,
        observer: Observer | None = None,
        random: Random | None = None,
    ) -> None:
        self.app = app
        self.limiter = _build_limiter(limit, queue_length, queue_timeout_seconds)
        self._exemptions = Exemptions(exempt_paths)
        self._retry_after = RetryAfter(*_require_pair(retry_after_seconds), random=random)
        self._refusal_reply = RefusalReply(self._retry_after.seconds)
        self._criticality = criticality
        self._observer = observer or Silence()
        self._observer.attached(self.limiter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        criticality = self._classify(scope)
        if self._exemptions.covers(scope):
            self._observer.exempt(criticality)
            await self.app(scope, receive, send)
            return
        decision: Permit | Refusal | None = self.limiter.try_acquire() or self.limiter.refusal()
        waited_seconds = 0.0
        if decision is None:
            decision, waited_seconds = await self._wait(criticality)
        if isinstance(decision, Permit):
            await self._run(decision, criticality, scope, receive, send)
            return
        after = self._retry_after.draw()
        self._observer.rejected(criticality, decision, after, waited_seconds)
        await self._refusal_reply(scope, send, decision, after)

    def _classify(self, scope: Scope) -> str:
        if self._criticality is None:
            return DEFAULT_CRITICALITY
        criticality = self._criticality(scope)
        if criticality not in CRITICALITIES:
            allowed = ", ".join(CRITICALITIES)
            raise ValueError(f"criticality must return one of {allowed}, not {criticality!r}")
        return criticality

    async def _wait(self, criticality: str) -> tuple[Permit | Refusal, float]:
        clock = self.limiter.clock
        joined_at = clock()
        self._observer.queued(criticality)
        try:
            decision = await self.limiter.acquire()
        except asyncio.CancelledError:
            self._observer.cancelled(criticality, clock() - joined_at)
            raise
        finally:
            self._observer.unqueued(criticality)
        return decision, clock() - joined_at

    async def _run(
        self, permit: Permit, criticality: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        answer = _Answer(permit, criticality, self._observer, send)
        try:
            if permit.waited_seconds and _has_no_body(scope):
                first = await receive()
                if first["type"] == "http.disconnect":
                    return
                receive = _replayed(first, receive)
            answer.begin()
            await self.app(scope, receive, answer.send)
        except Exception:
            answer.outcome = Outcome.DROPPED
            raise
        finally:
            # CancelledError is not an Exception: only `finally` returns every permit.
            answer.end()


class _Answer:
    """One admitted request on its way out: frees the slot at the end of the body, once."""

    __slots__ = ("_begun", "_criticality", "_ended", "_observer", "_permit", "_send", "outcome")

    def __init__(self, permit: Permit, criticality: str, observer: Observer, send: Send) -> None:
        self._permit = permit
        self._criticality = criticality
        self._observer = observer
        self._send = send
        self._begun = False
        self._ended = False
        self.outcome = Outcome.IGNORED

    def begin(self) -> None:
        self._begun = True
        self._observer.admitted(self._criticality, self._permit.waited_seconds)

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.outcome = _outcome_of(message["status"])
        await self._send(message)
        if kind == "http.response.body" and not message.get("more_body", False):
            self.end()

    def end(self) -> None:
        if self._ended:
            return
        self._ended = True
        seconds = self._permit.release(self.outcome)
        if self._begun:
            self._observer.finished(self._criticality, seconds)
        else:
            self._observer.cancelled(self._criticality, self._permit.waited_seconds)


def _outcome_of(status: int) -> Outcome:
    if status >= 500:
        return Outcome.DROPPED
    return Outcome.SUCCESS if status < 400 else Outcome.IGNORED


def _has_no_body(scope: Scope) -> bool:
    if scope["method"] not in ("GET", "HEAD", "DELETE"):
        return False
    return all(
        name not in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"]
    )


def _replayed(first: Message, receive: Receive) -> Receive:
    pending: list[Message] = [first]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def _build_limiter(
    limit: int | Limit, queue_length: int | None, queue_timeout_seconds: float
) -> Limiter:
    algorithm = limit if isinstance(limit, Limit) else FixedLimit(limit)
    if queue_length is None:
        queue_length = max(1, algorithm.limit // 2)
    return Limiter(
        algorithm, queue_length=queue_length, queue_timeout_seconds=queue_timeout_seconds
    )


def _require_pair(retry_after_seconds: object) -> tuple[int, int]:
    if isinstance(retry_after_seconds, tuple | list) and len(retry_after_seconds) == 2:
        return retry_after_seconds[0], retry_after_seconds[1]
    raise ValueError(
        "retry_after_seconds must be a pair (minimum, maximum) of whole seconds, e.g. (1, 5), "
        f"not {retry_after_seconds!r}"
    )
