"""The proxies of the embedded Toxiproxy and every change to them, with the real one's refusals.

Source: the API of Toxiproxy 2.12.0, measured. One change is made at a time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from launchday.chaos.addresses import resolved, shown
from launchday.chaos.bodies import (
    PROXY_FIELDS,
    TOXIC_FIELDS,
    Refusal,
    attributes,
    decoded_array,
    decoded_object,
    fields,
    require,
)
from launchday.chaos.clock import Clock
from launchday.chaos.proxying import TcpProxy
from launchday.chaos.toxics import DEFAULTS, Toxic, objection


class Registry:
    """All proxies of one server. `seed` decides which connections a toxicity below 1 hits.

    Made inside a running event loop.
    """

    def __init__(self, *, seed: int) -> None:
        self.proxies: dict[str, TcpProxy] = {}
        self._seed = seed
        self._clock = Clock()
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
        values = fields(decoded_object(body), PROXY_FIELDS)
        require(values)
        async with self._lock:
            if values["name"] in self.proxies:
                raise Refusal(409, "proxy already exists")
            return await self._start(values)

    async def populate(self, body: bytes) -> list[TcpProxy]:
        """Create or replace proxies one by one; one that is the same is kept with its toxics."""
        done: list[TcpProxy] = []
        try:
            wanted = [fields(item, PROXY_FIELDS) for item in decoded_array(body)]
            for number, values in enumerate(wanted, start=1):
                require(values, f" at proxy {number}")
            async with self._lock:
                for values in wanted:
                    done.append(await self._put(values))
        except Refusal as refusal:
            shown = [proxy.describe() for proxy in done] or None
            raise Refusal(refusal.status, refusal.words, {"proxies": shown}) from refusal
        return done

    async def configure(self, config: bytes) -> None:
        """Populate from a config file, whose proxies may have toxics. Raises Refusal."""
        await self.populate(config)
        for item in decoded_array(config):
            for number, toxic in enumerate(_toxics(item), start=1):
                try:
                    self.add_toxic(item["name"], json.dumps(toxic).encode())
                except Refusal as refusal:
                    where = f"toxic {number} of the proxy {item['name']}: "
                    raise Refusal(refusal.status, where + refusal.words) from refusal

    async def update(self, name: str, body: bytes) -> TcpProxy:
        """Change listen, upstream, enabled; a changed address drops the connections."""
        self.proxy(name)
        values = fields(decoded_object(body), PROXY_FIELDS)
        async with self._lock:
            proxy = self.proxy(name)  # may be gone: the lock is held while a name is looked up
            enabled = values.get("enabled", proxy.enabled)
            listen = values.get("listen", proxy.listen)
            upstream = values.get("upstream", proxy.upstream)
            if not await _same_address(listen, proxy.listen) or upstream != proxy.upstream:
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
        raw = decoded_object(body)
        values = fields(raw, TOXIC_FIELDS)
        attributes(raw, {})  # that they are an object is checked before all else
        stream = values.get("stream", "downstream")
        if stream.lower() not in ("upstream", "downstream"):
            raise Refusal(400, "stream was invalid, can be either upstream or downstream")
        kind = values.get("type", "")
        if kind not in DEFAULTS:
            raise Refusal(400, "invalid toxic type")
        name = values.get("name") or f"{kind}_{stream}"
        if any(toxic.name == name for toxic in proxy.toxics):
            raise Refusal(409, "toxic already exists")
        toxicity = values.get("toxicity", 1.0)
        toxic = Toxic(name, kind, stream, toxicity, _allowed(raw, kind, DEFAULTS[kind]))
        proxy.set_toxics([*proxy.toxics, toxic])
        return toxic

    def update_toxic(self, proxy_name: str, name: str, body: bytes) -> Toxic:
        """Merge attributes and toxicity into a toxic; name, type and stream stay."""
        old = self.toxic(proxy_name, name)
        raw = decoded_object(body)
        toxicity = fields(raw, {"toxicity": float}).get("toxicity", old.toxicity)
        merged = _allowed(raw, old.type, old.attributes)
        new = replace(old, toxicity=toxicity, attributes=merged)
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
            same_listen = await _same_address(values.get("listen", ""), existing.listen)
            if same_listen and values["upstream"] == existing.upstream:
                return existing
            existing.stop()
        return await self._start(values)

    async def _start(self, values: Mapping[str, Any]) -> TcpProxy:
        name, listen, upstream = values["name"], values.get("listen", ""), values["upstream"]
        proxy = TcpProxy(name, listen, upstream, seed=self._seed, clock=self._clock)
        if values.get("enabled", True):
            await _listen(proxy)
        self.proxies[name] = proxy
        return proxy


async def _listen(proxy: TcpProxy) -> None:
    try:
        await proxy.start()
    except OSError as error:
        raise Refusal(500, str(error)) from error


async def _same_address(wanted: str, current: str) -> bool:
    """Whether a proxy that listens on `current` does what is wanted; 500 for no address."""
    try:
        # `localhost:http` is the `127.0.0.1:80` that a running proxy shows.
        return current in (wanted, shown((await resolved(wanted))[1]))
    except OSError as error:
        raise Refusal(500, str(error)) from error


def _allowed(raw: Mapping[str, Any], kind: str, current: Mapping[str, int]) -> dict[str, int]:
    """The attributes of a toxic after a change; 400 for those that crash the real server."""
    merged = attributes(raw, current)
    words = objection(kind, merged)
    if words:
        raise Refusal(400, f"bad request body: {words}")
    return merged


def _toxics(proxy: Mapping[str, Any]) -> list[Any]:
    toxics = proxy.get("toxics") or []
    if not isinstance(toxics, list):
        raise Refusal(400, f"the toxics of the proxy {proxy['name']} must be an array")
    return toxics
