"""Clients that check every byte through a proxy whose toxics change, and the echo behind it."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

AT_ONCE = 48
LEAST_CHANGES = 20
# Every message is a slice of this, so that making one costs nothing.
BLOCK = random.Random(1).randbytes(4 * 1024 * 1024)
LOSSLESS: dict[str, Callable[[random.Random], dict[str, int]]] = {
    "latency": lambda dice: {"latency": dice.randrange(20), "jitter": dice.randrange(20)},
    "bandwidth": lambda dice: {"rate": dice.choice((2_000, 20_000, 200_000))},
    "slicer": lambda dice: {
        "average_size": dice.choice((4096, 20_000)),
        "size_variation": dice.randrange(4000),
        "delay": dice.randrange(100),
    },
    "slow_close": lambda dice: {"delay": dice.randrange(30)},
    "noop": lambda dice: {},
}
LOSSY: dict[str, Callable[[random.Random], dict[str, int]]] = {
    "timeout": lambda dice: {"timeout": dice.randrange(1, 30)},
    "reset_peer": lambda dice: {"timeout": dice.randrange(30)},
    "limit_data": lambda dice: {"bytes": dice.randrange(100_000)},
    "latency": LOSSLESS["latency"],
}


@dataclass
class Outcome:
    """What all connections saw. `relayed_bytes`: what came back right, there and back."""

    connections: int = 0
    relayed_bytes: int = 0
    wrong: list[str] = field(default_factory=list)
    short: int = 0
    changes: int = 0
    slowest_change_seconds: float = 0.0


async def talk(listen: str, number: int, mean_bytes: int, lossy: bool, outcome: Outcome) -> None:
    """Send a message in pieces, say that it ends, and check what comes back."""
    dice = random.Random(number)
    size = min(len(BLOCK) // 2, int(dice.expovariate(1 / mean_bytes)) + 1)
    start = dice.randrange(len(BLOCK) - size)
    host, _, port = listen.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 18)
    sender = asyncio.create_task(_send(writer, dice, start, size))
    came, right = 0, True
    with suppress(OSError):
        while chunk := await reader.read(1 << 18):
            right = right and chunk == BLOCK[start + came : start + came + len(chunk)]
            came += len(chunk)
    sender.cancel()
    writer.transport.abort()
    with suppress(OSError, asyncio.CancelledError):
        await sender
    outcome.connections += 1
    outcome.relayed_bytes += 2 * came if right else 0
    outcome.short += came < size
    if not right or came > size or (came < size and not lossy):
        outcome.wrong.append(f"connection {number}: {came} of {size} bytes, right: {right}")


async def _send(writer: asyncio.StreamWriter, dice: random.Random, start: int, size: int) -> None:
    sent = 0
    with suppress(OSError):
        while sent < size:
            piece = min(size - sent, dice.choice((1, 100, 10_000, 200_000)))
            writer.write(BLOCK[start + sent : start + sent + piece])
            sent += piece
            await writer.drain()
            if dice.random() < 0.3:
                await asyncio.sleep(dice.random() * 0.02)
        writer.write_eof()


def disturb(
    url: str, link: str, lossy: bool, outcome: Outcome, seed: int, over: threading.Event
) -> None:
    """Add, change and remove toxics until it is over."""
    dice, kinds = random.Random(seed), LOSSY if lossy else LOSSLESS
    with httpx.Client(base_url=url, trust_env=False, timeout=60, verify=False) as http:
        while not over.wait(dice.random() * 0.01):
            began = time.monotonic()
            _change(http, link, kinds, dice)
            took = time.monotonic() - began
            outcome.slowest_change_seconds = max(outcome.slowest_change_seconds, took)
            outcome.changes += 1


def _change(http: httpx.Client, link: str, kinds: dict[str, Any], dice: random.Random) -> None:
    kind = dice.choice(list(kinds))
    path = f"/proxies/{link}/toxics"
    name = f"{kind}{dice.randrange(2)}"
    toxicity, attributes = dice.choice((1.0, 0.5, 0.2)), kinds[kind](dice)
    body = {"type": kind, "name": name, "toxicity": toxicity, "attributes": attributes}
    body["stream"] = dice.choice(("upstream", "downstream"))
    answer = http.post(path, json=body)
    if answer.status_code == 409:
        if dice.random() < 0.4:
            answer = http.patch(f"{path}/{name}", json=body)
        else:
            answer = http.delete(f"{path}/{name}")
    assert answer.status_code in (200, 204), answer.text


async def fuzz(
    url: str, link: str, listen: str, *, connections: int, mean_bytes: int, lossy: bool, seed: int
) -> Outcome:
    """Run so many connections, some at a time, while toxics change; more, until enough did."""
    outcome, gate = Outcome(), asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with gate:
            await talk(listen, seed * 1_000_000 + number, mean_bytes, lossy, outcome)

    over = threading.Event()
    disturber = asyncio.create_task(
        asyncio.to_thread(disturb, url, link, lossy, outcome, seed, over)
    )
    try:
        await asyncio.gather(*(one(number) for number in range(connections)))
        while outcome.changes < LEAST_CHANGES and not disturber.done():
            await asyncio.gather(*(one(outcome.connections) for _ in range(10)))
    finally:
        over.set()
        await disturber
    return outcome


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)

    def eof_received(self) -> None:
        pass  # the transport closes behind what was written

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()


async def _echo() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Echo, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(_echo())
