from __future__ import annotations

import socket as plain_socket
from collections.abc import Iterator
from contextlib import closing

import gevent
import gevent.socket
import pytest
from prometheus_client.parser import text_string_to_metric_families

from launchday import metric_names
from launchday.errors import PreflightError, SettingsError
from launchday.load import exporter as exporter_module
from launchday.load.exporter import CLASSES, OTHER, Exporter, Totals, render, start_exporter
from launchday.load.retry import GaveUp
from launchday.load.samples import SampleBook
from launchday.outcomes import Outcome
from tests.records import IDLE

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    with closing(start_exporter(0, users=lambda: (7, 3))) as running:
        yield running


def get(exporter: Exporter, path: str = "/metrics") -> tuple[str, str]:
    """Head and body of an answer, over a real socket and while this process goes on."""
    port = int(exporter.url.split(":")[2].split("/")[0])
    with closing(gevent.socket.create_connection(("127.0.0.1", port), timeout=30)) as client:
        client.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body.decode()


def series(text: str) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Series, name: str, **labels: str) -> float:
    return found[name, frozenset((key.rstrip("_"), text) for key, text in labels.items())]


def ask(book: SampleBook, endpoint: str, outcome: Outcome, criticality: str = "critical") -> None:
    book.request(
        0.0, endpoint, criticality, outcome, corrected_seconds=0.3, service_seconds=0.06,
        answered_503=False, retry_after=False, response_bytes=7,
    )  # fmt: skip


def test_before_the_first_arrival_every_label_set_is_there_and_0(exporter: Exporter) -> None:
    head, body = get(exporter)
    assert "200 OK" in head
    assert "text/plain; version=0.0.4" in head
    found = series(body)
    for outcome in ("scheduled", "started", "late", "dropped", "queued", "lost"):
        assert value(found, "launchday_arrivals_total", outcome=outcome) == 0
    for criticality in CLASSES:
        for outcome in Outcome:
            labels = {"class_": criticality, "outcome": outcome.value}
            assert value(found, "launchday_corrected_seconds_count", **labels) == 0
            assert value(found, "launchday_service_seconds_count", **labels) == 0


def test_it_serves_the_metrics_of_the_catalogue_each_with_its_help_once(exporter: Exporter) -> None:
    book = SampleBook()
    book.follow(exporter.totals)
    ask(book, "state", Outcome.OK)
    ask(book, "unlock", Outcome.SHED)
    book.flush()
    _, body = get(exporter)
    conductors = {metric_names.LAUNCHDAY_PHASE, metric_names.LAUNCHDAY_PLANNED}
    wanted = [
        metric
        for metric in metric_names.ALL
        if metric.name.startswith("launchday_")
        and not metric.name.startswith("launchday_capacity_")
        and metric not in conductors
    ]
    assert len(wanted) == 10
    helps = [line for line in body.splitlines() if line.startswith("# HELP")]
    assert sorted(helps) == sorted(f"# HELP {m.name} {m.help}" for m in wanted)
    labels = {m.name: {frozenset(m.labels)} for m in wanted}
    for family in text_string_to_metric_families(body):
        name = family.name + ("_total" if family.type == "counter" else "")
        assert {frozenset(s.labels) - {"le"} for s in family.samples} == labels[name]


def test_what_a_book_flushes_is_served_and_adds_up_over_tests(exporter: Exporter) -> None:
    for _ in range(2):
        book = SampleBook()  # each test of the web UI has its own
        book.follow(exporter.totals)
        book.arrival(0, started=True, late=True, queued=True, lateness_seconds=0.03)
        book.arrival(0, started=False)
        book.lost(0, 5)
        ask(book, "state", Outcome.OK)
        ask(book, "state", Outcome.OK, "of my own")
        book.flush()
        book.health(IDLE)
    found = series(get(exporter)[1])
    counts = {
        outcome: value(found, "launchday_arrivals_total", outcome=outcome)
        for outcome in ("scheduled", "started", "late", "dropped", "queued", "lost")
    }
    assert counts == {
        "scheduled": 14, "started": 2, "late": 2, "dropped": 2, "queued": 2, "lost": 10
    }  # fmt: skip
    requests = "launchday_requests_total"
    assert value(found, requests, endpoint="state", class_="critical", outcome="ok") == 2
    assert value(found, requests, endpoint="state", class_="critical", outcome="shed") == 0
    assert value(found, requests, endpoint="state", class_="unclassified", outcome="ok") == 2
    labels = {"class_": "critical", "outcome": "ok"}
    corrected = "launchday_corrected_seconds"
    assert value(found, f"{corrected}_bucket", **labels, le="0.25") == 0
    assert value(found, f"{corrected}_bucket", **labels, le="0.35") == 2
    assert value(found, f"{corrected}_sum", **labels) == pytest.approx(0.6, rel=0.02)
    assert value(found, "launchday_service_seconds_bucket", **labels, le="0.075") == 2
    assert value(found, "launchday_lateness_seconds_bucket", le="0.02") == 0
    assert value(found, "launchday_lateness_seconds_count") == 2
    assert value(found, "launchday_generator_cpu_ratio") == IDLE.cpu_share
    assert value(found, "launchday_users", state="parked") == 7
    assert value(found, "launchday_users", state="busy") == 3


