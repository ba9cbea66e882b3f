"""Limits: what is a number, what is refused, and each formula worked out by hand once."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday import LoadSheddingMiddleware
from launchday.admission import (
    AIMDLimit,
    ElasticLimit,
    FixedLimit,
    Gradient2Limit,
    Limit,
    LimitChange,
    LimitReason,
    Outcome,
    VegasLimit,
)
from launchday.admission.asgi import Message, Receive, Scope, Send

Adaptive = AIMDLimit | ElasticLimit | Gradient2Limit | VegasLimit
ADAPTIVE: list[Callable[..., Adaptive]] = [AIMDLimit, ElasticLimit, Gradient2Limit, VegasLimit]
FLOOR, CEILING = 4, 60


class Fed:
    """A limit and its clock: windows of equal samples, one after the other."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.now = 0.0

    def window(
        self,
        seconds: float,
        inflight: int | None = None,
        outcome: Outcome = Outcome.SUCCESS,
        windows: int = 1,
    ) -> list[LimitChange]:
        """Feed `windows` of 100 samples over 0.5 s, each after a pause; return the changes."""
        changes = []
        for _ in range(windows):
            self.now += 5.0
            for _ in range(100):
                self.now += 0.0051
                used = self.limit.limit if inflight is None else inflight
                changes.append(self.limit.on_sample(seconds, used, outcome, self.now))
        return [change for change in changes if change is not None]


def test_a_fixed_limit_is_a_limit_and_never_learns() -> None:
    limit: Limit = FixedLimit(7)
    assert isinstance(limit, Limit)
    for outcome in Outcome:
        limit.on_sample(9.0, 7, outcome, 1.0)
    assert (limit.limit, limit.algorithm) == (7, "fixed")


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "24", None, True])
def test_a_wrong_limit_is_refused_with_name_value_and_range(wrong: Any) -> None:
    with pytest.raises(ValueError, match="limit must be an integer of at least 1") as refused:
        FixedLimit(wrong)
    assert repr(wrong) in str(refused.value)


@pytest.mark.parametrize("make", ADAPTIVE)
def test_every_adaptive_limit_is_a_limit_with_a_name_and_starts_at_20(
    make: Callable[..., Adaptive],
) -> None:
    limit = make()
    assert isinstance(limit, Limit)
    assert limit.limit == 20
    assert limit.algorithm == make.__name__.removesuffix("Limit").lower()


