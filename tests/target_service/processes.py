"""The reference backend, its gateway, and other services of this repository as real processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from target_service.database.fleet import email_of, password_of
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
READY = re.compile(r"ready on http://127\.0\.0\.1:(\d+), metrics on port (\d+)")
DEADLINE_SECONDS = 30
FREE_PORTS = {f"{p}_{n}": "0" for p in ("TARGET", "GATEWAY") for n in ("PORT", "METRICS_PORT")}
FAST = {
    "TARGET_SERVICE_MEAN_SECONDS": "0.001",
    "TARGET_FLEET_SIZE": "20",
    # The control group of the tests holds whatever else runs here.
    "TARGET_SHED_CGROUP": "off",
}
ADMIN_TOKEN = "an-admin-token-of-the-tests"
ADMIN = {"authorization": f"Bearer {ADMIN_TOKEN}"}


def environment(**settings: str) -> dict[str, str]:
    """Return our environment with these settings of the services and no others."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TARGET_", "GATEWAY_"))}
    return {**kept, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", **settings}


class Process:
    """One service: its ports, its answers, its metrics, its end."""

    def __init__(self, module: str, log: Path, settings: dict[str, str]) -> None:
        self.log = log
        self.fleet_seed = int(settings.get("TARGET_FLEET_SEED", "1"))
        self.region = settings.get("TARGET_REGION", "us")
        # Not the system's choice: while a service is down between two starts, a test beside may be
        # given its port, and gets its clients.
        ports = {k: str(free_port()) for k, v in settings.items() if k in FREE_PORTS and v == "0"}
        with log.open("w") as stderr:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", module],
                env=environment(**{**settings, **ports}),
                stderr=stderr,
            )
        self.port, self.metrics_port = self._await_ready()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=DEADLINE_SECONDS, trust_env=False)

    def _await_ready(self) -> tuple[int, int]:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            if ready := READY.search(self.log.read_text()):
                return int(ready[1]), int(ready[2])
            assert self.popen.poll() is None, self.log.read_text()
            time.sleep(0.02)
        self.popen.kill()
        self.popen.wait()
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def samples(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Scrape: values by name and label values, in the order of the label names."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=DEADLINE_SECONDS) as page:
            text = page.read().decode()
        return {
            (sample.name, _values(sample.labels)): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of one sample; KeyError when it is not exported."""
        return self.samples()[name, _values(labels)]

    def stop(self, number: int = 15) -> int:
        """Send a signal and return the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        """End it at once; nothing happens when it has ended."""
        self.http.close()
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


def _values(labels: dict[str, str]) -> tuple[str, ...]:
    return tuple(labels[name] for name in sorted(labels))


def sign_in(process: Process, number: int = 0) -> dict[str, str]:
    """Sign in the owner with this number, whose car has the same; return the headers to send."""
    email = email_of(process.region, number)
    password = password_of(process.fleet_seed, email)
    answer = process.http.post("/v1/sessions", json={"email": email, "password": password})
    assert answer.status_code == 201, answer.text
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


def eventually(condition: Callable[[], bool]) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
