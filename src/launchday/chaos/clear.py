"""Finds and removes what runs left behind on a Toxiproxy, without their conductor or janitor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from launchday.chaos.lease_file import OUR_PREFIX, FoundLease, Undo, found, remove
from launchday.chaos.toxiproxy import ProxyState, Toxiproxy
from launchday.errors import ToxiproxyError


@dataclass(frozen=True)
class Leftover:
    """A toxic on a link, or (`toxic` None) a link that is disabled.

    `mine`: a run of launchday did it. `running`: that run still goes on. `words` say what it is.
    """

    link: str
    toxic: str | None
    words: str
    mine: bool
    running: bool

    def __str__(self) -> str:
        """For people: `gateway: the toxic launchday-r1-1 (latency 400 ms downstream)`."""
        what = "disabled" if self.toxic is None else f"the toxic {self.toxic}"
        return f"{self.link}: {what}" + (f" ({self.words})" if self.words else "")


@dataclass(frozen=True)
class Cleared:
    """What `clear` removed (or would have), and what it left alone."""

    removed: tuple[Leftover, ...]
    left_alone: tuple[Leftover, ...]


def leftovers(toxiproxy: Toxiproxy, link: str | None = None) -> list[Leftover]:
    """Every toxic and every disabled link there (or of `link` only). Raises ToxiproxyError."""
    proxies = toxiproxy.proxies()
    if link is not None and link not in proxies:
        known = ", ".join(sorted(proxies)) or "none"
        raise ToxiproxyError(f"no link {link!r} in Toxiproxy at {toxiproxy.url}; it has {known}")
    leases = found(toxiproxy.url)
    return [
        leftover
        for name, proxy in sorted(proxies.items())
        if link in (None, name)
        for leftover in _of(proxy, leases)
    ]


def _of(proxy: ProxyState, leases: Sequence[FoundLease]) -> Iterator[Leftover]:
    if not proxy.enabled:
        by = [lease for lease in leases if lease.disables(proxy.name)]
        yield Leftover(proxy.name, None, "", bool(by), any(lease.is_held for lease in by))
    for toxic in proxy.toxics:
        by = [lease for lease in leases if _has(lease, proxy.name, toxic.name)]
        # The name is enough: the lease may have been on another machine.
        mine = bool(by) or toxic.name.startswith(OUR_PREFIX)
        sizes = " ".join(f"{name}={value}" for name, value in sorted(toxic.attributes.items()))
        words = f"{toxic.type} {sizes} {toxic.stream}"
        yield Leftover(proxy.name, toxic.name, words, mine, any(lease.is_held for lease in by))


def _has(lease: FoundLease, link: str, toxic: str) -> bool:
    return any((undo.link, undo.toxic) == (link, toxic) for undo in lease.state.undos)


def clear(
    toxiproxy: Toxiproxy,
    *,
    link: str | None = None,
    everything: bool = False,
    dry_run: bool = False,
) -> Cleared:
    """Remove our toxics and enable the links that we disabled, unless their run goes on.

    `everything`: also those of others, and of runs that go on. `link`: on this one only.
    `dry_run`: only say what would be done. Raises ToxiproxyError: no answer, or something is still
    there afterwards.
    """
    there = leftovers(toxiproxy, link)
    removed = [each for each in there if everything or (each.mine and not each.running)]
    left_alone = tuple(each for each in there if each not in removed)
    if dry_run:
        return Cleared(tuple(removed), left_alone)
    for each in removed:
        Undo(each.link, each.toxic)(toxiproxy)
    still = [each for each in leftovers(toxiproxy, link) if each in removed]
    if still:
        raise ToxiproxyError(f"still there: {'; '.join(map(str, still))}")
    _forget_leases(toxiproxy)
    return Cleared(tuple(removed), left_alone)


def _forget_leases(toxiproxy: Toxiproxy) -> None:
    """Remove the files of ended runs of which nothing is left."""
    left = {(each.link, each.toxic) for each in leftovers(toxiproxy)}
    remove(
        [
            lease.path
            for lease in found(toxiproxy.url)
            if not lease.is_held
            and not any((undo.link, undo.toxic) in left for undo in lease.state.undos)
        ]
    )
