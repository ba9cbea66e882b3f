"""One connection of an effect probe, and what a client sees of it; HTTP, TLS, PostgreSQL or TCP.

PostgreSQL answers an SSLRequest with one byte, before anybody signs in. A long answer comes from
the protocol's negotiation (since PostgreSQL 11): the server sends the names of the options `_pq_.`
that it does not know back to the client (NegotiateProtocolVersion), whole, before it asks who is
there (https://www.postgresql.org/docs/current/protocol-message-formats.html).
"""

from __future__ import annotations

import asyncio
import math
import struct
import time
from dataclasses import dataclass
from enum import StrEnum

from launchday.chaos.tls import HandshakeError, TlsClient

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_PROTOCOL_3_0 = 196608
# A startup packet may have 10 000 bytes at most.
_OPTION_BYTES = 9_000
_PADDING = "x" * 1_000
_READ_BYTES = 65_536


class Ending(StrEnum):
    """How a connection ended for its client."""

    OPEN = "open"  # all that was waited for came; we closed
    CLOSED = "closed"
    RESET = "reset"
    REFUSED = "refused"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Request:
    """What to send, and when to stop waiting.

    `enough_bytes` of the answer are waited for (0: until the connection ends). `half_close`: say
    at once that nothing more will come, and wait for the end. With a `server_name` (SNI; may be
    empty) TLS is spoken, `data` is said in it, and enough of the answer is a handshake that is
    complete.
    """

    data: bytes = b""
    enough_bytes: int = 1
    half_close: bool = False
    server_name: str | None = None


@dataclass
class Seen:
    """What came back. Seconds count from connecting; infinite when it did not come.

    Bytes and pieces are those on the wire, also of TLS; `in_tls_bytes` is what was said in it, None
    without. `failure` says why the protocol could not
    be spoken at all.
    """

    first_seconds: float = math.inf
    end_seconds: float = math.inf
    received_bytes: int = 0
    pieces: int = 0
    ending: Ending = Ending.OPEN
    sent_bytes: int = 0
    failure: str = ""
    in_tls_bytes: int | None = None

    @property
    def answered(self) -> bool:
        """Whether anything came back."""
        return self.received_bytes > 0

    @property
    def answer_bytes(self) -> int:
        """How long the answer is: of TLS what was said in it.

        The handshake's own length differs by chance, as that of an ECDSA signature does.
        """
        return self.received_bytes if self.in_tls_bytes is None else self.in_tls_bytes


def short_request(protocol: str, path: str, host: str) -> Request:
    """The least that makes a server answer; only the first byte is waited for, or a handshake."""
    if protocol == "http":
        return Request(_get(path, host, last=True))
    if protocol == "tls":
        return Request(server_name=_name_of(host))
    if protocol == "postgres":
        return Request(_SSL_REQUEST)
    return Request()


def long_request(protocol: str, path: str, host: str, *, repeat: int = 1) -> Request:
    """Something long with a long answer: `repeat` requests of over 1000 bytes in a row (HTTP).

    With TLS these come after the handshake.
    """
    if protocol in ("http", "tls"):
        more = _get(path, host, last=False, padding=_PADDING) * (repeat - 1)
        data = more + _get(path, host, last=True, padding=_PADDING)
        name = _name_of(host) if protocol == "tls" else None
        return Request(data, enough_bytes=0, server_name=name)
    if protocol == "postgres":
        pairs = f"user\0launchday-probe\0_pq_.{'x' * _OPTION_BYTES}\0\0\0".encode("ascii")
        packet = struct.pack("!ii", len(pairs) + 8, _PROTOCOL_3_0) + pairs
        return Request(packet, enough_bytes=_OPTION_BYTES)
    return Request(enough_bytes=0)


def _name_of(host: str) -> str:
    return host.rpartition(":")[0].strip("[]")


def _get(path: str, host: str, *, last: bool, padding: str = "") -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}"]
    if padding:
        lines.append(f"X-Launchday-Probe: {padding}")
    if last:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


async def exchange(address: str, request: Request, timeout_seconds: float) -> Seen:
    """Send `request` to `address` (`host:port`) on a fresh connection; never raises OSError."""
    host, _, port = address.rpartition(":")
    seen = Seen()
    start = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                await _converse(reader, writer, request, seen, start)
            finally:
                # Not close(): bytes that a dead link never takes must not keep the socket.
                writer.transport.abort()
    except TimeoutError:
        seen.ending = Ending.TIMEOUT
    except HandshakeError as error:
        seen.ending, seen.failure = Ending.CLOSED, f"the TLS handshake failed: {error}"
    except (ConnectionResetError, BrokenPipeError):
        seen.ending = Ending.RESET
    except OSError:
        seen.ending = Ending.REFUSED
    if seen.ending != Ending.TIMEOUT:
        seen.end_seconds = time.perf_counter() - start
    return seen


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    request: Request,
    seen: Seen,
    start: float,
) -> None:
    tls = None if request.server_name is None else TlsClient(request.server_name, request.data)
    _send(writer, tls.start() if tls else request.data, seen)
    if request.half_close:
        writer.write_eof()
    while not _is_enough(request, seen, tls):
        data = await reader.read(_READ_BYTES)
        if not data:
            seen.ending = Ending.CLOSED
            return
        if not seen.answered:
            seen.first_seconds = time.perf_counter() - start
        seen.received_bytes += len(data)
        seen.pieces += 1
        if tls:
            _send(writer, tls.feed(data), seen)
            seen.in_tls_bytes = tls.heard_bytes


def _send(writer: asyncio.StreamWriter, data: bytes, seen: Seen) -> None:
    writer.write(data)
    seen.sent_bytes += len(data)


def _is_enough(request: Request, seen: Seen, tls: TlsClient | None) -> bool:
    if request.enough_bytes == 0:
        return False
    return tls.established if tls else seen.received_bytes >= request.enough_bytes


async def exchanges(
    address: str, request: Request, timeout_seconds: float, *, count: int, at_once: int
) -> list[Seen]:
    """The same on `count` fresh connections, at most `at_once` at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one() -> Seen:
        async with gate:
            return await exchange(address, request, timeout_seconds)

    return await asyncio.gather(*(one() for _ in range(count)))
