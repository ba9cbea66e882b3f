"""A Prometheus that holds the synthetic launch day, and what it answers."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Failed(Exception):
    """The preview cannot be made; the text says why."""


@contextmanager
def serving(folder: Path, open_metrics: str) -> Iterator[str]:
    """URL of a Prometheus with these samples, which keeps its files in `folder`."""
    (folder / "data.om").write_text(open_metrics, encoding="utf-8")
    create = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "data.om", "data"]
    done = subprocess.run(create, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"promtool: {done.stderr}")
    (folder / "prometheus.yml").write_text("{}\n", encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    # A series that ends is gone at once, as one that is scraped no more: alerts end.
    command += [f"--web.listen-address={address}", "--query.lookback-delta=2s"]
    command.append("--storage.tsdb.retention.time=100y")  # the day is in the past
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    try:
        _wait_ready(f"http://{address}", process, log)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise Failed(f"Prometheus did not become ready: {log.read_text(errors='replace')[-2000:]}")


def over_window(url: str, query: str, start: int, end: int) -> list[dict[str, Any]]:
    """What a query gives at each second: `metric` and `values`."""
    return _asked(f"{url}/api/v1/query_range", query, start=str(start), end=str(end), step="1")


def at_end(url: str, query: str, end: int) -> list[dict[str, Any]]:
    """What a query gives at the end, in the form of `over_window`."""
    found = _asked(f"{url}/api/v1/query", query, time=str(end))
    return [{"metric": one["metric"], "values": [one["value"]]} for one in found]


def _asked(url: str, query: str, **parameters: str) -> list[dict[str, Any]]:
    encoded = urllib.parse.urlencode({"query": query, **parameters})
    try:
        with urllib.request.urlopen(f"{url}?{encoded}", timeout=60) as reply:
            found: list[dict[str, Any]] = json.load(reply)["data"]["result"]
            return found
    except urllib.error.HTTPError as error:
        raise Failed(f"Prometheus refuses {query!r}: {error.read().decode()}") from error
    except (OSError, ValueError, KeyError) as error:  # no address, nobody there, no Prometheus
        raise Failed(f"no Prometheus answers at {url}: {error}") from error
