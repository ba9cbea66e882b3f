"""Bad input on the wire: hostile headers, and parts of the shedder that raise, crash no request."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from launchday import LoadSheddingMiddleware
from launchday.admission import (
    AIMDLimit,
    Classifier,
    FixedLimit,
    LoopLag,
    Outcome,
    QueueRules,
    Refusal,
    RouteRule,
)
from launchday.admission.observer import Silence
from launchday.metric_names import CRITICALITIES
from tests.admission.flood import Ask, Crowd, Shed, Slots, share, statuses

ERRORS = "shed_internal_errors_total"
PRIORITY = "x-request-criticality"
TIMEOUT = "x-timeout-ms"


def classifier(*trusted: str) -> Classifier:
    return Classifier(
        [RouteRule("/low", "sheddable")],
        criticality_header=PRIORITY,
        trusted_peers=trusted,
        timeout_header=TIMEOUT,
    )


@pytest.mark.parametrize(
    ("trusted", "counted_as"), [((), "sheddable"), (("127.0.0.1",), "critical_plus")]
)
async def test_only_a_trusted_peer_says_how_critical_its_request_is(
    serve: Any, trusted: tuple[str, ...], counted_as: str
) -> None:
    shed = Shed(Slots(5, 0.001), pool=5, routes=classifier(*trusted))
    async with serve(shed.app) as port, Crowd(port) as crowd:
        answered = await crowd.ask(Ask("GET /low", (f"{PRIORITY}: critical_plus",)))
    assert answered.status == 200
    for name in CRITICALITIES:
        labels = {"class": name, "outcome": "admitted"}
        assert shed.value("shed_requests_total", **labels) == (name == counted_as)
    assert shed.app.classifier.clamped == (not trusted)


WORDS = ["nan", "NaN", "inf", "-1", "0", "1e999", "0x10", "9" * 400, "", "\xff\xfe", "1, 2", "ten"]


@pytest.mark.parametrize("header", [TIMEOUT, PRIORITY])
async def test_garbage_in_a_header_is_no_header(serve: Any, header: str) -> None:
    # One slot: all but one have to wait, and that is where the deadline is read.
    shed = Shed(
        Slots(1, 0.01),
        limit=1,
        queue=QueueRules(length=50, timeout_seconds=60),
        routes=classifier(),
        loop_lag=False,
    )
    async with serve(shed.app) as port, Crowd(port) as crowd:
        asks = [Ask("GET /", (f"{header}: {word}",)) for word in WORDS]
        answers = await asyncio.gather(*map(crowd.ask, [Ask(), *asks]))
    assert statuses(answers) == {200: len(WORDS) + 1}
    assert shed.app.classifier.clamped > len(WORDS) / 2
    shed.assert_nothing_is_left(len(answers))


@pytest.mark.parametrize("header", [TIMEOUT, PRIORITY, "content-length", "x-any"])
async def test_a_header_of_a_megabyte_ends_at_most_its_own_connection(
    serve: Any, connect: Any, header: str
) -> None:
    shed = Shed(Slots(5, 0.001), pool=5, routes=classifier())
    async with serve(shed.app) as port, Crowd(port) as crowd:
        client = await connect(port)
        client.writer.write(b"GET / HTTP/1.1\r\nhost: test\r\n%s: " % header.encode())
        with contextlib.suppress(OSError):
            for _ in range(16):
                client.writer.write(b"9" * 2**16)
                await client.writer.drain()
            client.writer.write(b"\r\n\r\n")
            async with asyncio.timeout(20):
                # What uvicorn's parser does not refuse is a header that says nothing.
                assert (await client.reader.readline()).split()[1] in (b"200", b"400", b"431")
        assert (await crowd.ask(Ask())).status == 200
    assert shed.limiter.inflight == 0


class Raising:
    """A limit of a stranger that one day knows neither its value nor how to learn."""

    algorithm = "raising"
    works = True

    @property
    def limit(self) -> int:
        if self.works:
            return 10
        raise ZeroDivisionError

    def on_sample(self, seconds: float, inflight: int, outcome: Outcome, now: float) -> None:
        raise ZeroDivisionError


class RaisingSignal:
    reason = Refusal.CPU

    def pressure(self, now: float) -> float:
        raise ZeroDivisionError


class RaisingLag(LoopLag):
    """Fails at each decision, where no part of the shedder expects it."""

    def refuses(self, criticality: int, now: float) -> bool:
        raise ZeroDivisionError


async def test_a_controller_that_raises_leaves_the_last_limit_and_is_counted(serve: Any) -> None:
    controller = Raising()
    app = Slots(50, 0.02)
    shed = Shed(app, limit=controller, queue=QueueRules(50, timeout_seconds=60), loop_lag=False)
    async with serve(shed.app) as port, Crowd(port) as crowd:
        assert share(await asyncio.gather(*(crowd.ask(Ask()) for _ in range(20)))) == 1.0
        assert shed.value(ERRORS) == 20, "it could not learn"
        controller.works = False
        answers = await asyncio.gather(*(crowd.ask(Ask()) for _ in range(30)))
        assert share(answers) == 1.0
        assert shed.value("shed_limit") == app.peak == 10
        assert shed.value(ERRORS) >= 80
        shed.app.configure(limit=FixedLimit(5))
        errors = shed.value(ERRORS)
        assert (await crowd.ask(Ask())).status == 200
    assert (shed.value(ERRORS), shed.limiter.inflight) == (errors, 0)


async def test_a_controller_that_raises_at_once_is_not_taken() -> None:
    shed = Shed(Slots(1, 0.0), limit=5)
    controller = Raising()
    controller.works = False
    with pytest.raises((ValueError, ZeroDivisionError)):
        shed.app.configure(limit=controller, mode="off")
    assert (shed.app.mode, shed.limiter.gate.current_limit) == ("enforce", 5)
    with pytest.raises((ValueError, ZeroDivisionError)):
        Shed(Slots(1, 0.0), limit=controller)


async def test_a_signal_that_raises_refuses_nobody_and_is_counted(serve: Any, until: Any) -> None:
    shed = Shed(Slots(50, 0.01), limit=AIMDLimit(), signals=[RaisingSignal()])
    async with serve(shed.app) as port, Crowd(port) as crowd:
        assert (await crowd.ask(Ask())).status == 200
        await until(lambda: shed.value(ERRORS) >= 3)
        assert (await crowd.ask(Ask())).status == 200
    assert shed.app.failures == 0
    shed.limiter.gate.controller_errors = 0
    shed.assert_nothing_is_left(2)


async def test_a_shedder_that_fails_admits_up_to_its_hard_limit_and_says_so_once(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = Slots(50, 0.1)
    shed = Shed(app, limit=3, hard_limit=7, loop_lag=RaisingLag())
    async with serve(shed.app) as port, Crowd(port) as crowd:
        answers = await asyncio.gather(*(crowd.ask(Ask()) for _ in range(20)))
    assert statuses(answers) == {200: 7, 503: 13}
    assert (app.peak, shed.app.unbounded.open) == (7, 0)
    assert shed.value(ERRORS) == 20
    assert sum("failed" in record.message for record in caplog.records) == 1


EVENTS = [name for name in vars(Silence) if not name.startswith("_") and name != "attached"]


@pytest.mark.parametrize("event", EVENTS)
async def test_an_observer_that_raises_costs_no_request_and_no_slot(
    serve: Any, until: Any, event: str
) -> None:
    raising = [True]

    def raises(self: Any, *_: Any) -> None:
        if raising[0]:
            raise ZeroDivisionError(event)

    observer = type("Raising", (Silence,), {event: raises})()
    middleware = LoadSheddingMiddleware(
        Slots(1, 0.01), limit=1, queue=QueueRules(2, timeout_seconds=60), observer=observer
    )
    async with serve(middleware) as port, Crowd(port) as crowd:
        answers = await asyncio.gather(*(crowd.ask(Ask()) for _ in range(8)))
        assert statuses(answers).keys() <= {200, 503}
        raising[0] = False
        await until(lambda: middleware.limiter.inflight == middleware.limiter.queued == 0)
        assert (await crowd.ask(Ask())).status == 200