def test_retries_and_who_gave_up_are_counted(exporter: Exporter) -> None:
    found = series(get(exporter)[1])
    assert value(found, "launchday_retries_total", outcome="shed") == 0
    assert value(found, "launchday_give_ups_total", reason="budget") == 0
    book = SampleBook()
    book.follow(exporter.totals)
    for retry in (False, True, True):
        book.cells.request(
            0.0, "state", "critical", Outcome.SHED,
            corrected_seconds=0.3, service_seconds=0.06, retry=retry,
        )  # fmt: skip
    book.flush()
    exporter.totals.gave_up(GaveUp.PATIENCE)
    found = series(get(exporter)[1])
    assert value(found, "launchday_retries_total", outcome="shed") == 2
    assert value(found, "launchday_retries_total", outcome="ok") == 0
    assert value(found, "launchday_give_ups_total", reason="patience") == 1


def test_names_without_end_do_not_fill_prometheus() -> None:
    totals, book = Totals(), SampleBook()
    book.follow(totals)
    for number in range(150):
        ask(book, f"vehicle {number}", Outcome.OK)
    book.flush()
    found = series(b"".join(render(totals, 0, 0)).decode())
    names = {dict(labels)["endpoint"] for name, labels in found if name.endswith("requests_total")}
    assert len(names) == 101
    labels = {"endpoint": OTHER, "class_": "critical", "outcome": "ok"}
    assert value(found, "launchday_requests_total", **labels) == 50


def test_a_scrape_lets_others_run_after_each_label_set(exporter: Exporter) -> None:
    book = SampleBook()
    book.follow(exporter.totals)
    for number in range(100):
        ask(book, f"endpoint {number}", Outcome.OK)
    book.flush()
    slices = [text.count(b"\n") for text in render(exporter.totals, 0, 0)]
    histogram = len(metric_names.LATENCY_BUCKETS_SECONDS) + 5
    assert max(slices) <= histogram
    turns = 0

    def other() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0)
            turns += 1

    running = gevent.spawn(other)
    _, body = get(exporter)
    running.kill()
    assert body.count("\n") == sum(slices)
    assert turns >= len(slices)


def test_another_page_is_not_found(exporter: Exporter) -> None:
    assert "404" in get(exporter, "/")[0]


def test_workers_of_one_machine_take_the_next_free_port_each() -> None:
    with (
        closing(plain_socket.create_server(("127.0.0.1", 0))) as taken,
        closing(start_exporter(taken.getsockname()[1], users=lambda: (0, 0))) as first,
        closing(start_exporter(taken.getsockname()[1], users=lambda: (0, 0))) as second,
    ):
        ports = [int(e.url.split(":")[2].split("/")[0]) for e in (first, second)]
        assert taken.getsockname()[1] < ports[0] < ports[1]


def test_when_the_last_port_of_all_is_taken_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(plain_socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(exporter_module, "_HIGHEST_PORT", port)
        with pytest.raises(PreflightError, match=f"127.0.0.1:{port}: Address already in use"):
            start_exporter(port, users=lambda: (0, 0))


def test_an_address_of_another_machine_is_refused_in_words() -> None:
    with pytest.raises(PreflightError, match=r"192\.0\.2\.1:0: .*--metrics-host"):
        start_exporter(0, host="192.0.2.1", users=lambda: (0, 0))


def test_it_listens_where_it_is_told() -> None:
    with closing(start_exporter(0, host="127.0.0.2", users=lambda: (0, 0))) as elsewhere:
        assert elsewhere.url.startswith("http://127.0.0.2:")


@pytest.mark.parametrize("port", [-1, 65536, 70000])
def test_a_port_that_is_none_is_refused_in_words(port: int) -> None:
    with pytest.raises(SettingsError, match=f"--metrics-port {port} .*not between 0 and 65535"):
        start_exporter(port, users=lambda: (0, 0))


def test_a_closed_exporter_frees_its_port(exporter: Exporter) -> None:
    port = int(exporter.url.split(":")[2].split("/")[0])
    exporter.close()
    with closing(start_exporter(port, users=lambda: (0, 0))) as again:
        assert again.url == exporter.url
