"""TLS on a socket that the poller waits for: encryption in memory, bytes over the same epoll."""

from __future__ import annotations

import ssl as errors
from functools import cache
from typing import Any

from gevent import ssl

_BYTES = 65536


@cache
def default_context() -> Any:
    """The context of all clients that are given none: it verifies the server's certificate."""
    return ssl.create_default_context()  # reads hundreds of certificates: once a process


class TlsSocket:
    """Has of a non-blocking socket what a connection uses; BlockingIOError says: wait."""

    def __init__(self, socket: Any, context: Any, host: str) -> None:
        self._socket = socket
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._unsent = b""

    def handshake(self) -> bool:
        """Go on with the handshake as far as possible; whether it is over.

        Raises:
            OSError: it failed (ssl.SSLError), or the server closed.
        """
        while True:
            try:
                self._tls.do_handshake()
            except errors.SSLWantReadError:
                self._flush()
                if not self._receive():
                    return False
            else:
                self._flush()
                return True

    def send(self, data: bytes) -> int:
        """Encrypt and send all of `data`; after BlockingIOError call again with the same."""
        if not self._unsent:
            self._tls.write(data)
        self._flush()
        return len(data)

    def recv(self, _: int) -> bytes:
        """All that can be decrypted; b"" at the end."""
        self._receive()
        chunks = []
        try:
            while chunk := self._tls.read(_BYTES):
                chunks.append(chunk)
        except errors.SSLWantReadError:
            if not chunks:
                raise BlockingIOError from None
        except (errors.SSLEOFError, errors.SSLZeroReturnError):
            pass  # with or without a closing alert: whether the answer is whole HTTP says
        return b"".join(chunks)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _receive(self) -> bool:
        try:
            received = self._socket.recv(_BYTES)
        except BlockingIOError:
            return False
        if received:
            self._incoming.write(received)
        else:
            self._incoming.write_eof()
        return True

    def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            sent = self._socket.send(self._unsent)
            self._unsent = self._unsent[sent:]
