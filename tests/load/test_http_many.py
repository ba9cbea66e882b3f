"""As many connections at once as a launch brings."""

from __future__ import annotations

import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest

from launchday.load.http import HttpClient, open_connections
from tests.load.sockets import Events

MANY = 10_000
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        resource.getrlimit(resource.RLIMIT_NOFILE)[0] < MANY + 500, reason="ulimit -n is too low"
    ),
]
# Answers nobody before everybody has asked: so all are connected at the same time.
SERVER = textwrap.dedent(
    """
    import selectors, socket, sys
    many = int(sys.argv[1])
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ)
    print(listener.getsockname()[1], flush=True)
    asked = []
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                try:
                    while True:
                        connection, _ = listener.accept()
                        connection.setblocking(False)
                        selector.register(connection, selectors.EVENT_READ)
                except BlockingIOError:
                    continue
            if key.fileobj.recv(65536):
                asked.append(key.fileobj)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()
        if len(asked) == many:
            for connection in asked:
                connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
            asked.clear()
    """
)


@contextmanager
def patient_server() -> Iterator[str]:
    command = [sys.executable, "-c", SERVER, str(MANY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def test_ten_thousand_users_are_connected_at_once_and_each_gets_its_answers() -> None:
    with patient_server() as url:
        events = Events()
        clients = [HttpClient(url, events, timeout_seconds=50.0) for _ in range(MANY)]
        for _ in range(2):  # the second time on the connections of the first
            users = [gevent.spawn(http.get, "/") for http in clients]
            gevent.joinall(users)
            assert {(user.value.status_code, user.value.text) for user in users} == {(200, "hi")}
            assert open_connections() == MANY
        for http in clients:
            http.close()
    assert open_connections() == 0
    assert len(events.fired) == 2 * MANY
