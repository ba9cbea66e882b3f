"""How journeys end, for somebody who is granted some things and refused others."""

from __future__ import annotations

from argparse import Namespace
from random import Random

import pytest
from _backend import Account, Backend, Request, Session
from _connected_car import ConnectedCar
from _journeys import JOURNEYS, KEPT_READINGS, Ending


class Somebody:
    """Is refused the requests named in `refused`, and notes what was asked for."""

    def __init__(self, *refused: str, session: bool = True) -> None:
        self.backend: Backend = ConnectedCar(Namespace(fleet_seed=1))
        self.account = Account("us", 7, Session("token", "again") if session else None)
        self.random = Random(1)
        self.refused = refused
        self.asked: list[Request] = []

    @property
    def names(self) -> list[str]:
        return [request.name for request in self.asked]

    def ask(self, request: Request | None) -> bool:
        if request is None:
            return True
        self.asked.append(request)
        return request.name not in self.refused

    def sign_in(self) -> bool:
        granted = self.ask(self.backend.sign_in(self.account))
        if granted:
            self.account.session = Session("new token")
        return granted

    def refresh(self) -> bool:
        return self.ask(self.backend.refresh(self.account))

    def signed_in(self) -> bool:
        return bool(self.account.session) or self.sign_in()

    def plays(self, journey: str) -> Ending:
        return JOURNEYS[journey].run(self)


@pytest.mark.parametrize("name", JOURNEYS)
def test_every_journey_is_done_where_everything_is_granted(name: str) -> None:
    somebody = Somebody()
    assert somebody.plays(name) is Ending.DONE
    assert 1 <= len(somebody.asked) <= JOURNEYS[name].requests


@pytest.mark.parametrize(
    ("journey", "refused", "ending"),
    [
        ("unlock", "unlock", Ending.DEGRADED),  # phone key or key card
        ("unlock", "state", Ending.DONE),  # whatever the state said
        ("look", "state", Ending.DEGRADED),  # the last known state with its age
        ("open_app", "notifications", Ending.DEGRADED),
        ("resume", "refresh", Ending.GAVE_UP),
        ("cold_start", "sign_in", Ending.GAVE_UP),
        ("cold_start", "state", Ending.DEGRADED),
        ("schedule", "schedule", Ending.DEGRADED),  # the car keeps its last one
        ("start_charging", "charging", Ending.DEGRADED),
        ("start_charging", "telemetry", Ending.DEGRADED),
        ("telemetry", "telemetry", Ending.DEGRADED),  # the car buffers
        ("reserve", "reserve", Ending.GAVE_UP),
        ("charge", "charger_session", Ending.GAVE_UP),  # there is no fallback
        ("climate", "climate_start", Ending.GAVE_UP),
        ("poll", "poll", Ending.GAVE_UP),
        ("watch_status", "status", Ending.GAVE_UP),
    ],
)
def test_what_is_refused_ends_as_its_owner_sees_it(
    journey: str, refused: str, ending: Ending
) -> None:
    assert Somebody(refused).plays(journey) is ending


def test_who_has_no_session_signs_in_and_who_cannot_still_opens_the_car() -> None:
    somebody = Somebody(session=False)
    assert somebody.plays("reserve") is Ending.DONE
    assert somebody.names == ["sign_in", "reserve"]
    assert Somebody("sign_in", session=False).plays("reserve") is Ending.GAVE_UP
    assert Somebody("sign_in", session=False).plays("unlock") is Ending.DEGRADED


def test_a_car_keeps_what_it_could_not_upload_and_sends_it_with_the_next() -> None:
    car = Somebody("telemetry")
    for _ in range(3):
        car.plays("telemetry")
    car.refused = ()
    assert car.plays("telemetry") is Ending.DONE
    sent = car.asked[-1].json["readings"]
    times = [reading["unix"] for reading in sent]
    assert len(times) == 4
    assert times == sorted(times)
    assert car.account.unsent == []
    for _ in range(2 * KEPT_READINGS):
        Somebody.plays(car, "telemetry")
    assert "readings" not in car.asked[-1].json, "nothing is sent twice"


def test_a_car_does_not_keep_more_than_it_can() -> None:
    car = Somebody("telemetry")
    for _ in range(2 * KEPT_READINGS):
        car.plays("telemetry")
    assert len(car.account.unsent) == KEPT_READINGS


def test_only_what_may_be_sent_again_is_repeatable() -> None:
    account, backend = Account("eu", 3), ConnectedCar(Namespace(fleet_seed=1))
    assert backend.reserve(account).once
    assert backend.command(account, "unlock").once
    assert backend.charger_session(account, "x").once
    assert all(request.repeatable for request in (backend.state(account), backend.reserve(account)))
    assert not Request("POST", "/orders", "order").repeatable
