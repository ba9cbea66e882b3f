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
    "Requests answered 503 by the shedder, by reason.",
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
    "From admission to the end of the answer's body.",
    ("class",),
    LATENCY_BUCKETS_SECONDS,
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
    "Requests that the reference backend itself answered (refusals excluded).",
    ("route", "method", "code"),
    LATENCY_BUCKETS_SECONDS,
)
CAR_CAPACITY = Metric(
    "car_capacity_rps",
    Kind.GAUGE,
    "Known capacity: worker slots divided by the mean service time.",
)
CAR_SLOTS = Metric("car_slots", Kind.GAUGE, "Worker slots.")
CAR_SLOTS_BUSY = Metric("car_slots_busy", Kind.GAUGE, "Worker slots in use.")
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

ALL: tuple[Metric, ...] = tuple(v for v in list(globals().values()) if isinstance(v, Metric))
