"""What a Toxiproxy API can say no with, each its own error.

ToxiproxyError
 |- NoAnswer          refused, cut off or silent for too long: `status` is None
 |- NoToxiproxy       something else answers there, or nonsense, or far too much
 |- InvalidRequest    400: a type, stream or body that the server does not take
 |- ProxyNotFound     404
 |- ToxicNotFound     404
 |- ProxyExists       409
 |- ToxicExists       409
 `- CannotListen      500: the address is taken, or is none
"""

from __future__ import annotations

from launchday.errors import ToxiproxyError


class NoAnswer(ToxiproxyError):
    """The API refused the connection, closed it, or did not answer in time."""


class NoToxiproxy(ToxiproxyError):
    """What answers at the address does not speak Toxiproxy's API."""


class InvalidRequest(ToxiproxyError):
    """400: the server did not take the type, the stream, a field or the whole body."""


class ProxyNotFound(ToxiproxyError):
    """404: there is no proxy of that name."""


class ToxicNotFound(ToxiproxyError):
    """404: the proxy has no toxic of that name."""


class ProxyExists(ToxiproxyError):
    """409: a proxy of that name is there already."""


class ToxicExists(ToxiproxyError):
    """409: the proxy has a toxic of that name already."""


class CannotListen(ToxiproxyError):
    """500: the server cannot listen at the address: taken, of another machine, or no address."""


def typed(message: str, status: int, words: str) -> ToxiproxyError:
    """The error for what a server says: `words` as it says them, `message` for the user."""
    toxic = "toxic" in words and "proxy" not in words
    kinds: dict[int, type[ToxiproxyError]] = {
        400: InvalidRequest,
        404: ToxicNotFound if toxic else ProxyNotFound,
        409: ToxicExists if toxic else ProxyExists,
        500: CannotListen,
    }
    kind = kinds.get(status, ToxiproxyError)
    if kind is CannotListen and "listen" not in words and "address" not in words:
        kind = ToxiproxyError
    return kind(message, status)
