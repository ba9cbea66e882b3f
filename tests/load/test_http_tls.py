"""TLS over the same poller, against Python's own TLS server with a self-signed certificate."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from gevent import ssl as gevent_ssl

from launchday.load.http import HttpClient, open_connections
from tests.load.sockets import (
    CHUNKED,
    OK,
    Events,
    Script,
    eventually,
    in_a_process_of_its_own,
    read_request,
    serving,
)

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="makes a certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {file} -out {file}.crt"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


@contextmanager
def tls_server(
    certificate: Path, script: Script, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.maximum_version = version

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            script(encrypted)

    with serving(handle) as url:
        yield url.replace("http:", "https:")


def trusting(url: str, certificate: Path) -> tuple[HttpClient, Events]:
    events = Events()
    context = gevent_ssl.create_default_context(cafile=str(certificate))
    return HttpClient(url, events, timeout_seconds=10.0, tls_context=context), events


def echo_lengths(connection: socket.socket) -> None:
    while request := read_request(connection):
        head, _, body = request.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or b"0")
        while len(body) < length:
            body += connection.recv(65536)
        answer = b"%d" % len(body)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_one_encrypted_connection_serves_many_requests_of_any_size(
    certificate: Path, version: ssl.TLSVersion
) -> None:
    accepted = []

    def script(connection: socket.socket) -> None:
        accepted.append(connection)
        echo_lengths(connection)

    with tls_server(certificate, script, version) as url:
        http, events = trusting(url, certificate)
        for size in (0, 10, 5_000_000, 1):
            assert http.post("/", data=bytes(size)).text == str(size)
        http.close()
    assert len(accepted) == 1
    assert [meta["exception"] for meta in events.fired] == [None] * 4


PATCHED = """
    import sys
    from gevent import monkey
    monkey.patch_all()
    import ssl
    from launchday.load.http import HttpClient
    class Nobody:
        def fire(self, **meta): pass
    context = ssl.create_default_context(cafile=sys.argv[2])
    http = HttpClient(sys.argv[1], Nobody(), timeout_seconds=10, tls_context=context)
    print(http.get("/").text, http.post("/", data=b"abc").text)
    http.close()
    print(type(HttpClient(sys.argv[1], Nobody(), timeout_seconds=10).get("/").error).__name__)
"""


def test_where_gevent_has_replaced_ssl_as_in_locust_it_is_the_same(certificate: Path) -> None:
    with tls_server(certificate, echo_lengths) as url:
        printed = in_a_process_of_its_own(PATCHED, url, str(certificate)).split("\n")
    assert printed[:2] == ["0 3", "SSLCertVerificationError"]


def test_a_large_encrypted_answer_in_pieces_is_put_together(certificate: Path) -> None:
    body = bytes(range(256)) * 4096

    def script(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(CHUNKED)
            for at in range(0, len(body), 30_001):
                piece = body[at : at + 30_001]
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")

    with tls_server(certificate, script) as url:
        http, _ = trusting(url, certificate)
        assert http.get("/").content == body
        assert http.get("/").content == body
        http.close()


def test_a_certificate_that_nobody_vouches_for_is_an_outcome(certificate: Path) -> None:
    with tls_server(certificate, echo_lengths) as url:
        http = HttpClient(url, Events(), timeout_seconds=10.0)
        assert isinstance(http.get("/").error, ssl.SSLCertVerificationError)
    assert open_connections() == 0


def test_a_server_without_tls_is_an_outcome(certificate: Path) -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(OK)

    with serving(plain) as url:
        http, _ = trusting(url.replace("http:", "https:"), certificate)
        assert isinstance(http.get("/").error, ssl.SSLError)
    assert open_connections() == 0


def test_a_handshake_that_does_not_end_is_a_timeout(certificate: Path) -> None:
    def silent(connection: socket.socket) -> None:
        while connection.recv(1000):
            pass

    with serving(silent) as url:
        context = gevent_ssl.create_default_context(cafile=str(certificate))
        http = HttpClient(
            url.replace("http:", "https:"), Events(), connect_seconds=0.1, tls_context=context
        )
        response = http.get("/")
    assert str(response.error) == "no connection in time"
    assert response.elapsed_seconds >= 0.1


def test_an_encrypted_connection_that_the_server_closed_while_idle_is_replaced(
    certificate: Path,
) -> None:
    def once(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK)

    with tls_server(certificate, once) as url:
        http, events = trusting(url, certificate)
        for _ in range(3):
            assert http.post("/", data=b"x").text == "hi"
            eventually(lambda: http._connection is not None and http._connection.dead)
    assert [meta["exception"] for meta in events.fired] == [None] * 3
