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
    assert first.keys() == {"admin_token", "grafana", "pgpass", "postgres", "session_key"}
    assert len(set(first.values())) == len(first)
    assert min(map(len, first.values())) >= 30
    assert first["pgpass"] == f"*:*:car:car:{first['postgres']}\n"
    assert make_passwords(tmp_path, GRAFANA_ADMIN_PASSWORD="late") == first


def test_a_stack_of_an_older_version_gets_what_is_new_and_keeps_the_rest(tmp_path: Path) -> None:
    first = make_passwords(tmp_path)
    (tmp_path / "admin_token").unlink()
    second = make_passwords(tmp_path)
    assert second.keys() == first.keys()
    assert {name for name in first if first[name] != second[name]} == {"admin_token"}


def test_two_stacks_have_different_passwords(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert make_passwords(tmp_path / "one") != make_passwords(tmp_path / "two")


def test_given_passwords_are_used_and_escaped_for_pgpass(tmp_path: Path) -> None:
    made = make_passwords(tmp_path, POSTGRES_PASSWORD=r"a:b\c $d", GRAFANA_ADMIN_PASSWORD="g")
    assert made["grafana"] == "g"
    assert made["postgres"] == r"a:b\c $d"
    assert made["pgpass"] == "*:*:car:car:" + r"a\:b\\c $d" + "\n"


@pytest.mark.parametrize("name", ["pgpass", "admin_token", "session_key"])
def test_only_the_target_may_read_what_is_its_own(tmp_path: Path, name: str) -> None:
    make_passwords(tmp_path)  # the driver of PostgreSQL demands this of pgpass
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_the_conductor_gets_the_admin_token_and_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret-of-the-stack\n")
    (tmp_path / "launchday").write_text('#!/bin/sh\necho "$LAUNCHDAY_TARGET__ADMIN_TOKEN:$1:$2"\n')
    (tmp_path / "launchday").chmod(0o755)
    command = [str(DEPLOY / "conduct.sh"), str(tmp_path / "token"), "run", "launch day"]
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "secret-of-the-stack:run:launch day\n"


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
