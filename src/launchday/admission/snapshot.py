"""What the shedder is doing right now, for metrics and for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from launchday import metric_names as names
from launchday.admission.signals import CgroupCPU
from launchday.metric_names import CRITICALITIES, Metric

if TYPE_CHECKING:
    from launchday.admission.middleware import LoadSheddingMiddleware


MEASURES = (
    names.SHED_LIMIT,
    names.SHED_LIMIT_CEILING,
    names.SHED_REJECTION_RATIO,
    names.SHED_PRIORITY_THRESHOLD,
    names.SHED_BASELINE,
    names.SHED_DRAIN_RATE,
    names.SHED_LOOP_LAG,
    names.SHED_CPU,
    names.SHED_OVERLOADED,
    names.SHED_SLOT_LEAKS,
    names.SHED_INTERNAL_ERRORS,
)


def measures(shedder: LoadSheddingMiddleware) -> dict[Metric, float]:
    """Return the metrics without labels that are read when somebody asks."""
    limiter, gate = shedder.limiter, shedder.limiter.gate
    limit, lag = limiter.limit, limiter.loop_lag
    current = gate.current_limit
    cpu = (one.utilization_ratio for one in limiter.signals if isinstance(one, CgroupCPU))
    values = (
        current,
        getattr(limit, "ceiling", current),
        gate.threshold.share,
        gate.threshold.level,
        _finite(getattr(limit, "baseline_seconds", 0.0)),
        gate.rates.drain_rps,
        0.0 if lag is None else lag.longest_seconds,
        max(cpu, default=0.0),
        float(gate.threshold.active),
        limiter.slot_leaks,
        gate.controller_errors + shedder.failures,
    )
    return dict(zip(MEASURES, values, strict=True))


def snapshot(shedder: LoadSheddingMiddleware) -> dict[str, Any]:
    """Return the whole state as JSON can have it; for administrators only.

    It tells how much load the service bears: that is nobody else's business.
    """
    limiter, gate = shedder.limiter, shedder.limiter.gate
    by_class = zip(CRITICALITIES, gate.inflight_by_class, gate.queues, strict=True)
    return {
        "mode": shedder.mode,
        "algorithm": limiter.limit.algorithm,
        **{metric.name.removeprefix("shed_"): value for metric, value in measures(shedder).items()},
        "inflight": gate.inflight,
        "queued": gate.queued,
        "offered_rps": gate.rates.offered_rps,
        "service_seconds": gate.service_seconds,
        "classes": {
            name: {"inflight": inflight, "queued": len(queue), "refused_share": share}
            for (name, inflight, queue), share in zip(
                by_class, gate.threshold.refused_shares, strict=True
            )
        },
        "pressures": {str(reason): value for reason, value in limiter.pressures.items()},
        "returns": shedder.pacer.snapshot(),
        "fairness": None if shedder.fairness is None else shedder.fairness.snapshot(),
        "streams": shedder.streams.open,
        "websockets": shedder.websockets.open,
        "clamped_headers": shedder.classifier.clamped,
    }


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
