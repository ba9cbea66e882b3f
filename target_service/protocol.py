"""What uvicorn's HTTP parser lacks: heads of bounded size and time, and refusals in words."""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from launchday.admission.uvicorn import SheddingProtocol

# Cookies, tokens and long URLs of honest clients stay far below; proxies have 8 to 64 KiB.
LARGEST_HEAD_BYTES = 32 * 1024
LONGEST_HEAD_SECONDS = 10.0
# So long a refused client may go on sending; closed earlier, it would lose the answer to a reset.
LINGER_SECONDS = 1.0

BAD_REQUEST = (400, "bad_request", "The request is not HTTP/1.1")
TOO_LARGE = (431, "head_too_large", f"The request's head is over {LARGEST_HEAD_BYTES} bytes")
TRAILERS_TOO_LARGE = (
    431,
    "trailers_too_large",
    f"The request's trailers are over {LARGEST_HEAD_BYTES} bytes",
)
TOO_SLOW = (408, "head_too_slow", f"The request's head took over {LONGEST_HEAD_SECONDS:.0f} s")


class LimitedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol; a head (request line and headers) too large or too slow ends it.

    What is counted is what was received, whether or not it was parsed, so a header without end
    does not fill the memory. A head that arrives in one piece, as nearly all do, costs a few
    comparisons and no timer.

    Trailers (header lines behind the last chunk of a body) are dropped: uvicorn would add them to
    the headers of a request that is already being answered (RFC 9110, 6.5.1, forbids that). They
    have the limit of a head, not counting the piece (one read) they began in; how long they may
    take is part of the body's time.
    """

    _in_head = False
    _head_bytes = 0  # of this head, in earlier pieces
    _piece_bytes = 0  # of the piece that is being parsed
    _piece_began_as_head = True
    _perhaps_in_trailers = False  # a chunk began and nothing of it came: perhaps the last one
    _trailer_bytes = 0  # in the pieces that began in these trailers
    _head_timer: asyncio.TimerHandle | None = None
    _refusal: tuple[int, str, str] | None = None

    def connection_made(
        self,
        transport: asyncio.Transport,  # type: ignore[override]  # uvicorn's: TCP, never datagrams
    ) -> None:
        super().connection_made(transport)
        # uvicorn waits for ever for the first request of a connection.
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._piece_bytes = len(data)
        self._piece_began_as_head = True
        if self._perhaps_in_trailers:
            self._trailer_bytes += len(data)
        super().data_received(data)
        if self._perhaps_in_trailers and self._trailer_bytes > LARGEST_HEAD_BYTES:
            self._refuse_trailers()
            return
        if self._in_head:
            if self._piece_began_as_head:
                self._head_bytes += self._piece_bytes
            if self._head_bytes > LARGEST_HEAD_BYTES:
                self._refuse(TOO_LARGE)
            else:
                self._set_head_timer()
        elif self.cycle is None or self.cycle.response_complete:
            # Blank lines, or the rest of a body that was refused: neither may go on for ever.
            self._set_head_timer()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)

    def on_chunk_header(self) -> None:
        """Begin a chunk: with what follows, a body or the trailers (the parser does not tell)."""
        self._perhaps_in_trailers = True
        self._trailer_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._perhaps_in_trailers = False
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._unset_head_timer()
        received_bytes = self._head_bytes + self._piece_bytes  # perhaps with a body
        if received_bytes > LARGEST_HEAD_BYTES and self._size_of_head() > LARGEST_HEAD_BYTES:
            self._refusal = TOO_LARGE
            raise ValueError(TOO_LARGE)  # the only way to stop the parser
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        # What follows in this piece is a pipelined head: its size is not that of the piece.
        self._piece_began_as_head = False
        self._perhaps_in_trailers = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused; uvicorn would send plain text."""
        self._refuse(self._refusal or BAD_REQUEST)

    def _size_of_head(self) -> int:
        """Return the bytes of the parsed head, but for its request line's few words."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _set_head_timer(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(LONGEST_HEAD_SECONDS, self._head_took_too_long)

    def _unset_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_took_too_long(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(TOO_SLOW)
        elif self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _refuse_trailers(self) -> None:
        """End the connection; in words, unless another answer was begun or is due before."""
        self._refusal = TRAILERS_TOO_LARGE
        cycle = self.cycle
        if self.pipeline:
            self.transport.close()
        elif cycle.response_complete:
            self._close_soon()
        elif cycle.response_started:
            cycle.keep_alive = False
        else:
            cycle.disconnected = True  # whoever waits for the body is told, and answers nothing
            cycle.message_event.set()
            self.transport.write(_render(*TRAILERS_TOO_LARGE))
            self._close_soon()

    def _refuse(self, refusal: tuple[int, str, str]) -> None:
        self._refusal = refusal
        self._unset_head_timer()
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            # Pipelined behind a request that is being answered: that answer is the last one.
            self.cycle.keep_alive = False
            return
        self.transport.write(_render(*refusal))
        self._close_soon()

    def _close_soon(self) -> None:
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)


class SheddingHttpProtocol(SheddingProtocol, LimitedHttpProtocol):
    """Both: what the shedder refuses is answered at once, the rest meets the limits."""

    def is_between_requests(self) -> bool:
        # The parser unsets the timer (blank lines may have set it) at the end of the next head.
        return self._head_timer is None and super().is_between_requests()


def _render(status: int, reason: str, title: str) -> bytes:
    problem = {
        "type": f"urn:launchday:problem:{reason}",
        "title": title,
        "status": status,
        "reason": reason,
    }
    body = json.dumps(problem).encode()
    head = (
        b"content-type: application/problem+json\r\n"
        b"content-length: %d\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return STATUS_LINE[status] + head % len(body) + body
