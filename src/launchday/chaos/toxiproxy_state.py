"""Proxies and toxics as a server reports them: reading, comparing, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What the version of the server that comes with launchday ends in.
EMBEDDED = "-launchday"


@dataclass(frozen=True)
class ToxicState:
    """One toxic as the server reports it; `type` may be one that launchday does not know."""

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

    def toxic(self, name: str) -> ToxicState | None:
        """The toxic of that name, or None."""
        return next((toxic for toxic in self.toxics if toxic.name == name), None)


Snapshot = dict[str, ProxyState]


def proxy_state(values: Mapping[str, Any]) -> ProxyState:
    """Read a proxy; fields that are not known are passed over.

    Raises KeyError, TypeError, AttributeError or ValueError when it is none.
    """
    name, listen, upstream = values["name"], values["listen"], values["upstream"]
    enabled = values["enabled"]
    if not all(isinstance(text, str) for text in (name, listen, upstream)):
        raise TypeError("name, listen and upstream are text")
    if not isinstance(enabled, bool):
        raise TypeError("enabled is true or false")
    toxics = tuple(toxic_state(toxic) for toxic in values.get("toxics") or ())
    return ProxyState(name, listen, upstream, enabled, toxics)


def toxic_state(values: Mapping[str, Any]) -> ToxicState:
    """Read a toxic; raises as `proxy_state`."""
    return ToxicState(
        values["name"],
        values["type"],
        values["stream"],
        float(values["toxicity"]),
        dict(values.get("attributes") or {}),
    )


def same_address(one: str, other: str, *, no_host: str = "0.0.0.0") -> bool:
    """Whether two `host:port` are the same: `localhost:80` is the `127.0.0.1:80` that is shown.

    `no_host` is what an address without one means to the server. Other names are not looked up.
    """
    return _normal(one, no_host) == _normal(other, no_host)


def _normal(address: str, no_host: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    host = host.strip("[]").lower() or no_host
    if host in ("0.0.0.0", "::"):
        return "*", port
    return "127.0.0.1" if host == "localhost" else host, port


def differences(link: str, then: ProxyState, now: ProxyState | None) -> list[str]:
    """Say in sentences what is not as it was; empty when nothing is."""
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
