from __future__ import annotations

import math
import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.chaos.experiment import Fault, down, latency, timeout
from launchday.chaos.probe import (
    has_effect,
    probe_address,
    probe_link_seconds,
    tries_needed,
)

SLOW = latency("g", latency_ms=400, jitter_ms=100)


@pytest.mark.parametrize(
    ("before_seconds", "during_seconds", "effect"),
    [
        (0.01, 0.41, True),
        (0.01, 0.17, True),  # half of the least that 400 ± 100 adds
        (0.01, 0.15, False),
        (0.30, 0.31, False),
        (0.01, 2.0, True),  # longer than the probe waits
        (0.01, math.inf, False),  # refused: something else is broken
        (2.0, 2.0, False),  # did not answer before either
        (math.inf, math.inf, False),
    ],
)
def test_a_latency_has_an_effect_when_the_answer_is_later(
    before_seconds: float, during_seconds: float, effect: bool
) -> None:
    assert has_effect(SLOW, before_seconds, during_seconds, timeout_seconds=2.0) is effect


@pytest.mark.parametrize("fault", [down("g"), timeout("g"), timeout("g", timeout_ms=50)])
def test_a_timeout_or_a_link_that_is_down_has_an_effect_when_there_is_no_answer(
    fault: Fault,
) -> None:
    assert has_effect(fault, 0.01, math.inf)
    assert has_effect(fault, 0.01, 2.0, timeout_seconds=2.0)
    assert not has_effect(fault, 0.01, 0.02)
    assert not has_effect(fault, math.inf, math.inf)


@given(st.integers(1, 10_000), st.data())
def test_a_latency_without_any_delay_never_counts_as_an_effect(
    latency_ms: int, data: st.DataObject
) -> None:
    jitter_ms = data.draw(st.integers(0, latency_ms))
    fault = latency("g", latency_ms=latency_ms, jitter_ms=jitter_ms)
    assert not has_effect(fault, 0.01, 0.01, timeout_seconds=60)
    assert has_effect(fault, 0.01, 0.01 + latency_ms / 1000, timeout_seconds=60)


@given(st.floats(0, 1))
def test_a_rarer_fault_gets_more_tries_within_bounds(toxicity: float) -> None:
    tries = tries_needed(toxicity)
    assert 3 <= tries <= 20
    assert tries == 20 or (1 - toxicity) ** tries <= 0.0100001


def test_the_probe_times_the_first_byte_of_an_answer(healthz: str) -> None:
    seconds = probe_link_seconds(healthz, "/healthz", timeout_seconds=10)
    assert 0 < seconds < 10


def test_the_probe_returns_its_timeout_when_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        listen = f"127.0.0.1:{silent.getsockname()[1]}"
        start = time.perf_counter()
        assert probe_link_seconds(listen, "/", timeout_seconds=0.2) == 0.2
        assert time.perf_counter() - start >= 0.19


def test_the_probe_returns_infinity_when_it_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        listen = f"127.0.0.1:{closing.getsockname()[1]}"
    assert probe_link_seconds(listen, "/", timeout_seconds=5) == math.inf


@pytest.mark.parametrize(
    ("url", "listen", "address"),
    [
        ("http://127.0.0.1:8474", "127.0.0.1:9001", "127.0.0.1:9001"),
        ("http://toxiproxy:8474", "[::]:9001", "toxiproxy:9001"),
        ("http://toxiproxy:8474", "0.0.0.0:9001", "toxiproxy:9001"),
        ("http://[::1]:8474", "[::1]:9001", "[::1]:9001"),
    ],
)
def test_a_link_is_probed_on_the_host_of_the_toxiproxy(url: str, listen: str, address: str) -> None:
    assert probe_address(url, listen) == address
