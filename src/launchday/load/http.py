"""A lean HTTP/1.1 client for gevent: one keep-alive connection a user, honest outcomes.

Locust's FastHttpUser costs as much CPU per request as a FastAPI service, so on the machine under
test the generator would fall behind first. This client sends prepared bytes on a plain socket and
parses with llhttp (httptools). It follows no redirect, keeps no cookies, asks for no compression.
An answer of any status is a response; only a missing one is an error.
"""

from __future__ import annotations

import json as jsonlib
import select
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import urlsplit

import gevent
import httptools
from gevent import monkey, socket, ssl

_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
_RECEIVE_BYTES = 65536
_KEY_HEADER = "idempotency-key"
# The one that gevent puts in its place would go through the event loop.
_poll: Callable[[], Any] = monkey.get_original("select", "poll")


class HttpStatusError(Exception):
    """What Locust's statistics show for a status of 400 and above: few distinct texts."""


class _Stale(ConnectionError):
    """A kept connection that the server had closed before the first byte of the answer."""


class Headers:
    """Response headers; names are compared without case (RFC 9110, 5.1)."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def add(self, name: bytes, value: bytes) -> None:
        """Note one header; repeated ones are joined by a comma."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._values[key] = f"{self._values[key]}, {text}" if key in self._values else text

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a header."""
        return self._values.get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]


class Response:
    """An answer, or the lack of one: then `status_code` is 0 and `error` says why.

    `idempotency_key` is the one that its request carried, if any.
    """

    def __init__(self) -> None:
        self.idempotency_key: str | None = None
        self.status_code = 0
        self.headers = Headers()
        self.error: Exception | None = None
        self._chunks: list[bytes] = []

    @property
    def content(self) -> bytes:
        """The body."""
        return b"".join(self._chunks)

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.content.decode("utf-8", errors="replace")

    @property
    def ok(self) -> bool:
        """Whether there was an answer below 400."""
        return 0 < self.status_code < 400

    def json(self) -> Any:
        """The body as JSON. Raises ValueError if it is none."""
        return jsonlib.loads(self.content)


class _Exchange:
    """Callbacks of the parser for one response; nothing after its end is let into it."""

    def __init__(self, method: str, response: Response) -> None:
        self.response = response
        self.complete = False
        self.keep_alive = False
        self._method = method
        self._ends_with_connection = False
        self._surplus = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, received: bytes) -> None:
        """Parse; raises HttpParserError for bytes that are no answer."""
        try:
            self._parser.feed_data(received)
        except httptools.HttpParserError:
            if not self.complete:
                raise
            self.keep_alive = False  # the answer is whole, what came behind it is not HTTP

    def end(self) -> None:
        """The server closed; raises ConnectionResetError if the answer was not whole."""
        if not self._ends_with_connection:
            raise ConnectionResetError("connection closed before the end of the answer")
        self.response.status_code = self._parser.get_status_code()

    def on_message_begin(self) -> None:
        if self.complete:
            self._surplus = True
            self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.response.headers.add(name, value)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.complete or status < 200:
            return
        if self._method == "HEAD":
            # RFC 9112, 6.3: no body, whatever the headers say. Of 204 and 304 the parser knows.
            self.response.status_code = status
            self.complete = True
        else:
            headers = self.response.headers
            framed = "content-length" in headers or "transfer-encoding" in headers
            self._ends_with_connection = not framed

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self.response._chunks.append(body)

    def on_message_complete(self) -> None:
        if self._surplus:
            return
        status = self._parser.get_status_code()
        if status < 200:  # interim: the answer is still to come, with headers of its own
            self.response.headers = Headers()
            return
        self.response.status_code = status
        self.complete = True
        # Only here: after the message the parser has forgotten what it said.
        self.keep_alive = self._parser.should_keep_alive()


class _EventHook(Protocol):
    @property
    def fire(self) -> Callable[..., None]: ...


class _User(Protocol):
    def context(self) -> dict[str, Any]: ...

    def abandoned(self, endpoint: str, key: str) -> None: ...


class HttpClient:
    """`self.client` of an ArrivalUser: get, post, put, patch, delete, head, options.

    `timeout_seconds` bounds a request from connecting to the last byte. Each request fires
    Locust's request event once, with or without an answer.

    Raises:
        ValueError: `base_url` is no http or https URL, or `timeout_seconds` is not above 0.
    """

    def __init__(
        self, base_url: str, request_event: _EventHook, user: _User, *, timeout_seconds: float
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"base_url must be like http://127.0.0.1:8000, got {base_url!r}")
        if timeout_seconds <= 0:
            raise ValueError(f"timeout_seconds must be above 0, got {timeout_seconds!r}")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._address = (parts.hostname, parts.port or (443 if self._tls else 80))
        self._prefix = parts.path.rstrip("/")
        self._host = parts.netloc.rpartition("@")[2]
        self._request_event = request_event
        self._user = user
        self._timeout_seconds = timeout_seconds
        self._socket: Any = None
        self._idle: Any = None

    def request(
        self,
        method: str,
        path: str,
        *,
        name: str | None = None,
        data: bytes | str = b"",
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        catch_response: bool = False,
    ) -> Any:
        """Send a request; a Response, or with `catch_response` a context manager around it."""
        message = self._message(method, path, data, json, headers or {})
        key = _idempotency_key(headers) if headers else None
        context = self._user.context()
        began_unix, began = time.time(), time.perf_counter()
        try:
            response = self._exchange(method, message)
        except BaseException:
            if key is not None:  # it may have reached the server, and no event will tell of it
                self._user.abandoned(name or path, key)
            raise
        response.idempotency_key = key
        meta = {
            "request_type": method,
            "name": name or path,
            "context": context,
            "response": response,
            "response_time": (time.perf_counter() - began) * 1000,
            "response_length": len(response.content),
            "start_time": began_unix,
            "url": path,
            "exception": response.error or _status_error(response.status_code),
        }
        if catch_response:
            return CatchResponse(response, self._request_event, meta)
        self._request_event.fire(**meta)
        return response

    def get(self, path: str, **options: Any) -> Any:
        """GET; options as for `request`."""
        return self.request("GET", path, **options)

    def head(self, path: str, **options: Any) -> Any:
        """HEAD; options as for `request`."""
        return self.request("HEAD", path, **options)

    def options(self, path: str, **options: Any) -> Any:
        """OPTIONS; options as for `request`."""
        return self.request("OPTIONS", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        """POST; options as for `request`."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Any:
        """PUT; options as for `request`."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Any:
        """PATCH; options as for `request`."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Any:
        """DELETE; options as for `request`."""
        return self.request("DELETE", path, **options)

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _message(
        self, method: str, path: str, data: bytes | str, json: Any, headers: Mapping[str, str]
    ) -> bytes:
        body = data.encode() if isinstance(data, str) else data
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"Host: {self._host}"]
        if json is not None:
            body = jsonlib.dumps(json, separators=(",", ":")).encode()
            lines.append("Content-Type: application/json")
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{key}: {value}" for key, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body

    def _exchange(self, method: str, message: bytes) -> Response:
        response = Response()
        try:
            with gevent.Timeout(self._timeout_seconds, TimeoutError("no answer in time")):
                try:
                    return self._send(method, message, response)
                except _Stale:
                    # RFC 9110, 9.2.2: only what may be repeated is repeated by itself.
                    if method not in _IDEMPOTENT:
                        raise
                    return self._send(method, message, Response())
        except (OSError, httptools.HttpParserError) as error:
            self.close()
            failed = Response()
            # Its frames would keep the exchange alive in a cycle, one for each failed request.
            failed.error = error.with_traceback(None)
            return failed
        except BaseException:
            self.close()  # stopped by Locust mid-answer: the rest of it must not be read as ours
            raise

    def _send(self, method: str, message: bytes, response: Response) -> Response:
        reused = self._kept()
        if not reused:
            self._connect()
        exchange = _Exchange(method, response)
        try:
            self._socket.sendall(message)
            received = self._socket.recv(_RECEIVE_BYTES)
        except (BrokenPipeError, ConnectionResetError) as error:
            received = b""
            if not reused:
                raise ConnectionResetError("connection reset") from error
        if not received and reused:
            self.close()
            raise _Stale("the server had closed the kept connection")
        while received:
            exchange.feed(received)
            if exchange.complete:
                break
            received = self._socket.recv(_RECEIVE_BYTES)
        else:
            exchange.end()
        if not exchange.keep_alive:
            self.close()
        return response

    def _kept(self) -> bool:
        if self._socket is not None and self._idle.poll(0):
            self.close()  # readable before we asked: the server closed it, or sent what is not ours
        return self._socket is not None

    def _connect(self) -> None:
        connection = socket.create_connection(self._address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_hostname=self._address[0])
        self._socket = connection
        self._idle = _poll()
        self._idle.register(connection.fileno(), select.POLLIN)


class CatchResponse:
    """What `catch_response=True` gives: `success()` or `failure(words)` before the block ends."""

    def __init__(self, response: Response, request_event: _EventHook, meta: dict[str, Any]) -> None:
        self._response = response
        self._request_event = request_event
        self._meta = meta

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    def success(self) -> None:
        """Count the request as good; a 3xx or 4xx then is what the scenario expected.

        Locust believes it of any status, launchday's record not of a 429 or 5xx.
        """
        self._meta["exception"] = None

    def failure(self, words: str) -> None:
        """Count the request as failed: the record calls a 2xx then `invalid`."""
        self._meta["exception"] = HttpStatusError(words)

    def __enter__(self) -> CatchResponse:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            self._meta["exception"] = error
        self._request_event.fire(**self._meta)


def _idempotency_key(headers: Mapping[str, str]) -> str | None:
    return next((value for name, value in headers.items() if name.lower() == _KEY_HEADER), None)


_STATUS_ERRORS = {status: HttpStatusError(f"HTTP {status}") for status in range(400, 600)}


def _status_error(status: int) -> Exception | None:
    return _STATUS_ERRORS.get(status)
