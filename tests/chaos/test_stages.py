from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchday.chaos.clock import Alarm
from launchday.chaos.endings import STAGES
from launchday.chaos.stages import Chunk, Stage
from launchday.chaos.toxics import DEFAULTS, Toxic, is_hit, objection

shares = st.floats(0, 1)


class Time:
    """A clock that only goes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        return self.seconds

    def at(self, due: float, call: Callable[[], None]) -> Alarm:
        alarm = Alarm(call)
        heapq.heappush(self._alarms, (max(due, self.seconds), next(self._numbers), alarm))
        return alarm

    def go(self, seconds: float) -> None:
        until = self.seconds + seconds
        while self._alarms and self._alarms[0][0] <= until:
            self.seconds, _, alarm = heapq.heappop(self._alarms)
            if alarm.call is not None:
                alarm.call()
        self.seconds = until


class Line:
    """Where a stage stands: what came out of it, when, and what it asked for."""

    def __init__(self, kind: str, seed: int = 1, **attributes: int) -> None:
        self.clock = Time()
        self.out: list[tuple[float, Chunk]] = []
        self.asked: list[str] = []
        toxic = Toxic("t", kind, "downstream", 1.0, {**DEFAULTS[kind], **attributes})
        self.stage: Stage = STAGES[kind](toxic, self, self._emit, lambda: Random(seed))

    def _emit(self, chunk: Chunk) -> None:
        self.out.append((self.clock.now(), chunk))

    def moved(self) -> None:
        pass

    def finish(self) -> None:
        self.asked.append("finish")

    def reset(self) -> None:
        self.asked.append("reset")

    def change(self, **attributes: int) -> None:
        old = self.stage.toxic
        merged = {**old.attributes, **attributes}
        self.stage.update(Toxic(old.name, old.type, old.stream, old.toxicity, merged))

    @property
    def data(self) -> bytes:
        return b"".join(chunk for _, chunk in self.out if chunk)

    @property
    def times(self) -> list[float]:
        return [seconds for seconds, _ in self.out]


def distance_from_uniform(values: list[float], low: float, high: float) -> float:
    """Kolmogorov-Smirnov: the largest gap between the values' distribution and the uniform one."""
    count = len(values)
    gaps = []
    for number, value in enumerate(sorted(values)):
        wanted = (value - low) / (high - low)
        gaps.append(max((number + 1) / count - wanted, wanted - number / count))
    return max(gaps)


def toxic(toxicity: float) -> Toxic:
    return Toxic("slow", "latency", "downstream", toxicity, {"latency": 1, "jitter": 0})


@given(st.integers(), st.integers(0), shares, shares)
def test_a_higher_toxicity_hits_every_connection_that_a_lower_one_hits(
    seed: int, connection: int, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    if is_hit(seed, "gateway", toxic(low), connection):
        assert is_hit(seed, "gateway", toxic(high), connection)


@given(st.integers(), st.integers(0))
def test_toxicity_0_hits_no_connection_and_1_hits_all(seed: int, connection: int) -> None:
    assert not is_hit(seed, "gateway", toxic(0), connection)
    assert is_hit(seed, "gateway", toxic(1), connection)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(0.1, 0.9))
def test_the_share_of_hit_connections_is_the_toxicity(seed: int, toxicity: float) -> None:
    hits = [is_hit(seed, "gateway", toxic(toxicity), number) for number in range(1000)]
    assert abs(sum(hits) / 1000 - toxicity) < 0.1  # more than 6 sigma
    assert hits[:9] == [is_hit(seed, "gateway", toxic(toxicity), number) for number in range(9)]


@pytest.mark.parametrize("seed", range(5))
def test_jitter_is_uniform_and_the_same_for_the_same_seed(seed: int) -> None:
    def delays() -> list[float]:
        line = Line("latency", seed, latency=100, jitter=40)
        for _ in range(2000):
            line.stage.feed(b"x")
            line.clock.go(1)
        return [seconds - start for start, seconds in enumerate(line.times)]

    found = delays()
    assert found == delays()
    assert 0.06 <= min(found) <= max(found) < 0.14
    assert distance_from_uniform(found, 0.06, 0.14) < 1.95 / math.sqrt(2000)  # p > 0.001


@given(st.lists(st.tuples(st.floats(0, 0.2), st.binary(min_size=1, max_size=9)), max_size=30))
def test_latency_never_reorders_and_is_never_early(gaps: list[tuple[float, bytes]]) -> None:
    line, received = Line("latency", latency=50, jitter=50), []
    for gap, chunk in gaps:
        line.clock.go(gap)
        received.append(line.clock.now())
        line.stage.feed(chunk)
    line.stage.feed(None)
    line.clock.go(1)
    assert [chunk for _, chunk in line.out] == [*(chunk for _, chunk in gaps), None]
    assert all(out >= start for start, out in zip(received, line.times, strict=False))
    assert line.times == sorted(line.times)
    assert line.stage.held_bytes == 0


def test_an_update_of_latency_plans_what_is_held_anew() -> None:
    line = Line("latency", latency=1000)
    line.stage.feed(b"a")
    line.clock.go(0.5)
    line.change(latency=2000)
    line.clock.go(1.0)
    assert line.out == []
    line.change(latency=100)
    assert line.out == [(1.5, b"a")]


