"""Undoes faults when their conductor is killed or hangs: run as `python janitor.py LEASE`.

It holds the reading end of a pipe. A beat on it means: the conductor moves; `ASKS`: a request that
breaks something goes out, `ANSWERED`: it is no longer on its way. `released` means: all is undone
and verified. The end of the pipe without that word, or no beat for the time of the lease, means:
the conductor is gone, hangs, or could not undo; clean up, and stay until what may still have been
on its way has arrived and is undone, too. Standard library only, and no import of launchday: it
starts at the peak of a run, and must not take time from it.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

RELEASED = b"released\n"
ASKS = b"?"
ANSWERED = b"!"
# A network that is away for a while must not make a fault of a minute one for good.
CLEAN_UP_SECONDS = 3600.0
RETRY_SECONDS = 0.25
MOST_RETRY_SECONDS = 5.0
# When it says for the first time that the Toxiproxy cannot be cleaned.
COMPLAIN_SECONDS = 15.0
_TIMEOUT_SECONDS = 5.0

# A fault: a link with the name of a toxic, or with None when the link is disabled.
Broken = tuple[str, str | None]


class NotUndoneError(Exception):
    """The Toxiproxy does not answer, or refuses."""


class BareToxiproxy:
    """A few calls to the Toxiproxy at `url`; each raises NotUndoneError when it did not work.

    A user and password in `url` are sent as HTTP's basic authorization, as `requests` does.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        default = 443 if self._url.scheme == "https" else 80
        self._address = self._url.hostname or "", self._url.port or default

    def set_enabled(self, proxy: str, enabled: bool) -> None:
        """Listen, or refuse new connections. Servers before 2.6 know no PATCH; all know POST."""
        self._ask("POST", f"/proxies/{proxy}", json.dumps({"enabled": enabled}))

    def remove_toxic(self, proxy: str, name: str) -> None:
        """Remove a toxic; one that is already gone is fine, and so is a proxy that is."""
        self._ask("DELETE", f"/proxies/{proxy}/toxics/{name}")

    def broken(self) -> set[Broken]:
        """Every toxic and every disabled link that is there."""
        try:
            proxies = json.loads(self._ask("GET", "/proxies"))
            return {(link, name) for link, proxy in proxies.items() for name in _broken_in(proxy)}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotUndoneError(f"{self._url.hostname} answers, but is no Toxiproxy") from error

    def is_gone(self) -> bool:
        """Whether nobody listens at the url: the connection is refused."""
        import socket

        try:
            socket.create_connection(self._address, _TIMEOUT_SECONDS).close()
        except OSError as error:
            return isinstance(error, ConnectionRefusedError)
        return False

    def _ask(self, method: str, path: str, body: str | None = None) -> bytes:
        # Only when there is something to clean up: it takes longer than all the rest here.
        import http.client

        secure = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(*self._address, timeout=_TIMEOUT_SECONDS)
        try:
            whole = self._url.path.rstrip("/") + path
            connection.request(method, whole, body, self._authorization())
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise NotUndoneError(f"Toxiproxy does not answer {method} {path}: {error}") from error
        finally:
            connection.close()
        if status >= 400 and status != 404:
            raise NotUndoneError(f"Toxiproxy refuses {method} {path} with {status}")
        return content

    def _authorization(self) -> dict[str, str]:
        if self._url.username is None:
            return {}
        import base64

        words = f"{unquote(self._url.username)}:{unquote(self._url.password or '')}"
        token = base64.b64encode(words.encode("latin-1", "replace")).decode()
        return {"Authorization": f"Basic {token}"}


def _broken_in(proxy: dict[str, Any]) -> list[str | None]:
    names: list[str | None] = [toxic["name"] for toxic in proxy.get("toxics") or ()]
    return names if proxy["enabled"] else [*names, None]


def wait_for_the_end(pipe: int, lease_seconds: float) -> tuple[str | None, bool]:
    """Follow the beats until it is time to clean up: why, and whether a request has no answer.

    The first is None when the lease was released.
    """
    last, unanswered = b"", 0
    while select.select([pipe], [], [], lease_seconds)[0]:
        data = os.read(pipe, 4096)
        if not data:
            why = None if last.endswith(RELEASED) else "the run ended without undoing its faults"
            return why, unanswered > 0
        unanswered += data.count(ASKS) - data.count(ANSWERED)
        last = (last + data)[-len(RELEASED) :]
    return f"the run has not moved for {lease_seconds:g} s", unanswered > 0


