"""What the arguments of the middleware mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import cast

from launchday.admission.asgi import Scope
from launchday.admission.classify import Class, Classifier, RouteRule
from launchday.admission.fairness import Fairness
from launchday.admission.limits import ElasticLimit, FixedLimit, Limit, require_integer
from launchday.admission.shared import SharedLimit
from launchday.admission.signals import LoopLag
from launchday.metric_names import CRITICALITIES

# What a known pool is multiplied by: the rest waits inside, so that no connection is idle.
POOL_FACTOR = 1.2
LEAST_WAITING = 2
# With nothing known about the service, so many times the limit is still no reason to let in more.
HARD_LIMIT_FACTOR = 10

_LEVELS = {name: level for level, name in enumerate(CRITICALITIES)}


def build_limit(limit: object, pool: int | None) -> Limit:
    """Return the limit that is meant; see `LoadSheddingMiddleware`."""
    if limit is not None and pool is not None:
        raise ValueError("limit and pool exclude each other: the pool is what a limit is made of")
    if limit is not None and not isinstance(limit, int | str | float):
        return _require_limit(limit)
    if limit is not None:
        return FixedLimit(require_integer("limit", limit, at_least=1))
    if pool is None:
        return ElasticLimit()
    pool = require_integer("pool", pool, at_least=1)
    return FixedLimit(max(math.ceil(POOL_FACTOR * pool), pool + LEAST_WAITING))


def _require_limit(limit: object) -> Limit:
    if isinstance(limit, SharedLimit):
        return limit  # known to be one; asking it would take its place among the workers
    try:
        works = isinstance(limit, Limit) and limit.limit >= 1
    except Exception as error:
        raise ValueError(f"limit must say what it is; {limit!r} raised {error!r}") from None
    if not works:
        raise ValueError(
            f"limit must be an integer of at least 1 or a Limit that is at least 1, not {limit!r}"
        )
    return cast(Limit, limit)


def build_hard_limit(hard_limit: object, limit: Limit) -> int:
    """Return how many are admitted when the shedder itself fails."""
    if hard_limit is None:
        # For all workers together when it is shared: asking that takes its place among them.
        return HARD_LIMIT_FACTOR * (limit.inner if isinstance(limit, SharedLimit) else limit).limit
    return require_integer("hard_limit", hard_limit, at_least=1)


def build_loop_lag(loop_lag: object) -> LoopLag | None:
    """Return the guard of the event loop that is meant: True for the usual one, False for none."""
    if isinstance(loop_lag, bool) or loop_lag is None:
        return LoopLag() if loop_lag else None
    if not all(callable(getattr(loop_lag, name, None)) for name in ("start", "stop", "refuses")):
        raise ValueError(f"loop_lag must be a LoopLag, True or False, not {loop_lag!r}")
    return cast(LoopLag, loop_lag)


def build_fairness(client_share: float | None, classifier: Classifier) -> Fairness | None:
    """Return who divides the slots among clients; None when they are not told apart."""
    if client_share is None:
        return None
    if not classifier.knows_clients:
        raise ValueError(
            "client_share needs clients that can be told apart: "
            "routes=Classifier(..., client_key=client_address())"
        )
    return Fairness(share=client_share)


def build_classifier(
    routes: Classifier | Iterable[RouteRule], criticality: Callable[[Scope], str] | None
) -> Classifier:
    """Return what tells requests apart; see `LoadSheddingMiddleware`."""
    if criticality is None:
        return routes if isinstance(routes, Classifier) else Classifier(routes)
    if not callable(criticality):
        raise ValueError(f"criticality must be callable or None, not {criticality!r}")
    if isinstance(routes, Classifier) or tuple(routes):
        raise ValueError("routes and criticality exclude each other: both say what requests are")
    return _Asked(criticality)


class _Asked(Classifier):
    """Asks a function; what it says that is no criticality counts as the default."""

    def __init__(self, criticality: Callable[[Scope], str]) -> None:
        super().__init__()
        self._criticality = criticality
        self._known = tuple(Class(level, 1, False) for level in range(len(CRITICALITIES)))
        self._default = super().classify({"path": "/"})

    @property
    def needs_headers(self) -> bool:
        """The function may look at anything."""
        return True

    def classify(self, scope: Scope) -> Class:
        try:
            return self._known[_LEVELS[self._criticality(scope)]]
        except Exception:
            self.clamped += 1
            return self._default


def require_pair(retry_after_seconds: object) -> tuple[int, int]:
    """Return smallest and largest; ValueError says what is allowed."""
    if isinstance(retry_after_seconds, tuple | list) and len(retry_after_seconds) == 2:
        return retry_after_seconds[0], retry_after_seconds[1]
    raise ValueError(
        "retry_after_seconds must be a pair (minimum, maximum) of whole seconds, e.g. (1, 30), "
        f"not {retry_after_seconds!r}"
    )
