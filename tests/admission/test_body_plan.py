"""The body of a refused request: what its headers plan, and what is read of it (S22)."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchday.admission.asgi import Message, Receive, Scope
from launchday.admission.uploads import BodyPlan, discard_body, plan_body, refuse_upload

KIB, MIB = 1024, 1024 * 1024
LARGE = 20_000_000


def scope_of(*headers: tuple[bytes, bytes], http_version: str = "1.1") -> Scope:
    usual = [(b"host", b"test"), (b"accept", b"*/*")]
    return {
        "type": "http",
        "method": "POST",
        "http_version": http_version,
        "headers": [*usual, *headers],
    }


def length(value: object) -> tuple[bytes, bytes]:
    return b"content-length", str(value).encode()


CHUNKED = (b"transfer-encoding", b"chunked")
EXPECT = (b"expect", b"100-Continue")
NEVER_READ, LINGER = BodyPlan(True, 0), BodyPlan(True, 256 * KIB)


@pytest.mark.parametrize(
    ("headers", "plan"),
    [
        ([], None),
        ([length(0)], None),
        ([EXPECT], None),
        ([EXPECT, length(0)], None),
        ([length(1)], BodyPlan(False, 1)),
        ([length(MIB)], BodyPlan(False, MIB)),
        ([(b"expect", b"nothing"), length(9)], BodyPlan(False, 9)),
        ([length(MIB + 1)], LINGER),
        ([CHUNKED], LINGER),
        ([EXPECT, length(9)], NEVER_READ),
        ([length(LARGE), EXPECT], NEVER_READ),
        ([CHUNKED, EXPECT], NEVER_READ),
    ],
)
def test_the_plan_follows_the_length_and_the_expectation(
    headers: list[tuple[bytes, bytes]], plan: BodyPlan | None
) -> None:
    assert plan_body(scope_of(*headers)) == plan


@pytest.mark.parametrize(
    "headers",
    [
        [length(-1)],
        [length("1e9")],
        [length("")],
        [length("5, 5")],
        [length("+5")],
        [length("9" * 5000)],
        [length("0" * 100_000)],
        [(b"content-length", "٣".encode())],
        [(b"content-length", b"\xff\x00")],
        [length(5), length(6)],
        [length(5), length(5)],
        [length(5), CHUNKED],
    ],
)
def test_a_length_that_is_none_counts_as_unknown(headers: list[tuple[bytes, bytes]]) -> None:
    assert plan_body(scope_of(*headers)) == LINGER


@pytest.mark.parametrize("http_version", ["2", "3"])
def test_a_stream_of_http_2_ends_without_its_connection(http_version: str) -> None:
    assert plan_body(scope_of(length(LARGE), EXPECT, http_version=http_version)) is None


NAMES = st.sampled_from([b"content-length", b"transfer-encoding", b"expect", b"host"])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=30) | st.integers().map(lambda n: b"%d" % n))))
def test_no_header_makes_planning_raise_or_read_more_than_a_mebibyte(
    headers: list[tuple[bytes, bytes]],
) -> None:
    plan = plan_body(scope_of(*headers))
    assert plan is None or 0 <= plan.read_bytes <= MIB


def bodies(*messages: Message | None) -> Receive:
    """A server that hands out `messages`, waiting in vain where it says None and at their end."""
    pending = list(messages)

    async def receive() -> Message:
        message = pending.pop(0) if pending else None
        await asyncio.sleep(3600 if message is None else 0)
        assert message is not None
        return message

    return receive


def piece(size: int, *, more: bool = True) -> Message:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


async def test_discarding_says_whether_the_body_ended() -> None:
    plan = BodyPlan(False, 10)
    ended = await discard_body(bodies(piece(4), piece(6), piece(0, more=False)), plan)
    stuck = await discard_body(bodies(piece(4)), plan, seconds=0.01)
    left = await discard_body(bodies(piece(4), {"type": "http.disconnect"}), plan)
    exceeded = await discard_body(bodies(piece(4), piece(7), piece(1)), plan)
    assert ended == (10, True, False)
    assert stuck == (4, False, False)
    assert left == (4, False, True)
    assert exceeded == (11, False, False)


async def test_a_time_limit_leaves_no_cancellation_behind() -> None:
    await discard_body(bodies(), LINGER, seconds=0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


@pytest.mark.parametrize("seconds", [3600, 0], ids=["in time", "as time is up"])
async def test_a_cancellation_from_outside_is_not_swallowed(seconds: float) -> None:
    discarding = asyncio.create_task(discard_body(bodies(), LINGER, seconds=seconds))
    await asyncio.sleep(0)
    discarding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await discarding


async def test_enough_is_read_and_then_the_client_has_time_to_see_the_answer() -> None:
    sent: list[tuple[float, Message]] = []
    read = 0

    async def endless() -> Message:
        nonlocal read
        read += 64 * KIB
        return piece(64 * KIB)

    async def send(message: Message) -> None:
        sent.append((time.monotonic(), message))

    start = {"type": "http.response.start", "status": 503, "headers": []}
    discarded = await refuse_upload(LINGER, endless, send, start, b"no", seconds=0.05)
    (_, first), (answered_at, whole), (closed_at, last) = sent
    assert first["headers"] == [(b"connection", b"close")]
    assert (whole["body"], whole["more_body"]) == (b"no", True)
    assert last == {"type": "http.response.body", "body": b""}
    assert discarded.byte_count == read == 320 * KIB
    assert closed_at - answered_at > 0.04


async def refused(plan: BodyPlan, receive: Receive, seconds: float) -> tuple[int, list[Message]]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    start = {"type": "http.response.start", "status": 503, "headers": []}
    async with asyncio.timeout(20):
        discarded = await refuse_upload(plan, receive, send, start, b"no", seconds=seconds)
    return discarded.byte_count, sent


async def test_a_body_that_must_not_be_read_is_not_waited_for_either() -> None:
    async def never() -> Message:
        raise AssertionError("this would ask the client for its body")

    assert await discard_body(never, NEVER_READ) == (0, False, False)
    _, sent = await refused(NEVER_READ, never, seconds=3600)
    assert sent[-1] == {"type": "http.response.body", "body": b""}


async def test_nobody_is_answered_after_leaving() -> None:
    gone: Message = {"type": "http.disconnect"}
    assert await refused(BodyPlan(False, 10), bodies(piece(4), gone), 3600) == (4, [])
    byte_count, sent = await refused(LINGER, bodies(piece(4), gone), 3600)
    assert (byte_count, len(sent)) == (4, 2), "the answer, and no end of it"


async def test_a_body_that_comes_too_late_loses_its_connection_after_a_second_chance() -> None:
    late = bodies(piece(4), None, piece(3), None)
    byte_count, sent = await refused(BodyPlan(False, 10), late, 0.01)
    assert byte_count == 7
    assert sent[0]["headers"] == [(b"connection", b"close")]
    assert [message.get("more_body", False) for message in sent] == [False, True, False]
