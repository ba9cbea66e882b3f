"""The server of the arrivals benchmark: it stamps each request when it receives it.

`python -m benchmarks._arrivals_receiver JSON`. One thread, one epoll, no event loop: about 20 us of
CPU a request, so 20 000 a second leave it half idle. A path that ends in a number, `/17`, names
the arrival; of others only the order is known. It is asked in lines on stdin and ends with it.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from benchmarks._ladder_process import START_SECONDS, Child, cores, pin

NO_INDEX = -1
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
    b'{"status":"ok"}'
)


class Stamps:
    """What was received: nanoseconds of CLOCK_MONOTONIC, and the index that each path named."""

    def __init__(self) -> None:
        self.nanoseconds = array("q")
        self.indices = array("q")

    def write(self, path: Path) -> None:
        """Write all, the times first."""
        path.write_bytes(self.nanoseconds.tobytes() + self.indices.tobytes())

    @classmethod
    def read(cls, path: Path) -> Stamps:
        """The inverse of `write`."""
        both, stamps = array("q", path.read_bytes()), cls()
        half = len(both) // 2
        stamps.nanoseconds, stamps.indices = both[:half], both[half:]
        return stamps


class Receiver(Child):
    """That process, started and asked. `port`: where it listens, on 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self._answer = folder / "stamps"
        argument = {"core": cores()[1], "answer": str(self._answer)}
        super().__init__("benchmarks._arrivals_receiver", argument)
        try:
            self.port: int = self._line(START_SECONDS)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def received(self) -> int:
        """Return how many requests there were since the last `take`."""
        return int(self._ask("count", START_SECONDS))

    def connections(self) -> int:
        """Return how many connections are open."""
        return int(self._ask("connections", START_SECONDS))

    def cpu_seconds(self) -> float:
        """Return its user and system time so far."""
        return float(self._ask("cpu", START_SECONDS))

    def take(self) -> Stamps:
        """Return the stamps since the last time, and forget them."""
        self._ask("take", START_SECONDS)
        return Stamps.read(self._answer)


def index_of(request: bytes) -> int:
    """Return the number in the path of a request, `NO_INDEX` where there is none."""
    digits = request[5 : request.find(b" ", 5)]
    return int(digits) if digits.isdigit() else NO_INDEX


class _Server:
    """Connections by descriptor. Requests come whole: they are short, and nobody pipelines."""

    def __init__(self, answer: Path) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self._epoll = select.epoll()
        self._connections: dict[int, socket.socket] = {}
        self._stamps = Stamps()
        self._answer = answer
        self.port: int = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Answer until stdin ends."""
        listener, questions = self._listener.fileno(), sys.stdin.fileno()
        self._epoll.register(listener, select.EPOLLIN)
        self._epoll.register(questions, select.EPOLLIN)
        while True:
            for descriptor, _ in self._epoll.poll():
                connection = self._connections.get(descriptor)
                if connection is not None:
                    self._receive(descriptor, connection)
                elif descriptor == listener:
                    self._accept()
                elif not self._tell(os.read(questions, 65536)):
                    return

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.fileno()] = connection
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _receive(self, descriptor: int, connection: socket.socket) -> None:
        try:
            request = connection.recv(4096)
            if request:
                self._stamps.nanoseconds.append(time.perf_counter_ns())
                self._stamps.indices.append(index_of(request))
                connection.send(_ANSWER)
                return
        except OSError:
            pass  # it reset the connection: there is nobody to answer
        del self._connections[descriptor]
        connection.close()

    def _tell(self, questions: bytes) -> bool:
        for question in questions.splitlines():
            self._say(self._answered(json.loads(question)))
        return bool(questions)

    def _answered(self, question: str) -> Any:
        if question == "cpu":
            return time.process_time()
        if question == "connections":
            return len(self._connections)
        count = len(self._stamps.nanoseconds)
        if question == "take":
            self._stamps.write(self._answer)
            self._stamps = Stamps()
        return count

    @staticmethod
    def _say(answer: Any) -> None:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Serve as the argument says."""
    wanted = json.loads(sys.argv[1])
    pin(wanted["core"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    server = _Server(Path(wanted["answer"]))
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    gc.disable()  # nothing here makes cycles, and a collection would delay stamps
    server.serve()


if __name__ == "__main__":
    main()
