"""Clients that note in a ledger what they were told."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass
from typing import Any

import httpx

from launchday.load.ledger_book import LedgerBook
from launchday.outcomes import Outcome, outcome_of

OBJECTIVE_SECONDS = 1.0


@dataclass(frozen=True)
class Answer:
    """What one request was told; `status` 0 is no answer. Times in seconds of this process."""

    route: str
    status: int
    body: dict[str, Any]
    headers: httpx.Headers
    began_seconds: float
    seconds: float


class Clients:
    """Many phones that share a pool of connections. Every request with a key goes into `book`."""

    def __init__(self, url: str, book: LedgerBook, patience_seconds: float) -> None:
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
        self._http = httpx.AsyncClient(
            base_url=url, timeout=patience_seconds, trust_env=False, limits=limits
        )
        self._book = book
        self._numbers = itertools.count()

    def new_key(self) -> str:
        """Return a key that nobody used."""
        return f"key-{next(self._numbers):07d}"

    async def ask(
        self, route: str, method: str, path: str, headers: dict[str, str], key: str | None = None
    ) -> Answer:
        """Send one request; a client that gets no answer is an answer with the status 0."""
        sent = headers | ({"idempotency-key": key} if key else {})
        began = time.monotonic()
        try:
            response = await self._http.request(method, path, headers=sent)
        except httpx.TimeoutException:
            return self._noted(route, key, Outcome.TIMEOUT, None, began)
        except httpx.TransportError:
            return self._noted(route, key, Outcome.CONNECTION, None, began)
        outcome = outcome_of(
            response.status_code,
            latency_seconds=time.monotonic() - began,
            objective_seconds=OBJECTIVE_SECONDS,
            reason=response.json().get("reason") if response.status_code == 503 else None,
        )
        return self._noted(route, key, outcome, response, began)

    def _noted(
        self,
        route: str,
        key: str | None,
        outcome: Outcome,
        response: httpx.Response | None,
        began: float,
    ) -> Answer:
        seconds = time.monotonic() - began
        if response is None:
            answer = Answer(route, 0, {}, httpx.Headers(), began, seconds)
        else:
            status, headers = response.status_code, response.headers
            answer = Answer(route, status, response.json(), headers, began, seconds)
        if key:
            told = answer.body if 200 <= answer.status < 300 else None
            self._book.note(key, route, outcome, answer.status, told)
        return answer

    async def insist(self, route: str, path: str, headers: dict[str, str], key: str) -> Answer:
        """Post the same key again and again until it is answered 2xx."""
        while True:
            answer = await self.ask(route, "POST", path, headers, key)
            if 200 <= answer.status < 300:
                return answer
            assert answer.status in (0, 503), answer
            await asyncio.sleep(0.05)

    async def __aenter__(self) -> Clients:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
