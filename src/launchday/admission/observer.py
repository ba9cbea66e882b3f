"""What the middleware tells whoever counts."""

from __future__ import annotations

from typing import Protocol

from launchday.admission.limiter import Limiter, Refusal


class Observer(Protocol):
    """Hears of every http request exactly one of `exempt`, `admitted`, `rejected`, `cancelled`.

    An admitted one also gets one `finished`; one that waits gets `queued` before and `unqueued`
    after its wait. `criticality` is one of `launchday.metric_names.CRITICALITIES`. The methods
    run on the event loop: they must be quick and must not raise.
    """

    def attached(self, limiter: Limiter) -> None:
        """The middleware was built around this limiter."""

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
        """A request was answered 503."""

    def cancelled(self, criticality: str, waited_seconds: float) -> None:
        """The client left before its request got to the app."""

    def finished(self, criticality: str, service_seconds: float) -> None:
        """The slot of an admitted request is free again."""


class Silence:
    """The observer of those who do not count."""

    def attached(self, limiter: Limiter) -> None: ...
    def exempt(self, criticality: str) -> None: ...
    def queued(self, criticality: str) -> None: ...
    def unqueued(self, criticality: str) -> None: ...
    def admitted(self, criticality: str, waited_seconds: float) -> None: ...
    def rejected(
        self, criticality: str, reason: Refusal, retry_after_seconds: int, waited_seconds: float
    ) -> None: ...
    def cancelled(self, criticality: str, waited_seconds: float) -> None: ...
    def finished(self, criticality: str, service_seconds: float) -> None: ...
