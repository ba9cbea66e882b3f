import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def make_passwords(directory: Path, **environment: str) -> dict[str, str]:
    plain = {k: v for k, v in os.environ.items() if not k.endswith("_PASSWORD")}
    command = ["/bin/sh", str(DEPLOY / "passwords.sh"), str(directory)]
    subprocess.run(command, env=plain | environment, check=True, capture_output=True)
    return {path.name: path.read_text(encoding="utf-8") for path in directory.iterdir()}


def test_passwords_are_made_once_and_stay(tmp_path: Path) -> None:
    first = make_passwords(tmp_path)
    assert first.keys() == {"grafana", "pgpass", "postgres"}
    assert first["grafana"] != first["postgres"]
    assert min(len(first["grafana"]), len(first["postgres"])) >= 30
    assert first["pgpass"] == f"*:*:car:car:{first['postgres']}\n"
    assert make_passwords(tmp_path, GRAFANA_ADMIN_PASSWORD="late") == first


def test_two_stacks_have_different_passwords(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert make_passwords(tmp_path / "one") != make_passwords(tmp_path / "two")


def test_given_passwords_are_used_and_escaped_for_pgpass(tmp_path: Path) -> None:
    made = make_passwords(tmp_path, POSTGRES_PASSWORD=r"a:b\c $d", GRAFANA_ADMIN_PASSWORD="g")
    assert made["grafana"] == "g"
    assert made["postgres"] == r"a:b\c $d"
    assert made["pgpass"] == "*:*:car:car:" + r"a\:b\\c $d" + "\n"


def test_the_driver_accepts_the_permissions_of_pgpass(tmp_path: Path) -> None:
    make_passwords(tmp_path)
    assert stat.S_IMODE((tmp_path / "pgpass").stat().st_mode) == 0o600


class _Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def healthy(port: int, path: str) -> bool:
    command = ["bash", str(DEPLOY / "answers.sh"), str(port), path]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def test_the_health_check_passes_on_200_only(port: int) -> None:
    assert healthy(port, "/readyz")
    assert not healthy(port, "/other")


def test_the_health_check_fails_when_nothing_listens(port: int) -> None:
    assert not healthy(1, "/readyz")
