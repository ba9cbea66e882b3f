"""Actions for Chaos Toolkit: faults on the links of a Toxiproxy, with arguments as in chaostoxi.

Every action raises when it fails, so that Chaos Toolkit marks it failed. Which Toxiproxy is meant
says `toxiproxy_url` in the experiment's configuration, or TOXIPROXY_URL, else it is
http://127.0.0.1:8474. `ttl` (seconds, default 10, at least 1): a fault is undone by a process of
its own at once when `chaos run` ends without having done it, also by `kill -9`, and after `ttl`
when the whole process stands still (stopped, or its machine asleep). An activity that waits for
ever is no such case, a thread beside it shows that the process lives: give activities timeouts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from launchday.chaos.lease import LEASE_SECONDS, Undo
from launchday.chaos.toolkit.holding import Configuration, Holding, holding, require_clean
from launchday.chaos.toxiproxy_errors import ToxicNotFound
from launchday.errors import ToxiproxyError

__all__ = [
    "create_toxic",
    "delete_toxic",
    "disable_proxy",
    "enable_proxy",
    "require_clean_links",
    "restore_links",
    "update_toxic",
]


def require_clean_links(links: list[str], configuration: Configuration = None) -> list[str]:
    """Refuse to start on links that are missing, disabled or have toxics; note their state."""
    require_clean(holding(configuration), links)
    return links


def create_toxic(
    for_proxy: str,
    toxic_name: str,
    toxic_type: str,
    stream: str = "downstream",
    toxicity: float = 1.0,
    attributes: Mapping[str, int] | None = None,
    ttl: float = LEASE_SECONDS,
    configuration: Configuration = None,
) -> dict[str, Any]:
    """Add a toxic and read it back; `toxicity` is the share of connections that it hits.

    Raises ToxicExists when the link has one of that name, which stays.
    """
    here = holding(configuration)

    def add() -> None:
        here.toxiproxy.add_toxic(for_proxy, toxic_name, toxic_type, stream, toxicity, attributes)

    here.apply(Undo(for_proxy, toxic_name), ttl, add)
    return asdict(here.toxiproxy.toxic(for_proxy, toxic_name))


def update_toxic(
    for_proxy: str,
    toxic_name: str,
    attributes: Mapping[str, int] | None = None,
    toxicity: float | None = None,
    configuration: Configuration = None,
) -> dict[str, Any]:
    """Change attributes and toxicity of a toxic, on live connections too; the rest stays."""
    toxiproxy = holding(configuration).toxiproxy
    return asdict(toxiproxy.update_toxic(for_proxy, toxic_name, attributes, toxicity))


def delete_toxic(
    for_proxy: str,
    toxic_name: str,
    missing_ok: bool = False,
    configuration: Configuration = None,
) -> None:
    """Remove a toxic. One that is not there is a failure: somebody ended the fault too early.

    In a rollback, where it may be gone already, say `missing_ok: true`.
    """
    here = holding(configuration)
    try:
        here.toxiproxy.toxic(for_proxy, toxic_name)
    except ToxicNotFound as error:
        here.released(Undo(for_proxy, toxic_name))
        if missing_ok:
            return
        raise ToxiproxyError(
            f"the toxic {toxic_name!r} was gone from {for_proxy!r} before its time", 404
        ) from error
    here.toxiproxy.remove_toxic(for_proxy, toxic_name)
    here.released(Undo(for_proxy, toxic_name))


def disable_proxy(
    proxy_name: str, ttl: float = LEASE_SECONDS, configuration: Configuration = None
) -> None:
    """Take a link down: new connections are refused, live ones are closed.

    Raises ToxiproxyError when it is down already.
    """
    here = holding(configuration)
    here.apply(Undo(proxy_name, None), ttl, lambda: here.toxiproxy.set_enabled(proxy_name, False))
    _require_enabled(here, proxy_name, False)


def enable_proxy(proxy_name: str, configuration: Configuration = None) -> None:
    """Let a link listen again."""
    here = holding(configuration)
    here.toxiproxy.set_enabled(proxy_name, True)
    _require_enabled(here, proxy_name, True)
    here.released(Undo(proxy_name, None))


def restore_links(configuration: Configuration = None) -> None:
    """Undo every fault of this run and verify that its links are as they were before.

    Does nothing when nothing was done: a rollback for every experiment. Raises ToxiproxyError that
    says what is left. Other toxics are reported, not removed.
    """
    left = holding(configuration).restore()
    if left:
        raise ToxiproxyError(f"faults left behind: {'; '.join(left)}")


def _require_enabled(here: Holding, proxy_name: str, wanted: bool) -> None:
    if here.toxiproxy.proxy(proxy_name).enabled != wanted:
        state = "disabled" if wanted else "enabled"
        raise ToxiproxyError(f"the link {proxy_name!r} is still {state}")
