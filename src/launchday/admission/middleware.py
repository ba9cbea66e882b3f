"""The load-shedding middleware: every http request is exempt, admitted, refused or cancelled."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from random import Random

from launchday.admission.answer import Answer
from launchday.admission.asgi import (
    ASGIApp,
    Receive,
    Scope,
    Send,
    announced_bytes,
)
from launchday.admission.classify import (
    LONGEST_PATH,
    MOST_PATHS,
    Class,
    Classifier,
    RouteRule,
)
from launchday.admission.edges import admit_anyway, pass_other, serve_upload
from launchday.admission.exempt import EXEMPT_PATHS, Exemptions
from launchday.admission.fairness import Fairness
from launchday.admission.incoming import Incoming
from launchday.admission.limiter import Limiter, Permit
from launchday.admission.limits import Limit, Outcome, require_number
from launchday.admission.modes import CalmDurations, Mode, parse_mode
from launchday.admission.observer import Observer, Silence, guarded
from launchday.admission.pacing import ReturnPacer
from launchday.admission.pool import Admission, Pool, PoolPermit
from launchday.admission.queue_rules import RESERVES, QueueRules, require_rules
from launchday.admission.refusal import Refusal
from launchday.admission.refusal_reply import Headers, RefusalReplies, status_of
from launchday.admission.setup import (
    build_classifier,
    build_fairness,
    build_hard_limit,
    build_limit,
    build_loop_lag,
    require_pair,
)
from launchday.admission.shared import SharedLimit
from launchday.admission.signals import LoopLag, Signal
from launchday.admission.uploads import plan_body, refuse_upload
from launchday.metric_names import CRITICALITIES

_log = logging.getLogger("launchday.admission")


class LoadSheddingMiddleware:
    """Admit what the service can do, let few wait briefly, answer the others 503.

    `app.add_middleware(LoadSheddingMiddleware, pool=20)` is enough. Put only CORS further out.
    The arguments:

    - `pool`: how many requests the service can work on at once (connections of its database
      pool, threads), at least 1: the limit is then 1.2 times that, at least two more.
    - `limit`: requests in flight, an integer of at least 1, or a `Limit` of
      `launchday.admission`. Default, with no pool either: an `ElasticLimit`, which learns.
    - `queue`: how many may wait, and for how long.
    - `routes`: `RouteRule`s, or a whole `Classifier`, that say how critical and how costly
      requests are. `criticality`: instead, from an ASGI scope to one of the four criticalities.
      Default: all "critical", of cost 1.
    - `reserves`: the part of the limit that is each criticality's own, see `Gate`.
    - `client_share`: the part of what the service finishes that one client may always have, above
      0, at most 1; more is answered 429 while slots are short. Needs a `Classifier` with a
      `client_key`. Default: clients are not told apart.
    - `exempt_paths`: paths that are never shed, each with a leading slash; "/admin/" means all
      below. CORS preflight is always exempt.
    - `retry_after_seconds`: smallest and largest `Retry-After`, whole seconds; default (1, 30).
    - `signals`: what else makes it refuse, see `launchday.admission.signals`. `loop_lag`: the
      guard of the event loop; default `LoopLag()`; False for none.
    - `streams`: answers that go on for more than `stream_after_seconds` (default 5) move from
      their slots to this pool; default 1000, None for no bound. `websockets`: WebSockets open at
      once; default None: no bound.
    - `mode`: "enforce"; "observe" refuses nobody and counts whom it would; "off".
    - `hard_limit`: admitted without a permit after an internal error, at most; default ten times
      the limit.
    - `observer`: hears of every decision, e.g. `PrometheusObserver` of `admission.prometheus`.
    - `random`: where the spread of `Retry-After` comes from.

    Lifespan passes. Raises ValueError that names the argument, the value and what is allowed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        pool: int | None = None,
        limit: int | Limit | None = None,
        queue: QueueRules | None = None,
        routes: Classifier | Iterable[RouteRule] = (),
        criticality: Callable[[Scope], str] | None = None,
        reserves: Sequence[float] = RESERVES,
        client_share: float | None = None,
        exempt_paths: Iterable[str] = EXEMPT_PATHS,
        retry_after_seconds: tuple[int, int] = (1, 30),
        signals: Sequence[Signal] = (),
        loop_lag: LoopLag | bool = True,
        streams: int | None = 1000,
        stream_after_seconds: float = 5.0,
        websockets: int | None = None,
        mode: str = "enforce",
        hard_limit: int | None = None,
        observer: Observer | None = None,
        random: Random | None = None,
    ) -> None:
        self.app = app
        self.limiter = Limiter(
            build_limit(limit, pool),
            rules=queue,
            reserves=reserves,
            signals=signals,
            loop_lag=build_loop_lag(loop_lag),
        )
        self.classifier = build_classifier(routes, criticality)
        self.random = random or Random()
        self.streams = Pool("streams", streams)
        self.websockets = Pool("websockets", websockets)
        self.pools = {"stream": self.streams, "websocket": self.websockets}
        self.unbounded = Pool("hard_limit", build_hard_limit(hard_limit, self.limiter.limit))
        self.failures = 0
        self._mode = parse_mode(mode)
        self.off = Pool("off", None)
        self.calm = CalmDurations(self.random)
        self._known: dict[tuple[str, str], tuple[Class, str, bool]] = {}
        self._rejected = 0
        self._time_next = True
        self.stream_after_seconds = require_number(
            "stream_after_seconds", stream_after_seconds, above=0
        )
        low, high = require_pair(retry_after_seconds)
        self.pacer = ReturnPacer(minimum_seconds=low, maximum_seconds=high, random=self.random)
        self.fairness = build_fairness(client_share, self.classifier)
        self.exemptions = Exemptions(exempt_paths)
        self.replies = RefusalReplies()
        self.observer = guarded(observer or Silence(), self._observer_failed)
        self.clock = self.limiter.clock
        self.limiter.on_limit_change = self.observer.limit_changed
        self.limiter.on_tick = self._tick
        self.observer.attached(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await pass_other(self, scope, receive, send)
            return
        found, name, exempt = self._known.get((scope["method"], scope["path"])) or self._look(scope)
        if exempt:
            self.observer.exempt(name)
            await self.app(scope, receive, send)
            return
        if self._mode is not Mode.ENFORCE:
            await self._run(
                admit_anyway(self, found, name, scope), name, None, scope, receive, send
            )
            return
        plan = plan_body(scope)
        if plan is not None:
            await serve_upload(self, found, name, plan, scope, receive, send)
            return
        decision = self._timed(found, scope) if self._time_next else self.decide(found, scope)
        if isinstance(decision, Permit):
            await self._run(decision, name, None, scope, receive, send)
        else:
            await self.carry_out(decision, found, name, None, scope, receive, send)

    async def carry_out(
        self,
        decision: Admission | Refusal | None,
        found: Class,
        name: str,
        incoming: Incoming | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Do as was decided about one request; None: wait for another decision first."""
        waited_seconds = 0.0
        if decision is None:
            decision, waited_seconds = await self._wait(found, name, scope)
        if isinstance(decision, Refusal):
            await self.refuse(decision, found, waited_seconds, scope, receive, send)
        else:
            await self._run(decision, name, incoming, scope, receive, send)

    @property
    def mode(self) -> Mode:
        """Whether requests are refused; see `configure`."""
        return self._mode

    @property
    def refusing(self) -> bool:
        """Whether `refuse_now` would refuse anybody: cheap, for servers that ask it first."""
        return self._mode is Mode.ENFORCE and self.fairness is None and self.limiter.refusing

    @property
    def needs_headers(self) -> bool:
        """Whether `refuse_now` has to know the headers of a request."""
        return self.classifier.needs_headers

    def refuse_now(self, scope: Scope) -> tuple[Headers, bytes, int] | None:
        """Refuse a body-less request at once, and count it; return headers, body and status.

        None: let it come through the app, where it is decided (again only if it must wait). For
        servers that can refuse before they call the app: `launchday.admission.uvicorn`.
        """
        found, _, exempt = self._known.get((scope["method"], scope["path"])) or self._look(scope)
        if exempt or found.long_lived:
            return None
        refusal = self.limiter.refuse_now(found.criticality, found.cost)
        if refusal is None:
            return None
        after = self._reject(refusal, found.criticality, 0.0)
        return (*self.replies.get(refusal, after), status_of(refusal))

    def configure(
        self,
        *,
        mode: str | None = None,
        limit: int | Limit | Callable[[int], Limit] | None = None,
        queue: QueueRules | None = None,
    ) -> None:
        """Change settings while requests run; what is not given stays. All or nothing.

        `limit` may be a function from the present limit to the new one, so that another algorithm
        goes on where the last one stood: ``lambda now: ElasticLimit(initial=now)``. Requests that
        are in flight or wait keep what they have. Raises ValueError as the constructor does.
        """
        new_mode = self._mode if mode is None else parse_mode(mode)
        if callable(limit) and not hasattr(type(limit), "on_sample"):
            limit = limit(self.limiter.gate.current_limit)
            if limit is None:
                raise ValueError("limit must return an integer or a Limit, not None")
        new_limit = self.limiter.limit if limit is None else build_limit(limit, None)
        new_rules = self.limiter.gate.rules if queue is None else require_rules(queue)
        self.limiter.gate.rules = new_rules
        self._mode = new_mode
        old_limit = self.limiter.limit
        self.limiter.limit = new_limit
        if old_limit is not new_limit and isinstance(old_limit, SharedLimit):
            old_limit.close()

    def _look(self, scope: Scope) -> tuple[Class, str, bool]:
        """Return what a request is, its criticality in words, and whether it is exempt."""
        found = self.classifier.classify(scope)
        known = (found, CRITICALITIES[found.criticality], self.exemptions.covers(scope))
        path, method = scope["path"], scope["method"]
        # What depends on more than method and path has to be looked at each time.
        if not (self.needs_headers or method == "OPTIONS" or scope.get("root_path")):
            if len(self._known) >= MOST_PATHS:
                self._known.clear()
            if len(path) + len(method) <= LONGEST_PATH:
                self._known[method, path] = known
        return known

    def _timed(self, found: Class, scope: Scope) -> Admission | Refusal | None:
        self._time_next = False
        began_at = time.perf_counter()
        decision = self.decide(found, scope)
        self.observer.decided(time.perf_counter() - began_at)
        return decision

    def decide(self, found: Class, scope: Scope) -> Admission | Refusal | None:
        """Admit, refuse, or None: it has to wait. Never raises."""
        try:
            if found.long_lived:
                entered = self.streams.try_enter()
                return PoolPermit(self.streams, self.clock) if entered else Refusal.LIMIT
            if self.fairness is not None and self._takes_too_much(self.fairness, found, scope):
                return Refusal.FAIRNESS
            return self.limiter.decide(found.criticality, found.cost)
        except Exception:
            return self._fail_open()

    def _observer_failed(self) -> None:
        self._note_failure("an observer of the load shedder failed; what it counts may be wrong")

    def _fail_open(self) -> Admission | Refusal:
        """An error of the shedder must not close the service, nor leave it without any bound."""
        self._note_failure("the load shedder failed; requests are admitted up to hard_limit")
        entered = self.unbounded.try_enter()
        return PoolPermit(self.unbounded, self.clock) if entered else Refusal.LIMIT

    def _note_failure(self, sentence: str) -> None:
        self.failures += 1
        if self.failures == 1:
            _log.exception(sentence)

    def _takes_too_much(self, fairness: Fairness, found: Class, scope: Scope) -> bool:
        client = self.classifier.client(scope)
        if client is None:
            return False
        gate = self.limiter.gate
        must_wait = gate.queued > 0 or gate.inflight + found.cost > gate.current_limit
        now = self.clock()
        return fairness.over_share(client, found.cost, now, self.random.random(), must_wait)

    async def _wait(
        self, found: Class, name: str, scope: Scope
    ) -> tuple[Admission | Refusal, float]:
        joined_at = self.clock()
        timeout_seconds = self.classifier.timeout_seconds(scope)
        self.observer.queued(name)
        try:
            decision = await self.limiter.wait(
                found.criticality,
                found.cost,
                size_bytes=announced_bytes(scope),
                timeout_seconds=math.inf if timeout_seconds is None else timeout_seconds,
            )
        except asyncio.CancelledError:
            self.observer.cancelled(name, self.clock() - joined_at)
            raise
        finally:
            self.observer.unqueued(name)
        return decision, self.clock() - joined_at

    def _reject(self, refusal: Refusal, criticality: int, waited_seconds: float) -> int:
        """Count a refusal; return its Retry-After in seconds."""
        now = self.clock()
        self._rejected += 1
        after = self.pacer.draw(now, criticality, self.limiter.queued)
        if refusal is Refusal.DOWNSTREAM:
            asked = math.ceil(self.limiter.asked_to_wait_seconds(now))
            after = max(after, min(asked, self.pacer.maximum_seconds))
        self.observer.rejected(CRITICALITIES[criticality], refusal, after, waited_seconds)
        return after

    async def refuse(
        self,
        refusal: Refusal,
        found: Class,
        waited_seconds: float,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer and count a refusal."""
        after = self._reject(refusal, found.criticality, waited_seconds)
        headers, body = self.replies.get(refusal, after)
        # A copy, because middlewares further out add their headers to this very list.
        start = {"type": "http.response.start", "status": status_of(refusal), "headers": [*headers]}
        if scope["method"] == "HEAD":
            body = b""
        plan = plan_body(scope)
        if plan is not None:
            discarded = await refuse_upload(plan, receive, send, start, body)
            self.observer.discarded(discarded.byte_count)
            return
        await send(start)
        await send({"type": "http.response.body", "body": body})

    async def _run(
        self,
        permit: Admission,
        name: str,
        incoming: Incoming | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        answer = Answer(self, permit, name, send)
        try:
            if permit.waited_seconds:
                incoming = incoming or Incoming(receive, may_ask=True)
                receive = incoming.receive
                if await incoming.has_left():
                    return
            answer.begin()
            await self.app(scope, receive, answer.send)
        except Exception:
            answer.outcome = Outcome.DROPPED
            raise
        finally:
            # CancelledError is not an Exception: only `finally` returns every permit.
            answer.end()

    def _tick(self, now: float) -> None:
        gate = self.limiter.gate
        offered_rps, drain_rps = gate.rates
        # Ten decisions a second are timed: all would cost more than they take.
        self._time_next = True
        refused = self._rejected > 0
        self._rejected = 0
        self.pacer.rates(now, drain_rps=drain_rps, offered_rps=offered_rps, overloaded=refused)
        if self.fairness is not None:
            self.fairness.rates(now, drain_rps=drain_rps, contended=gate.contended)
