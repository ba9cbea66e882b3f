"""The server of the generator benchmark: nginx or uvicorn on one core, and its own count."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks._ladder_process import ROOT, cores, pin
from benchmarks._service import cpu_seconds

BODY = json.dumps({"status": "ok", "filler": "x" * 173}, separators=(",", ":"))
COUNT_PATH = "/count"
_START_SECONDS, _ASK_SECONDS = 20.0, 10.0
# One process, so that its CPU time is all there is; the limits are those of a long benchmark.
_NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid;
error_log {folder}/error.log warn; worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
  access_log off; tcp_nodelay on; keepalive_timeout 300; keepalive_requests 1000000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder}; default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=16384;
    location = {count} {{ stub_status; }}
    location / {{ return 200 '{body}'; }}
  }}
}}
"""


class Server:
    """One server process: `with Server() as server`; it answers every path with 200 bytes of JSON.

    `nginx`: its binary; None: uvicorn with httptools and uvloop, the fastest that the development
    environment has. Raises RuntimeError when it does not start.
    """

    def __init__(self, nginx: str | None) -> None:
        self.name = "nginx" if nginx else "uvicorn"
        self._folder = tempfile.TemporaryDirectory(prefix="generator-server-")
        self._asked = 0
        self.port = _free_port()
        self._process = subprocess.Popen(
            self._command(nginx), cwd=ROOT, stderr=subprocess.PIPE, preexec_fn=self._pin
        )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def requests(self) -> int:
        """Return how many requests it has received, other than these questions."""
        with urllib.request.urlopen(self.url + COUNT_PATH, timeout=_ASK_SECONDS) as answer:
            words = answer.read().decode()
        self._asked += 1
        return parse_count(words) - self._asked

    def cpu_seconds(self) -> float:
        """Return its user and system time so far."""
        return cpu_seconds(self._process.pid)

    def stop(self) -> None:
        """End the process."""
        with self._process:  # closes the pipe, and waits
            self._process.kill()
        self._folder.cleanup()

    def _command(self, nginx: str | None) -> list[str]:
        if not nginx:
            return [sys.executable, "-m", "benchmarks._generator_server", str(self.port)]
        folder = self._folder.name
        config = Path(folder) / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=self.port, count=COUNT_PATH, body=BODY))
        return [nginx, "-p", folder, "-c", str(config), "-e", f"{folder}/error.log"]

    @staticmethod
    def _pin() -> None:
        pin(cores()[1])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle

    def _wait(self) -> None:
        ends_at = time.monotonic() + _START_SECONDS
        while time.monotonic() < ends_at and self._process.poll() is None:
            with contextlib.suppress(OSError, urllib.error.URLError):
                self.requests()
                return
            time.sleep(0.02)
        self._process.kill()
        said = self._process.communicate()[1].decode(errors="replace").strip()
        log = Path(self._folder.name) / "error.log"
        said = said or (log.read_text().strip() if log.exists() else "") or "it said nothing"
        raise RuntimeError(f"{self.name} did not start: {said[-300:]}")


def parse_count(words: str) -> int:
    """Return the number of requests in nginx's stub_status, or in our server's plain number."""
    numbers = re.search(r"^\s*\d+\s+\d+\s+(\d+)\s*$", words, re.MULTILINE)
    return int(numbers[1] if numbers else words)


def find_nginx(named: str | None = None) -> str | None:
    """Return the binary of nginx, also where only root has it on PATH; None: there is none."""
    return shutil.which(named or "nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """Serve the same as the nginx above, by ASGI, on the port of the first argument."""
    import uvicorn  # here, since the module is also imported where only the standard library is

    body = BODY.encode()
    length = str(len(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    served = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal served
        served += 1
        counting = scope["path"] == COUNT_PATH
        answer = str(served).encode() if counting else body
        named = [(b"content-length", str(len(answer)).encode())] if counting else headers
        await send({"type": "http.response.start", "status": 200, "headers": named})
        await send({"type": "http.response.body", "body": answer})

    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="none",
        lifespan="off", access_log=False, log_level="error", backlog=16384,
        timeout_keep_alive=300,
    )  # fmt: skip


if __name__ == "__main__":
    main()
