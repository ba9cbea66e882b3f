"""S23: clients that leave at any moment cost nobody a slot, and what waited for them never runs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import launchday
from launchday.admission import QueueRules
from tests.admission.abort_fuzz import Fuzz
from tests.admission.flood import Shed, answer

PACKAGE = Path(launchday.__file__).parent
REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("count", "seed"), [(15_000, 23), pytest.param(200_000, 24, marks=pytest.mark.slow)]
)
async def test_s23_cancels_at_any_await_leave_nothing_and_are_conserved_to_the_unit(
    count: int, seed: int
) -> None:
    found = await Fuzz(seed).run(count)
    assert found["cancelled"] > count / 2
    assert set(found["left"].values()) == {0}, found
    outcomes = found["outcomes"]
    assert min(outcomes[kind] for kind in ("admitted", "rejected", "cancelled")) > count / 100


def fuzzed(source: Path) -> dict[str, Any]:
    """Run the fuzz in a process that finds launchday in `source`."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.admission.abort_fuzz", "--count", "5000"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == any(found["left"].values())
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "releasing", "number"),
    [
        ("middleware.py", "finally:", 0),
        ("middleware.py", "finally:", 1),
        ("edges.py", "finally:", 0),
        ("edges.py", "except (ClientLeft, asyncio.CancelledError) as left:", 0),
        ("limiter.py", "except BaseException:", 0),
    ],
)
def test_s23_without_one_of_its_clean_ups_the_middleware_does_not_survive_the_fuzz(
    tmp_path: Path, file: str, releasing: str, number: int
) -> None:
    shutil.copytree(PACKAGE, tmp_path / "launchday")
    assert set(fuzzed(tmp_path)["left"].values()) == {0}, "the copy as it is"
    mutant = tmp_path / "launchday" / "admission" / file
    parts = mutant.read_text().split(releasing)
    assert len(parts) > number + 1
    head, tail = releasing.join(parts[: number + 1]), releasing.join(parts[number + 1 :])
    kept = " as left:" if releasing.endswith("as left:") else ":"
    mutant.write_text(f"{head}except Exception{kept}{tail}")
    left = fuzzed(tmp_path)["left"]
    assert any(left.values())


def test_s23_every_clean_up_of_the_middleware_has_its_mutant() -> None:
    """A new one needs a row in the table of the test above."""
    files = {
        name: (PACKAGE / "admission" / name).read_text() for name in ("middleware.py", "edges.py")
    }
    assert {name: text.count("finally:") for name, text in files.items()} == {
        "middleware.py": 2,
        "edges.py": 1,
    }


REQUESTS = [
    ("GET", (), b""),
    ("POST", (), b"precious"),
    ("POST", ("transfer-encoding: chunked",), b""),
]


@pytest.mark.parametrize(("method", "headers", "body"), REQUESTS)
async def test_s23_half_of_the_queue_leaves_and_none_of_them_is_served(
    serve: Any, connect: Any, until: Any, method: str, headers: tuple[str, ...], body: bytes
) -> None:
    opened = asyncio.Event()
    handled: Counter[str] = Counter()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        handled[scope["path"]] += 1
        await opened.wait()
        await answer(send, 200)

    # The deadlines of the queue are not what is tested here.
    shed = Shed(app, limit=1, queue=QueueRules(length=40, timeout_seconds=60), loop_lag=False)
    async with serve(shed.app) as port:
        holder = await connect(port)
        holder.send("GET /holder")
        await until(lambda: handled)
        clients = [await connect(port) for _ in range(40)]
        for number, client in enumerate(clients):
            client.send(f"{method} /{number}", *headers, body=body)
            if headers:
                client.writer.write(b"1\r\nx\r\n0\r\n\r\n")
            await until(lambda number=number: shed.limiter.queued == number + 1)
        for client in clients[::2]:
            client.writer.transport.abort()
        # What the server has heard it does not tell until it is asked.
        await asyncio.sleep(0.2)
        opened.set()
        for client in (holder, *clients[1::2]):
            assert (await client.answer())[0] == 200
        await until(lambda: shed.limiter.inflight == shed.limiter.queued == 0)
    assert handled == Counter({"/holder": 1, **{f"/{n}": 1 for n in range(1, 40, 2)}})
    assert shed.outcomes() == {"admitted": 21, "rejected": 0, "exempt": 0, "cancelled": 20}
    shed.assert_nothing_is_left(41)
