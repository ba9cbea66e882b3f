"""Whatever bytes arrive in whatever pieces, both protocols see and answer the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from hypothesis import event, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from launchday.admission.uvicorn import SheddingProtocol
from target_service.protocol import LimitedHttpProtocol, SheddingHttpProtocol
from tests.admission.two_ways import Shedder, head


class Wire(asyncio.Transport):
    """A connection in memory; it keeps what is written until it is closed."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written: list[bytes] = []
        self.ended = ""

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert self.ended != "eof", "nothing may be written behind the end"
        if not self.ended:
            self.written.append(bytes(data))

    def write_eof(self) -> None:
        self.ended = self.ended or "eof"

    def close(self) -> None:
        self.ended = "closed"

    def is_closing(self) -> bool:
        return self.ended == "closed"

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def converse(protocol_type: Any, pieces: list[bytes]) -> tuple[bytes, str, int, Shedder]:
    shedder = Shedder()
    config = uvicorn.Config(
        shedder, http=protocol_type, ws="none", lifespan="off", log_config=None, access_log=False
    )
    config.load()
    state = ServerState()
    wire, protocol = Wire(), protocol_type(config, state, {})
    protocol.connection_made(wire)
    for second, piece in enumerate(pieces):
        state.default_headers = [(b"date", b"%d" % second)]
        protocol.data_received(piece)  # also behind the end, as TLS may
        while state.tasks:
            await asyncio.wait(state.tasks)
    protocol._unset_keepalive_if_required()
    protocol.connection_lost(None)
    return b"".join(wire.written), wire.ended, state.total_requests, shedder


ODD = {
    "method": st.sampled_from([b"HEAD", b"DELETE", b"POST", b"get", b"CONNECT", b"G\x00T", b""]),
    "target": st.one_of(
        st.sampled_from([b"/in", b"*", b"http://a/b", b"/%41?%42#c", b"//?", b"/?a=/?b", b""]),
        st.text("/?%#&=;:@[]|~ ", max_size=8).map(lambda text: b"/" + text.encode()),
        st.binary(max_size=6).map(lambda raw: b"/" + raw),
    ),
    "version": st.sampled_from([b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b""]),
    "name": st.one_of(
        st.sampled_from(
            b"host,Connection,CONTENT-LENGTH,Transfer-Encoding,Upgrade,Expect,origin,"
            b"Proxy-Connection,x-forwarded-for,x forwarded,".split(b",")
        ),
        st.binary(min_size=1, max_size=3),
    ),
    "value": st.one_of(
        st.sampled_from(
            b"; ; x;\tx\t; keep-alive;Keep-Alive; keep-alive ; keep-alive, close; close; upgrade;"
            b" 0; 3; chunked; 100-continue; h2c".split(b";")
        ),
        st.binary(max_size=4),
    ),
    "line_end": st.sampled_from([b"\n", b"\r", b"\r\n ", b""]),
    "end": st.sampled_from([b"\n", b"\r\n\r\n", b"\r\nabc", b"\r\n0\r\n\r\n", b""]),
}
plain = st.sampled_from([head("GET /a"), head("HEAD /b?c", "accept: */*"), head("GET /in")])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request of which up to three parts are odd."""
    part = {"method": b"GET", "target": b"/c?d", "version": b"HTTP/1.1", "name": b"a"}
    part |= {"value": b" b", "line_end": b"\r\n", "end": b"\r\n"}
    for odd in draw(st.lists(st.sampled_from(sorted(ODD)), max_size=3, unique=True)):
        part[odd] = draw(ODD[odd])
    first_line = b" ".join([part["method"], part["target"], part["version"]])
    header = part["name"] + b":" + part["value"] + part["line_end"]
    return first_line + b"\r\nhost: test\r\n" + header + part["end"]


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """Whole requests, some split, some joined, with plain ones between and behind them."""
    pieces: list[bytes] = []
    for raw in draw(
        st.lists(st.one_of(plain, plain, requests(), requests(), requests()), max_size=5)
    ):
        cut = draw(st.sampled_from([0] * 8 + [1, 3, len(raw) // 2, len(raw) - 1]))
        pieces += [raw[:cut], raw[cut:]]
        if draw(st.booleans()) and draw(st.booleans()):
            pieces[-2:] = [pieces[-2] + pieces[-1]]
    return [piece for piece in pieces if piece] + [head("GET /last"), head("GET /last", "a: b")]


@pytest.mark.filterwarnings("default::ResourceWarning")
@pytest.mark.parametrize(
    ("shedding", "ordinary"),
    [(SheddingProtocol, HttpToolsProtocol), (SheddingHttpProtocol, LimitedHttpProtocol)],
)
@settings(max_examples=200, deadline=None)
@given(pieces=conversations())
def test_any_conversation_is_the_same_by_both_ways(
    shedding: Any, ordinary: Any, pieces: list[bytes]
) -> None:
    async def compare() -> None:
        *fast_outcome, fast = await converse(shedding, pieces)
        *slow_outcome, slow = await converse(ordinary, pieces)
        assert fast_outcome == slow_outcome
        event(f"refused in the protocol: {len(fast.fast)}")
        assert sorted(map(repr, fast.fast + fast.slow)) == sorted(map(repr, slow.slow))

    asyncio.run(compare())
