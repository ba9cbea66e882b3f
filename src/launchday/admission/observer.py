"""What the middleware tells whoever counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from launchday.admission.limits import LimitChange
from launchday.admission.refusal import Refusal

if TYPE_CHECKING:
    from launchday.admission.middleware import LoadSheddingMiddleware


class Observer(Protocol):
    """Hears of every http request exactly one of `exempt`, `admitted`, `rejected`, `cancelled`.

    An admitted one also gets one `finished`; one that waits gets `queued` before and `unqueued`
    after its wait. `criticality` is one of `launchday.metric_names.CRITICALITIES`. The methods
    run on the event loop: they must be quick. What they raise is counted as an internal error of
    the shedder, and reaches no request.
    """

    def attached(self, shedder: LoadSheddingMiddleware) -> None:
        """The middleware was built; its state can be read from now on."""

    def exempt(self, criticality: str) -> None:
        """A request that is never shed passed."""

    def queued(self, criticality: str) -> None:
        """A request began to wait."""

    def unqueued(self, criticality: str) -> None:
        """A request stopped waiting, whatever came of it."""

    def admitted(self, criticality: str, waited_seconds: float) -> None:
        """A request got a slot."""

    def rejected(
        self, criticality: str, reason: Refusal, retry_after_seconds: int, waited_seconds: float
    ) -> None:
        """A request was answered 503, or 429 when the reason is fairness."""

    def cancelled(self, criticality: str, waited_seconds: float) -> None:
        """The client left before its request got to the app."""

    def finished(self, criticality: str, service_seconds: float) -> None:
        """The slot of an admitted request is free again."""

    def would_reject(self, criticality: str, reason: Refusal) -> None:
        """A request was admitted that would have been refused in the mode enforce."""

    def limit_changed(self, change: LimitChange) -> None:
        """The limit learnt."""

    def discarded(self, body_bytes: int) -> None:
        """So much of the body of a refused request was read and dropped."""

    def websocket_rejected(self, reason: Refusal) -> None:
        """A WebSocket was answered 503 before it was open."""

    def decided(self, seconds: float) -> None:
        """A decision took so long; told of ten a second."""


class Silence:
    """The observer of those who do not count."""

    def attached(self, shedder: LoadSheddingMiddleware) -> None: ...
    def exempt(self, criticality: str) -> None: ...
    def queued(self, criticality: str) -> None: ...
    def unqueued(self, criticality: str) -> None: ...
    def admitted(self, criticality: str, waited_seconds: float) -> None: ...
    def rejected(
        self, criticality: str, reason: Refusal, retry_after_seconds: int, waited_seconds: float
    ) -> None: ...
    def cancelled(self, criticality: str, waited_seconds: float) -> None: ...
    def finished(self, criticality: str, service_seconds: float) -> None: ...
    def would_reject(self, criticality: str, reason: Refusal) -> None: ...
    def limit_changed(self, change: LimitChange) -> None: ...
    def discarded(self, body_bytes: int) -> None: ...
    def websocket_rejected(self, reason: Refusal) -> None: ...
    def decided(self, seconds: float) -> None: ...


_METHODS = tuple(name for name in vars(Silence) if not name.startswith("_"))


class _Guarded:
    """An observer whose errors stay with it."""


def guarded(observer: Observer, on_error: Callable[[], None]) -> Observer:
    """Return an observer that never raises, and calls `on_error` instead.

    Raises ValueError when one of the methods is missing.
    """
    if type(observer).__module__.startswith("launchday.admission."):
        return observer  # ours do not raise, and every call counts
    missing = [name for name in _METHODS if not callable(getattr(observer, name, None))]
    if missing:
        raise ValueError(
            f"observer must have all methods of launchday.admission.Observer, not {observer!r}: "
            f"{', '.join(missing)} missing"
        )
    found = _Guarded()
    for name in _METHODS:
        setattr(found, name, _guard(getattr(observer, name), on_error))
    return cast(Observer, found)


def _guard(method: Callable[..., None], on_error: Callable[[], None]) -> Callable[..., None]:
    def call(*arguments: Any) -> None:
        try:
            method(*arguments)
        except Exception:
            on_error()

    return call
