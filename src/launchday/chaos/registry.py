"""The proxies of the embedded Toxiproxy and every change to them, with the real one's refusals.

Source: the API of Toxiproxy 2.12.0, measured. One change is made at a time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from launchday.chaos.proxying import TcpProxy
from launchday.chaos.stages import DEFAULTS, Toxic

LARGEST_INT = 2**63 - 1
PROXY_FIELDS: Mapping[str, type] = {"name": str, "listen": str, "upstream": str, "enabled": bool}
TOXIC_FIELDS: Mapping[str, type] = {"name": str, "type": str, "stream": str, "toxicity": float}
GO_NAMES = {
    str: "string",
    int: "number",
    float: "number",
    bool: "bool",
    dict: "object",
    list: "array",
}


class Refusal(Exception):
    """The API says no: `status` and the words of the real server; `extra` joins the body."""

    def __init__(self, status: int, words: str, extra: Mapping[str, object] | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.words = words
        self.extra = extra


class Registry:
    """All proxies of one server. `seed` decides which connections a toxicity below 1 hits."""

    def __init__(self, *, seed: int) -> None:
        self.proxies: dict[str, TcpProxy] = {}
        self._seed = seed
        self._lock = asyncio.Lock()

    def proxy(self, name: str) -> TcpProxy:
        """The proxy with this name; 404."""
        if name not in self.proxies:
            raise Refusal(404, "proxy not found")
        return self.proxies[name]

    def toxic(self, proxy: str, name: str) -> Toxic:
        """One toxic of a proxy; 404."""
        for toxic in self.proxy(proxy).toxics:
            if toxic.name == name:
                return toxic
        raise Refusal(404, "toxic not found")

    async def create(self, body: bytes) -> TcpProxy:
        """Create and start a proxy; 400, 409, 500."""
        values = _fields(_object(body), PROXY_FIELDS)
        _require(values, "")
        async with self._lock:
            if values["name"] in self.proxies:
                raise Refusal(409, "proxy already exists")
            return await self._start(values)

    async def populate(self, body: bytes) -> list[TcpProxy]:
        """Create or replace proxies one by one; one that is the same is kept with its toxics."""
        done: list[TcpProxy] = []
        try:
            wanted = [_fields(item, PROXY_FIELDS) for item in _array(body)]
            for number, values in enumerate(wanted, start=1):
                _require(values, f" at proxy {number}")
            async with self._lock:
                for values in wanted:
                    done.append(await self._put(values))
        except Refusal as refusal:
            shown = [proxy.describe() for proxy in done] or None
            raise Refusal(refusal.status, refusal.words, {"proxies": shown}) from refusal
        return done

    async def update(self, name: str, body: bytes) -> TcpProxy:
        """Change listen, upstream, enabled; a changed address drops the connections."""
        proxy = self.proxy(name)
        values = _fields(_object(body), PROXY_FIELDS)
        async with self._lock:
            enabled = values.get("enabled", proxy.enabled)
            listen = values.get("listen", proxy.listen)
            upstream = values.get("upstream", proxy.upstream)
            if not _same_address(listen, proxy.listen) or upstream != proxy.upstream:
                proxy.stop()
                proxy.listen, proxy.upstream = listen, upstream
            if enabled and not proxy.enabled:
                await _listen(proxy)
            elif not enabled and proxy.enabled:
                proxy.stop()
        return proxy

    async def delete(self, name: str) -> None:
        """Stop and forget a proxy; 404."""
        async with self._lock:
            self.proxy(name).stop()
            del self.proxies[name]

    async def reset(self) -> None:
        """Enable all proxies and remove all toxics; goes on after an error, then says it (500)."""
        refusals: list[Refusal] = []
        async with self._lock:
            for proxy in self.proxies.values():
                proxy.set_toxics([])
                try:
                    if not proxy.enabled:
                        await _listen(proxy)
                except Refusal as refusal:
                    refusals.append(refusal)
        if refusals:
            raise refusals[0]

    def add_toxic(self, proxy_name: str, body: bytes) -> Toxic:
        """Add a toxic, also to live connections; 400, 404, 409."""
        proxy = self.proxy(proxy_name)
        raw = _object(body)
        values = _fields(raw, TOXIC_FIELDS)
        stream = values.get("stream") or "downstream"
        if stream.lower() not in ("upstream", "downstream"):
            raise Refusal(400, "stream was invalid, can be either upstream or downstream")
        kind = values.get("type", "")
        if kind not in DEFAULTS:
            raise Refusal(400, "invalid toxic type")
        name = values.get("name") or f"{kind}_{stream}"
        attributes = _attributes(raw, DEFAULTS[kind])
        if any(toxic.name == name for toxic in proxy.toxics):
            raise Refusal(409, "toxic already exists")
        toxic = Toxic(name, kind, stream, values.get("toxicity", 1.0), attributes)
        proxy.set_toxics([*proxy.toxics, toxic])
        return toxic

    def update_toxic(self, proxy_name: str, name: str, body: bytes) -> Toxic:
        """Merge attributes and toxicity into a toxic; name, type and stream stay."""
        old = self.toxic(proxy_name, name)
        raw = _object(body)
        toxicity = _fields(raw, TOXIC_FIELDS).get("toxicity", old.toxicity)
        new = replace(old, toxicity=toxicity, attributes=_attributes(raw, old.attributes))
        proxy = self.proxy(proxy_name)
        proxy.set_toxics([new if toxic is old else toxic for toxic in proxy.toxics])
        return new

    def remove_toxic(self, proxy_name: str, name: str) -> None:
        """Remove a toxic; 404."""
        old = self.toxic(proxy_name, name)
        proxy = self.proxy(proxy_name)
        proxy.set_toxics([toxic for toxic in proxy.toxics if toxic is not old])

    async def _put(self, values: Mapping[str, Any]) -> TcpProxy:
        existing = self.proxies.get(values["name"])
        if existing is not None:
            same_listen = _same_address(values.get("listen", ""), existing.listen)
            if same_listen and values["upstream"] == existing.upstream:
                return existing
            existing.stop()
        return await self._start(values)

    async def _start(self, values: Mapping[str, Any]) -> TcpProxy:
        name, listen, upstream = values["name"], values.get("listen", ""), values["upstream"]
        proxy = TcpProxy(name, listen, upstream, seed=self._seed)
        if values.get("enabled", True):
            await _listen(proxy)
        self.proxies[name] = proxy
        return proxy


async def _listen(proxy: TcpProxy) -> None:
    try:
        await proxy.start()
    except OSError as error:
        raise Refusal(500, str(error)) from error


def _same_address(wanted: str, current: str) -> bool:
    # `localhost:80` is the `127.0.0.1:80` that a running proxy shows.
    return wanted == current or wanted.replace("localhost:", "127.0.0.1:") == current


def _decoded(body: bytes) -> Any:
    if not body.strip():
        raise Refusal(400, "bad request body: EOF")
    try:
        return json.loads(body)
    except ValueError as error:
        raise Refusal(400, f"bad request body: {error}") from error


def _object(body: bytes) -> dict[str, Any]:
    values = _decoded(body)
    if not isinstance(values, dict):
        raise _unfit("body", values, "object")
    return values


def _array(body: bytes) -> list[dict[str, Any]]:
    values = _decoded(body)
    if not isinstance(values, list):
        raise _unfit("body", values, "array")
    for item in values:
        if not isinstance(item, dict):
            raise _unfit("proxy", item, "object")
    return values


def _fields(values: Mapping[str, Any], known: Mapping[str, type]) -> dict[str, Any]:
    """The known fields of a body, checked; null counts as absent."""
    fields: dict[str, Any] = {}
    for name, kind in known.items():
        value = values.get(name)
        if value is None:
            continue
        fits = type(value) in (int, float) if kind is float else type(value) is kind
        if not fits:
            raise _unfit(name, value, "float32" if kind is float else GO_NAMES[kind])
        fields[name] = value
    return fields


def _attributes(values: Mapping[str, Any], current: Mapping[str, int]) -> dict[str, int]:
    given = values.get("attributes") or {}
    if not isinstance(given, dict):
        raise _unfit("attributes", given, "object")
    attributes = dict(current)
    for name in current.keys() & given.keys():
        value = given[name]
        if type(value) is not int or not -LARGEST_INT <= value <= LARGEST_INT:
            raise _unfit(f"attributes.{name}", value, "int64")
        attributes[name] = value
    return attributes


def _require(values: Mapping[str, Any], where: str) -> None:
    for name in ("name", "upstream"):
        if not values.get(name):
            raise Refusal(400, f"missing required field: {name}{where}")


def _unfit(name: str, value: object, wanted: str) -> Refusal:
    got = GO_NAMES.get(type(value), "null")
    if got == "number":
        got = f"number {value}"
    words = f"bad request body: json: cannot unmarshal {got} into field {name} of type {wanted}"
    return Refusal(400, words)
