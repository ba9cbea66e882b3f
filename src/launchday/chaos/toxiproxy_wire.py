"""One Toxiproxy API on the wire, through toxiproxy-python; the only module that imports it.

toxiproxy-python 0.1.1 keeps host and port on a class, waits for ever, obeys HTTP_PROXY and
understands three statuses. Its module globals `requests` and `validate_response` are the two
places where all of that is decided; both are replaced here, once.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import toxiproxy.api
import urllib3
from toxiproxy import Proxy
from toxiproxy.api import APIConsumer

from launchday.chaos.toxiproxy_errors import NoAnswer, NoToxiproxy, typed
from launchday.errors import ToxiproxyError

T = TypeVar("T")
LONGEST_QUOTE = 100
# 10 000 proxies with a toxic each answer with 3 MB.
LONGEST_ANSWER_BYTES = 4 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
# Statuses with which servers before 2.6 answer the method PATCH.
_NO_PATCH = (404, 405)
_REPEATABLE = ("GET", "PATCH", "DELETE")


@dataclass(frozen=True)
class Answer:
    """A whole answer; quacks like the response of `requests` as far as toxiproxy-python asks."""

    method: str
    url: str
    status_code: int
    content: bytes

    @property
    def text(self) -> str:
        """The body; bytes that are no UTF-8 are replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. Raises NoToxiproxy."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            raise no_toxiproxy(self.url, self.text) from None


class Wire:
    """A pooled connection to one API. Calls are made one at a time, also between threads.

    `timeout_seconds` bounds each wait for the server and the whole time of the body of an answer.
    Raises ToxiproxyError for a wrong url, ValueError for a wrong timeout.
    """

    def __init__(self, url: str, timeout_seconds: float) -> None:
        if not timeout_seconds > 0:
            raise ValueError(f"timeout_seconds must be positive, got {timeout_seconds!r}")
        self.url, self.host, self.port = _address(url)
        self.timeout_seconds = timeout_seconds
        self._session = requests.Session()
        self._session.trust_env = False
        # A compressed answer could be small here and huge in memory.
        self._session.headers["Accept-Encoding"] = "identity"
        self._lock = threading.RLock()
        self._knows_patch = True

    def close(self) -> None:
        """Give the pooled connections back; the object can still be used afterwards."""
        self._session.close()

    def get(self, path: str) -> Answer:
        """GET `path`. Raises ToxiproxyError."""
        answer: Answer = self.ask(lambda: APIConsumer.get(path))
        return answer

    def post(self, path: str, body: object) -> Any:
        """POST JSON; the answer's JSON. Raises ToxiproxyError."""
        return self.ask(lambda: APIConsumer.post(path, json=body).json())

    def change(self, path: str, values: Mapping[str, object]) -> Any:
        """PATCH JSON, or POST it to a server before 2.6, which does not know PATCH."""
        if not self._knows_patch:
            return self.post(path, values)
        try:
            return self.ask(lambda: _validate(self.send("PATCH", path, json=values)).json())
        except NoToxiproxy as error:
            if error.status not in _NO_PATCH:
                raise
        changed = self.post(path, values)
        self._knows_patch = False
        return changed

    def ask(self, call: Callable[[], T]) -> T:
        """Make a call of toxiproxy-python to this server. Raises ToxiproxyError."""
        with self._lock:
            token = _asking.set(self)
            try:
                return call()
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise NoAnswer(
                    f"Toxiproxy at {self.url} does not answer ({_cause(error)}): start it there, "
                    f"or {_way_out(self.url)}"
                ) from error
            finally:
                _asking.reset(token)

    def send(self, method: str, path: str, **arguments: Any) -> Answer:
        """Send one request and read the whole answer, once more if a pooled connection had died."""
        try:
            return self._send(method, path, **arguments)
        except requests.ConnectionError as error:
            # The real server closes a connection that was idle for 15 s, perhaps just now.
            if method not in _REPEATABLE or not _had_died(error):
                raise
        return self._send(method, path, **arguments)

    def _send(self, method: str, path: str, **arguments: Any) -> Answer:
        wait = self.timeout_seconds
        with self._session.request(
            method, self.url + path, timeout=wait, stream=True, allow_redirects=False, **arguments
        ) as response:
            body = _whole(response, self.url, time.monotonic() + wait)
            return Answer(method, response.url, response.status_code, body)