@given(st.integers(1, 2000), st.integers(1, 100_000), st.integers(1, 5))
def test_bandwidth_takes_bytes_over_rate_and_never_runs_ahead(
    rate: int, count: int, chunks: int
) -> None:
    line = Line("bandwidth", rate=rate)
    message = bytes(count)
    for _ in range(chunks):
        line.stage.feed(message)
    line.stage.feed(None)
    line.clock.go(count * chunks / rate)  # a thousand times too long
    assert line.data == message * chunks
    assert line.times[-1] == pytest.approx(count * chunks / (rate * 1000))
    sent = 0
    for seconds, chunk in line.out[:-1]:
        sent += len(chunk or b"")
        assert sent <= seconds * rate * 1000 * 1.0001
        assert len(chunk or b"") <= max(1, rate * 100)


def test_a_new_rate_holds_at_once_and_does_not_make_up_for_the_past() -> None:
    line = Line("bandwidth", rate=0)
    line.stage.feed(bytes(1000))
    line.clock.go(100)
    assert line.out == []
    line.change(rate=1)
    line.clock.go(0.35)
    assert len(line.data) == 300
    line.change(rate=7)
    line.clock.go(0.1001)
    assert len(line.data) == 1000


def test_a_stage_waits_while_what_comes_next_is_full() -> None:
    line = Line("latency", latency=10)
    line.stage.advance(blocked=True)
    line.stage.feed(b"a")
    line.clock.go(1)
    assert line.out == []
    line.stage.advance(blocked=False)
    assert line.data == b"a"


@given(
    st.binary(min_size=1, max_size=3000),
    st.integers(1, 200),
    st.integers(0, 199),
    st.integers(0, 100),
)
def test_slicer_cuts_into_pieces_of_the_allowed_sizes(
    message: bytes, average: int, variation: int, delay: int
) -> None:
    variation = min(variation, average - 1)
    line = Line("slicer", average_size=average, size_variation=variation, delay=delay)
    line.stage.feed(message)
    line.stage.feed(None)
    line.clock.go(1)
    assert line.data == message
    sizes = [len(chunk) for _, chunk in line.out if chunk]
    assert all(0 < size <= average + variation for size in sizes)
    assert line.out[-1][1] is None
    gaps = [after - before for before, after in itertools.pairwise(line.times)]
    assert all(gap >= delay / 1e6 - 1e-9 for gap in gaps)


@pytest.mark.parametrize("kind", ["latency", "bandwidth", "slow_close", "slicer"])
def test_what_is_held_leaves_in_order_when_the_toxic_is_removed(kind: str) -> None:
    values = {
        "latency": {"latency": 9000},
        "bandwidth": {"rate": 1},
        "slow_close": {"delay": 9000},
        "slicer": {"average_size": 10, "delay": 900_000},
    }[kind]
    line = Line(kind, **values)
    for chunk in (bytes(range(200)), bytes(range(100)), None):
        line.stage.feed(chunk)
    line.clock.go(0.15)
    line.stage.flush()
    assert line.data == bytes(range(200)) + bytes(range(100))
    assert line.out[-1][1] is None
    assert line.stage.held_bytes == 0
    count = len(line.out)
    line.clock.go(10_000)
    assert len(line.out) == count


def test_a_timeout_closes_after_silence_and_lets_the_end_of_file_pass() -> None:
    line = Line("timeout", timeout=300)
    for _ in range(10):
        line.clock.go(0.2)
        line.stage.feed(b"x")
    assert (line.out, line.asked) == ([], [])
    line.clock.go(0.31)
    assert (line.data, line.asked) == (b"", ["finish"])
    never = Line("timeout", timeout=0)
    never.clock.go(1e6)
    assert never.out == []
    never.stage.feed(None)
    assert (never.out, never.asked) == ([(1e6, None)], [])


def test_reset_peer_counts_from_the_first_byte_and_spares_the_idle() -> None:
    line = Line("reset_peer", timeout=500)
    line.clock.go(10)
    line.stage.feed(b"x")
    line.clock.go(0.4)
    line.stage.feed(b"y")
    assert line.asked == []
    line.clock.go(0.11)
    assert (line.asked, line.data) == (["reset"], b"")
    idle = Line("reset_peer", timeout=0)
    idle.stage.flush()
    assert idle.asked == []


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(-1, 100))
def test_limit_data_lets_exactly_its_bytes_through(chunks: list[bytes], limit: int) -> None:
    line = Line("limit_data", bytes=limit)
    chunks = [chunk for chunk in chunks if chunk]
    for chunk in chunks:
        line.stage.feed(chunk)
    whole = b"".join(chunks)
    assert line.data == whole[: max(0, limit)]
    over = bool(chunks) and len(whole) >= limit
    assert line.asked == (["finish"] if over else [])
    assert [chunk for _, chunk in line.out].count(None) == over


@given(st.sampled_from(sorted(DEFAULTS)), st.integers(-(2**63), 2**63 - 1))
def test_no_value_that_is_allowed_breaks_a_stage(kind: str, value: int) -> None:
    attributes = dict.fromkeys(DEFAULTS[kind], value)
    if kind == "slicer":
        attributes["size_variation"] = 0
    if objection(kind, attributes):
        return
    line = Line(kind, **attributes)
    line.stage.feed(bytes(100))
    line.clock.go(1)
    line.stage.feed(None)
    line.clock.go(1)
    line.stage.flush()
    assert bytes(100).startswith(line.data)
