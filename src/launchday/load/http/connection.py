"""One connection: opened without blocking, parked while it waits, closed when in doubt."""

from __future__ import annotations

import _socket
import errno
import math
import os
import socket
from contextlib import suppress
from typing import Any

from gevent import get_hub, getcurrent

from launchday.load.http.message import Message
from launchday.load.http.poller import LATE, READ, WRITE, Poller, poller
from launchday.load.http.reader import AnswerReader, HeadReader
from launchday.load.http.response import Response
from launchday.load.http.tls import TlsSocket

_RECEIVE_BYTES = 65536
_CONNECTED = frozenset({0, errno.EISCONN})
_CONNECTING = frozenset({errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK})
_NO_CONNECTION = "no connection in time"
_NO_FIRST_BYTE = "no answer in time"
_NOT_WHOLE = "no whole answer in time"


class StaleError(ConnectionError):
    """A kept connection that the server had closed before the first byte of the answer."""


class Connection:
    """One socket, its parser and the greenlet that waits for it.

    Whoever leaves `exchange` with an exception, be it that its greenlet was killed, must close.
    """

    __slots__ = (
        "_park", "_poller", "_reader", "_recv", "_send", "_socket", "_tls", "_used", "dead",
        "deadline", "fd", "waiter",
    )  # fmt: skip

    def __init__(self, family: int) -> None:
        self.dead = False
        self.waiter: Any = None
        self.deadline = 0.0
        self._used = False
        self._tls: TlsSocket | None = None
        self._reader = AnswerReader()
        self._park = get_hub().switch
        self._poller: Poller | None = None
        # The C type: making the Python one costs more than connecting.
        self._socket = _socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self.fd = self._socket.fileno()
        self._send: Any = self._socket.send
        self._recv: Any = self._socket.recv

    def connect(self, address: Any, deadline: float, shortest_seconds: float) -> None:
        """Connect; `shortest_seconds` is the shortest time that anything here may take.

        Raises:
            OSError: it is refused, or (TimeoutError) not there in time.
        """
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self._socket.connect_ex(address)
        if code in _CONNECTING:
            code = self._socket.connect_ex(address)  # on loopback it is through by now
        self._poller = poller()
        self._poller.expect(shortest_seconds, deadline)
        self._poller.add(self.fd, self)
        if code in _CONNECTING:
            self._poller.watch(self.fd, WRITE)
            self._wait(deadline, _NO_CONNECTION)
            self._poller.watch(self.fd, READ)
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code not in _CONNECTED:
            raise OSError(code, os.strerror(code))

    def start_tls(self, context: Any, host: str, deadline: float) -> None:
        """Shake hands. Raises OSError: it failed (ssl.SSLError), or not in time."""
        self._tls = tls = TlsSocket(self._socket, context, host)
        while not tls.handshake():
            self._wait(deadline, _NO_CONNECTION)
        self._send, self._recv = tls.send, tls.recv

    def exchange(self, message: Message, first_byte: float, total: float) -> Response:
        """Send a request and read its answer; afterwards the connection is kept, or dead.

        `first_byte` and `total` say until when (perf_counter) the first and the last byte of the
        answer must be there.

        Raises:
            StaleError: the server had closed the connection, which had served before.
            OSError: it was reset, closed too early, or (TimeoutError) not in time.
            AnswerError: what came is no answer.
        """
        reader = HeadReader() if message.is_head else self._reader
        data = message.data
        early = None
        try:
            try:
                sent = self._send(data)
            except BlockingIOError:
                sent = 0
            if sent != len(data):
                early = self._send_rest(data, sent, first_byte)
            received = self._receive(first_byte, _NO_FIRST_BYTE) if early is None else early
        except (ConnectionResetError, BrokenPipeError):
            received = early = self._last_words()
        if not received:
            raise self._gone()
        if not reader.feed(received):
            self._read_on(reader, total)
        self._used = True
        if early is not None or not reader.keep_alive:
            self.close()
        return reader.response()

    def expect(self, deadline: float) -> None:
        """Be there in time for a limit that is shorter than those announced at `connect`."""
        if self._poller is not None:
            self._poller.expect(math.inf, deadline)

    def stirred(self) -> None:
        """Something came though nothing was asked: the server closed, or sent what is not ours."""
        if self._tls is not None:
            with suppress(OSError):
                if self._early() is None:
                    return  # a message of TLS itself, like a session ticket
        self.close()

    def close(self) -> None:
        """Close it, whatever it is doing."""
        if not self.dead:
            if self._poller is not None:
                self._poller.remove(self.fd)
            self.forget()

    def forget(self) -> None:
        """Close this process's descriptor of it, and nothing else."""
        self.dead = True
        self.waiter = None
        self._socket.close()
        self._reader.close()

    def _wait(self, deadline: float, words: str) -> int:
        self.deadline = deadline
        self.waiter = getcurrent()
        events: int = self._park()
        if events == LATE:
            raise TimeoutError(words)
        return events

    def _sent(self, data: Any) -> int:
        try:
            sent: int = self._send(data)
        except BlockingIOError:
            return 0
        return sent

    def _receive(self, deadline: float, words: str) -> bytes:
        while True:
            self.deadline = deadline
            self.waiter = getcurrent()
            if self._park() == LATE:
                raise TimeoutError(words)
            try:
                received: bytes = self._recv(_RECEIVE_BYTES)
            except BlockingIOError:
                continue
            return received

    def _send_rest(self, data: bytes, sent: int, deadline: float) -> bytes | None:
        """Send what did not fit; what the server says before it has everything, or None."""
        rest = memoryview(data)[sent:]
        early = None
        self._watch(READ | WRITE)
        while rest and early is None:
            if self._wait(deadline, _NO_FIRST_BYTE) & READ:
                early = self._early()
            else:
                rest = rest[self._sent(rest) :]
        self._watch(READ)
        return early

    def _early(self) -> bytes | None:
        try:
            received: bytes = self._recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return None
        return received

    def _last_words(self) -> bytes:
        # A server that refuses at the door may have said why before it closed.
        with suppress(OSError):
            return self._early() or b""
        return b""

    def _watch(self, events: int) -> None:
        if self._poller is not None:
            self._poller.watch(self.fd, events)

    def _read_on(self, reader: AnswerReader, deadline: float) -> None:
        while received := self._receive(deadline, _NOT_WHOLE):
            if reader.feed(received):
                return
        reader.end()

    def _gone(self) -> ConnectionError:
        if self._used:
            return StaleError("the server had closed the kept connection")
        return ConnectionResetError("connection closed before the answer")
