"""Where a host answers: looked up once a process, whoever asks, and never for one request."""

from __future__ import annotations

from typing import Any

import gevent
from gevent import socket

Address = tuple[int, Any]
"""An address family, and what `connect` takes for it."""


class Addresses:
    """The addresses of a host, of either IP version; one lookup serves all who wait for it.

    A failed lookup is forgotten, so the next request tries again. The address that answered is
    tried first from then on.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._found: list[Address] = []
        self._lookup: gevent.Greenlet | None = None

    def get(self, limit_seconds: float) -> list[Address]:
        """The addresses, the one that answered last first.

        Raises:
            OSError: there are none (gaierror), or none was found in time (TimeoutError).
        """
        if self._found:
            return list(self._found)
        if self._lookup is None:
            self._lookup = gevent.spawn(self._look_up)
        try:
            failure = self._lookup.get(timeout=max(limit_seconds, 0.0))
        except gevent.Timeout:
            raise TimeoutError("the name of the host was not resolved in time") from None
        if failure is not None:
            raise failure
        return list(self._found)

    def answered(self, address: Address) -> None:
        """Try this one first from now on."""
        if self._found and self._found[0] != address:
            self._found.sort(key=lambda found: found != address)

    def _look_up(self) -> OSError | None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            return error.with_traceback(None)
        except UnicodeError as error:  # a name that DNS cannot even be asked for
            return OSError(f"{self._host!r} is no host name: {error}")
        else:
            self._found = [(family, address) for family, _, _, _, address in found]
            return None
        finally:
            self._lookup = None
