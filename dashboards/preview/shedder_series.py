"""The shedder on the synthetic launch day."""

from __future__ import annotations

import math

from dashboards.preview import common
from dashboards.preview import model as day
from dashboards.preview.common import ZERO, admitted, refused
from dashboards.preview.launch_day import Series, at_targets, constant, scaled
from launchday.metric_names import CRITICALITIES


def shedder() -> dict[str, list[Series]]:
    by_class = [
        ({"class": name, "outcome": outcome}, course)
        for name in CRITICALITIES
        for outcome, course in (
            ("admitted", admitted(name)),
            ("rejected", refused(name)),
        )
    ]
    rejections = [
        ({"class": name, "reason": reason, "status": "503"}, scaled(refused(name), share))
        for name in CRITICALITIES
        for reason, share in common.REASONS.items()
    ]
    exempt = ({"class": "critical", "outcome": "exempt"}, constant(2))
    waits = [({"class": n, "outcome": "admitted"}, admitted(n)) for n in CRITICALITIES]
    services = [({"class": name}, admitted(name)) for name in CRITICALITIES]
    info = {"algorithm": "gradient2", "mode": "enforce", "version": "0.1.0"}

    def limit(second: int) -> float:
        return 40 - 8 * (day.in_fault("gateway", second)) + 2 * math.sin(second / 9)

    def overloaded(second: int) -> float:
        return float(common.turned_away(second) > 5)

    def ratio(second: int) -> float:
        return common.turned_away(second) / day.offered(second)

    return {
        "shed_requests_total": at_targets(*by_class, exempt),
        "shed_rejections_total": at_targets(*rejections),
        "shed_limit": at_targets(({}, limit)),
        "shed_limit_ceiling": at_targets(({}, constant(64))),
        "shed_inflight": at_targets(*(({"class": n}, ZERO) for n in CRITICALITIES)),
        "shed_queue_length": at_targets(*(({"class": n}, ZERO) for n in CRITICALITIES)),
        "shed_queue_wait_seconds": at_targets(*waits, latency=common.waits),
        "shed_service_seconds": at_targets(*services, latency=common.median),
        "shed_would_reject_total": at_targets(({"class": "sheddable", "reason": "priority"}, ZERO)),
        "shed_limit_changes_total": at_targets(
            ({"direction": "up", "reason": "room"}, constant(0.4)),
            ({"direction": "down", "reason": "latency"}, lambda s: 0.8 * overloaded(s)),
        ),
        "shed_body_bytes_discarded_total": at_targets(({}, scaled(common.turned_away, 180))),
        "shed_slot_leaks_total": at_targets(({}, ZERO)),
        "shed_internal_errors_total": at_targets(({}, ZERO)),
        "shed_websocket_rejections_total": at_targets(
            ({"reason": "priority"}, scaled(common.turned_away, 0.01))
        ),
        "shed_long_lived": at_targets(
            ({"kind": "stream"}, constant(34)), ({"kind": "websocket"}, constant(12))
        ),
        "shed_rejection_ratio": common.whole(ratio),
        "shed_priority_threshold": common.whole(lambda s: round(400 * ratio(s))),
        "shed_baseline_seconds": common.whole(constant(0.062)),
        "shed_drain_rate_per_second": at_targets(({}, day.admitted)),
        "shed_event_loop_lag_seconds": common.whole(lambda s: 0.001 + 0.006 * day.pressure(s) ** 4),
        "shed_cpu_utilization_ratio": common.whole(lambda s: 0.1 + 0.7 * day.pressure(s)),
        "shed_overloaded": common.whole(overloaded),
        "shed_decision_seconds": at_targets(({}, constant(10)), latency=constant(1.2e-5)),
        "shed_retry_after_seconds": at_targets(
            ({}, common.turned_away), latency=lambda s: 2 + 6 * day.pressure(s)
        ),
        "shed_info": common.whole(constant(1), **info),
    }
