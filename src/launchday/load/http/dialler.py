"""Opens connections to one site: by name, over any of its addresses, encrypted where asked."""

from __future__ import annotations

from functools import cache
from time import perf_counter
from typing import Any

from launchday.load.http.addresses import Addresses
from launchday.load.http.connection import Connection
from launchday.load.http.message import Site
from launchday.load.http.tls import default_context


class Dialler:
    """Opens connections; `limit_seconds` bounds name, connection and TLS together.

    `shortest_seconds` is the shortest time that anything on these connections may usually take.
    `tls_context` is an ssl.SSLContext, None for one that verifies the server's certificate.
    """

    def __init__(
        self, site: Site, tls_context: Any, limit_seconds: float, *, shortest_seconds: float
    ) -> None:
        self._host = site.host
        self._addresses = _addresses(site.host, site.port)
        self._tls_context = (tls_context or default_context()) if site.tls else None
        self._limit_seconds = limit_seconds
        self._shortest_seconds = shortest_seconds

    def dial(self, began: float, deadline: float) -> Connection:
        """A new connection for a request that began then (perf_counter) and has until `deadline`.

        Raises:
            OSError: no address answers, or (TimeoutError) none in time.
        """
        deadline = min(began + self._limit_seconds, deadline)
        failure: OSError | None = None
        for family, address in self._addresses.get(deadline - perf_counter()):
            try:
                connection = self._connected(family, address, deadline)
            except TimeoutError:
                raise
            except OSError as error:
                failure = error
            else:
                self._addresses.answered((family, address))
                return connection
        raise failure or OSError("the host has no address")

    def _connected(self, family: int, address: Any, deadline: float) -> Connection:
        connection = Connection(family)
        try:
            connection.connect(address, deadline, self._shortest_seconds)
            if self._tls_context is not None:
                connection.start_tls(self._tls_context, self._host, deadline)
        except BaseException:
            connection.close()
            raise
        return connection


@cache
def _addresses(host: str, port: int) -> Addresses:
    return Addresses(host, port)
