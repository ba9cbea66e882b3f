"""Refuse in uvicorn's protocol: a request that is being shed costs no task and no ASGI call."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any, ClassVar, NamedTuple
from urllib.parse import unquote
from weakref import WeakKeyDictionary

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string

from launchday.admission.asgi import Receive, Scope, Send
from launchday.admission.outside import Headers, Outside, RefusalAnswer, find, finish

LARGEST_HEAD_BYTES = 8 * 1024
MOST_RENDERED = 1024

# All that is printable; `#` and what is not ASCII are left to the parser.
_REQUEST_LINE = re.compile(rb'(GET|HEAD|DELETE) (/[!"$->@-~]*+)(?:\?([!"$-~]*+))? HTTP/1\.1')
# RFC 9110, 5.6.2 and 5.5: tokens, and values without control characters; parsers disagree on
# white space behind a value. Browsers and apps say `Connection: keep-alive`; the other names
# announce a body, or ask for another answer.
_PLAIN_HEADERS = re.compile(
    rb"""(?:
        (?!(?i:connection|proxy-connection|content-length|transfer-encoding|upgrade|expect|origin):)
        [!#$%&'*+.^_`|~0-9A-Za-z-]++ : [\t\x20-\x7e\x80-\xff]*+ (?<![\t ]) \r\n
        | (?i:connection:[ ]?keep-alive) \r\n
    )*+ \r\n""",
    re.VERBOSE,
)


class SheddingProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol, for an app that has a `LoadSheddingMiddleware`.

    `uvicorn --http launchday.admission.uvicorn:SheddingProtocol example:app`

    While the shedder refuses anything, a GET, HEAD or DELETE without a body that arrives in one
    piece on an idle connection is offered to it before an ASGI task is made. What it refuses is
    answered with the bytes that its middleware would have sent; the decision and its metrics are
    the shedder's own. Everything else takes uvicorn's way: other methods, bodies, `Expect`,
    `Upgrade`, `Origin` (CORS answers that), pipelined, split, odd or malformed requests, heads
    over 8 KiB, and all requests while something that could change a refusal stands further out
    than the shedder (a warning in the log names it).
    """

    _ways: ClassVar[WeakKeyDictionary[Config, _Way]] = WeakKeyDictionary()
    _way: _Way | None = None
    _plain_block: bytes | None = None
    _plain_scope: Scope
    _refused_at = float("-inf")

    def data_received(self, data: bytes) -> None:
        way = self._way or self._find_way()
        if way is None or not way.outside.shedder.refusing or not self._refuse_at_once(data, way):
            super().data_received(data)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, unless a refusal was sent since the timer was set."""
        left_seconds = self._refused_at + self.timeout_keep_alive - self.loop.time()
        if left_seconds > 0 and not self.transport.is_closing():
            self._set_keep_alive(left_seconds)
        else:
            super().timeout_keep_alive_handler()

    def is_between_requests(self) -> bool:
        """Return whether nothing was begun on this connection, nor waits to be sent or closed."""
        cycle = self.cycle
        if cycle is None:
            if self.scope is not None:
                return False
        elif cycle.scope is not self.scope or cycle.more_body or not cycle.response_complete:
            return False
        # With a full write buffer uvicorn's way is the one that stops reading.
        return not self.flow.write_paused and not self.transport.is_closing()

    def _refuse_at_once(self, data: bytes, way: _Way) -> bool:
        if len(data) > LARGEST_HEAD_BYTES or not self.is_between_requests():
            return False
        line, _, block = data.partition(b"\r\n")
        request = _REQUEST_LINE.fullmatch(line)
        # A client repeats its headers from one request to the next.
        if request is None or (block != self._plain_block and not self._learn(block, way.outside)):
            return False
        if self._exceeds_limit_concurrency() or not way.outside.is_transparent():
            return False
        scope = self._scope_of(*request.groups(b""))
        try:
            answer = way.outside.shedder.refuse_now(scope)
        except Exception:
            return False  # the middleware meets it again, and uvicorn says so in the log
        if answer is not None:
            self._send_refusal(answer, scope, way)
        return answer is not None

    def _learn(self, block: bytes, outside: Outside) -> bool:
        """Keep what every request with these headers has in its scope, if they are plain."""
        if _PLAIN_HEADERS.fullmatch(block) is None:
            return False
        is_forwarded = outside.proxies and b"\nx-forwarded-" in b"\n" + block.lower()
        scope: Scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": _parse(block) if is_forwarded or outside.shedder.needs_headers else [],
            "state": self.app_state,  # no copy for each request, as the app gets: only read here
        }
        if is_forwarded:
            outside.see_through_proxies(scope)
        scope.update(outside.scope)
        self._plain_block, self._plain_scope = block, scope
        return True

    def _scope_of(self, method: bytes, raw_path: bytes, query: bytes) -> Scope:
        path = raw_path.decode("ascii")
        if "%" in path:
            path = unquote(path)
        return {
            **self._plain_scope,
            "method": method.decode("ascii"),
            "path": self.root_path + path,
            "raw_path": self.root_path.encode("ascii") + raw_path,
            "query_string": query,
        }

    def _send_refusal(self, answer: RefusalAnswer, scope: Scope, way: _Way) -> None:
        rendered = way.render(answer, scope["method"], self.server_state.default_headers)
        if self.access_log:
            self.access_logger.info(
                '%s - "%s %s HTTP/%s" %d',
                get_client_addr(scope),  # type: ignore[arg-type]  # a dict, not uvicorn's TypedDict
                scope["method"],
                get_path_with_query_string(scope),  # type: ignore[arg-type]  # as above
                "1.1",
                answer[2],
            )
        self.server_state.total_requests += 1
        self.transport.write(rendered.data)
        if rendered.closes:
            self.transport.close()
            return
        self._refused_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._set_keep_alive(self.timeout_keep_alive)

    def _set_keep_alive(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _exceeds_limit_concurrency(self) -> bool:
        limit = self.limit_concurrency
        return limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit)

    def _find_way(self) -> _Way | None:
        self._way = self._ways.get(self.config)
        if self._way is None and (outside := find(self.app)) is not None:
            self._way = self._ways[self.config] = _Way(outside)
        return self._way


class _Rendered(NamedTuple):
    data: bytes
    closes: bool
    source: tuple[Headers, bytes]  # kept, because its identity is the key


class _Way:
    """From one server to its shedder and back, with the answers of this second as bytes."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside
        self._default_headers: Headers | None = None
        self._rendered: dict[tuple[int, int, int, bool], _Rendered] = {}

    def render(self, answer: RefusalAnswer, method: str, default_headers: Headers) -> _Rendered:
        """Return what uvicorn would send; `default_headers` is a new list every second."""
        headers, body, status = answer
        if default_headers is not self._default_headers or len(self._rendered) >= MOST_RENDERED:
            self._default_headers = default_headers
            self._rendered.clear()
        key = (id(headers), id(body), status, method == "HEAD")
        rendered = self._rendered.get(key)
        if rendered is None:
            rendered = self._rendered[key] = self._render(answer, method, default_headers)
        return rendered

    def _render(self, answer: RefusalAnswer, method: str, default_headers: Headers) -> _Rendered:
        headers, body, status = answer

        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            # Middlewares further out add their headers to this very list.
            start = {"type": "http.response.start", "status": status, "headers": headers.copy()}
            await send(start)
            await send({"type": "http.response.body", "body": body})

        written = _Written()
        scope = {"type": "http", "method": method, "headers": []}
        cycle = _cycle(scope, written, default_headers)
        # uvicorn's own types are TypedDicts, ours are any mappings.
        finish(self.outside.dressed(refuse)(scope, cycle.receive, cycle.send))  # type: ignore[arg-type]  # narrower types
        return _Rendered(b"".join(written.pieces), not cycle.keep_alive, (headers, body))


class _Written(asyncio.Transport):
    """Where an answer is written that is rendered in advance."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        pass


def _cycle(scope: Scope, written: _Written, default_headers: Headers) -> RequestResponseCycle:
    """Return uvicorn's own writer of answers, so that the bytes are its own."""
    silent = logging.getLogger("launchday.admission")
    return RequestResponseCycle(
        scope=scope,  # type: ignore[arg-type]  # the part of it that an answer depends on
        transport=written,
        flow=FlowControl(written),
        logger=silent,
        access_logger=silent,
        access_log=False,
        default_headers=default_headers,
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=lambda: None,
    )


def _parse(block: bytes) -> Headers:
    pairs = (line.partition(b":") for line in block.split(b"\r\n") if line)
    return [(name.lower(), value.strip(b" \t")) for name, _, value in pairs]
