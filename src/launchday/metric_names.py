"""Every metric of launchday, once: instruments, dashboards, rules and docs take them from here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


# One edge lies exactly on the objective (0.5 s), so that its ratio needs no interpolation.
LATENCY_BUCKETS_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0,
    10.0,
)  # fmt: skip
WAIT_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
RETRY_AFTER_BUCKETS_SECONDS = (1.0, 2.0, 3.0, 4.0, 5.0, 8.0, 10.0, 15.0, 20.0, 30.0)

# The four criticalities of the SRE book, "Handling Overload"; the values of the label `class`.
CRITICALITIES = ("critical_plus", "critical", "sheddable_plus", "sheddable")


@dataclass(frozen=True)
class Metric:
    """One metric of the catalogue.

    `name` carries the unit; counters end in `_total`. `labels` are the label names in order.
    `buckets` are the upper edges of a histogram, in the unit of the metric.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


SHED_REQUESTS = Metric(
    "shed_requests_total",
    Kind.COUNTER,
    "Requests that reached the shedder: admitted, rejected, exempt or cancelled.",
    ("class", "outcome"),
)
SHED_REJECTIONS = Metric(
    "shed_rejections_total",
    Kind.COUNTER,
    "Requests refused by the shedder, by reason and status: 503, or 429 for fairness.",
    ("class", "reason", "status"),
)
SHED_LIMIT = Metric("shed_limit", Kind.GAUGE, "Requests that may be in flight at once.")
SHED_INFLIGHT = Metric(
    "shed_inflight", Kind.GAUGE, "Admitted requests whose answer is not finished.", ("class",)
)
SHED_QUEUE_LENGTH = Metric(
    "shed_queue_length", Kind.GAUGE, "Requests that wait for a slot.", ("class",)
)
SHED_QUEUE_WAIT = Metric(
    "shed_queue_wait_seconds",
    Kind.HISTOGRAM,
    "How long a request waited for a slot, by what became of it.",
    ("class", "outcome"),
    WAIT_BUCKETS_SECONDS,
)
SHED_SERVICE = Metric(
    "shed_service_seconds",
    Kind.HISTOGRAM,
    "From admission until the slot is free: the end of the answer's body, or when a stream moves.",
    ("class",),
    LATENCY_BUCKETS_SECONDS,
)
SHED_WOULD_REJECT = Metric(
    "shed_would_reject_total",
    Kind.COUNTER,
    "Requests admitted in the mode observe that the mode enforce would have refused, by reason.",
    ("class", "reason"),
)
SHED_LIMIT_CHANGES = Metric(
    "shed_limit_changes_total",
    Kind.COUNTER,
    "Changes of a limit that learns: up or down, and why.",
    ("direction", "reason"),
)
SHED_BODY_DISCARDED = Metric(
    "shed_body_bytes_discarded_total",
    Kind.COUNTER,
    "Bytes of the bodies of refused requests that were read and dropped.",
)
SHED_SLOT_LEAKS = Metric(
    "shed_slot_leaks_total",
    Kind.COUNTER,
    "Permits that were never given back and were found as garbage: a defect of who held them.",
)
SHED_WEBSOCKET_REJECTIONS = Metric(
    "shed_websocket_rejections_total",
    Kind.COUNTER,
    "WebSockets answered 503 before they were open, by reason.",
    ("reason",),
)
SHED_INTERNAL_ERRORS = Metric(
    "shed_internal_errors_total",
    Kind.COUNTER,
    "Errors inside the shedder that did not reach a request: of a limit, a signal, a decision.",
)
SHED_LIMIT_CEILING = Metric(
    "shed_limit_ceiling", Kind.GAUGE, "The largest limit that a limit that learns may reach."
)
SHED_LONG_LIVED = Metric(
    "shed_long_lived", Kind.GAUGE, "Open streams and WebSockets, which hold no slot.", ("kind",)
)
SHED_REJECTION_RATIO = Metric(
    "shed_rejection_ratio",
    Kind.GAUGE,
    "The share of requests that is refused without a wait, 0 to 0.98.",
)
SHED_PRIORITY_THRESHOLD = Metric(
    "shed_priority_threshold",
    Kind.GAUGE,
    "How many of the 512 levels (4 criticalities of 128) are refused without a wait.",
)
SHED_BASELINE = Metric(
    "shed_baseline_seconds",
    Kind.GAUGE,
    "What a limit that learns takes for the duration of a request without a queue.",
)
SHED_DRAIN_RATE = Metric(
    "shed_drain_rate_per_second",
    Kind.GAUGE,
    "Admitted requests that finish per second, by cost, mean of 2 s.",
)
SHED_LOOP_LAG = Metric(
    "shed_event_loop_lag_seconds", Kind.GAUGE, "How late the event loop runs, longest of 1 s."
)
SHED_CPU = Metric(
    "shed_cpu_utilization_ratio",
    Kind.GAUGE,
    "CPU of the control group against its quota, mean of 5 s; 0 without that signal.",
)
SHED_OVERLOADED = Metric(
    "shed_overloaded", Kind.GAUGE, "1 while requests are refused without a wait."
)
SHED_DECISION = Metric(
    "shed_decision_seconds",
    Kind.HISTOGRAM,
    "How long a decision takes, of ten requests a second.",
    (),
    (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3),
)
SHED_RETRY_AFTER = Metric(
    "shed_retry_after_seconds",
    Kind.HISTOGRAM,
    "Retry-After values sent with refusals.",
    (),
    RETRY_AFTER_BUCKETS_SECONDS,
)
SHED_INFO = Metric(
    "shed_info",
    Kind.GAUGE,
    "Always 1; says what the shedder runs.",
    ("algorithm", "mode", "version"),
)

