"""S26 and S27 on the wire: a drain under load, and faults in front of and behind the service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from launchday.chaos.toxiproxy import Toxiproxy
from tests.admission.flood import (
    Answered,
    Ask,
    Crowd,
    Shed,
    Slots,
    between,
    percentile,
    share,
    statuses,
)
from tests.chaos.support import embedded, real, real_server

DEPENDENCY_TIMEOUT_SECONDS = 0.5
CLIENT_TIMEOUT_SECONDS = 1.0
RECOVERY_SECONDS = 2.5
# So many that a narrow or a slicing link takes a third of a second for them.
ANSWER_BYTES = 600


async def test_s26_a_drain_at_twice_the_capacity_loses_nothing_that_was_admitted(
    serve: Any,
) -> None:
    app = Slots(10, 0.2)
    shed = Shed(app, pool=10, loop_lag=False)
    async with serve(shed.app, timeout_graceful_shutdown=10) as port:
        crowd = Crowd(port)
        flood = asyncio.create_task(crowd.flood(100, 1.5))
        await asyncio.sleep(1)
        assert shed.limiter.inflight > 0
    answers = await flood
    await crowd.__aexit__()
    counts = statuses(answers)
    assert counts[200] == app.finished == shed.outcomes()["admitted"]
    # Whom the closed listener turned away nobody had admitted.
    assert counts[503] == shed.outcomes()["rejected"]
    assert counts[0] > 0
    assert (shed.limiter.inflight, shed.limiter.queued) == (0, 0)


class Toxic(NamedTuple):
    """A fault on one link; `down` closes the link instead."""

    name: str
    kind: str
    attributes: dict[str, int]


DOWN = Toxic("down", "down", {})
EMBEDDED = [
    DOWN,
    Toxic("latency and jitter", "latency", {"latency": 150, "jitter": 50}),
    Toxic("black hole", "timeout", {"timeout": 0}),
]
REAL = [
    *EMBEDDED,
    Toxic("bandwidth", "bandwidth", {"rate": 2}),
    Toxic("slicer", "slicer", {"average_size": 8, "size_variation": 4, "delay": 5000}),
    Toxic("reset", "reset_peer", {"timeout": 20}),
]
SERVERS = [("embedded", toxic) for toxic in EMBEDDED] + [("real", toxic) for toxic in REAL]


class Calling(Slots):
    """Holds a slot while it asks a dependency over the wire, for half a second at most."""

    address = ("127.0.0.1", 0)

    async def work(self, path: str) -> int:
        try:
            async with asyncio.timeout(DEPENDENCY_TIMEOUT_SECONDS), self._free:
                reader, writer = await asyncio.open_connection(*self.address)
                try:
                    await reader.readexactly(ANSWER_BYTES)
                finally:
                    writer.close()
        except TimeoutError:
            return 504
        except (EOFError, OSError):
            return 503
        return 200

    async def dependency(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.seconds)
        writer.write(bytes(ANSWER_BYTES))
        writer.close()


@pytest.fixture(scope="module")
def toxiproxies() -> Iterator[dict[str, Toxiproxy]]:
    with ExitStack() as stack:
        urls = {"embedded": stack.enter_context(embedded())}
        if path := real_server():
            urls["real"] = stack.enter_context(real(path))
        found = {kind: Toxiproxy(url) for kind, url in urls.items()}
        yield found
        for toxiproxy in found.values():
            toxiproxy.close()


async def broken(toxiproxy: Toxiproxy, link: str, toxic: Toxic, seconds: float) -> None:
    """Break the link for a while, without blocking the event loop."""

    def switch(on: bool) -> None:
        if toxic.kind == "down":
            toxiproxy.set_enabled(link, not on)
        elif on:
            toxiproxy.add_toxic(link, "fault", toxic.kind, "downstream", 1.0, toxic.attributes)
        else:
            toxiproxy.remove_toxic(link, "fault")

    await asyncio.to_thread(switch, True)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(switch, False)


@pytest.mark.slow
@pytest.mark.alone
# In front below the capacity, behind above it: all four together take as long as all other tests.
@pytest.mark.parametrize(("link", "load"), [("client", 0.8), ("dependency", 2.0)])
@pytest.mark.parametrize(
    ("kind", "toxic"), [pytest.param(*one, id=f"{one[0]}-{one[1].name}") for one in SERVERS]
)
async def test_s27_a_fault_in_front_or_behind_leaks_nothing_and_is_over_when_it_ends(
    serve: Any,
    until: Any,
    toxiproxies: dict[str, Toxiproxy],
    kind: str,
    toxic: Toxic,
    link: str,
    load: float,
) -> None:
    if kind not in toxiproxies:
        pytest.skip("no toxiproxy-server on PATH or in $TOXIPROXY_SERVER")
    toxiproxy = toxiproxies[kind]
    app = Calling(10, 0.1)
    app.body = bytes(ANSWER_BYTES)
    shed = Shed(app, pool=10, loop_lag=False)
    server = await asyncio.start_server(app.dependency, "127.0.0.1", 0)
    backend = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, serve(shed.app) as port:
        upstreams = {"client": f"127.0.0.1:{port}", "dependency": backend}
        links = [
            await asyncio.to_thread(toxiproxy.create_proxy, name, "127.0.0.1:0", upstream)
            for name, upstream in upstreams.items()
        ]
        ports = [int(one.listen.rpartition(":")[2]) for one in links]
        app.address = ("127.0.0.1", ports[1])
        try:
            answers, ended_at = await flooded(toxiproxy, link, toxic, ports[0], load * 100)
        finally:
            for name in upstreams:
                await asyncio.to_thread(toxiproxy.delete_proxy, name)
        await until(lambda: shed.limiter.inflight == shed.limiter.queued == app.inflight == 0)
    assert statuses(answers).keys() <= {0, 200, 503, 504}
    if link == "dependency":
        assert statuses(answers)[0] == 0, "what breaks behind the service is answered in front"
    before, during = between(answers, 0.3, 1), between(answers, 1.2, ended_at)
    after = between(answers, ended_at + RECOVERY_SECONDS)
    if load < 1:
        # In overload a fault hides behind the refusals: there it is enough that it ends.
        assert share(during) < 0.5 * share(before) or slower(during, before), "it was there"
    assert share(after) >= 0.9 * share(before)
    assert app.peak <= 12
    assert shed.outcomes()["admitted"] == sum(app.paths.values())
    assert shed.value("shed_slot_leaks_total") == 0


def slower(these: list[Answered], those: list[Answered]) -> bool:
    return percentile(these, 0.1) > 1.5 * percentile(those, 0.1)


async def flooded(
    toxiproxy: Toxiproxy, link: str, toxic: Toxic, port: int, rate_rps: float
) -> tuple[list[Answered], float]:
    """Flood from a second before a fault to some time after it; also return when it ended."""
    async with Crowd(port, timeout_seconds=CLIENT_TIMEOUT_SECONDS) as crowd:
        flood = asyncio.create_task(crowd.flood(rate_rps, 2.5 + RECOVERY_SECONDS + 2, Ask()))
        await asyncio.sleep(1)
        await broken(toxiproxy, link, toxic, 1.5)
        return await flood, 2.5
