"""No byte lost, changed or reordered while toxics come, change and go on live connections."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.chaos.integrity import Outcome, fuzz
from tests.chaos.support import DEADLINE_SECONDS, process, wait_for
from tests.chaos.wire import Api, embedded_after, first_line

# uvloop is used where it is; plain asyncio must do the same.
LOOPS = {
    "default": "",
    "asyncio": "sys.modules['uvloop'] = None; ",
}


@pytest.fixture(scope="module")
def echo_port() -> Iterator[str]:
    with process(sys.executable, "-m", "tests.chaos.integrity") as started:
        yield f"127.0.0.1:{first_line(started)}"


def run(
    loop: str, upstream: str, *, connections: int, mean_bytes: int, lossy: bool, seed: int
) -> Outcome:
    """Fuzz a server of its own; it must end without a word and without a connection left."""
    with embedded_after(LOOPS[loop]) as (started, url):
        api = Api(url, "embedded")
        name, listen = api.proxy(upstream)
        outcome = asyncio.run(
            fuzz(
                url,
                name,
                listen,
                connections=connections,
                mean_bytes=mean_bytes,
                lossy=lossy,
                seed=seed,
            )
        )
        api.http.post("/reset")
        assert wait_for(lambda: live_connections(api) == 0), f"{live_connections(api)} are left"
        api.close()
        assert stopped(started) == (0, b"")
    return outcome


def live_connections(api: Api) -> float:
    """What the gauge says of the only proxy."""
    gauge = r"^toxiproxy_proxy_connections\{.*\} (.+)$"
    found = re.search(gauge, api.http.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def stopped(started: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """Exit code and stderr of a server after SIGTERM."""
    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=DEADLINE_SECONDS)
    return started.returncode, said


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("lossy", [False, True], ids=["lossless", "lossy"])
def test_every_byte_is_right_while_toxics_change(loop: str, lossy: bool, echo_port: str) -> None:
    outcome = run(loop, echo_port, connections=150, mean_bytes=60_000, lossy=lossy, seed=3)
    assert outcome.wrong == []
    assert outcome.connections >= 150
    assert outcome.changes >= 20
    assert (outcome.short > 0) is lossy


@pytest.mark.slow
def test_5000_connections_and_a_gigabyte_without_a_wrong_byte(echo_port: str) -> None:
    total = Outcome()
    for seed, connections, lossy in ((11, 2400, False), (12, 2400, False), (13, 400, True)):
        outcome = run(
            "default",
            echo_port,
            connections=connections,
            mean_bytes=120_000,
            lossy=lossy,
            seed=seed,
        )
        assert outcome.wrong == []
        total.connections += outcome.connections
        total.relayed_bytes += outcome.relayed_bytes
        total.changes += outcome.changes
        slowest = max(total.slowest_change_seconds, outcome.slowest_change_seconds)
        total.slowest_change_seconds = slowest
    sys.stdout.write(f"{total}\n")
    assert total.connections >= 5000
    assert total.relayed_bytes >= 1_000_000_000
    assert total.changes > 500
