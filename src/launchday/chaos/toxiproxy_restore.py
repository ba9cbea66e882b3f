"""The way back to a snapshot, one change at a time; never `/reset`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from launchday.chaos.toxiproxy_state import ProxyState, Snapshot, ToxicState
from launchday.errors import ToxiproxyError

if TYPE_CHECKING:
    from launchday.chaos.toxiproxy import Toxiproxy

Step = Callable[[], object]


def restored(toxiproxy: Toxiproxy, snapshot: Snapshot, links: Iterable[str]) -> list[str]:
    """Do what `Toxiproxy.restore` says. Raises ToxiproxyError when the state cannot be read."""
    links = tuple(links)
    now = toxiproxy.proxies()
    refused = []
    for link in links:
        for step in _steps(toxiproxy, snapshot[link], now.get(link)):
            try:
                step()
            except (ToxiproxyError, ValueError) as error:
                refused.append(str(error))
    return refused + toxiproxy.residual(snapshot, links)


def _steps(toxiproxy: Toxiproxy, then: ProxyState, now: ProxyState | None) -> Iterator[Step]:
    name = then.name
    if now is None:
        # Its toxics must be there before the first connection is.
        yield partial(
            toxiproxy.create_proxy, name, then.listen, then.upstream, enabled=not then.toxics
        )
    elif (now.listen, now.upstream) != (then.listen, then.upstream):
        yield partial(
            toxiproxy.update_proxy, name, listen=then.listen, upstream=then.upstream, enabled=False
        )
    yield from _toxic_steps(toxiproxy, then, now.toxics if now else ())
    yield partial(_set_enabled, toxiproxy, then)


def _set_enabled(toxiproxy: Toxiproxy, then: ProxyState) -> None:
    if toxiproxy.proxy(then.name).enabled != then.enabled:
        toxiproxy.set_enabled(then.name, then.enabled)


def _toxic_steps(
    toxiproxy: Toxiproxy, then: ProxyState, now: tuple[ToxicState, ...]
) -> Iterator[Step]:
    there = {toxic.name: toxic for toxic in now}
    wanted = {toxic.name: toxic for toxic in then.toxics}
    for toxic in now:
        if not _same_kind(toxic, wanted.get(toxic.name)):
            yield partial(toxiproxy.remove_toxic, then.name, toxic.name)
    for toxic in then.toxics:
        if not _same_kind(toxic, there.get(toxic.name)):
            yield partial(_add, toxiproxy, then.name, toxic)
        elif toxic != there[toxic.name]:
            yield partial(
                toxiproxy.update_toxic, then.name, toxic.name, toxic.attributes, toxic.toxicity
            )


def _same_kind(one: ToxicState, other: ToxicState | None) -> bool:
    """Whether an update is enough: type and stream of a toxic never change."""
    return other is not None and (one.type, one.stream) == (other.type, other.stream)


def _add(toxiproxy: Toxiproxy, proxy: str, toxic: ToxicState) -> None:
    toxiproxy.add_toxic(
        proxy, toxic.name, toxic.type, toxic.stream, toxic.toxicity, toxic.attributes
    )
