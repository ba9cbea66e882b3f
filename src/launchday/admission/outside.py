"""What stands between a server and the shedder, and whether it would change a refusal."""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from launchday.admission.asgi import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("launchday.admission")

# Named by the class whose `__call__` they run, so that a subclass that changes it is a stranger,
# and nothing here imports a framework. An answer passes these as it is.
TRANSPARENT = frozenset(
    {
        "starlette.applications.Starlette",
        "starlette.middleware.errors.ServerErrorMiddleware",
        "starlette.middleware.body_limit.RequestBodyLimitMiddleware",
        "fastapi.applications.FastAPI",
        "fastapi._body_limit.AppBodyLimitMiddleware",
        "fastapi._body_limit._BodyLimitExceptionMiddleware",
        "fastapi.telemetry._asgi.ExceptionTelemetryMiddleware",
    }
)
# These change what the shedder sees: the client and the scheme.
PROXIES = frozenset({"uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware"})
# These change an answer, and without `Origin` in the request they change each one alike.
DRESSERS = frozenset({"starlette.middleware.cors.CORSMiddleware"})

Headers = list[tuple[bytes, bytes]]
RefusalAnswer = tuple[Headers, bytes, int]


class FastRefusal(Protocol):
    """What the shedder offers to a server that refuses requests before it calls the app.

    `refusing` is cheap: whether any request is being refused now. `needs_headers` does not
    change: without it the scope's `headers` are empty.
    """

    refusing: bool
    needs_headers: bool

    def refuse_now(self, scope: Scope) -> RefusalAnswer | None:
        """Decide and count; return headers, body and status of a refusal, or None: call the app.

        Never admits and never waits. The headers are valid, have the body's length, and are not
        changed afterwards: who renders them may keep what it rendered for the same list.
        """


class _Never:
    refusing = False
    needs_headers = False

    def refuse_now(self, scope: Scope) -> RefusalAnswer | None:
        return None


@dataclass(frozen=True, slots=True)
class Outside:
    """The shedder, and what a request passes on its way there, the outermost first.

    `asked` have an attribute `transparent_to_refusals` that says whether a refusal passes them
    unchanged at this moment. `scope` is what the applications on the way put into every scope.
    """

    shedder: FastRefusal
    asked: tuple[Any, ...] = ()
    proxies: tuple[Any, ...] = ()
    dressers: tuple[Any, ...] = ()
    scope: dict[str, Any] = field(default_factory=dict)

    def is_transparent(self) -> bool:
        """Return whether a refusal reaches the client as the shedder made it, CORS aside."""
        for middleware in self.asked:  # noqa: SIM110  (a generator is three times as slow)
            if not middleware.transparent_to_refusals:
                return False
        return True

    def see_through_proxies(self, scope: Scope) -> None:
        """Put the client and the scheme that trusted proxies forward into `scope`."""
        for proxy in self.proxies:
            finish(_around(proxy, _nothing)(scope, _no_body, _no_answer))

    def dressed(self, answer: ASGIApp) -> ASGIApp:
        """Return `answer` with what is added to it on its way to a client without `Origin`."""
        for dresser in reversed(self.dressers):
            answer = _around(dresser, answer)
        return answer


def find(app: Any) -> Outside | None:
    """Walk from the server's app inwards to the first object that can `refuse_now`.

    None: Starlette has not built its middlewares yet, ask again. When there is no shedder, or
    when something unknown stands outside it, that is said once in the log, and the shedder that
    is returned never refuses: correctness before speed.
    """
    outside: list[Any] = []
    while not hasattr(app, "refuse_now"):
        outside.append(app)
        if hasattr(app, "middleware_stack"):
            app = app.middleware_stack
            if app is None:
                return None
        else:
            app = getattr(app, "app", None)
        if app is None:
            _log.warning("no load shedder was found in the app: uvicorn refuses nothing by itself")
            return Outside(_Never())
    strangers = [_name(middleware) for middleware in outside if not _is_known(middleware)]
    if strangers:
        _log.warning(
            "%s could change the shedder's answers, so all of them go through the app; put the "
            "shedder further out, or set transparent_to_refusals there",
            " and ".join(strangers),
        )
        return Outside(_Never())
    return _outside(app, outside)


def finish(work: Awaitable[None]) -> None:
    """Do work that never waits. Raises RuntimeError when it does."""
    coroutine = _await(work)
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("what renders a refusal must not wait")


async def _await(work: Awaitable[None]) -> None:
    await work


def _outside(shedder: FastRefusal, outside: Sequence[Any]) -> Outside:
    scope: dict[str, Any] = {}
    for app in outside:
        if hasattr(app, "middleware_stack"):
            scope["app"] = app
            if root_path := getattr(app, "root_path", ""):
                scope["root_path"] = root_path
    return Outside(
        shedder,
        tuple(each for each in outside if hasattr(each, "transparent_to_refusals")),
        tuple(each for each in outside if _name(each) in PROXIES),
        tuple(each for each in outside if _name(each) in DRESSERS),
        scope,
    )


def _is_known(middleware: Any) -> bool:
    if hasattr(middleware, "transparent_to_refusals"):
        return True
    telemetry = getattr(middleware, "_native_telemetry", None)
    if telemetry is not None and telemetry.enabled():
        return False  # FastAPI's spans and metrics would miss what never comes to it
    return _name(middleware) in TRANSPARENT | PROXIES | DRESSERS


def _name(middleware: Any) -> str:
    kind = type(middleware)
    call = next((each for each in kind.__mro__ if "__call__" in vars(each)), kind)
    return f"{call.__module__}.{call.__qualname__}"


def _around(middleware: Any, app: ASGIApp) -> ASGIApp:
    twin = copy.copy(middleware)
    twin.app = app
    return twin  # type: ignore[no-any-return]  # every middleware is an ASGI app


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def _no_body() -> Message:
    return {"type": "http.disconnect"}


async def _no_answer(message: Message) -> None:
    pass
