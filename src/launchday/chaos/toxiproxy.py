"""One Toxiproxy server, made safe: what is sent is checked, what comes back is typed."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from launchday.chaos import toxiproxy_wire as wire
from launchday.chaos.experiment import checked_name
from launchday.chaos.toxic_limits import check_toxic, check_toxicity
from launchday.chaos.toxiproxy_restore import restored
from launchday.chaos.toxiproxy_state import (
    EMBEDDED,
    ProxyState,
    Snapshot,
    ToxicState,
    differences,
    proxy_state,
    toxic_state,
)
from launchday.errors import ToxiproxyError

__all__ = ["ProxyState", "Snapshot", "ToxicState", "Toxiproxy"]

POLL_SECONDS = 0.05
# What the version of the server that comes with launchday ends in.
_log = logging.getLogger(__name__)


class Toxiproxy:
    """One Toxiproxy server. Safe to share between threads; calls are made one at a time.

    `url` is `http://HOST:PORT`; `timeout_seconds` (default 5) bounds each wait for the server.
    Every method raises ToxiproxyError, a child of it by status (launchday.chaos.toxiproxy_errors)
    with the server's words, or with status None when there was no answer; ValueError for a name or
    a value that no server should be sent. Raises ToxiproxyError for a wrong url, ValueError for a
    wrong timeout.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 5.0) -> None:
        self._wire = wire.Wire(url, timeout_seconds)
        self._version: str | None = None

    @property
    def url(self) -> str:
        """Where the API is, without a slash at the end."""
        return self._wire.url

    @property
    def host(self) -> str:
        """The host of the API."""
        return self._wire.host

    def close(self) -> None:
        """Give the pooled connections back; the object can still be used afterwards."""
        self._wire.close()

    def version(self) -> str:
        """What the server says it is, for example `2.12.0`; plain text before 2.7."""
        words = self._wire.get("/version").text.strip()
        try:
            return str(json.loads(words)["version"])
        except (ValueError, KeyError, TypeError, RecursionError):
            lines = words.splitlines()
            if words.startswith(("<", "{", "[")) or len(lines) != 1 or len(words) > 100:
                raise wire.no_toxiproxy(self.url, words) from None
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

    def metrics(self) -> str:
        """The server's Prometheus metrics. 404 (NoToxiproxy) from a real one without the flag."""
        return self._wire.get("/metrics").text

    def proxies(self) -> Snapshot:
        """All proxies by name, with their toxics."""
        found = self._wire.get("/proxies").json()
        if not isinstance(found, dict):
            raise wire.no_toxiproxy(self.url, str(found))
        return {name: self._proxy(values) for name, values in found.items()}

    def proxy(self, name: str) -> ProxyState:
        """One proxy with its toxics. ProxyNotFound."""
        return self._proxy(self._wire.get(_path(name)).json())

    def create_proxy(
        self, name: str, listen: str, upstream: str, *, enabled: bool = True
    ) -> ProxyState:
        """Create a proxy; port 0 in `listen` picks a free one. ProxyExists, CannotListen."""
        checked_name("name", name)
        body = {"name": name, "listen": listen, "upstream": upstream, "enabled": enabled}
        return self._proxy(self._wire.post("/proxies", body))

    def populate(self, proxies: Iterable[tuple[str, str, str]]) -> list[ProxyState]:
        """Create many, each as (name, listen, upstream), in one request to the server.

        One that is there with the same addresses is kept with its toxics and connections; one with
        other addresses is made anew. What fails half-way stays as far as it got: the error says
        which are done.
        """
        body = [
            {"name": checked_name("name", name), "listen": listen, "upstream": upstream}
            for name, listen, upstream in proxies
        ]
        done = self._wire.post("/populate", body)
        if not isinstance(done, dict):
            raise wire.no_toxiproxy(self.url, str(done))
        return [self._proxy(values) for values in done.get("proxies") or ()]

    def update_proxy(
        self,
        name: str,
        *,
        listen: str | None = None,
        upstream: str | None = None,
        enabled: bool | None = None,
    ) -> ProxyState:
        """Change what is given, keep the toxics; a changed address drops the connections."""
        given = {"listen": listen, "upstream": upstream, "enabled": enabled}
        values = {key: value for key, value in given.items() if value is not None}
        return self._proxy(self._wire.change(_path(name), values))

    def set_enabled(self, proxy: str, enabled: bool) -> None:
        """Listen, or refuse new connections and drop the live ones."""
        self.update_proxy(proxy, enabled=enabled)

    def delete_proxy(self, name: str) -> None:
        """Stop and forget a proxy; one that is already gone is fine."""
        checked_name("proxy", name)
        with _absent_is_fine():
            self._wire.ask(wire.proxy(name).destroy)

    def toxic(self, proxy: str, name: str) -> ToxicState:
        """One toxic. ProxyNotFound, ToxicNotFound."""
        return self._toxic(self._wire.get(_path(proxy, name)).json())

    def add_toxic(
        self,
        proxy: str,
        name: str,
        type: str,
        stream: str = "downstream",
        toxicity: float = 1.0,
        attributes: Mapping[str, int] | None = None,
    ) -> ToxicState:
        """Add a toxic; it acts on live connections at once. Returns it as the server took it.

        ProxyNotFound, ToxicExists, InvalidRequest (a type that the server does not know).
        """
        checked_name("name", name)
        check_toxic(type, stream, toxicity, attributes or {})
        self._warn_of_reset_peer(type, toxicity)
        body = {
            "name": name,
            "type": type,
            "stream": stream,
            "toxicity": toxicity,
            "attributes": dict(attributes or {}),
        }
        return self._toxic(self._wire.post(f"{_path(proxy)}/toxics", body))

    def update_toxic(
        self,
        proxy: str,
        name: str,
        attributes: Mapping[str, int] | None = None,
        toxicity: float | None = None,
    ) -> ToxicState:
        """Change what is given, on live connections too; the rest stays. Returns it whole.

        With the real server every live connection draws anew whether the toxic hits it.
        """
        now = self.toxic(proxy, name)
        share = now.toxicity if toxicity is None else toxicity
        check_toxicity(share)
        check_toxic(now.type, now.stream.lower(), share, {**now.attributes, **(attributes or {})})
        values: dict[str, object] = {"attributes": dict(attributes or {}), "toxicity": share}
        return self._toxic(self._wire.change(_path(proxy, name), values))

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Remove a toxic; one that is already gone (or its proxy) is fine."""
        checked_name("proxy", proxy)
        checked_name("name", name)
        with _absent_is_fine():
            self._wire.ask(lambda: wire.proxy(proxy).destroy_toxic(name))

    def snapshot(self) -> Snapshot:
        """The state to come back to, for `restore` and `residual`."""
        return self.proxies()

    def restore(self, snapshot: Snapshot, links: Iterable[str] | None = None) -> list[str]:
        """Bring listen, upstream, enabled and toxics back to `snapshot`, then compare.

        `links` restricts it (default: all links of the snapshot); other proxies are not touched,
        nor is `/reset` used, which enables what was disabled on purpose. Toxics that were not in
        the snapshot are removed, whoever added them. Goes on after a refusal. Returns sentences
        about what was refused and what still differs; empty when all is as it was.
        """
        return restored(self, snapshot, _named(snapshot, links))

    def residual(self, snapshot: Snapshot, links: Iterable[str] | None = None) -> list[str]:
        """Say in sentences what differs now from `snapshot`; empty when nothing does.

        `links` restricts the comparison (default: all links of the snapshot).
        """
        now = self.proxies()
        sentences: list[str] = []
        for link in _named(snapshot, links):
            sentences += differences(link, snapshot[link], now.get(link))
        return sentences

    def is_gone(self) -> bool:
        """Whether nobody listens at the url: the connection is refused."""
        address = (self.host, self._wire.port)
        try:
            socket.create_connection(address, self._wire.timeout_seconds).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False

    def _warn_of_reset_peer(self, type: str, toxicity: float) -> None:
        if type != "reset_peer" or toxicity >= 1:
            return
        self._version = self._version or self.version()
        if not self._version.endswith(EMBEDDED):
            _log.warning(
                "reset_peer with toxicity %g: Toxiproxy %s resets spared connections, too, when "
                "they end (its issue 603)",
                toxicity,
                self._version,
            )

    def _proxy(self, values: Any) -> ProxyState:
        try:
            return proxy_state(values)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise wire.no_toxiproxy(self.url, str(values)) from error

    def _toxic(self, values: Any) -> ToxicState:
        try:
            return toxic_state(values)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise wire.no_toxiproxy(self.url, str(values)) from error


def _path(proxy: str, toxic: str | None = None) -> str:
    path = f"/proxies/{checked_name('proxy', proxy)}"
    return path if toxic is None else f"{path}/toxics/{checked_name('toxic', toxic)}"


def _named(snapshot: Snapshot, links: Iterable[str] | None) -> Sequence[str]:
    return tuple(snapshot if links is None else links)


@contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except ToxiproxyError as error:
        if error.status != 404:
            raise
