from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_service.cars import Cars, Outcome
from target_service.gateway_settings import GatewaySettings
from target_service.settings import SettingsError, read

VINS = [f"LDCAR{number:012}" for number in range(2000)]
SHARES = st.floats(0, 0.5)


def cars(**settings: float) -> Cars:
    return Cars(GatewaySettings.model_validate(settings))


def outcomes(fleet: Cars, now_seconds: float = 0.0) -> Counter[Outcome]:
    return Counter(fleet.visit(vin, now_seconds).outcome for vin in VINS)


def test_by_default_every_car_is_awake_and_answers_after_the_latency() -> None:
    visit = cars(latency_seconds=0.25).visit(VINS[0], 0.0)
    assert (visit.outcome, visit.wake_seconds, visit.answer_seconds) == ("executed", 0.0, 0.25)


@given(
    st.integers(0, 3),
    st.tuples(SHARES, SHARES, SHARES, SHARES),
    st.lists(st.tuples(st.sampled_from(VINS[:5]), st.floats(0, 100)), max_size=30),
)
def test_the_same_seed_and_the_same_questions_give_the_same_answers(
    seed: int, shares: tuple[float, ...], asked: list[tuple[str, float]]
) -> None:
    names = ("sleeping_share", "offline_share", "late_share", "failure_share")
    settings = {"seed": seed, "latency_cv": 1.0, **dict(zip(names, shares, strict=True))}
    one, other = cars(**settings), cars(**settings)
    now_seconds = 0.0
    for vin, pause_seconds in asked:
        now_seconds += pause_seconds
        assert one.visit(vin, now_seconds) == other.visit(vin, now_seconds)


@given(st.lists(st.sampled_from(VINS[:20]), unique=True))
def test_what_other_cars_are_asked_changes_nothing_for_a_car(others: list[str]) -> None:
    alone, among = (
        cars(sleeping_share=0.5, offline_share=0.5),
        cars(sleeping_share=0.5, offline_share=0.5),
    )
    for vin in others:
        among.visit(vin, 0.0)
    assert alone.visit(VINS[20], 1.0) == among.visit(VINS[20], 1.0)


def test_another_seed_makes_other_cars() -> None:
    one, other = cars(offline_share=0.5, seed=1), cars(offline_share=0.5, seed=2)
    assert [one.visit(v, 0).outcome for v in VINS] != [other.visit(v, 0).outcome for v in VINS]


@pytest.mark.parametrize(
    ("name", "outcome", "expected"),
    [
        ("failure_share", Outcome.FAILED, 600),
        ("late_share", Outcome.LATE, 600),
        # An offline car is out of reach for half of the time.
        ("offline_share", Outcome.OFFLINE, 300),
    ],
)
def test_a_share_is_met(name: str, outcome: Outcome, expected: int) -> None:
    found = outcomes(cars(**{name: 0.3}))
    assert found[outcome] == pytest.approx(expected, abs=100)
    assert found[outcome] + found[Outcome.EXECUTED] == len(VINS)


def test_the_mean_latency_is_the_setting_whatever_its_spread() -> None:
    fleet = cars(latency_seconds=0.1, latency_cv=0.5)
    answers = [fleet.visit(vin, 0.0).answer_seconds for vin in VINS]
    assert sum(answers) / len(answers) == pytest.approx(0.1, rel=0.1)
    assert len(set(answers)) > len(VINS) / 2


def test_a_sleeping_car_wakes_once_for_all_who_ask_and_sleeps_again_when_left_alone() -> None:
    fleet = cars(sleeping_share=1, wake_seconds=4, awake_seconds=100)
    wake_seconds = fleet.visit(VINS[0], 10.0).wake_seconds
    assert wake_seconds > 0
    halfway = 10.0 + wake_seconds / 2
    assert fleet.visit(VINS[0], halfway).wake_seconds == pytest.approx(wake_seconds / 2)
    awake_at = 10.0 + wake_seconds
    assert fleet.visit(VINS[0], awake_at).wake_seconds == pytest.approx(0, abs=1e-9)
    assert fleet.visit(VINS[0], awake_at + 99).wake_seconds == 0
    assert fleet.visit(VINS[0], awake_at + 198).wake_seconds == 0, "asked at 99: awake until 199"
    assert fleet.visit(VINS[0], awake_at + 298.1).wake_seconds > 0


def test_the_share_of_sleepers_takes_the_mean_time_to_wake() -> None:
    fleet = cars(sleeping_share=0.5, wake_seconds=3)
    wakes = [w for vin in VINS if (w := fleet.visit(vin, 0.0).wake_seconds)]
    assert len(wakes) == pytest.approx(len(VINS) / 2, rel=0.1)
    assert sum(wakes) / len(wakes) == pytest.approx(3, rel=0.1)


def test_an_offline_car_comes_and_goes_in_spells_that_are_not_in_step_with_others() -> None:
    fleet = cars(offline_share=1, offline_seconds=30)
    times = range(900)
    seen = {v: [fleet.visit(v, t).outcome is Outcome.OFFLINE for t in times] for v in VINS[:50]}
    for on in seen.values():
        # 900 s hold 20 to 60 spells of 15 to 45 s.
        assert 19 <= sum(a != b for a, b in pairwise(on)) <= 60
        assert sum(on) == pytest.approx(450, abs=50)
    now_offline = [sum(on[t] for on in seen.values()) for t in times]
    assert min(now_offline) > 5
    assert max(now_offline) < 45


def test_a_command_that_failed_in_the_gateway_wakes_no_car() -> None:
    fleet = cars(sleeping_share=1, failure_share=1)
    assert fleet.visit(VINS[0], 0.0).wake_seconds == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SLEEPING_SHARE": "1.5"}, "GATEWAY_SLEEPING_SHARE: '1.5' is not allowed"),
        ({"OFFLINE_SECONDS": "0"}, "GATEWAY_OFFLINE_SECONDS: '0' is not allowed"),
        ({"LATENCY_SECONDS": "nan"}, "GATEWAY_LATENCY_SECONDS: 'nan' is not allowed"),
        (
            {"SLEEPING_SHARE": "0.7", "OFFLINE_SHARE": "0.5"},
            "GATEWAY_SLEEPING_SHARE + GATEWAY_OFFLINE_SHARE: 0.7 + 0.5 is not allowed: "
            "together they must be at most 1",
        ),
        ({"LATE_SHARE": "0.7", "FAILURE_SHARE": "0.5"}, "GATEWAY_LATE_SHARE + "),
    ],
)
def test_impossible_cars_are_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], message: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"GATEWAY_{name}", value)
    with pytest.raises(SettingsError) as refused:
        read(GatewaySettings)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
