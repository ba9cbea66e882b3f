"""Random answers, some of them broken: the client reads what httpx (another parser, h11) reads."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from launchday.load.http import HttpClient
from tests.load.sockets import Events, read_request, serving

STATUSES = [200, 200, 200, 201, 204, 301, 304, 400, 404, 429, 500, 503, 599, 299]
NAMES = ["Server", "X-A", "x-a", "ETag", "Vary", "ALLOW", "Cache-Control", "Retry-After"]
Read = tuple[int, bytes, dict[str, str]]


@dataclass(frozen=True)
class Answer:
    """Bytes, whether the server closes behind them, and whether they were spoilt."""

    sent: bytes
    closes: bool
    broken: bool


def answer_of(draw: random.Random) -> Answer:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * draw.choice([0, 0, 0, 0, 1, 2])
    version = draw.choice(["1.1", "1.1", "1.1", "1.0"])
    status = draw.choice(STATUSES)
    headers = [f"{draw.choice(NAMES)}:{draw.choice(['', ' ', '  '])}{value_of(draw)}"]
    headers += [f"{draw.choice(NAMES)}: {value_of(draw)}" for _ in range(draw.randrange(4))]
    closes = version == "1.0" or draw.random() < 0.1
    if closes:
        headers.append(f"{draw.choice(['Connection', 'connection'])}: close")
    body = draw.randbytes(draw.choice([0, 1, 5, 200, 3000]))
    framing, framed = framed_by(draw, body, version, status, closes)
    draw.shuffle(headers)
    head = "\r\n".join([f"HTTP/{version} {status} x", *headers, *framing, "", ""]).encode("latin-1")
    sent = interim + head + framed
    broken = draw.random() < 0.1
    return Answer(spoilt(draw, sent) if broken else sent, closes or broken, broken)


def value_of(draw: random.Random) -> str:
    return draw.choice(["", "a", "a b", "a, b", "\xe4", "a;b=c", '"x"', "x" * 200])


def framed_by(
    draw: random.Random, body: bytes, version: str, status: int, closes: bool
) -> tuple[list[str], bytes]:
    if status in (204, 304):
        return [], b""
    way = draw.choice(["length", "chunks", "end"])
    if way == "chunks" and version == "1.1":
        trailers = draw.choice([b"", b"X-Sum: 1\r\n"])
        return ["Transfer-Encoding: chunked"], chunked(draw, body) + trailers + b"\r\n"
    if way == "end" and closes:
        return [], body
    return [draw.choice(["Content-Length", "content-length"]) + f": {len(body)}"], body


def chunked(draw: random.Random, body: bytes) -> bytes:
    sent, at = b"", 0
    while at < len(body):
        piece = body[at : at + draw.choice([1, 7, 100, 5000])]
        extension = draw.choice([b"", b"", b";a=b"])
        sent += draw.choice([b"%x", b"%X", b"0%x"]) % len(piece) + extension + b"\r\n"
        sent += piece + b"\r\n"
        at += len(piece)
    return sent + b"0\r\n"


def spoilt(draw: random.Random, sent: bytes) -> bytes:
    at = draw.randrange(len(sent))
    way = draw.choice(["cut", "other", "gone"])
    if way == "cut":
        return sent[:at]
    return sent[:at] + (bytes([draw.randrange(256)]) if way == "other" else b"") + sent[at + 1 :]


@contextmanager
def answering_all(answers: list[Answer]) -> Iterator[str]:
    """Answers GET /3 with the third one, cut in two at random."""
    draw = random.Random(1)

    def script(connection: socket.socket) -> None:
        while request := read_request(connection):
            answer = answers[int(request.split()[1][1:])]
            cut = draw.randrange(len(answer.sent) + 1)
            connection.sendall(answer.sent[:cut])
            connection.sendall(answer.sent[cut:])
            if answer.closes:
                return

    with serving(script) as url:
        yield url


def as_httpx(client: httpx.Client, path: str) -> Read | None:
    try:
        with client.stream("GET", path) as response:
            body = b"".join(response.iter_raw())
            return response.status_code, body, dict(response.headers)
    except httpx.TransportError:
        return None


def as_launchday(http: HttpClient, path: str) -> Read | None:
    response = http.get(path)
    if response.error is not None:
        return None
    return response.status_code, response.content, dict(response.headers)


def compare(seed: int, count: int) -> Counter[str]:
    draw = random.Random(seed)
    answers = [answer_of(draw) for _ in range(count)]
    seen: Counter[str] = Counter()
    with answering_all(answers) as url:
        http = HttpClient(url, Events(), timeout_seconds=30.0)
        with httpx.Client(base_url=url, timeout=30.0, trust_env=False) as other:
            for number, answer in enumerate(answers):
                ours, theirs = as_launchday(http, f"/{number}"), as_httpx(other, f"/{number}")
                if not answer.broken:
                    assert ours is not None, answer
                    # httpx kept the connection of a spoilt answer, and did not see its end yet.
                    theirs = theirs or as_httpx(other, f"/{number}")
                    assert ours == theirs, answer
                    continue
                http.close()  # what else comes on this connection is nobody's answer
                if ours is not None and theirs is not None:
                    assert ours[:2] == theirs[:2], answer
                seen["broken"] += 1
                seen["both refuse"] += ours is None and theirs is None
                seen["one refuses"] += (ours is None) != (theirs is None)
        http.close()
    return seen


def test_a_thousand_random_answers_are_read_as_httpx_reads_them() -> None:
    seen = compare(seed=1, count=1000)
    assert seen["broken"] > 50
    assert seen["both refuse"] > 10


@pytest.mark.slow
def test_ten_thousand_random_answers_are_read_as_httpx_reads_them() -> None:
    seen = compare(seed=2, count=10_000)
    assert seen["broken"] > 500
    assert seen["both refuse"] > 100
