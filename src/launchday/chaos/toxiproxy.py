"""The Toxiproxy API through toxiproxy-python, made safe; the only module that imports it.

toxiproxy-python 0.1.1 keeps host and port on a class, waits for ever, obeys HTTP_PROXY and
understands three statuses. Its module globals `requests` and `validate_response` are the two
places where all of that is decided; both are replaced here, once.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import toxiproxy.api
from toxiproxy import Proxy
from toxiproxy.api import APIConsumer

from launchday.chaos.experiment import checked_name
from launchday.errors import ToxiproxyError

T = TypeVar("T")
POLL_SECONDS = 0.05
LONGEST_QUOTE = 100


@dataclass(frozen=True)
class ToxicState:
    """One toxic as the server reports it."""

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class ProxyState:
    """One proxy as the server reports it; `listen` and `upstream` are `host:port`."""

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[ToxicState, ...]


Snapshot = dict[str, ProxyState]


class Toxiproxy:
    """One Toxiproxy server. Safe to share between threads; calls are made one at a time.

    `url` is `http://HOST:PORT`; `timeout_seconds` (default 5) bounds each wait for the server.
    Every method raises ToxiproxyError with the server's words and HTTP status, or with status
    None when there was no answer. Raises ToxiproxyError for a wrong url, ValueError for a wrong
    timeout.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        if not timeout_seconds > 0:
            raise ValueError(f"timeout_seconds must be positive, got {timeout_seconds!r}")
        self.url, self.host, self._port = _address(url)
        self._timeout_seconds = timeout_seconds
        self._session = requests.Session()
        self._session.trust_env = False
        self._lock = threading.RLock()

    def close(self) -> None:
        """Give the pooled connections back; the object can still be used afterwards."""
        self._session.close()

    def version(self) -> str:
        """What the server says it is, for example `2.12.0`; plain text before 2.7."""
        words: str = self._ask(lambda: APIConsumer.get("/version").text).strip()
        try:
            return str(json.loads(words)["version"])
        except (ValueError, KeyError, TypeError):
            if words.startswith("<") or words != _line(words):
                raise _no_toxiproxy(self.url, words) from None
            return words

    def wait_ready(self, deadline_seconds: float) -> str:
        """Wait until the API answers, at most `deadline_seconds`; return the version."""
        deadline = time.monotonic() + deadline_seconds
        while True:
            try:
                return self.version()
            except ToxiproxyError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(POLL_SECONDS)

    def proxies(self) -> Snapshot:
        """All proxies by name, with their toxics."""
        found = self._ask(lambda: APIConsumer.get("/proxies").json())
        if not isinstance(found, dict):
            raise _no_toxiproxy(self.url, str(found))
        return {name: self._state(values) for name, values in found.items()}

    def create_proxy(self, name: str, listen: str, upstream: str) -> ProxyState:
        """Create and start a proxy; port 0 in `listen` picks a free one. 409 when it exists."""
        body = {"name": checked_name("name", name), "listen": listen, "upstream": upstream}
        return self._state(self._ask(lambda: APIConsumer.post("/proxies", json=body).json()))

    def delete_proxy(self, name: str) -> None:
        """Stop and forget a proxy; one that is already gone is fine."""
        with _absent_is_fine():
            self._ask(_proxy(name).destroy)

    def add_toxic(
        self,
        proxy: str,
        name: str,
        type: str,
        stream: str,
        toxicity: float,
        attributes: Mapping[str, int],
    ) -> None:
        """Add a toxic; it acts on live connections at once. 404 unknown proxy, 409 taken name."""
        arguments = {
            "name": checked_name("name", name),
            "type": type,
            "stream": stream,
            "toxicity": toxicity,
            "attributes": dict(attributes),
        }
        self._ask(lambda: _proxy(proxy).add_toxic(**arguments))

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Remove a toxic; one that is already gone (or its proxy) is fine."""
        with _absent_is_fine():
            self._ask(lambda: _proxy(proxy).destroy_toxic(checked_name("name", name)))

    def set_enabled(self, proxy: str, enabled: bool) -> None:
        """Listen, or refuse new connections and drop the live ones."""
        self._ask(_proxy(proxy).enable if enabled else _proxy(proxy).disable)

    def snapshot(self) -> Snapshot:
        """The state to come back to, for `residual`."""
        return self.proxies()

    def residual(self, snapshot: Snapshot, links: Iterable[str] | None = None) -> list[str]:
        """Say in sentences what differs now from `snapshot`; empty when nothing does.

        `links` restricts the comparison (default: all links of the snapshot).
        """
        now = self.proxies()
        sentences: list[str] = []
        for link in snapshot if links is None else links:
            sentences += _differences(link, snapshot[link], now.get(link))
        return sentences

    def is_gone(self) -> bool:
        """Whether nobody listens at the url: the connection is refused."""
        try:
            socket.create_connection((self.host, self._port), self._timeout_seconds).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False

    def _state(self, values: Any) -> ProxyState:
        try:
            return _proxy_state(values)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _no_toxiproxy(self.url, str(values)) from error

    def _ask(self, call: Callable[[], T]) -> T:
        with self._lock:
            token = _asking.set(self)
            try:
                return call()
            except requests.exceptions.InvalidJSONError as error:
                raise ToxiproxyError(f"{self.url} answers, but it is no Toxiproxy") from error
            except requests.RequestException as error:
                raise ToxiproxyError(
                    f"Toxiproxy at {self.url} does not answer ({_cause(error)}): start it there, "
                    "or unset TOXIPROXY_URL to use the one that comes with launchday"
                ) from error
            finally:
                _asking.reset(token)

    def _send(self, method: str, url: str, **arguments: Any) -> requests.Response:
        path = url.removeprefix(f"http://{APIConsumer.host}:{APIConsumer.port}")
        return self._session.request(
            method, self.url + path, timeout=self._timeout_seconds, **arguments
        )


_asking: ContextVar[Toxiproxy | None] = ContextVar("launchday_toxiproxy", default=None)
_original_validate = toxiproxy.api.validate_response


class _Requests:
    """Stands in for the module `requests` inside toxiproxy-python; others' calls pass through."""

    def __getattr__(self, name: str) -> Any:
        wrapper = _asking.get()
        if wrapper is None or name not in ("get", "post", "delete"):
            return getattr(requests, name)
        return lambda url, **arguments: wrapper._send(name.upper(), url, **arguments)