CAR_REQUEST = Metric(
    "car_request_seconds",
    Kind.HISTOGRAM,
    "Requests that the reference backend itself answered (refusals excluded), by class (or exempt) "
    "and outcome: ok (2xx, 3xx), client_error, server_error.",
    ("class", "outcome"),
    LATENCY_BUCKETS_SECONDS,
)
CAR_REQUESTS = Metric(
    "car_requests_total",
    Kind.COUNTER,
    "Requests that the reference backend itself answered, by route and status.",
    ("route", "method", "code"),
)
CAR_ROUTE_SECONDS = Metric(
    "car_route_seconds_total",
    Kind.COUNTER,
    "Time that requests of a route spent in the backend: its rate is how many of them were inside.",
    ("route", "method"),
)
CAR_INFO = Metric(
    "car_info", Kind.GAUGE, "Always 1; says in which region the reference backend is.", ("region",)
)
CAR_CAPACITY = Metric(
    "car_capacity_rps",
    Kind.GAUGE,
    "Known capacity: worker slots divided by the mean service time.",
)
CAR_SLOTS = Metric("car_slots", Kind.GAUGE, "Worker slots.")
CAR_SLOTS_BUSY = Metric("car_slots_busy", Kind.GAUGE, "Worker slots in use.")
CAR_SLOTS_BUSY_SECONDS = Metric(
    "car_slots_busy_seconds_total",
    Kind.COUNTER,
    "Seconds that worker slots were in use, all of them together: what is busy now included.",
)
CAR_SLOTS_WAITING = Metric(
    "car_slots_waiting", Kind.GAUGE, "Requests inside the app that wait for a worker slot."
)
CAR_DEPENDENCY = Metric(
    "car_dependency_seconds",
    Kind.HISTOGRAM,
    "Calls to what the backend depends on, by result: ok, error, timeout, refused (breaker open).",
    ("dependency", "outcome"),
    LATENCY_BUCKETS_SECONDS,
)
CAR_BREAKER_STATE = Metric(
    "car_breaker_state",
    Kind.GAUGE,
    "1 for the state that the circuit breaker of a dependency is in: closed, open, half_open.",
    ("dependency", "state"),
)
CAR_BREAKER_OPENED = Metric(
    "car_breaker_opened_total",
    Kind.COUNTER,
    "How often the circuit breaker of a dependency opened.",
    ("dependency",),
)
CAR_UNAVAILABLE = Metric(
    "car_unavailable_total",
    Kind.COUNTER,
    "Answers 503 by cause (overload, maintenance, dependency) and what it was in detail.",
    ("cause", "detail"),
)
CAR_STALE_READS = Metric(
    "car_stale_reads_total",
    Kind.COUNTER,
    "Vehicle states served from the last known one because the database failed.",
)
CAR_CREATIONS = Metric(
    "car_creations_total",
    Kind.COUNTER,
    "Things made once per Idempotency-Key, by what became of the request: created, replayed, "
    "conflict.",
    ("feature", "outcome"),
)
CAR_SIGN_INS = Metric(
    "car_sign_ins_total",
    Kind.COUNTER,
    "Sign-in attempts: accepted, refused, throttled.",
    ("outcome",),
)
CAR_COMMANDS = Metric(
    "car_commands_total",
    Kind.COUNTER,
    "Vehicle commands by how the request was answered: done, pending, replayed.",
    ("outcome",),
)
CAR_GATEWAY_COMMANDS = Metric(
    "car_gateway_commands_total",
    Kind.COUNTER,
    "Commands at the vehicle gateway, each counted once: executed, late (executed, answered late), "
    "duplicate, offline, failed.",
    ("outcome",),
)
CAR_STREAMS = Metric("car_streams", Kind.GAUGE, "Open streams of server-sent events.", ("stream",))
CAR_ANNOUNCEMENTS = Metric(
    "car_announcements_total",
    Kind.COUNTER,
    "Posts to the announcement URL about planned maintenance: delivered, failed.",
    ("outcome",),
)

