"""S23: clients that leave at any moment. In process: `python -m tests.admission.abort_fuzz`.

Every request is cancelled after so many turns of the event loop that it is hit before it starts,
while it waits, while it runs and while it sends; some leave as servers tell it, by a disconnect
or by an error of `send`. Prints one JSON object with what is left; all of it must be 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from random import Random
from typing import Any

from launchday.admission import QueueRules
from tests.admission.flood import Shed, answer

LIMIT = 4
AT_ONCE = 16
LATEST_TURN = 12
HEADERS = [[], [(b"content-length", b"5")], [(b"transfer-encoding", b"chunked")]]


class Fuzz:
    """One seeded run; `handled_after_leaving` counts handlers that ran for nobody."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.offered = self.cancelled = self.handled_after_leaving = self.websockets = 0
        self.shed = Shed(
            self.app, limit=LIMIT, queue=QueueRules(length=8, timeout_seconds=0.005), websockets=2
        )

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Take a few turns, and answer in pieces; some raise."""
        client = scope["state"]
        client.entered = True
        self.handled_after_leaving += client.left
        if scope["type"] == "websocket":
            await turns(client.turns)
            return
        await turns(client.turns // 3)
        if client.raises:
            raise ZeroDivisionError
        if client.turns % 2:
            await answer(send, 200)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(2):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        await turns(1)

    async def one(self) -> None:
        client = Client(self.random)
        task = asyncio.create_task(self.shed.app(client.scope(), client.receive, client.send))
        await turns(self.random.randrange(LATEST_TURN))
        if client.waits and self.random.random() < 0.5:
            # As servers do it: nobody cancels its request, it is still there when its turn comes.
            client.left = True
        else:
            self.cancelled += task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        # Before it took a single turn, nobody was asked anything.
        self.websockets += client.kind == "websocket"
        self.offered += client.kind == "http" and client.asked

    async def run(self, count: int) -> dict[str, Any]:
        """Send and cancel `count` requests; return what is left."""

        async def several() -> None:
            for _ in range(count // AT_ONCE):
                await self.one()

        await asyncio.gather(*(several() for _ in range(AT_ONCE)))
        outcomes = self.shed.outcomes()
        limiter, app = self.shed.limiter, self.shed.app
        left = {
            "inflight": limiter.inflight,
            "counted_inflight": self.shed.inflight(),
            "queued": limiter.queued,
            "counted_queued": self.shed.queued(),
            "streams": app.streams.open,
            "websockets": app.websockets.open,
            "slot_leaks": limiter.slot_leaks,
            "failures": app.failures,
            "unaccounted": self.offered - sum(outcomes.values()),
            "handled_after_leaving": self.handled_after_leaving,
        }
        return {"left": left, "cancelled": self.cancelled, "outcomes": outcomes}


class Client:
    """One request as a server sees it: `receive` and `send` take turns, and know when it left."""

    def __init__(self, random: Random) -> None:
        self.kind = random.choices(["http", "websocket"], [9, 1])[0]
        self.turns = random.randrange(LATEST_TURN)
        self.raises = random.random() < 0.1
        self.breaks = random.random() < 0.1
        self.headers = random.choice(HEADERS)
        self.asked = self.entered = self.answered = self.left = False

    @property
    def waits(self) -> bool:
        """Whether the middleware knows of it, and neither let it in nor answered it yet."""
        return self.asked and not (self.entered or self.answered)

    def scope(self) -> Any:
        return _Asked(
            self,
            type=self.kind, method="GET", path="/", headers=self.headers, state=self,
            http_version="1.1", extensions={"websocket.http.response": {}},
        )  # fmt: skip

    async def receive(self) -> Any:
        await turns(1)
        if self.left:
            return {"type": f"{self.kind}.disconnect"}
        if self.kind == "websocket":
            return {"type": "websocket.connect"}
        return {"type": "http.request", "body": b"hello", "more_body": False}

    async def send(self, message: Any) -> None:
        self.answered = True
        await turns(1)
        if self.breaks:
            raise ConnectionResetError


class _Asked(dict[str, Any]):
    """A scope that tells its client when the middleware has looked at it."""

    def __init__(self, client: Client, **values: Any) -> None:
        super().__init__(values)
        self._client = client

    def __getitem__(self, key: str) -> Any:
        self._client.asked = True
        return super().__getitem__(key)


async def turns(count: int) -> None:
    """Let the event loop take so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 0 when nothing is left, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="requests (%(default)s)")
    parser.add_argument("--seed", type=int, default=23, help="(%(default)s)")
    options = parser.parse_args(arguments)
    found = asyncio.run(Fuzz(options.seed).run(options.count))
    sys.stdout.write(json.dumps(found) + "\n")
    return int(any(found["left"].values()))


if __name__ == "__main__":
    sys.exit(main())
