"""The client's side of TLS on bytes in memory: what the network does with them stays visible.

An effect probe counts the bytes and pieces that pass through a link; on a socket that `ssl` has
wrapped they would be hidden, so this one is told what came in and says what goes out
(`ssl.SSLObject` over two `MemoryBIO`; RFC 8446 says what is in them).
"""

from __future__ import annotations

import ssl

_READ_BYTES = 65_536


class HandshakeError(Exception):
    """The server did not agree on TLS; in words."""


class TlsClient:
    """One connection: shakes hands, then says `data`; of what is answered it counts `heard_bytes`.

    `server_name` is sent as SNI (RFC 6066; not if it is an IP address, or empty). No certificate
    is verified: this measures a link, and trusts nobody with anything.
    """

    def __init__(self, server_name: str, data: bytes) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context().wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_name or None
        )
        self._unsent = data
        self.established = False
        self.heard_bytes = 0

    def start(self) -> bytes:
        """The first bytes to send."""
        return self.feed(b"")

    def feed(self, received: bytes) -> bytes:
        """Take what came; return what is to be sent for it. Raises HandshakeError."""
        self._incoming.write(received)
        try:
            self._go_on()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if not self.established:
                words = error.reason or str(error)
                raise HandshakeError(words.lower().replace("_", " ")) from error
            # A server that ends in the middle, or with an alert, has answered all the same.
        return self._outgoing.read()

    def _go_on(self) -> None:
        if not self.established:
            self._tls.do_handshake()
            self.established = True
        if self._unsent:
            self._tls.write(self._unsent)
            self._unsent = b""
        while heard := self._tls.read(_READ_BYTES):
            self.heard_bytes += len(heard)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
