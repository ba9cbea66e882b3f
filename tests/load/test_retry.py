"""Retry policies, Retry-After and the budget, as pure functions."""

from __future__ import annotations

import math
from email.utils import formatdate
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.load.retry import (
    NO_ANSWER,
    POLICIES,
    GaveUp,
    RetryBudget,
    RetryPolicy,
    gives_up,
    may_retry,
    retry_after_seconds,
)

NOW = 1_795_000_000.0
SEEDS = st.integers(0, 2**32)


def waits(policy: RetryPolicy, asked_seconds: float | None = None, seed: int = 1) -> list[float]:
    found: list[float] = []
    random = Random(seed)
    while (wait := policy.wait_seconds(len(found), random, asked_seconds)) is not None:
        found.append(wait)
    return found


def test_the_policies_wait_as_their_names_say() -> None:
    assert waits(POLICIES["none"]) == []
    assert waits(POLICIES["immediate"], asked_seconds=9) == [0, 0]
    assert waits(RetryPolicy("exponential", retries=6, base_seconds=2, cap_seconds=20)) == [
        *(2, 4, 8, 16, 20, 20)
    ]


@given(seed=SEEDS, retry=st.integers(0, 10_000))
def test_full_jitter_draws_between_0_and_the_exponential_wait(seed: int, retry: int) -> None:
    jittered = RetryPolicy("full_jitter", retries=10_001)
    longest = RetryPolicy("exponential", retries=10_001).wait_seconds(retry, Random(0))
    wait = jittered.wait_seconds(retry, Random(seed))
    assert wait is not None
    assert longest is not None
    assert 0 <= wait <= longest <= jittered.cap_seconds
    assert wait == jittered.wait_seconds(retry, Random(seed)), "a run repeats"


def test_full_jitter_spreads_clients_that_were_refused_together() -> None:
    policy, random = POLICIES["full_jitter"], Random(1)
    drawn = [policy.wait_seconds(0, random) or 0.0 for _ in range(1000)]
    quarters = [sum(int(4 * wait) == quarter for wait in drawn) for quarter in range(4)]
    assert min(quarters) > 200, "uniform over the second"


@given(asked=st.floats(0, 1e9), seed=SEEDS)
def test_a_client_that_honours_retry_after_never_comes_earlier_but_for_the_cap(
    asked: float, seed: int
) -> None:
    policy = POLICIES["retry_after"]
    (first, *_) = waits(policy, asked, seed)
    assert min(asked, policy.cap_seconds) <= first <= min(asked, policy.cap_seconds) + 1


def test_what_the_server_asks_for_is_nothing_to_the_other_policies() -> None:
    assert waits(POLICIES["exponential"], asked_seconds=25) == waits(POLICIES["exponential"])
    assert waits(POLICIES["full_jitter"], 25) == waits(POLICIES["full_jitter"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"retries": -1}, {"base_seconds": -1}, {"base_seconds": math.nan},
        {"cap_seconds": 0.5}, {"cap_seconds": math.inf},
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy("full_jitter", **wrong)  # type: ignore[arg-type]  # retries is whole


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0), ("120", 120), (" 7 ", 7),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        ("Wed, 18 Nov 2026 11:06:41", 1),  # without a zone it is GMT all the same
        ("Wednesday, 18-Nov-26 11:06:41 GMT", 1), ("Wed Nov 18 11:06:41 2026", 1),
        (None, None), ("", None), ("soon", None), ("-1", None), ("1.5", None), ("²", None),
        ("3, 5", None),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_of_seconds_or_a_date(
    value: str | None, seconds: float | None
) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@given(text=st.text() | st.from_regex(r"[0-9A-Za-z,: +-]{0,60}", fullmatch=True))
def test_no_header_makes_a_client_fail_or_wait_a_negative_time(text: str) -> None:
    seconds = retry_after_seconds(text, NOW)
    assert seconds is None or seconds >= 0
    assert all(wait >= 0 for wait in waits(POLICIES["retry_after"], seconds))


def test_a_number_of_400_digits_is_capped_like_any_other() -> None:
    seconds = retry_after_seconds("9" * 400, NOW)
    assert max(waits(POLICIES["retry_after"], seconds)) <= 2 * POLICIES["retry_after"].cap_seconds


def test_what_may_have_been_done_half_way_is_only_repeated_if_that_does_no_harm() -> None:
    for status in (429, 503):
        assert may_retry(status, repeatable=False)
    for status in (NO_ANSWER, 500, 502, 504):
        assert may_retry(status, repeatable=True)
        assert not may_retry(status, repeatable=False)
    for status in (200, 201, 304, 400, 401, 404, 409, 501):
        assert not may_retry(status, repeatable=True)


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@given(
    steps=st.lists(st.sampled_from(["sent", "take", "wait"]), max_size=300),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
def test_whenever_a_retry_is_granted_the_share_of_retries_is_within_the_budget(
    steps: list[str], share: float
) -> None:
    clock = Clock()
    budget = RetryBudget(clock, share=share)
    sent: list[tuple[int, bool]] = []
    for step in steps:
        second = int(clock.seconds)
        recent = [retry for at, retry in sent if at > second - 10]
        if step == "wait":
            clock.seconds += 0.7
        elif step == "sent":
            budget.sent()
            sent.append((second, False))
        else:
            allowed = sum(recent) + 1 <= share * (len(recent) + 1)
            assert budget.take() is allowed
            if allowed:
                sent.append((second, True))


def test_a_dependency_that_is_down_gets_a_tenth_more_and_not_three_times_as_much() -> None:
    clock = Clock()
    budget = RetryBudget(clock, share=0.1)
    retries = 0
    for _ in range(5000):
        clock.seconds += 0.01
        budget.sent()
        retries += budget.take() + budget.take()
    assert 0.1 <= retries / 5000 <= 0.12


def test_a_budget_that_is_used_up_comes_back_when_its_window_is_over() -> None:
    clock = Clock()
    budget = RetryBudget(clock, share=0.5, window_seconds=10)
    budget.sent()
    assert [budget.take(), budget.take()] == [True, False]
    clock.seconds += 11
    budget.sent()
    assert budget.take()


@pytest.mark.parametrize(
    ("wait_seconds", "left_seconds", "why"),
    [(None, 9.0, GaveUp.ATTEMPTS), (2.0, 1.9, GaveUp.PATIENCE), (2.0, 2.0, None), (0.0, 0.0, None)],
)
def test_a_client_gives_up_for_what_runs_out_first(
    wait_seconds: float | None, left_seconds: float, why: GaveUp | None
) -> None:
    assert gives_up(wait_seconds, left_seconds, None) is why


def test_a_budget_is_only_charged_for_who_would_come_again() -> None:
    budget = RetryBudget(Clock(), share=0.5)
    budget.sent()
    assert gives_up(None, 9.0, budget) is GaveUp.ATTEMPTS
    assert gives_up(2.0, 1.0, budget) is GaveUp.PATIENCE
    assert gives_up(2.0, 9.0, budget) is None
    assert gives_up(2.0, 9.0, budget) is GaveUp.BUDGET


@pytest.mark.parametrize("wrong", [{"share": -0.1}, {"share": 1.1}, {"window_seconds": 0}])
def test_a_budget_that_makes_no_sense_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryBudget(Clock(), **wrong)  # type: ignore[arg-type]  # window_seconds is whole