LAUNCHDAY_ARRIVALS = Metric(
    "launchday_arrivals_total",
    Kind.COUNTER,
    "Arrivals of this generator process: scheduled = started + dropped + lost; of the started ones "
    "some were late, some queued.",
    ("outcome",),
)
LAUNCHDAY_REQUESTS = Metric(
    "launchday_requests_total",
    Kind.COUNTER,
    "Finished requests by what their client saw.",
    ("endpoint", "class", "outcome"),
)
LAUNCHDAY_RETRIES = Metric(
    "launchday_retries_total",
    Kind.COUNTER,
    "Of the finished requests those that repeated one that had not been answered as wished.",
    ("outcome",),
)
LAUNCHDAY_GIVE_UPS = Metric(
    "launchday_give_ups_total",
    Kind.COUNTER,
    "Requests that could have been sent again and were not, by what ran out: attempts, patience, "
    "budget.",
    ("reason",),
)
LAUNCHDAY_CORRECTED = Metric(
    "launchday_corrected_seconds",
    Kind.HISTOGRAM,
    "Latency from when the request was meant to start.",
    ("class", "outcome"),
    LATENCY_BUCKETS_SECONDS,
)
LAUNCHDAY_SERVICE = Metric(
    "launchday_service_seconds",
    Kind.HISTOGRAM,
    "Latency from when the request was sent: it hides what a stalled target kept waiting.",
    ("class", "outcome"),
    LATENCY_BUCKETS_SECONDS,
)
LAUNCHDAY_LATENESS = Metric(
    "launchday_lateness_seconds",
    Kind.HISTOGRAM,
    "How long after its due time an arrival was started.",
    (),
    (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0),
)
LAUNCHDAY_CPU = Metric(
    "launchday_generator_cpu_ratio",
    Kind.GAUGE,
    "CPU time of this generator process in the last second, in cores.",
)
LAUNCHDAY_LOOP_STALL = Metric(
    "launchday_loop_stall_seconds",
    Kind.GAUGE,
    "How late a timer of 50 ms fired in this generator process, longest of the last second.",
)
LAUNCHDAY_USERS = Metric(
    "launchday_users",
    Kind.GAUGE,
    "Users of this generator process: parked (they wait for an arrival) or busy with one.",
    ("state",),
)

LAUNCHDAY_PHASE = Metric(
    "launchday_phase",
    Kind.GAUGE,
    "1 for the phase of the schedule that the running run is in, 0 for its other phases.",
    ("run", "phase"),
)
LAUNCHDAY_PLANNED = Metric(
    "launchday_planned_rate",
    Kind.GAUGE,
    "Arrivals per second that the schedule of the running run asks for now.",
)

LAUNCHDAY_CAPACITY_SLO = Metric(
    "launchday_capacity_slo_rate",
    Kind.GAUGE,
    "Requests/s that one target was proved to carry within the objective, by the last plan.",
)
LAUNCHDAY_CAPACITY_FORECAST = Metric(
    "launchday_capacity_forecast_rate",
    Kind.GAUGE,
    "Requests/s that the last plan expects at the peak.",
)
LAUNCHDAY_CAPACITY_ALPHA = Metric(
    "launchday_capacity_usl_alpha", Kind.GAUGE, "Contention of the fitted scalability law."
)
LAUNCHDAY_CAPACITY_BETA = Metric(
    "launchday_capacity_usl_beta", Kind.GAUGE, "Coherence cost of the fitted scalability law."
)
LAUNCHDAY_CAPACITY_GAMMA = Metric(
    "launchday_capacity_usl_gamma",
    Kind.GAUGE,
    "Requests/s for each request in flight while there are few, by the fitted scalability law.",
)
LAUNCHDAY_CAPACITY_PEAK = Metric(
    "launchday_capacity_usl_peak_concurrency",
    Kind.GAUGE,
    "Requests in flight at which the fitted law has its most throughput; none without a peak.",
)
LAUNCHDAY_CAPACITY_R_SQUARED = Metric(
    "launchday_capacity_usl_r_squared", Kind.GAUGE, "How well the fitted law fits: 1 is best."
)

CHAOS_FAULT_ACTIVE = Metric(
    "chaos_fault_active",
    Kind.GAUGE,
    "1 while a fault of the running experiment is in, 0 before and after.",
    ("experiment", "link", "fault"),
)

CHAOS_STEADY_STATE = Metric(
    "chaos_steady_state_ok",
    Kind.GAUGE,
    "1 while what has to hold before the faults of the running experiment holds, 0 while it does "
    "not; NaN where it cannot be told.",
    ("experiment", "expectation"),
)

ALL: tuple[Metric, ...] = tuple(v for v in list(globals().values()) if isinstance(v, Metric))
