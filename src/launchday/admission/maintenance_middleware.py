"""The maintenance middleware: lets everything in, or says 503 and when to come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from launchday.admission.asgi import ASGIApp, Receive, Scope, Send
from launchday.admission.exempt import EXEMPT_PATHS, Exemptions
from launchday.admission.maintenance import Maintenance, MaintenanceWindow, iso_8601
from launchday.admission.refusal_reply import Rendered, render, reply

DEFAULT_CRITICALITY = "critical"
PROBLEM_TYPE = "urn:launchday:problem:maintenance"
# A day-long window has 86 400 different answers, but few of them in any one minute.
MOST_RENDERED = 1024


class MaintenanceMiddleware:
    """Answer new requests 503 while a window of `maintenance` closes the doors.

    Requests that are in flight when the doors close are finished: `maintenance.draining` says
    whether some are left. Websockets and lifespan pass. Put it outside the shedder, so that a
    refusal takes no slot, and inside CORS. The arguments:

    - `maintenance`: the windows; schedule, extend and end them there.
    - `criticality`: from an ASGI scope to one of the four criticalities, asked only when the
      window leaves some open; default all "critical".
    - `exempt_paths`: paths that stay open, each with a leading slash; "/admin/" means all below.
      Name your admin API, or nobody can end a window early. CORS preflight is always exempt.
    - `on_refused`: called with the scope and the Retry-After in seconds of every refusal; must
      be quick and must not raise.

    Raises ValueError that names the argument, the value and what is allowed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        maintenance: Maintenance,
        criticality: Callable[[Scope], str] | None = None,
        exempt_paths: Iterable[str] = EXEMPT_PATHS,
        on_refused: Callable[[Scope, int], None] | None = None,
    ) -> None:
        self.app = app
        self.maintenance = maintenance
        self._criticality = criticality
        self._exemptions = Exemptions(exempt_paths)
        self._on_refused = on_refused
        self._answers = _Answers()

    @property
    def transparent_to_refusals(self) -> bool:
        """Whether a server may refuse requests for the shedder before they come here.

        Only while the doors are open: what is told else is when they open. See
        `launchday.admission.uvicorn`.
        """
        maintenance = self.maintenance
        return not maintenance.windows or maintenance.closed_by(maintenance.clock()) is None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._exemptions.covers(scope):
            await self.app(scope, receive, send)
            return
        maintenance = self.maintenance
        if maintenance.windows:
            now = maintenance.clock()
            window = maintenance.closed_by(now)
            if window is not None:
                if self._stays_open(window, scope):
                    await self.app(scope, receive, send)
                else:
                    await self._refuse(window, now, scope, send)
                return
        maintenance.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            maintenance.in_flight -= 1

    def _stays_open(self, window: MaintenanceWindow, scope: Scope) -> bool:
        if not window.open_classes:
            return False
        criticality = self._criticality(scope) if self._criticality else DEFAULT_CRITICALITY
        return criticality in window.open_classes

    def _refuse(
        self, window: MaintenanceWindow, now: float, scope: Scope, send: Send
    ) -> Awaitable[None]:
        after = self.maintenance.retry_after_seconds(window, now)
        if self._on_refused is not None:
            self._on_refused(scope, after)
        return reply(self._answers.get(window, now >= window.ends_at_unix, after), scope, send)


class _Answers:
    """Rendered answers of one window; each second of it needs one that the last had not."""

    def __init__(self) -> None:
        self._subject: tuple[MaintenanceWindow | None, bool] = (None, False)
        self._rendered: dict[int, Rendered] = {}

    def get(self, window: MaintenanceWindow, overrun: bool, retry_after_seconds: int) -> Rendered:
        if self._subject != (window, overrun):
            self._subject = (window, overrun)
            self._rendered = {}
        rendered = self._rendered.get(retry_after_seconds)
        if rendered is None:
            if len(self._rendered) >= MOST_RENDERED:
                self._rendered.clear()
            rendered = _render(window, overrun, retry_after_seconds)
            self._rendered[retry_after_seconds] = rendered
        return rendered


def _render(window: MaintenanceWindow, overrun: bool, retry_after_seconds: int) -> Rendered:
    return render(
        PROBLEM_TYPE,
        window.sentence,
        "maintenance",
        retry_after_seconds,
        cause="maintenance",
        # The end that was promised has passed, and nobody knows the new one.
        ends_at=None if overrun else iso_8601(window.ends_at_unix),
    )
