"""A target that keeps a ledger and can be told to lose, double, invent, or stay silent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "a-token-for-the-tests"
OVERLOADED = {"reason": "overload"}


@dataclass
class Target:
    """What the target does and holds. Each fault is done once, to the request of that number."""

    url: str = ""
    lose: int = -1
    double: int = -1
    refuse_but_store: int = -1
    refuse: int = -1
    status: int = 200
    """Of /admin/ledger."""
    statuses: list[int] = field(default_factory=list)
    """Of the first answers of /admin/ledger, before `status`."""
    torn: bool = False
    asked: list[str] = field(default_factory=list)
    things: list[dict[str, Any]] = field(default_factory=list)
    settles_after: int = 0
    """As often as this a command is answered as pending."""
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def store(self, key: str) -> tuple[int, dict[str, Any]]:
        """Do what a POST with this key asks for, or not."""
        with self.lock:
            number, self.requests = self.requests, self.requests + 1
            if number == self.refuse:
                return 503, OVERLOADED
            thing = {"kind": "stored", "what": "thing", "key": key, "id": f"id {number}"}
            copies = {self.lose: 0, self.double: 2}.get(number, 1)
            self.things += [{**thing, "state": "kept"}] * copies
            if number == self.refuse_but_store:
                return 503, OVERLOADED
            return 201, {"id": thing["id"], "state": "kept"}

    def ledger(self) -> bytes:
        """The lines of /admin/ledger."""
        with self.lock:
            things = list(self.things)
        if len(self.asked) <= self.settles_after:
            things.append(
                {"kind": "stored", "what": "command", "key": None, "id": "c", "state": "pending"}
            )
        lines = [*things, *([] if self.torn else [{"kind": "end", "lines": len(things)}])]
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: Target

    def do_GET(self) -> None:
        if not self.path.startswith("/admin/ledger?"):
            self._answer(200, b"{}")
            return
        self.target.asked.append(self.path)
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, b"{}")
        else:
            statuses = self.target.statuses
            status = statuses.pop(0) if statuses else self.target.status
            self._answer(status, self.target.ledger() if status == 200 else b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.target.store(self.headers["Idempotency-Key"])
        self._answer(status, json.dumps(body).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True


@contextmanager
def serving(target: Target) -> Iterator[Target]:
    """Let `target` answer while the `with` block runs."""
    handler = type("Handler", (_Handler,), {"target": target})
    server = _Server(("127.0.0.1", 0), handler)
    target.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield target
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