def proxy(name: str) -> Any:
    """A proxy of toxiproxy-python, whatever its addresses are."""
    return Proxy(name=name, listen="", upstream="", enabled=True)


def no_toxiproxy(url: str, words: str, status: int | None = None) -> NoToxiproxy:
    """The error for somebody else's answer; only the beginning of its first line is quoted."""
    line = next(iter(words.strip().splitlines()), "")[:LONGEST_QUOTE]
    said = f"{status} {line}" if status else line
    return NoToxiproxy(f"{url} answers, but it is no Toxiproxy: {said}", status)


_asking: ContextVar[Wire | None] = ContextVar("launchday_toxiproxy", default=None)
_original_validate = toxiproxy.api.validate_response


class _Requests:
    """Stands in for the module `requests` inside toxiproxy-python; others' calls pass through."""

    def __getattr__(self, name: str) -> Any:
        wire = _asking.get()
        if wire is None or name not in ("get", "post", "delete"):
            return getattr(requests, name)
        default = f"http://{APIConsumer.host}:{APIConsumer.port}"
        return lambda url, **arguments: wire.send(
            name.upper(), url.removeprefix(default), **arguments
        )


def _validate(answer: Any) -> Any:
    if _asking.get() is None:
        return _original_validate(answer)
    if answer.status_code >= 300:
        raise _refusal(answer)
    return answer


toxiproxy.api.requests = _Requests()
toxiproxy.api.validate_response = _validate


def _refusal(answer: Answer) -> ToxiproxyError:
    status = answer.status_code
    if status == 503 and not answer.content.strip():
        words = f"Toxiproxy gives up on {answer.method} {answer.url} after 25 s: restart it"
        return ToxiproxyError(words, status)
    try:
        said = answer.json()
        words = said.get("error") or said["title"]  # before 2.0 it was the title
    except (NoToxiproxy, KeyError, TypeError, AttributeError):
        return no_toxiproxy(answer.url, answer.text, status)
    refused = f"Toxiproxy refuses {answer.method} {answer.url}: {str(words)[: LONGEST_QUOTE * 5]}"
    return typed(refused, status, str(words))


def _whole(response: requests.Response, url: str, deadline: float) -> bytes:
    body = bytearray()
    while chunk := response.raw.read1(CHUNK_BYTES):
        body += chunk
        if len(body) > LONGEST_ANSWER_BYTES:
            raise NoToxiproxy(
                f"{url} answers, but it is no Toxiproxy: more than "
                f"{LONGEST_ANSWER_BYTES >> 20} MiB in one answer",
                response.status_code,
            )
        if time.monotonic() > deadline:
            raise requests.Timeout("the answer drips")
    return bytes(body)


def _address(url: str) -> tuple[str, str, int]:
    """Split into the url without a slash at its end, the host and the port."""
    wrong = ToxiproxyError(f"url must look like http://HOST:PORT, got {url!r}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise wrong
    default = 80 if parts.scheme == "http" else 443
    whole = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return whole, parts.hostname, default if port is None else port


def _way_out(url: str) -> str:
    if os.environ.get("TOXIPROXY_URL", "").rstrip("/") == url:
        return "unset TOXIPROXY_URL to use the one that comes with launchday"
    return "correct the address: --toxiproxy, or toxiproxy_url of launchday.toml or the experiment"


def _had_died(error: requests.ConnectionError) -> bool:
    causes = str(error)
    return "RemoteDisconnected" in causes or "ConnectionResetError" in causes


def _cause(error: Exception) -> str:
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    return "connection refused" if "refused" in str(error) else type(error).__name__
