"""The generator, the conductor and the plan on the synthetic launch day."""

from __future__ import annotations

import math

from dashboards.preview import common
from dashboards.preview import model as day
from dashboards.preview.common import ZERO
from dashboards.preview.launch_day import Series, constant, scaled
from dashboards.preview.model import Course
from launchday.metric_names import CRITICALITIES


def generator() -> dict[str, list[Series]]:
    def at(port: int, **labels: str) -> dict[str, str]:
        return {**labels, "instance": f"launchday:{port}", "job": "generator"}

    seen = [
        (name, outcome, course)
        for name in CRITICALITIES
        for outcome, course in (
            ("ok", common.part(common.admitted(name), False)),
            ("shed", common.refused(name)),
            ("dependency", common.part(common.admitted(name), True)),
        )
    ]
    labelled = [(at(9103, outcome=o, **{"class": c}), course) for c, o, course in seen]
    planned = {"started": day.offered, "scheduled": day.offered, "queued": ZERO, "late": ZERO}
    arrivals = planned | {"dropped": ZERO, "lost": ZERO}
    return {
        "launchday_arrivals_total": [
            Series(at(9103, outcome=outcome), course) for outcome, course in arrivals.items()
        ],
        "launchday_requests_total": [
            Series({**labels, "endpoint": route}, scaled(course, share))
            for labels, course in labelled
            for route, share in common.ROUTES.items()
        ],
        "launchday_corrected_seconds": [Series(*one, common.corrected) for one in labelled],
        "launchday_service_seconds": [Series(*one, common.median) for one in labelled],
        "launchday_lateness_seconds": [Series(at(9103), day.offered, constant(0.0008))],
        "launchday_generator_cpu_ratio": [Series(at(port), cpu(port)) for port in (9103, 9104)],
        "launchday_loop_stall_seconds": [Series(at(p), stall(p)) for p in (9103, 9104)],
        "launchday_retries_total": [
            Series(at(9103, outcome=outcome), scaled(common.refused("sheddable"), share))
            for outcome, share in (("shed", 0.3), ("ok", 0.1))
        ],
        "launchday_give_ups_total": [
            Series(at(9103, reason=reason), scaled(common.refused("sheddable"), share))
            for reason, share in (("attempts", 0.3), ("patience", 0.1), ("budget", 0.0))
        ],
        "launchday_users": [
            Series(at(9103, state="busy"), common.busy),
            Series(at(9103, state="parked"), lambda s: 200 - common.busy(s)),
        ],
    }


def conductor() -> dict[str, list[Series]]:
    def at(**labels: str) -> dict[str, str]:
        return {**labels, "instance": "launchday:9102", "job": "launchday"}

    plan = {
        "slo_rate": 95, "forecast_rate": 150, "usl_alpha": day.ALPHA, "usl_beta": day.BETA,
        "usl_gamma": day.GAMMA, "usl_peak_concurrency": 49, "usl_r_squared": 0.982,
    }  # fmt: skip
    return {
        "launchday_phase": [
            Series(at(run="launch-day", phase=name), common.during(span))
            for name, span in day.PHASES.items()
        ],
        "launchday_planned_rate": [Series(at(), day.offered)],
        "chaos_fault_active": [
            Series(at(experiment=e, link=link, fault=f), common.during(span))
            for (e, link, f), span in day.FAULTS.items()
        ],
        "chaos_steady_state_ok": [
            Series(at(experiment="gateway-slow", expectation=what), course)
            for what, course in (
                ("success share of all requests", all_succeed),
                ("p95 seconds of state", lambda s: float(not day.in_fault("gateway", s - 3))),
            )
        ],
        "ALERTS": [
            Series(at(alertname=name, alertstate="firing"), common.during(span, otherwise=math.nan))
            for name, span in day.ALERTS.items()
        ],
        "job:launchday_critical_burn:rate5m": [Series({"job": "target"}, day.ramp(120, 185, 22))],
        "job:launchday_critical_burn:rate1h": [Series({"job": "target"}, day.ramp(120, 185, 5))],
        "toxiproxy_proxy_received_bytes_total": [
            Series(at(proxy=proxy, direction="upstream"), scaled(day.admitted, size))
            for proxy, size in (("gateway", 120), ("database", 800))
        ],
        **{f"launchday_capacity_{n}": [Series(at(), constant(v))] for n, v in plan.items()},
    }


def all_succeed(second: int) -> float:
    """1 while nobody is refused and nothing fails, as far as is known: the last seconds are not."""
    then = max(0, second - 3)
    return float(common.turned_away(then) < 0.01 * day.offered(then) and not day.error_share(then))


def cpu(port: int) -> Course:
    """CPU of one generator process, in cores."""
    return lambda second: 0.05 + 0.4 * day.offered(second) / 430 + 0.01 * (port % 2)


def stall(port: int) -> Course:
    """Longest stall of one generator process, in seconds."""
    return lambda second: 0.002 + 0.002 * abs(math.sin(second * port))
