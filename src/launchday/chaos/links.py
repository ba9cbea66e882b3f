"""Links of a service of your own: the proxies that launchday.toml names, made so on a Toxiproxy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from launchday.chaos.faults import checked_name
from launchday.chaos.toxiproxy import ProxyState, Snapshot, Toxiproxy
from launchday.chaos.toxiproxy_errors import CannotListen
from launchday.chaos.toxiproxy_state import EMBEDDED, same_address
from launchday.errors import PreflightError

_HOST = r"\[[0-9A-Fa-f:.%\w]+\]|[A-Za-z0-9_.-]+"
_ADDRESS = re.compile(rf"({_HOST}|):(\d{{1,5}})")


def checked_address(argument: str, value: object) -> str:
    """Return `value` when it is a `host:port` that a proxy can have, else raise ValueError.

    Port 0 is refused: it would be another port each time. Without a host `listen` is every
    address of the machine that Toxiproxy runs on, and 127.0.0.1 to the embedded one.
    """
    if isinstance(value, str) and "//" in value:
        raise ValueError(f"{argument} must be host:port without http://, got {value!r}")
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 1 <= int(found[2]) <= 65535:
        raise ValueError(
            f"{argument} must be host:port with a port of 1 to 65535, like 127.0.0.1:9001, "
            f"got {value!r}"
        )
    if not found[1] and argument == "upstream":
        raise ValueError(f"upstream must name a host, like 127.0.0.1{value}, got {value!r}")
    return found[0]


@dataclass(frozen=True)
class Link:
    """One link: clients connect to `listen`, Toxiproxy to `upstream`. Raises ValueError."""

    name: str
    listen: str
    upstream: str

    def __post_init__(self) -> None:
        checked_name("the name of a link", self.name)
        checked_address("listen", self.listen)
        checked_address("upstream", self.upstream)


@dataclass(frozen=True)
class AppliedLink:
    """What was done for one link, and what it is now; `changes` are sentences."""

    link: Link
    done: Literal["created", "updated", "kept"]
    changes: tuple[str, ...]
    proxy: ProxyState


def apply_links(toxiproxy: Toxiproxy, links: Sequence[Link]) -> list[AppliedLink]:
    """Create the links that are not there, change those with other addresses, keep the rest.

    A link that is kept keeps its toxics and connections, one that is changed its toxics.
    Other words for the same address change nothing: `localhost`, a name, no host. Proxies that are
    no link here are not touched.

    Raises PreflightError: two links or another proxy listen at the same address (nothing was
    done), or a port is taken (says what was done before; the link itself is as it was).
    """
    before = toxiproxy.proxies()
    no_host = "127.0.0.1" if toxiproxy.version().endswith(EMBEDDED) else "0.0.0.0"
    _refuse_same_listen(before, links, no_host)
    applied: list[AppliedLink] = []
    for link in links:
        try:
            applied.append(_apply(toxiproxy, link, before.get(link.name), no_host))
        except CannotListen as error:
            if link.name in before:
                toxiproxy.restore(before, [link.name])
            raise _cannot_listen(link, error, applied) from error
    return applied


def _apply(toxiproxy: Toxiproxy, link: Link, now: ProxyState | None, no_host: str) -> AppliedLink:
    if now is None:
        made = toxiproxy.create_proxy(link.name, link.listen, link.upstream)
        return AppliedLink(link, "created", (), made)
    same_listen = same_address(link.listen, now.listen, no_host=no_host)
    listen = None if same_listen else link.listen
    upstream = None if same_address(link.upstream, now.upstream) else link.upstream
    if listen is None and upstream is None:
        return AppliedLink(link, "kept", (), now)
    changed = toxiproxy.update_proxy(
        link.name, listen=listen, upstream=upstream, enabled=now.enabled
    )
    # Only the server knows what a name is in its network: it compares, and may have kept all.
    changes = [f"listen was {now.listen}"] if changed.listen != now.listen else []
    changes += [f"upstream was {now.upstream}"] if changed.upstream != now.upstream else []
    return AppliedLink(link, "updated" if changes else "kept", tuple(changes), changed)


def _refuse_same_listen(before: Snapshot, links: Sequence[Link], no_host: str) -> None:
    names = {link.name for link in links}
    taken = {proxy.name: proxy.listen for proxy in before.values() if proxy.name not in names}
    for link in links:
        for other, listen in taken.items():
            if same_address(link.listen, listen, no_host=no_host):
                raise PreflightError(
                    f"link {link.name!r} cannot listen at {link.listen}: {other!r} does; give one "
                    "of them another port"
                )
        taken[link.name] = link.listen


def _cannot_listen(
    link: Link, error: CannotListen, applied: Sequence[AppliedLink]
) -> PreflightError:
    done = ", ".join(each.link.name for each in applied)
    before = f" ({done} came before it and stays)" if done else ""
    taken = "the port is in use" if "in use" in str(error) else str(error)
    return PreflightError(
        f"link {link.name!r} cannot listen at {link.listen}: {taken}; choose another address for "
        f"links.{link.name}.listen in launchday.toml{before}"
    )
