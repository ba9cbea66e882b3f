"""`/metrics` of one generator process, for Prometheus."""

from __future__ import annotations

import errno
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Any

from gevent import socket
from gevent.pywsgi import WSGIServer
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from launchday import metric_names as names
from launchday.counts import Arrivals, Cell, CellKey, HealthSample
from launchday.errors import PreflightError, SettingsError
from launchday.histogram import LogHistogram, middle_of
from launchday.load.breath import Breath
from launchday.load.cells import UNCLASSIFIED
from launchday.load.retry import GaveUp
from launchday.metric_names import Kind, Metric
from launchday.outcomes import Outcome

CLASSES = (*names.CRITICALITIES, UNCLASSIFIED)
OTHER = "other"
_ARRIVALS = ("scheduled", "started", "late", "dropped", "queued", "lost")
_MOST_ENDPOINTS = 100
_MOST_SCRAPES = 4
_HIGHEST_PORT = 65535
# Processes of one machine, each with a port: more than it has cores.
_MOST_PORTS = 256
_FAMILIES = {Kind.COUNTER: CounterMetricFamily, Kind.GAUGE: GaugeMetricFamily}
_middle_of = lru_cache(maxsize=4096)(middle_of)


class _Distribution:
    """A Prometheus histogram that is filled from ours: edges and sum are at most 1 % off."""

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.sum = 0.0

    def add(self, histogram: LogHistogram) -> None:
        for bucket, count in histogram.counts.items():
            value = _middle_of(bucket)
            self.counts[bisect_left(self.edges, value)] += count
            self.sum += value * count


class Totals:
    """What a generator process counted since it began, over all its tests.

    A book tells it of each flush (`SampleBook.follow`), so a scrape is at most a second behind
    and costs the book nothing. A scenario that names an endpoint for each vehicle must not fill
    Prometheus: from the 101st name on, requests count for the endpoint "other".
    """

    def __init__(self) -> None:
        self.arrival_counts = Counter(dict.fromkeys(_ARRIVALS, 0))
        self.requests: dict[tuple[str, str], Counter[str]] = {}
        self.lateness = _Distribution(names.LAUNCHDAY_LATENESS.buckets)
        pairs = [(criticality, outcome.value) for criticality in CLASSES for outcome in Outcome]
        self.corrected = {p: _Distribution(names.LAUNCHDAY_CORRECTED.buckets) for p in pairs}
        self.service = {p: _Distribution(names.LAUNCHDAY_SERVICE.buckets) for p in pairs}
        self.cpu_share = 0.0
        self.loop_stall_seconds = 0.0
        self._endpoints: set[str] = set()
        self.retries = Counter(dict.fromkeys((each.value for each in Outcome), 0))
        self.give_ups = Counter(dict.fromkeys((each.value for each in GaveUp), 0))

    def arrivals(self, arrivals: Arrivals) -> None:
        """Add arrivals that a book counted."""
        for outcome in _ARRIVALS:
            self.arrival_counts[outcome] += getattr(arrivals, outcome)
        self.lateness.add(arrivals.lateness)

    def cell(self, key: CellKey, cell: Cell) -> None:
        """Add requests that a book counted."""
        _, endpoint, criticality, outcome = key
        if criticality not in CLASSES:
            criticality = UNCLASSIFIED
        self._requests_of(endpoint, criticality)[outcome] += cell.count
        self.retries[outcome] += cell.retries
        self.corrected[criticality, outcome].add(cell.corrected)
        self.service[criticality, outcome].add(cell.service)

    def gave_up(self, reason: GaveUp) -> None:
        """Count a client that could have asked again and did not."""
        self.give_ups[reason.value] += 1

    def health(self, sample: HealthSample) -> None:
        """Note how the process was in the last second."""
        self.cpu_share = sample.cpu_share
        self.loop_stall_seconds = sample.loop_stall_seconds

    def _requests_of(self, endpoint: str, criticality: str) -> Counter[str]:
        if endpoint not in self._endpoints:
            if len(self._endpoints) < _MOST_ENDPOINTS:
                self._endpoints.add(endpoint)
            else:
                endpoint = OTHER
        zeros = dict.fromkeys((o.value for o in Outcome), 0)
        return self.requests.setdefault((endpoint, criticality), Counter(zeros))


class Exporter:
    """A running `/metrics`: its URL, what it shows, and how to end it."""

    def __init__(self, server: WSGIServer, totals: Totals) -> None:
        self._server = server
        self.totals = totals
        self.url = f"http://{server.server_host}:{server.server_port}/metrics"

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.stop(timeout=1)


