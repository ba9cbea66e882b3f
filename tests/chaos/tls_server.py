"""A real HTTPS server for the tests, with a certificate that nobody trusts."""

from __future__ import annotations

import shutil
import socketserver
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.support import http_server, served


def self_signed(folder: Path) -> Path:
    """A file with a new key and its certificate for stock.example; skips without openssl.

    The certificate alone is beside it, with `.crt` behind its name.
    """
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    path = folder / "both.pem"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    made += ["-subj", "/CN=stock.example", "-addext", "subjectAltName=DNS:stock.example"]
    made += ["-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(made, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@contextmanager
def https_served(certificate: Path, names: list[str | None]) -> Iterator[str]:
    """Its `host:port`; it notes the server name that each client asks for in `names`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    context.sni_callback = note
    with served(_secured(http_server(), context)) as address:
        yield address


def _secured(server: socketserver.TCPServer, context: ssl.SSLContext) -> socketserver.TCPServer:
    # The handshake belongs into the thread of its connection: many come at once.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    return server