@pytest.mark.parametrize("make", ADAPTIVE)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"floor": 0}, "floor must be an integer of at least 1, not 0"),
        ({"floor": 5, "ceiling": 4}, "ceiling must be an integer of at least 5, not 4"),
        ({"initial": 3}, "initial must be an integer from 4 to 1000, not 3"),
        ({"initial": 1001}, "initial must be an integer from 4 to 1000, not 1001"),
        ({"window_seconds": 0}, "window_seconds must be a number above 0, not 0"),
        ({"window_seconds": math.nan}, "window_seconds must be a number above 0, not nan"),
        ({"minimum_samples": 0}, "minimum_samples must be an integer of at least 1, not 0"),
    ],
)
def test_wrong_arguments_are_refused_with_name_value_and_range(
    make: Callable[..., Adaptive], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match="must be") as refused:
        make(**arguments)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AIMDLimit(backoff=1.0), "backoff must be a number above 0 and at most 0.99"),
        (lambda: AIMDLimit(objective_seconds=-1), "objective_seconds must be a number above 0"),
        (lambda: VegasLimit(renewal_windows=0), "renewal_windows must be an integer of at least"),
        (lambda: Gradient2Limit(tolerance=0.5), "tolerance must be a number of at least 1"),
        (lambda: Gradient2Limit(smoothing=1.5), "smoothing must be a number above 0 and at most"),
        (lambda: ElasticLimit(headroom=1.0), "headroom must be a number above 1 and at most 3"),
        (lambda: ElasticLimit(warm_up_seconds=-1), "warm_up_seconds must be a number of at least"),
        (lambda: ElasticLimit(enough_samples=5), "enough_samples must be an integer of at least"),
    ],
)
def test_wrong_arguments_of_one_algorithm_are_refused(
    build: Callable[[], Limit], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_aimd_grows_by_half_the_root_when_used_and_shrinks_by_a_tenth() -> None:
    fed = Fed(AIMDLimit())
    assert fed.window(0.05, inflight=15) == []
    # 20 + sqrt(20) / 2 = 22.24
    assert fed.window(0.05, inflight=16) == [LimitChange(20, 22, LimitReason.GROWTH)]
    # 22.24 * 0.9 = 20.01, because 0.41 s is more than 0.8 * 0.5 s
    assert fed.window(0.41, inflight=10) == []
    assert fed.window(0.41) == [LimitChange(22, 20, LimitReason.OBJECTIVE)]
    # 20.01 * 0.9 = 18.01
    assert fed.window(0.05, outcome=Outcome.DROPPED) == [LimitChange(20, 18, LimitReason.DROPS)]


def test_vegas_keeps_the_queue_between_three_and_six_steps() -> None:
    fed = Fed(VegasLimit())
    # step = int(log10 20) = 1; queue = 0 <= 1: 20 + 6
    assert fed.window(0.05) == [LimitChange(20, 26, LimitReason.GROWTH)]
    # queue = ceil(26 * (1 - 50 / 54)) = 2 < 3: 26 + 1
    assert fed.window(0.054) == [LimitChange(26, 27, LimitReason.GROWTH)]
    # queue = ceil(27 * (1 - 50 / 60)) = 5: between
    assert fed.window(0.06) == []
    # queue = ceil(27 * (1 - 50 / 100)) = 14 > 6: 27 - 1
    assert fed.window(0.1) == [LimitChange(27, 26, LimitReason.LATENCY)]
    assert fed.window(0.05, outcome=Outcome.DROPPED) == [LimitChange(26, 25, LimitReason.DROPS)]


def test_vegas_measures_the_unloaded_duration_anew_only_in_quiet_windows() -> None:
    limit = VegasLimit(renewal_windows=3, ceiling=20)
    fed = Fed(limit)
    fed.window(0.05)
    assert fed.window(0.2, windows=5)[-1].new == 15
    fed.window(0.2, inflight=2)
    # 0.2 s is normal now: no queue, 15 + 6, at most 20
    assert fed.window(0.2) == [LimitChange(15, 20, LimitReason.GROWTH)]


def test_gradient2_shrinks_by_the_ratio_of_durations_and_adds_room_for_a_queue() -> None:
    fed = Fed(Gradient2Limit())
    # g = 1: 0.8 * 20 + 0.2 * (20 + sqrt(20)) = 20.89; the second adds 0.2 * sqrt(20.89) = 0.91
    assert fed.window(0.05, windows=2) == [LimitChange(20, 21, LimitReason.GROWTH)]
    # g = 1.5 * 50 / 100 = 0.75: 0.8 * 21.81 + 0.2 * (21.81 * 0.75 + 4.67) = 21.65; again 21.49
    # and a dropped one, g = 0.5: 0.8 * 21.49 + 0.2 * (21.49 * 0.5 + 4.64) = 20.27
    assert fed.window(0.1, windows=2) == []
    assert fed.window(0.1, outcome=Outcome.DROPPED) == [LimitChange(21, 20, LimitReason.DROPS)]
    assert fed.window(0.1, inflight=9) == []


def test_elastic_grows_fast_at_first_then_to_the_headroom() -> None:
    fed = Fed(ElasticLimit(warm_up_seconds=0))
    fed.window(0.05, inflight=4)
    # 20 * 1.5, not R / S
    assert fed.window(0.05) == [LimitChange(20, 30, LimitReason.GROWTH)]
    # one slow window is none
    assert fed.window(0.08) == []
    # R = 80 ms is 1.6 S, the limit is meant for 1.2 S: 30 * 1.2 / 1.6 = 22.5
    assert fed.window(0.08) == [LimitChange(30, 22, LimitReason.LATENCY)]
    # 22.5 * 1.2 * 50 / 53 = 25.47: from now on growth goes by R / S
    assert fed.window(0.053) == [LimitChange(22, 25, LimitReason.GROWTH)]


def elastic_with_a_proved_baseline() -> tuple[ElasticLimit, Fed]:
    limit = ElasticLimit(initial=40, objective_seconds=5.0)
    fed = Fed(limit)
    fed.window(0.05, inflight=10, windows=4)
    return limit, fed


def test_elastic_takes_its_decline_back_when_a_smaller_limit_is_no_faster() -> None:
    limit, fed = elastic_with_a_proved_baseline()
    # 40 * 0.7 = 28, and still 200 ms: slope 0, so S = 200 ms and L = 1.2 * 40
    assert fed.window(0.2, windows=2) == [LimitChange(40, 28, LimitReason.LATENCY)]
    assert fed.window(0.2) == [LimitChange(28, 48, LimitReason.SLOW_DEPENDENCY)]
    assert limit.baseline_seconds == pytest.approx(0.2)


def test_elastic_goes_on_shrinking_while_a_smaller_limit_is_faster() -> None:
    limit, fed = elastic_with_a_proved_baseline()
    # ten slots of 50 ms: R = L * 5 ms
    changes = [change for _ in range(12) for change in fed.window(0.05 * max(1, limit.limit / 10))]
    assert {change.reason for change in changes} <= {LimitReason.LATENCY, LimitReason.GROWTH}
    assert [change.new for change in changes[:3]] == [28, 19, 13]
    assert 10 <= limit.limit <= 13
    assert limit.baseline_seconds == pytest.approx(0.05)


def test_elastic_shrinks_for_the_objective_whatever_the_cause() -> None:
    fed = Fed(ElasticLimit(objective_seconds=0.06, warm_up_seconds=0))
    fed.window(0.05, inflight=5)
    assert fed.window(0.05, windows=4)[-1].reason is LimitReason.OBJECTIVE


def test_elastic_does_not_shrink_while_it_warms_up() -> None:
    limit = ElasticLimit(warm_up_seconds=60)
    fed = Fed(limit)
    fed.window(0.05, inflight=5)
    assert fed.window(5.0, windows=8) == []
    assert {change.new < change.old for change in fed.window(5.0, windows=8)} == {True}


def test_elastic_checks_a_baseline_that_it_learnt_under_load() -> None:
    limit = ElasticLimit(initial=30, ceiling=30, warm_up_seconds=0, objective_seconds=5.0)
    fed = Fed(limit)
    reasons = set()
    for _ in range(40):
        # Ten slots: the very first window sees three times the duration of an empty service.
        reasons |= {change.reason for change in fed.window(0.05 * max(1, limit.limit / 10))}
    assert LimitReason.RECHECK in reasons
    assert limit.baseline_seconds == pytest.approx(0.05, rel=0.1)
    assert limit.limit <= 15


def test_elastic_does_not_move_for_fast_failures() -> None:
    limit, fed = elastic_with_a_proved_baseline()
    assert fed.window(0.001, outcome=Outcome.DROPPED, windows=20) == []
    assert limit.baseline_seconds == pytest.approx(0.05)


@pytest.mark.parametrize("make", ADAPTIVE)
def test_samples_without_sense_are_counted_and_change_nothing(
    make: Callable[..., Adaptive],
) -> None:
    limit = make()
    nonsense = [math.nan, math.inf, -math.inf, 0.0, -1.0]
    for _ in range(20):
        for seconds in nonsense:
            assert limit.on_sample(seconds, 20, Outcome.SUCCESS, 1.0) is None
        for inflight, now in ((0, 1.0), (-1, 1.0), (20, math.nan), (20, math.inf)):
            assert limit.on_sample(0.05, inflight, Outcome.SUCCESS, now) is None
    assert (limit.limit, limit.ignored_samples) == (20, 180)
    limit.on_sample(0.05, 1, Outcome.SUCCESS, 2.0)
    limit.on_sample(0.05, 1, Outcome.SUCCESS, 1.0)
    assert limit.ignored_samples == 181


@pytest.mark.parametrize("make", ADAPTIVE)
def test_too_few_samples_decide_nothing(make: Callable[..., Adaptive]) -> None:
    limit = make()
    for second in range(9):
        assert limit.on_sample(9.0, 20, Outcome.SUCCESS, second * 0.4) is None
    # Hours later the nine are stale: the tenth does not make a window of them.
    assert limit.on_sample(9.0, 20, Outcome.SUCCESS, 9000.0) is None
    assert limit.limit == 20


Sample = tuple[float, float, Outcome, float]
SAMPLES = st.lists(
    st.tuples(
        st.floats(0.0001, 30.0),
        st.floats(0.0, 1.0),
        st.sampled_from(Outcome),
        st.floats(0.0, 0.3),
    ),
    max_size=300,
)


def played(limit: Adaptive, samples: list[Sample]) -> list[LimitChange]:
    """Feed samples of (seconds, share of the limit in flight, outcome, time since the last)."""
    now, changes = 0.0, []
    for seconds, share, outcome, passed in samples:
        now += passed
        inflight = max(1, round(share * limit.limit))
        change = limit.on_sample(seconds, inflight, outcome, now)
        assert FLOOR <= limit.limit <= CEILING
        assert change is None or change.new == limit.limit != change.old
        changes += [change] if change else []
    return changes


def small(make: Callable[..., Adaptive]) -> Adaptive:
    """Return the limit with windows that close often."""
    more = {"enough_samples": 4, "warm_up_seconds": 0.0} if make is ElasticLimit else {}
    return make(floor=FLOOR, ceiling=CEILING, window_seconds=0.2, minimum_samples=3, **more)


@pytest.mark.parametrize("make", ADAPTIVE)
@settings(max_examples=60, deadline=None)
@given(samples=SAMPLES)
def test_it_stays_in_range_and_the_same_trace_gives_the_same_changes(
    make: Callable[..., Adaptive], samples: list[Sample]
) -> None:
    assert played(small(make), samples) == played(small(make), samples)


@pytest.mark.parametrize("make", ADAPTIVE)
@settings(max_examples=60, deadline=None)
@given(samples=SAMPLES)
def test_dropped_requests_never_make_it_larger(
    make: Callable[..., Adaptive], samples: list[Sample]
) -> None:
    limit = small(make)
    played(limit, samples)
    now, largest = 10_000.0, limit.limit
    for _ in range(300):
        now += 0.01
        limit.on_sample(0.05, limit.limit, Outcome.DROPPED, now)
        assert limit.limit <= largest
        largest = limit.limit


def test_a_stranger_gives_one_to_the_middleware() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    sent: list[Message] = []
    limit = ElasticLimit(window_seconds=0.001, minimum_samples=1, enough_samples=1)
    shed = LoadSheddingMiddleware(app, limit=limit)
    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(shed(scope, receive, send))
    assert sent[0]["status"] == 200