def _validate(response: requests.Response) -> requests.Response:
    if _asking.get() is None:
        return _original_validate(response)  # type: ignore[no-any-return] # ships no types
    if response.status_code >= 400:
        raise _refusal(response)
    return response


toxiproxy.api.requests = _Requests()
toxiproxy.api.validate_response = _validate


def _refusal(response: requests.Response) -> ToxiproxyError:
    status = response.status_code
    try:
        words = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return _no_toxiproxy(response.url, response.text.strip() or response.reason, status)
    request = f"{response.request.method} {response.url}"
    return ToxiproxyError(f"Toxiproxy refuses {request}: {words}", status)


def _no_toxiproxy(url: str, words: str, status: int | None = None) -> ToxiproxyError:
    said = f"{status} {_line(words)}" if status else _line(words)
    return ToxiproxyError(f"{url} answers, but it is no Toxiproxy: {said}", status)


def _line(words: str) -> str:
    """The first line, cut: the answer of a stranger may be a whole page."""
    return next(iter(words.strip().splitlines()), "")[:LONGEST_QUOTE]


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


def _cause(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return "connection refused" if "refused" in str(error) else type(error).__name__


def _proxy(name: str) -> Any:
    return Proxy(name=checked_name("proxy", name), listen="", upstream="", enabled=True)


@contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except ToxiproxyError as error:
        if error.status != 404:
            raise


def _proxy_state(values: Mapping[str, Any]) -> ProxyState:
    toxics = tuple(_toxic_state(toxic) for toxic in values.get("toxics") or ())
    return ProxyState(
        values["name"], values["listen"], values["upstream"], values["enabled"], toxics
    )


def _toxic_state(values: Mapping[str, Any]) -> ToxicState:
    return ToxicState(
        values["name"],
        values["type"],
        values["stream"],
        float(values["toxicity"]),
        dict(values["attributes"]),
    )


def _differences(link: str, then: ProxyState, now: ProxyState | None) -> list[str]:
    if now is None:
        return [f"the proxy {link} is gone"]
    sentences = []
    for what in ("listen", "upstream"):
        if getattr(now, what) != getattr(then, what):
            sentences.append(f"{what} of {link} is {getattr(now, what)}, was {getattr(then, what)}")
    if now.enabled != then.enabled:
        sentences.append(f"the proxy {link} is {'enabled' if now.enabled else 'disabled'}")
    before = {toxic.name: toxic for toxic in then.toxics}
    after = {toxic.name: toxic for toxic in now.toxics}
    sentences += [f"the toxic {name} is still on {link}" for name in after.keys() - before.keys()]
    sentences += [f"the toxic {name} is gone from {link}" for name in before.keys() - after.keys()]
    sentences += [
        f"the toxic {name} on {link} has changed"
        for name in before.keys() & after.keys()
        if before[name] != after[name]
    ]
    return sorted(sentences)
