"""Two small services that nobody wrote for launchday, and that note what they are asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


@dataclass(frozen=True)
class Asked:
    """One request, as it came in."""

    method: str
    path: str
    key: str | None
    authorization: str | None
    body: Any
    seconds: float


@dataclass(frozen=True)
class Answer:
    """What it is answered."""

    status: int
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


class Service(ThreadingHTTPServer):
    """Answers as its subclass says, one request at a time."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def by_key(self) -> dict[str, list[Asked]]:
        """What came with each Idempotency-Key, in order."""
        found: dict[str, list[Asked]] = {}
        for asked in self.asked:
            if asked.key is not None:
                found.setdefault(asked.key, []).append(asked)
        return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm: ClassVar[bool] = True
    server: Service

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(
            self.command,
            self.path,
            self.headers.get("Idempotency-Key"),
            self.headers.get("Authorization"),
            json.loads(body) if body else None,
            time.monotonic(),
        )
        with self.server.lock:
            answer = self.server.answer(asked)
            self.server.asked.append(asked)
        content = json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


class ShopService(Service):
    """Products and orders; an order is refused once, for at least a second. No sessions."""

    def answer(self, asked: Asked) -> Answer:
        if asked.method == "GET" and asked.path.startswith("/products/"):
            return Answer(200, {"price": 5})
        if (asked.method, asked.path) != ("POST", "/orders"):
            return Answer(404)
        if asked.key not in self.by_key():
            return Answer(503, headers={"Retry-After": "1"})
        return Answer(201, {"id": f"order-{asked.key}"})


class AilingService(Service):
    """A car maker whose first sessions are worth nothing for orders, and whose doors are stuck."""

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/v1/sessions":
            earlier = sum(
                each.path == asked.path and each.body == asked.body for each in self.asked
            )
            return Answer(201, {"access_token": f"{asked.body['email']}/{earlier}"})
        if asked.path == "/v1/reservations":
            first_session = (asked.authorization or "").endswith("/0")
            return Answer(500 if first_session else 201, {"id": asked.key})
        return Answer(503 if "unlock" in asked.path else 200)


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    """Serve until the end of the block."""
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    try:
        yield service
    finally:
        service.shutdown()
        service.server_close()
        thread.join()


OWN_CLASS = '''"""All that a stranger writes."""

from _backend import Account, Backend, Request


class OurShop(Backend):
    criticality = {"product": "sheddable", "order": "critical"}

    def state(self, account: Account) -> Request:
        return Request("GET", f"/products/{account.number}", "product")

    def reserve(self, account: Account) -> Request:
        return Request("POST", "/orders", "order", json={"item": 1}, once=True)
'''
