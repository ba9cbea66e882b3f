"""The load shedder of the backend: what it is made of, and what changes while it runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.types import Scope

from launchday import LoadSheddingMiddleware
from launchday.admission import (
    AIMDLimit,
    CgroupCPU,
    CgroupMemory,
    Classifier,
    ElasticLimit,
    FixedLimit,
    Gradient2Limit,
    Limit,
    LoopLag,
    Refusal,
    SharedLimit,
    Signal,
    VegasLimit,
    client_address,
)
from launchday.admission.modes import Mode
from launchday.admission.prometheus import PrometheusObserver
from launchday.admission.signals.cgroup_files import MEMBERSHIP, MOUNT, cpu_accounts
from launchday.admission.snapshot import snapshot
from launchday.metric_names import CRITICALITIES
from target_service.problems import Problem
from target_service.routes import RULES
from target_service.settings import Algorithm, SettingsError, TargetSettings
from target_service.unavailable import Cause, Unavailable
from target_service.work import Work

OBJECTIVE_SECONDS = 0.5
LARGEST_LEARNT_LIMIT = 1000
# Twice that of the library: a shared machine takes the core away for as long now and then.
LEAST_TOLERANCE_SECONDS, LEAST_STALL_SECONDS = 0.1, 0.25
TOLERANCE_FACTOR, MOST_TOLERANCE_SECONDS = 10, 60.0

OwnerKey = Callable[[Scope], str | None]

logger = logging.getLogger(__name__)

_LEARNING: dict[str, Callable[..., Limit]] = {
    "aimd": partial(AIMDLimit, objective_seconds=OBJECTIVE_SECONDS),
    "vegas": VegasLimit,
    "gradient2": Gradient2Limit,
    "elastic": partial(ElasticLimit, objective_seconds=OBJECTIVE_SECONDS),
}


class ShedObserver(PrometheusObserver):
    """The shedder's own metrics, and its 503s among those by cause. Knows the shedder."""

    shedder: LoadSheddingMiddleware  # there when the application is built

    def __init__(self, registry: CollectorRegistry, unavailable: Unavailable) -> None:
        super().__init__(registry)
        self._unavailable = unavailable

    def attached(self, shedder: LoadSheddingMiddleware) -> None:
        super().attached(shedder)
        self.shedder = shedder

    def rejected(
        self, criticality: str, reason: Refusal, retry_after_seconds: int, waited_seconds: float
    ) -> None:
        super().rejected(criticality, reason, retry_after_seconds, waited_seconds)
        if reason is not Refusal.FAIRNESS:  # that one is a 429
            self._unavailable.count(Cause.OVERLOAD, "shed")


class Shedding:
    """What `LoadSheddingMiddleware` is built from, by the settings, and how it is changed.

    `owner_key`: tells owners who are signed in apart; None for others. Whatever depends on the
    vehicle gateway alone has a breaker and a promise to give; that the gateway refuses is no
    reason to refuse the rest, so it is no signal here. Raises SettingsError when the file of a
    shared limit cannot be used.
    """

    def __init__(
        self, settings: TargetSettings, work: Work, observer: ShedObserver, owner_key: OwnerKey
    ) -> None:
        self.observer = observer
        self.mode = Mode.ENFORCE if settings.shedding == "on" else Mode(settings.shedding)
        self._slots = settings.slots
        self.limit = limit_of(
            settings.shed_algorithm, settings.effective_shed_limit, settings.slots
        )
        if settings.shed_shared is not None:
            self.limit = _shared(self.limit, settings)
        self.client_share = settings.client_share or None
        # Who invents tokens is told apart by his address, and so is who tries to sign in.
        self.classifier = Classifier(
            RULES, client_key=_first_of(owner_key, client_address()) if self.client_share else None
        )
        self.signals = cgroup_signals() if settings.shed_cgroup == "on" else ()
        tolerance = tolerance_seconds(work)
        self.loop_lag = LoopLag(
            tolerance_seconds=tolerance, watchdog_seconds=max(LEAST_STALL_SECONDS, tolerance)
        )

    @property
    def shedder(self) -> LoadSheddingMiddleware:
        """The running shedder, once the application is built."""
        return self.observer.shedder

    def criticality(self, scope: Scope) -> str:
        """Return how much it hurts when this request fails, by route."""
        return CRITICALITIES[self.classifier.classify(scope).criticality]

    def state(self) -> dict[str, Any]:
        """Return what the shedder of this process does now, as JSON can have it."""
        return {"pid": os.getpid(), **snapshot(self.shedder)}

    def change(self, mode: Mode | None, algorithm: Algorithm | None, limit: int | None) -> None:
        """Change what is not None. An algorithm goes on from `limit`, or where the last one stood.

        A limit without an algorithm is fixed at that. Raises the 409 for a limit that several
        processes share: one of them cannot change it.
        """
        shedder = self.shedder
        changes_limit = algorithm is not None or limit is not None
        if changes_limit and isinstance(shedder.limiter.limit, SharedLimit):
            title = "The limit is shared by several processes: restart them with another one"
            raise Problem(409, "limit_is_shared", title)

        def new(now: int) -> Limit:
            return limit_of(algorithm or "fixed", limit or now, self._slots)

        shedder.configure(mode=mode, limit=new if changes_limit else None)
        now = shedder.limiter.limit
        logger.info("shedding set to %s, %s, limit %d", shedder.mode, now.algorithm, now.limit)

    def close(self) -> None:
        """Leave the file of a shared limit."""
        if isinstance(self.limit, SharedLimit):
            self.limit.close()


def limit_of(algorithm: str, initial: int, slots: int) -> Limit:
    """Return a new limit; below `slots`, the known parallelism, no algorithm goes by itself."""
    if algorithm == "fixed":
        return FixedLimit(initial)
    return _LEARNING[algorithm](
        initial=initial, floor=min(slots, initial), ceiling=max(LARGEST_LEARNT_LIMIT, initial)
    )


def _shared(limit: Limit, settings: TargetSettings) -> Limit:
    path = settings.shed_shared
    assert path is not None
    try:
        return SharedLimit(limit, path=path)
    except (OSError, ValueError) as error:  # a TimeoutError is an OSError
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"TARGET_SHED_SHARED: {str(path)!r} is not allowed: {reason}") from None


def _first_of(owner_key: OwnerKey, address_key: OwnerKey) -> OwnerKey:
    return lambda scope: owner_key(scope) or address_key(scope)


def cgroup_signals(root: Path = MOUNT, membership: Path = MEMBERSHIP) -> tuple[Signal, ...]:
    """Return those of the control group that have a limit to tell of; arguments as theirs."""
    memory = CgroupMemory(root=root, membership=membership)
    # Without a quota the group may use all CPUs, and so may everybody else.
    all_cpus = os.cpu_count() or 1
    has_quota = any(one.allowed() < all_cpus for one in cpu_accounts(root, membership))
    cpu = (CgroupCPU(root=root, membership=membership),) if has_quota else ()
    return (*cpu, memory) if memory.available else cpu


def tolerance_seconds(work: Work) -> float:
    """Return how late the event loop may run: what the settings burn is no fault of its own."""
    wanted = TOLERANCE_FACTOR * max(work.cpu_seconds.values())
    return max(LEAST_TOLERANCE_SECONDS, min(wanted, MOST_TOLERANCE_SECONDS))
