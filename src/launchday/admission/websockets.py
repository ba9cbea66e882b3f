"""A refused WebSocket is told 503 and when to come back, before it is open."""

from __future__ import annotations

from collections.abc import Iterable

from launchday.admission.asgi import Receive, Scope, Send

STATUS = 503
# RFC 6455 section 7.4.1 and its IANA registry: "Try Again Later".
TRY_AGAIN_LATER = 1013


async def deny(
    scope: Scope,
    receive: Receive,
    send: Send,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    """Refuse the handshake of a websocket `scope` with 503, `headers` and `body`.

    That takes ASGI's extension "WebSocket Denial Response". A server without it is asked to close
    before the handshake, which clients see as 403 without a Retry-After. A client that left is no
    error.
    """
    try:
        # ASGI wants it received before anything is sent.
        if (await receive())["type"] != "websocket.connect":
            return
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
            return
        start = {"status": STATUS, "headers": _closing(scope, headers)}
        await send({"type": "websocket.http.response.start", **start})
        await send({"type": "websocket.http.response.body", "body": body})
    except OSError:
        # Since its version 2.4 ASGI says so with this, if a client is gone.
        return


def _closing(scope: Scope, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Copy `headers`; HTTP/1 servers close the connection of a refused handshake, so say it."""
    if not scope.get("http_version", "1.1").startswith("1"):
        return list(headers)
    return [*headers, (b"connection", b"close")]
