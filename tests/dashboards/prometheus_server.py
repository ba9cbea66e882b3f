"""A real Prometheus on a free port, and what it answers."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port


def programs() -> tuple[str, str]:
    """Paths of prometheus and promtool; skips the test where one is missing."""
    server, tool = shutil.which("prometheus"), shutil.which("promtool")
    if not server or not tool:
        pytest.skip("needs prometheus and promtool on PATH (Debian package prometheus)")
    return server, tool


@contextmanager
def serving(folder: Path, config: str) -> Iterator[str]:
    """URL of a Prometheus with this configuration, whose data are in `folder`/data."""
    server, _ = programs()
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    flags = [
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
    ]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([server, *flags], cwd=folder, stdout=output, stderr=output)
    try:
        _wait_ready(f"http://{address}", process, log)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)


def results(url: str, query: str, **parameters: str) -> list[dict[str, Any]]:
    """What the Prometheus at `url` answers to the instant query: `metric` and `value` of each."""
    encoded = urllib.parse.urlencode({"query": query, **parameters})
    with urllib.request.urlopen(f"{url}/api/v1/query?{encoded}", timeout=10) as reply:
        found: list[dict[str, Any]] = json.load(reply)["data"]["result"]
        return found


def _wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError(f"Prometheus did not become ready: {log.read_text()}")
