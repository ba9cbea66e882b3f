"""Answers of a hostile server, byte for byte, and what a client must make of each."""

from __future__ import annotations

from dataclasses import dataclass

from tests.load.sockets import CHUNKED, OK, OOPS

LENGTH_2 = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nall of it"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 7\r\n\r\n"


@dataclass(frozen=True)
class Hostile:
    """Bytes, and the answer that they are: None if they are none.

    `kept`: the connection may serve another request. `closes`: the server closes behind them.
    """

    sent: bytes
    expected: tuple[int, bytes] | None
    kept: bool = False
    closes: bool = False


def good(sent: bytes, body: bytes = b"hi", status: int = 200) -> Hostile:
    return Hostile(sent, (status, body), kept=True)


def last(sent: bytes, body: bytes = b"hi", status: int = 200) -> Hostile:
    return Hostile(sent, (status, body))


def until_closed(sent: bytes, body: bytes) -> Hostile:
    return Hostile(sent, (200, body), closes=True)


def bad(sent: bytes, closes: bool = False) -> Hostile:
    return Hostile(sent, None, closes=closes)


TABLE = {
    "plain": good(OK),
    "no reason": good(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi"),
    "no body": good(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
    "204 with a length": good(b"HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", b"", 204),
    "304 with a length": good(b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", b"", 304),
    "503": good(b"HTTP/1.1 503 x\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nhi", status=503),
    "upgrade offered": good(LENGTH_2 + b"Upgrade: h2,h2c\r\nConnection: Upgrade\r\n\r\nhi"),
    "keep-alive of 1.0": good(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi"
    ),
    "chunked": good(CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde"),
    "chunked, empty": good(CHUNKED + b"0\r\n\r\n", b""),
    "chunked, trailers": good(CHUNKED + b"A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n", b"0123456789"),
    "interim": good(EARLY_HINTS + OK),
    "interims": good(b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + EARLY_HINTS + OK),
    "line breaks before": good(b"\r\n\r\n" + OK),
    "length as large as its body looks": good(
        b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nHTTP/1.1 500 x\r\n\r\n1",
        b"HTTP/1.1 500 x\r\n\r\n1",
    ),
    "close": last(LENGTH_2 + b"Connection: close\r\n\r\nhi"),
    "1.0": last(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
    "surplus: an answer": last(OK + OOPS),
    "surplus: half an answer": last(OK + OOPS[:9]),
    "surplus: an interim answer": last(OK + b"HTTP/1.1 100 Continue\r\n\r\n"),
    "surplus: garbage": last(OK + b"garbage"),
    "surplus behind chunks": last(CHUNKED + b"2\r\nhi\r\n0\r\n\r\nHTT"),
    "surplus behind close": last(LENGTH_2 + b"Connection: close\r\n\r\nhi" + OOPS),
    "too short a length": last(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nhi", b"h"),
    "to the end": until_closed(TO_THE_END, b"all of it"),
    "to the end, empty": until_closed(b"HTTP/1.1 200 OK\r\n\r\n", b""),
    "to the end behind interim": until_closed(EARLY_HINTS + TO_THE_END, b"all of it"),
    "to the end, another coding": until_closed(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nzip", b"zip"
    ),
    "too long a length": bad(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", closes=True),
    "chunk cut": bad(CHUNKED + b"5\r\nab", closes=True),
    "no last chunk": bad(CHUNKED + b"2\r\nab\r\n", closes=True),
    "head cut": bad(b"HTTP/1.1 200 OK\r\nContent-Len", closes=True),
    "interim only": bad(b"HTTP/1.1 100 Continue\r\n\r\n", closes=True),
    "nothing": bad(b"", closes=True),
    "two lengths": bad(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!"),
    "the same length twice": bad(LENGTH_2 + b"Content-Length: 2\r\n\r\nhi"),
    "length and chunked": bad(LENGTH_2 + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
    "negative length": bad(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    "length no number": bad(b"HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nhi"),
    "length beyond 64 bit": bad(
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n"
    ),
    "chunk size no number": bad(CHUNKED + b"zz\r\nhi\r\n0\r\n\r\n"),
    "chunk size beyond 64 bit": bad(CHUNKED + b"fffffffffffffffff\r\nhi\r\n0\r\n\r\n"),
    "chunk longer than its size": bad(CHUNKED + b"2\r\nhello\r\n0\r\n\r\n"),
    "no colon": bad(b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
    "NUL in a header": bad(b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n"),
    "switching protocols": bad(
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    ),
    "HTTP/2": bad(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
    "HTTP/0.9": bad(b"<html>hello</html>"),
    "another protocol": bad(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "status of two digits": bad(b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nhi"),
    "status of four digits": bad(b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nhi"),
}