class Cleaning:
    """Undoes the faults of the lease in the file `path`, and looks whether they come back.

    `quiet_seconds`: for how long none of them must have been there. `complain` gets a sentence
    when it takes long. Afterwards `clean_unix` says since when they are gone.
    """

    def __init__(
        self,
        toxiproxy: BareToxiproxy,
        path: str,
        lease: dict[str, Any],
        quiet_seconds: float,
        complain: Callable[[str], None],
    ) -> None:
        self.clean_unix = 0.0
        self._toxiproxy = toxiproxy
        self._path = path
        self._url: str = lease["url"]
        self._owned: bool = lease["owned"]
        self._quiet_seconds = quiet_seconds
        self._complain = complain
        self._ours: set[Broken] = {(link, toxic) for link, toxic, _ in lease["undos"]}
        self._began_unix = time.time()
        self._clean_since: float | None = None
        self._was_clean = False

    def run(self) -> list[str]:
        """Try until all has been gone for long enough; say what did not work.

        Gives up after an hour, and before that when it was in vain: the Toxiproxy ended with its
        owner, or somebody else removed the lease and so did the work.
        """
        began, pause, complained = time.monotonic(), RETRY_SECONDS, False
        while True:
            errors = self._round()
            now = time.monotonic()
            if not errors and self._is_over(now):
                return []
            if now - began >= CLEAN_UP_SECONDS or (errors and self._is_in_vain()):
                return errors
            if errors and now - began >= COMPLAIN_SECONDS and not complained:
                complained = True
                self._complain("; ".join(errors))
            time.sleep(pause)
            pause = min(2 * pause, MOST_RETRY_SECONDS) if errors else RETRY_SECONDS

    def is_gone(self) -> bool:
        """Whether the Toxiproxy ended with the run that owned it."""
        return self._owned and self._toxiproxy.is_gone()

    def _is_over(self, now: float) -> bool:
        return self._clean_since is not None and now - self._clean_since >= self._quiet_seconds

    def _is_in_vain(self) -> bool:
        return self.is_gone() or not os.path.exists(self._path)

    def _round(self) -> list[str]:
        """Look, and undo what is there."""
        errors = []
        try:
            there = self._ours & self._toxiproxy.broken()
        except NotUndoneError as error:
            # It may still take what it cannot show.
            there, errors = self._ours, [str(error)]
        if there and self._was_clean:
            there = there - self._taken_over()
        errors += [error for fault in there for error in self._undo(*fault)]
        if there:
            self._clean_since = None
        elif self._clean_since is None:
            self._clean_since, self.clean_unix, self._was_clean = (
                time.monotonic(),
                time.time(),
                True,
            )
        return errors

    def _undo(self, link: str, toxic: str | None) -> list[str]:
        try:
            if toxic is None:
                self._toxiproxy.set_enabled(link, True)
            else:
                self._toxiproxy.remove_toxic(link, toxic)
        except NotUndoneError as error:
            return [str(error)]
        return []

    def _taken_over(self) -> set[Broken]:
        """Faults of ours that a later lease has as well: they came back on purpose."""
        folder, mine = os.path.split(self._path)
        taken: set[Broken] = set()
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            with suppress(OSError, ValueError, KeyError, TypeError):
                if name == mine or os.stat(path).st_mtime < self._began_unix:
                    continue
                with open(path, encoding="utf-8") as file:
                    other = json.load(file)
                if urlsplit(other["url"]).port == urlsplit(self._url).port:
                    taken |= {(link, toxic) for link, toxic, _ in other["undos"]}
        self._ours -= taken
        return taken


def _note_undone(lease: dict[str, Any], by: str, unix: float) -> None:
    """Append what was undone, so that the record of a killed run can be judged."""
    if not lease["log"]:
        return
    with suppress(OSError), open(lease["log"], "a", encoding="utf-8") as file:
        for link, toxic, words in lease["undos"]:
            event = {"event": "undone", "experiment": lease["experiment"], "by": by}
            event["unix"] = unix
            event |= {"link": link, "fault": words, "toxic": toxic}
            file.write(json.dumps(event) + "\n")


def main(path: str) -> int:
    """Wait for the end of the lease in the file `path`; 0 when nothing of ours is left, else 1."""
    try:
        with open(path, encoding="utf-8") as file:
            lease = json.load(file)
    except FileNotFoundError:
        return 0  # released before we were there
    why, in_doubt = wait_for_the_end(sys.stdin.fileno(), lease["seconds"])
    if why is None:
        return 0
    quiet_seconds = lease["doubt_seconds" if in_doubt else "quiet_seconds"]
    cleaning = Cleaning(
        BareToxiproxy(lease["url"]),
        path,
        lease,
        quiet_seconds,
        lambda errors: _say(f"{why}: faults may be left, the janitor goes on trying: {errors}"),
    )
    errors = cleaning.run()
    gone = bool(errors) and cleaning.is_gone()
    if errors and not gone:
        _say(f"{why}: faults may be left: {'; '.join(errors)}; try: launchday chaos clear")
        return 1
    by = "end of the Toxiproxy" if gone else "janitor"
    _note_undone(lease, by, time.time() if gone else cleaning.clean_unix)
    with suppress(OSError):
        os.unlink(path)
    if not gone:
        _say(f"{why}: faults removed")
    return 0


def _say(words: str) -> None:
    # The terminal may be gone together with the conductor.
    with suppress(OSError):
        sys.stderr.write(f"launchday: {words}\n")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