def start_exporter(
    port: int, *, host: str = "127.0.0.1", users: Callable[[], tuple[int, int]]
) -> Exporter:
    """Serve `/metrics` from this process, between its arrivals.

    It listens on the first free port from `port` on, so that workers which share a machine need
    no numbers and workers with a machine each have the same port; 0 takes any free one. Which it
    was says `Exporter.url`. `users` says how many users are parked and how many busy. Give
    `Exporter.totals` to `SampleBook.follow`.

    A scrape is answered label set by label set, with a pause whenever it took 1 ms: whatever there
    is to tell, no arrival waits for it longer than that.

    Raises:
        SettingsError: `port` is no port.
        PreflightError: `host` is not of this machine, or many ports are taken.
    """
    if not 0 <= port <= _HIGHEST_PORT:
        raise SettingsError(f"--metrics-port {port} is not between 0 and {_HIGHEST_PORT}")
    totals = Totals()

    def application(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] != "/metrics":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/metrics is the only page\n"]
        content_type = "text/plain; version=0.0.4; charset=utf-8"
        start_response("200 OK", [("Content-Type", content_type)])
        return _with_pauses(render(totals, *users()))

    listener = _listen(host, port)
    server = WSGIServer(listener, application, spawn=_MOST_SCRAPES, log=None, error_log=None)
    server.start()
    return Exporter(server, totals)


def _listen(host: str, first: int) -> socket.socket:
    """Listen on the first port that is free. Raises PreflightError: there is none, or no `host`."""
    last = min(first + _MOST_PORTS - 1, _HIGHEST_PORT) if first else 0
    for port in range(first, last + 1):
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen()
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE and port < last:
                continue
            raise PreflightError(
                f"cannot serve /metrics on {host}:{port}: {error.strerror or error}; choose "
                "another --metrics-port or --metrics-host, or port 0 for any free one"
            ) from error
        return listener
    raise AssertionError("a range of ports is never empty")


def _with_pauses(slices: Iterable[bytes]) -> Iterator[bytes]:
    breathe = Breath()
    for text in slices:
        yield text
        breathe()


def render(totals: Totals, parked: int, busy: int) -> Iterator[bytes]:
    """The metrics as Prometheus text, in slices of one label set or a few."""
    yield _plain(names.LAUNCHDAY_ARRIVALS, _by_label(totals.arrival_counts))
    yield _plain(names.LAUNCHDAY_CPU, [((), totals.cpu_share)])
    yield _plain(names.LAUNCHDAY_LOOP_STALL, [((), totals.loop_stall_seconds)])
    yield _plain(names.LAUNCHDAY_USERS, [(("parked",), parked), (("busy",), busy)])
    yield _plain(names.LAUNCHDAY_RETRIES, _by_label(totals.retries))
    yield _plain(names.LAUNCHDAY_GIVE_UPS, _by_label(totals.give_ups))
    requests = [
        [((*pair, outcome), count) for outcome, count in counts.items()]
        for pair, counts in list(totals.requests.items())
    ]
    yield from _one_head(_plain(names.LAUNCHDAY_REQUESTS, rows) for rows in requests)
    yield _histogram(names.LAUNCHDAY_LATENESS, (), totals.lateness)
    for metric, found in (
        (names.LAUNCHDAY_CORRECTED, totals.corrected),
        (names.LAUNCHDAY_SERVICE, totals.service),
    ):
        yield from _one_head(_histogram(metric, pair, one) for pair, one in found.items())


def _by_label(counts: Mapping[str, int]) -> list[tuple[tuple[str], int]]:
    return [((label,), count) for label, count in counts.items()]


class _One(Collector):
    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterator[Family]:
        yield self._family


def _one_head(slices: Iterator[bytes]) -> Iterator[bytes]:
    """Leave out HELP and TYPE, which are said once, from all but the first slice of a metric."""
    for number, text in enumerate(slices):
        lines = text.splitlines(keepends=True)
        yield text if number == 0 else b"".join(x for x in lines if not x.startswith(b"#"))


def _plain(metric: Metric, rows: Iterable[tuple[Iterable[str], float]]) -> bytes:
    family: Any = _FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels)
    for labels, value in rows:
        family.add_metric([*labels], value)
    return generate_latest(_One(family))


def _histogram(metric: Metric, labels: Iterable[str], found: _Distribution) -> bytes:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    edges = [*map(floatToGoString, found.edges), "+Inf"]
    buckets = [*zip(edges, accumulate(found.counts), strict=True)]
    family.add_metric([*labels], buckets, found.sum)
    return generate_latest(_One(family))
