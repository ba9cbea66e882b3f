"""examples/: each is started as its first lines say, and does what they promise."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.request import urlopen

from tests.admission.conftest import Client, until
from tests.ports import free_port
from tests.shop import TOKEN, shop

CROWD = 120


async def connect(port: int) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", port))


async def ask_again_and_again(
    client: Client, request_line: str, seen: list[tuple[int, dict[str, str]]]
) -> None:
    """Ask, and whatever comes, ask again a moment later: a client that obeys no Retry-After."""
    while True:
        status, headers, _ = await client.ask(request_line)
        seen.append((status, headers))
        await asyncio.sleep(0.03)


async def refusing_state(client: Client) -> dict[str, Any]:
    """What the admin is told while suggestions are refused; the share is of a moment."""
    for _ in range(200):
        status, _, body = await client.ask("GET /debug/shed", f"authorization: Bearer {TOKEN}")
        assert status == 200
        state: dict[str, Any] = json.loads(body)
        if state["classes"]["sheddable"]["refused_share"] > 0:
            break
        await asyncio.sleep(0.05)
    return state


def share(seen: list[tuple[int, dict[str, str]]], is_counted: Callable[[int], bool]) -> float:
    return sum(is_counted(status) for status, _ in seen) / len(seen)


async def test_the_shop_refuses_suggestions_and_takes_orders_in_a_crowd() -> None:
    """S7 in small: under overload the high class gets 200, the low one 503 with a Retry-After."""
    metrics_port = free_port()
    crowd: list[tuple[int, dict[str, str]]] = []
    orders: list[tuple[int, dict[str, str]]] = []
    async with shop(metrics_port) as port:
        clients = [await connect(port) for _ in range(CROWD + 4)]
        asking = [
            asyncio.create_task(ask_again_and_again(client, "GET /v1/suggestions", crowd))
            for client in clients[4:]
        ]
        asking += [
            asyncio.create_task(ask_again_and_again(client, "POST /v1/orders", orders))
            for client in clients[1:4]
        ]
        await until(lambda: sum(status == 503 for status, _ in crowd) >= 500 and len(orders) >= 50)

        state = await refusing_state(clients[0])
        for task in asking:
            task.cancel()
        results = await asyncio.gather(*asking, return_exceptions=True)
        metrics = await asyncio.to_thread(metrics_of, metrics_port)
        for client in clients:
            client.close()
    assert all(isinstance(result, asyncio.CancelledError) for result in results), results
    assert state["limit"] == 24
    assert state["classes"]["sheddable"]["refused_share"] > 0
    assert {status for status, _ in crowd} == {200, 503}
    assert all(1 <= int(h["retry-after"]) <= 30 for status, h in crowd if status == 503)
    assert share(orders, lambda status: status == 200) >= 0.95
    assert share(crowd, lambda status: status == 200) < 0.8
    refused = re.search(
        r'^shed_requests_total\{class="sheddable",outcome="rejected"\} (\S+)', metrics, re.M
    )
    assert refused is not None
    assert float(refused[1]) >= 500


def metrics_of(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text: str = answer.read().decode()
        return text
