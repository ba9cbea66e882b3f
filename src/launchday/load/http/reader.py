"""Reads answers from bytes, torn anywhere, with llhttp: one parser serves a whole connection."""

from __future__ import annotations

import httptools

from launchday.load.http.response import (
    END_OF_HEAD,
    AnswerError,
    Headers,
    Response,
    final_head,
    start_of_final,
)

MAX_HEAD_BYTES = 256 * 1024
"""Longer heads of answers are refused (nginx and Node.js take 4 to 16 KiB of a request)."""

_PARSER_ERRORS = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class AnswerReader:
    """Reads one answer after the other; a pure function of the bytes that it is fed.

    llhttp (https://github.com/nodejs/llhttp, through httptools) decides where an answer ends. It
    calls into Python three times an answer; headers are parsed only when somebody reads them.
    After an answer with `keep_alive` false (the server said so, or sent more than was asked for)
    or an error the reader must not be used again.
    """

    def __init__(self) -> None:
        self.complete = True
        self.keep_alive = True
        self._status = 0
        self._content = b""
        self._raw: bytes | bytearray = b""
        self._head_read = False
        self._passed_over = 0
        self._chunks: list[bytes] = []
        # A C function: a Python one would cost every answer a frame.
        self.on_body = self._chunks.append
        parser = httptools.HttpResponseParser(self)
        self._parse = parser.feed_data
        self._status_code = parser.get_status_code
        self._should_keep_alive = parser.should_keep_alive

    def feed(self, received: bytes) -> bool:
        """Take bytes, at least one; whether the answer is whole now.

        Raises:
            AnswerError: the bytes are no answer, or its head is too long.
        """
        if self.complete:
            self.complete = self._head_read = False
            self._raw = received
            self._passed_over = 0
        elif not self._head_read:
            self._raw += received
        try:
            self._parse(received)
        except _PARSER_ERRORS as error:
            if not self.complete:
                raise AnswerError(_words(error)) from None
            self.keep_alive = False  # the answer is whole, what came behind it is not HTTP
        if self.complete:
            return True
        if not self._head_read:
            self._look_for_head(len(received))
        return False

    def end(self) -> None:
        """The server closed: whole are then only answers without a length (RFC 9112, 6.3).

        Raises:
            ConnectionResetError: the answer is not whole.
        """
        head = None if self.complete else final_head(self._raw)
        if head is None or _framed(Headers(head)):
            raise ConnectionResetError("connection closed before the end of the answer")
        self._finish(self._status_code(), keep_alive=False)

    def response(self) -> Response:
        """The answer that is complete."""
        return Response(self._status, self._content, self._raw)

    def close(self) -> None:
        """Let go of the parser: they hold each other, and connections may be many."""
        del self._parse, self._status_code, self._should_keep_alive

    def _look_for_head(self, received: int) -> None:
        # Only for answers of more than one packet. Of what is behind the head nothing is kept.
        raw = self._raw if isinstance(self._raw, bytearray) else bytearray(self._raw)
        if END_OF_HEAD in raw[-received - len(END_OF_HEAD) :]:
            start = start_of_final(raw)
            self._passed_over += start
            del raw[:start]
            self._head_read = END_OF_HEAD in raw
        if not self._head_read and self._passed_over + len(raw) > MAX_HEAD_BYTES:
            raise AnswerError(f"the head of the answer is longer than {MAX_HEAD_BYTES} bytes")
        self._raw = raw

    def _finish(self, status: int, *, keep_alive: bool) -> None:
        chunks = self._chunks
        self._content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._status = status
        self.keep_alive = keep_alive
        self.complete = True

    def on_message_begin(self) -> None:
        """Called by llhttp at the first byte of an answer."""
        if self.complete:
            self.keep_alive = False  # more than was asked for

    def on_message_complete(self) -> None:
        """Called by llhttp behind the last byte of an answer."""
        if self.complete:
            return
        status = self._status_code()
        if status >= 200:  # below: interim, the answer is still to come
            # Asked here: behind the answer the parser has forgotten.
            # As in `_finish`, whose frame every answer would pay for.
            chunks = self._chunks
            self._content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            self._status = status
            self.keep_alive = self._should_keep_alive()
            self.complete = True


class HeadReader(AnswerReader):
    """Reads one answer to HEAD: it has no body, whatever its headers say (RFC 9112, 6.3).

    Of answers 204 and 304, which have none either, llhttp knows.
    """

    def on_headers_complete(self) -> None:
        """Called by llhttp behind the head."""
        status = self._status_code()
        if status >= 200 and not self.complete:
            self._finish(status, keep_alive=self._should_keep_alive())

    def feed(self, received: bytes) -> bool:
        """As for any answer; what follows the head is more than was asked for."""
        if super().feed(received) and not self._raw.endswith(END_OF_HEAD):
            self.keep_alive = False
        return self.complete


def _framed(headers: Headers) -> bool:
    coding = headers.get("transfer-encoding")
    if coding is not None:
        return coding.lower().endswith("chunked")
    return "content-length" in headers


def _words(error: Exception) -> str:
    if isinstance(error, httptools.HttpParserUpgrade):
        return "no HTTP answer: 101 Switching Protocols, which was not asked for"
    return f"no HTTP answer: {error}"
