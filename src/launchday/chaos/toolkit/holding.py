"""What this process has broken on one Toxiproxy, with a janitor for each fault.

A process of Chaos Toolkit runs one experiment, activity by activity: what they must know of each
other is kept here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from launchday.chaos.faults import Fault
from launchday.chaos.lease import Lease, LeaseLostError, Undo, held, undo_all
from launchday.chaos.probe import EffectProbe
from launchday.chaos.toxiproxy import Snapshot, Toxiproxy
from launchday.chaos.toxiproxy_errors import ToxicExists
from launchday.errors import ToxiproxyError

DEFAULT_URL = "http://127.0.0.1:8474"
LEAST_TTL_SECONDS = 1.0
UNDO_SECONDS = 10.0
_BEAT_SECONDS = 0.2

Configuration = Mapping[str, Any] | None


class Holding:
    """The faults of this process on one Toxiproxy, their janitors, and the state before them."""

    def __init__(self, url: str) -> None:
        self.toxiproxy = Toxiproxy(url)
        self.probes: dict[tuple[str, str], tuple[Fault, EffectProbe]] = {}
        self._before: Snapshot = {}
        self._in_doubt: list[str] = []
        self._held: dict[Undo, tuple[Lease, ExitStack]] = {}
        # Activities may run in the background, and the heart beats in a thread.
        self._lock = threading.RLock()
        self._heart: threading.Thread | None = None

    def remember(self, link: str) -> None:
        """Note the state of `link` to come back to, the first time. Raises ToxiproxyError."""
        with self._lock:
            if link not in self._before:
                self._before[link] = self.toxiproxy.proxy(link)

    def apply(self, undo: Undo, ttl: float, do: Callable[[], None]) -> None:
        """Break something: first a janitor that runs `undo`, then `do`.

        The janitor acts when this process ends, or gives no sign of life for `ttl` seconds.
        Raises what `do` raises, the fault undone: by the janitor, when there was no answer. Raises
        ToxiproxyError, and nothing is touched, when the fault is there already.
        """
        if not ttl >= LEAST_TTL_SECONDS:
            raise ValueError(f"ttl must be {LEAST_TTL_SECONDS:g} s or more, got {ttl!r}")
        with self._lock:
            self._refuse_what_is_there(undo)
            self.remember(undo.link)
            janitor = ExitStack()
            lease = janitor.enter_context(held(self.toxiproxy.url, [undo], lease_seconds=ttl))
            self._held[undo] = (lease, janitor)
            self._start_heart()
            try:
                with lease.asking():
                    do()
            except Exception as error:
                # What was refused was not done: of that name there is only somebody else's.
                refused = isinstance(error, ValueError) or _is_refusal(error)
                if refused or lease.unanswered:
                    self.released(undo)
                else:
                    self._undo(undo)
                raise

    def _refuse_what_is_there(self, undo: Undo) -> None:
        """Its undo would take away what somebody else, or an earlier action, did."""
        by = "this experiment" if undo in self._held else "somebody else"
        state = self.toxiproxy.proxy(undo.link)
        if undo.toxic is None and (undo in self._held or not state.enabled):
            raise ToxiproxyError(f"the link {undo.link!r} is already disabled by {by}")
        if undo.toxic and (undo in self._held or state.toxic(undo.toxic)):
            raise ToxicExists(f"{undo.link!r} has a toxic {undo.toxic!r} already, by {by}", 409)

    def released(self, undo: Undo) -> None:
        """The fault is undone: its janitor need not act, unless a request may still arrive."""
        with self._lock:
            lease, janitor = self._held.pop(undo, (None, None))
            if lease is None or janitor is None:
                return
            if lease.unanswered:
                self._in_doubt.append(
                    f"the Toxiproxy did not answer when {undo.link!r} was broken, which may still "
                    "come: a janitor undoes it for a while"
                )
            else:
                lease.release()
            janitor.close()

    def restore(self) -> list[str]:
        """Undo all that is still broken; say in sentences what differs from the state before."""
        with self._lock:
            errors = [error for undo in reversed(list(self._held)) for error in self._undo(undo)]
            errors += self._in_doubt
            if errors or not self._before:
                return errors
            return self.toxiproxy.residual(self._before)

    def _undo(self, undo: Undo) -> list[str]:
        errors = undo_all(self.toxiproxy, [undo], UNDO_SECONDS)
        if not errors:
            self.released(undo)
        return errors

    def _start_heart(self) -> None:
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="launchday-lease", daemon=True)
            self._heart.start()

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(_BEAT_SECONDS):
            for lease, _ in list(self._held.values()):
                try:
                    lease.beat()
                except (LeaseLostError, OSError, ValueError):
                    continue  # whoever reads the toxic next finds that it is gone


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, ToxiproxyError) and 400 <= (error.status or 0) < 500


_holdings: dict[str, Holding] = {}


def holding(configuration: Configuration) -> Holding:
    """That of the Toxiproxy that the configuration names.

    `toxiproxy_url` of the experiment's configuration, else TOXIPROXY_URL of the environment, else
    http://127.0.0.1:8474. Raises ToxiproxyError when it is no URL.
    """
    configured = (configuration or {}).get("toxiproxy_url")
    url = str(configured or os.environ.get("TOXIPROXY_URL") or DEFAULT_URL)
    if url not in _holdings:
        _holdings[url] = Holding(url)
    return _holdings[url]


def require_clean(held_by: Holding, links: list[str]) -> None:
    """Refuse links that are not there, are disabled or have toxics. Raises ToxiproxyError."""
    url, proxies = held_by.toxiproxy.url, held_by.toxiproxy.proxies()
    for link in links:
        if link not in proxies:
            known = ", ".join(sorted(proxies)) or "none"
            raise ToxiproxyError(f"no link {link!r} in Toxiproxy at {url}; it has {known}")
        left = [f"the toxic {toxic.name!r}" for toxic in proxies[link].toxics]
        left += [] if proxies[link].enabled else ["it is disabled"]
        if left:
            raise ToxiproxyError(
                f"link {link!r} is not clean: {', '.join(left)}; "
                f"`launchday chaos clear --toxiproxy {url}` removes what launchday left"
            )
        held_by.remember(link)
