"""What is refused when the shedder is built."""

from __future__ import annotations

from typing import Any

import pytest

from launchday import LoadSheddingMiddleware
from launchday.admission import (
    CgroupCPU,
    Classifier,
    Downstream,
    QueueRules,
    Refusal,
    client_address,
)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"limit": 0}, "limit must be an integer of at least 1, not 0"),
        ({"limit": "24"}, "limit must be an integer of at least 1, not '24'"),
        ({"limit": -3}, "limit must be an integer of at least 1, not -3"),
        ({"limit": 5, "pool": 5}, "limit and pool exclude each other"),
        ({"pool": 0}, "pool must be an integer of at least 1, not 0"),
        ({"mode": "on"}, "mode must be one of off, observe, enforce, not 'on'"),
        ({"reserves": (0.5, 0.6, 0, 0)}, "reserves must be four shares .* together at most 1"),
        ({"reserves": (1.5, 0, 0, 0)}, "reserves must be four shares"),
        ({"reserves": (0.1, 0.1)}, "reserves must be four shares"),
        (
            {"client_share": 0, "routes": Classifier(client_key=client_address())},
            "share must be a number above 0",
        ),
        ({"criticality": "critical"}, "criticality must be callable or None"),
        ({"hard_limit": -1}, "hard_limit must be an integer of at least 1, not -1"),
        ({"hard_limit": 0}, "hard_limit must be an integer of at least 1, not 0"),
        ({"loop_lag": "x"}, "loop_lag must be a LoopLag, True or False, not 'x'"),
        ({"signals": [3]}, "signals must be a list or tuple of signals"),
        ({"signals": CgroupCPU()}, "signals must be a list or tuple of signals"),
        ({"client_share": 0.1}, "client_share needs clients that can be told apart"),
        ({"websockets": -1}, "websockets must be an integer of at least 0, not -1"),
        ({"stream_after_seconds": 0}, "stream_after_seconds must be a number above 0"),
        ({"limit": 1, "exempt_paths": "/healthz"}, "exempt_paths must be several .*'/healthz'"),
        ({"limit": 1, "exempt_paths": ["healthz"]}, "exempt_paths must be .* leading slash"),
        (
            {"limit": 1, "retry_after_seconds": (0, 5)},
            "minimum_seconds .* from 1 to 300, not 0",
        ),
        ({"limit": 1, "retry_after_seconds": 5}, "retry_after_seconds must be a pair .* not 5"),
    ],
)
def test_wrong_settings_are_refused_at_construction(arguments: Any, words: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ValueError, match=words):
        LoadSheddingMiddleware(app, **arguments)


class Broken:
    algorithm = "broken"

    @property
    def limit(self) -> int:
        raise ZeroDivisionError

    def on_sample(self, *_: Any) -> None: ...


@pytest.mark.parametrize("limit", [Broken(), object(), float("nan"), 1.5, True, [24]])
def test_a_limit_that_is_none_is_refused_at_construction_and_later(limit: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ValueError, match="limit must"):
        LoadSheddingMiddleware(app, limit=limit)
    shedder = LoadSheddingMiddleware(app, limit=7)
    with pytest.raises(ValueError, match="limit must"):
        shedder.configure(mode="off", limit=limit)
    assert (shedder.mode, shedder.limiter.gate.current_limit) == ("enforce", 7), "all or nothing"


def test_an_observer_that_lacks_a_method_is_refused() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    observer: Any = object()
    with pytest.raises(ValueError, match=r"observer must have all methods .*admitted.* missing"):
        LoadSheddingMiddleware(app, observer=observer)


def test_the_form_of_codel_and_the_queue_change_at_run_time() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    shedder = LoadSheddingMiddleware(app, limit=7)
    shedder.configure(queue=QueueRules(length=3, timeout_seconds=1.5, overload="minimum_delay"))
    queues = shedder.limiter.gate.queues
    assert {(queue.by_delay, queue.interval_seconds) for queue in queues} == {(True, 1.5)}


@pytest.mark.parametrize("queue", [3, {"length": 3}, "long"])
def test_rules_of_the_queue_that_are_none_are_refused_and_change_nothing(queue: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ValueError, match="queue must be QueueRules"):
        LoadSheddingMiddleware(app, limit=7, queue=queue)
    shedder = LoadSheddingMiddleware(app, limit=7, queue=QueueRules(length=2))
    with pytest.raises(ValueError, match="queue must be QueueRules"):
        shedder.configure(mode="off", limit=9, queue=queue)
    gate = shedder.limiter.gate
    assert (shedder.mode, gate.current_limit, gate.rules.length) == ("enforce", 7, 2)


def test_a_dependency_cannot_make_us_say_more_than_our_own_maximum() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    stock = Downstream()
    for _ in range(20):
        stock.report(False, 30)
    shedder = LoadSheddingMiddleware(app, signals=(stock,), retry_after_seconds=(1, 5))
    assert shedder.limiter.asked_to_wait_seconds(shedder.clock()) > 5
    assert shedder._reject(Refusal.DOWNSTREAM, 1, 0.0) == 5
