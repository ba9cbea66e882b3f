"""S15, S16, S17 on the wire: who is shed first, who is never, and who gets 429."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from launchday.admission import Classifier, RouteRule, header_key
from launchday.metric_names import CRITICALITIES
from tests.admission.flood import (
    Answered,
    Ask,
    Crowd,
    Shed,
    Slots,
    between,
    goodput_rps,
    share,
    statuses,
)

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ROUTES = [RouteRule(f"/{name}", name) for name in CRITICALITIES]
CLASSES = {name: Ask(f"GET /{name}") for name in CRITICALITIES}
MIX = (0.1, 0.2, 0.3, 0.4)


def one_of_the_mix(random: Random) -> Ask:
    return CLASSES[random.choices(CRITICALITIES, MIX)[0]]


def of_class(answers: list[Answered], name: str) -> list[Answered]:
    return [one for one in answers if one.ask == CLASSES[name]]


async def test_s15_at_three_times_the_capacity_the_least_critical_are_shed_first(
    serve: Any,
) -> None:
    app = Slots(20, 0.15)
    shed = Shed(app, pool=20, routes=ROUTES, loop_lag=False)
    async with serve(shed.app) as port, Crowd(port) as crowd:
        answers = await crowd.flood(400, 7, one_of_the_mix)
    steady = between(answers, 2)
    shares = [share(of_class(steady, name)) for name in CRITICALITIES]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] >= 0.99
    assert shares[1] >= 0.97
    assert shares[3] <= 0.05
    assert goodput_rps(answers, 2, 7) >= 0.9 * app.capacity_rps
    assert app.peak <= 24
    shed.assert_nothing_is_left(len(answers))


async def test_s16_a_critical_class_gets_in_from_its_first_moment(serve: Any) -> None:
    app = Slots(10, 0.25)
    shed = Shed(app, pool=10, routes=ROUTES, loop_lag=False)
    low, high = CLASSES["sheddable"], CLASSES["critical_plus"]
    async with serve(shed.app) as port, Crowd(port) as crowd, Crowd(port) as late:
        flood = asyncio.create_task(crowd.flood(400, 5, low))
        await asyncio.sleep(2)
        critical = await late.flood(8, 3, high)
        assert share(await flood, 503) >= 0.8
    assert len(critical) >= 15
    assert share(critical) == 1.0


def client(name: str) -> Ask:
    return Ask("GET /", (f"x-api-key: {name}",))


def told_apart() -> Classifier:
    return Classifier(client_key=header_key("x-api-key"))


POLITE = [client(f"polite {number}") for number in range(19)]


async def test_s17_an_abuser_gets_429_and_the_polite_do_not_notice(serve: Any) -> None:
    app = Slots(20, 0.3)
    shed = Shed(app, pool=20, routes=told_apart(), client_share=0.1, loop_lag=False)
    async with serve(shed.app) as port, Crowd(port) as crowd, Crowd(port) as abuser:
        abuse = asyncio.create_task(abuser.flood(330, 8, client("abuser")))
        polite = await crowd.flood(38, 8, lambda random: random.choice(POLITE))
        abused = await abuse
    assert share(between(polite, 3)) >= 0.95
    assert statuses(polite)[429] == 0
    assert share(between(abused, 3), 429) >= 0.8
    assert share(between(abused, 3), 503) <= 0.02
    assert goodput_rps([*polite, *abused], 3, 8) >= 0.8 * app.capacity_rps
    assert {one.reason for one in abused if one.status == 429} == {"fairness"}
    assert shed.value(
        "shed_rejections_total", **{"class": "critical"}, reason="fairness", status="429"
    ) == float(statuses(abused)[429])


async def test_s17_a_crowd_of_small_clients_gets_503_and_nobody_429(serve: Any) -> None:
    app = Slots(10, 0.15)
    shed = Shed(app, pool=10, routes=told_apart(), client_share=0.1)
    crowd_of_clients = [client(f"one of many {number}") for number in range(200)]
    async with serve(shed.app) as port, Crowd(port) as crowd:
        answers = await crowd.flood(200, 4, lambda random: random.choice(crowd_of_clients))
    assert statuses(answers).keys() == {200, 503}
    assert share(answers, 503) >= 0.5
