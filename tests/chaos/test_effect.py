"""What counts as the effect of a fault: pure, from what a client saw."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.chaos.effect import is_meant, shows, why_invisible
from launchday.chaos.exchange import Ending, Seen
from launchday.chaos.experiment import (
    Fault,
    bandwidth,
    down,
    latency,
    limit_data,
    reset_peer,
    slicer,
    slow_close,
    timeout,
)

SLOW = latency("g", latency_ms=400, jitter_ms=100)
NOTHING = Seen(ending=Ending.CLOSED, sent_bytes=20)
LOST = Seen(ending=Ending.TIMEOUT, sent_bytes=20)
REFUSED = Seen(ending=Ending.REFUSED, sent_bytes=20)
RESET = Seen(ending=Ending.RESET, sent_bytes=20)


def answered(first: float = 0.01, end: float = 0.01, count: int = 100, pieces: int = 1) -> Seen:
    return Seen(first, end, count, pieces, Ending.CLOSED, sent_bytes=1000)


@pytest.mark.parametrize(
    ("before", "during", "effect"),
    [
        (answered(0.01), answered(0.41), True),
        (answered(0.01), answered(0.17), True),  # half of the least that 400 ± 100 adds
        (answered(0.01), answered(0.15), False),
        (answered(0.30), answered(0.31), False),
        (answered(0.01), LOST, True),  # longer than the probe waits
        (answered(0.01), REFUSED, False),  # something else is broken
        (LOST, LOST, False),  # did not answer before either
        (REFUSED, REFUSED, False),
        (NOTHING, NOTHING, False),
    ],
)
def test_a_latency_has_an_effect_when_the_answer_is_later(
    before: Seen, during: Seen, effect: bool
) -> None:
    assert shows(SLOW, before, during, 2.0) is effect


@pytest.mark.parametrize(
    ("fault", "shown", "not_shown"),
    [
        (timeout("g"), [LOST, NOTHING, RESET], [answered()]),
        (down("g"), [REFUSED, NOTHING, RESET], [answered(), LOST]),
        (reset_peer("g"), [RESET], [answered(), NOTHING, LOST, REFUSED]),
        (limit_data("g", limit_bytes=50), [answered(count=50), NOTHING], [answered(), LOST]),
        (bandwidth("g", rate_kbps=1), [answered(end=0.1)], [answered(end=0.02), REFUSED]),
        (slow_close("g", delay_ms=500), [answered(end=0.5)], [answered(end=0.1)]),
        (
            slicer("g", average_bytes=10, delay_us=10_000, stream="upstream"),
            [answered(end=0.9), LOST],
            [answered(end=0.1)],
        ),
        (slicer("g", average_bytes=10), [answered(pieces=9)], [answered(pieces=1)]),
    ],
)
def test_each_toxic_has_an_effect_of_its_own(
    fault: Fault, shown: list[Seen], not_shown: list[Seen]
) -> None:
    before = answered()
    assert [shows(fault, before, during, 2.0) for during in shown] == [True] * len(shown)
    assert [shows(fault, before, during, 2.0) for during in not_shown] == [False] * len(not_shown)
    assert not any(shows(fault, REFUSED, during, 2.0) for during in [*shown, *not_shown])
    assert not any(shows(fault, LOST, during, 2.0) for during in [*shown, *not_shown])


@given(st.integers(1, 10_000), st.data())
def test_a_latency_without_any_delay_never_counts_as_an_effect(
    latency_ms: int, data: st.DataObject
) -> None:
    jitter_ms = data.draw(st.integers(0, latency_ms))
    fault = latency("g", latency_ms=latency_ms, jitter_ms=jitter_ms)
    assert not shows(fault, answered(), answered(), 60)
    assert shows(fault, answered(), answered(0.01 + latency_ms / 1000), 60)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (limit_data("g", limit_bytes=100), "passes only 100 bytes, .* set probe_path"),
        (limit_data("g", limit_bytes=99), None),
        (bandwidth("g", rate_kbps=10), "100 bytes of a probe pass as fast with it as without"),
        (bandwidth("g", rate_kbps=1), None),
        (bandwidth("g", rate_kbps=10, stream="upstream"), None),
        (slicer("g", average_bytes=64), "pass as fast with it as without; .* or give it a delay"),
        (slicer("g", average_bytes=32), "pass as fast with it as without"),
        (slicer("g", average_bytes=10), None),
        (slicer("g", average_bytes=64, delay_us=50_000), None),
        (SLOW, None),
    ],
)
def test_what_a_probe_cannot_show_is_said(fault: Fault, words: str | None) -> None:
    reason = why_invisible(fault, answered())
    assert (reason is None) == (words is None)
    assert reason is None or re.search(words or "", reason)
    assert "nothing came back" in str(why_invisible(fault, REFUSED))


@given(st.integers(1, 500), st.floats(0.01, 0.99))
def test_the_meant_share_fits_and_all_or_nothing_does_not_when_there_are_enough(
    count: int, toxicity: float
) -> None:
    assert is_meant(round(count * toxicity), count, toxicity)
    sigma = math.sqrt(toxicity * (1 - toxicity) / count)
    assert is_meant(count, count, toxicity) == (1 - toxicity <= 3 * sigma + 0.5 / count)
    assert is_meant(0, count, toxicity) == (toxicity <= 3 * sigma + 0.5 / count)
