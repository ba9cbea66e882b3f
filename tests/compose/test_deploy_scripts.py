import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

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


def conducting(tmp_path: Path, launchday: str) -> subprocess.Popen[str]:
    """conduct.sh with this shell script as `launchday`, in a process group of its own."""
    (tmp_path / "token").write_text("secret-of-the-stack\n")
    (tmp_path / "launchday").write_text(f"#!/bin/sh\n{launchday}\n")
    (tmp_path / "launchday").chmod(0o755)
    command = [str(DEPLOY / "conduct.sh"), str(tmp_path / "token"), "run", "launch day"]
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    return subprocess.Popen(
        command,
        env={**os.environ, "PATH": path, "XDG_STATE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("code", [0, 5])
def test_the_conductor_gets_the_admin_token_and_its_arguments(tmp_path: Path, code: int) -> None:
    line = f'echo "$LAUNCHDAY_TARGET__ADMIN_TOKEN:$1:$2"; exit {code}'
    with conducting(tmp_path, line) as script:
        assert script.communicate(timeout=30)[0] == "secret-of-the-stack:run:launch day\n"
    assert script.returncode == code


def test_the_container_of_a_killed_conductor_lives_until_its_janitor_is_done(
    tmp_path: Path,
) -> None:
    lease = "$XDG_STATE_HOME/launchday/leases/lease-1.json"
    janitor = f"""sh -c 'touch begun; sleep 0.7; touch cleaned' "{lease}" >/dev/null 2>&1 &"""
    waits = "until [ -e begun ]; do sleep 0.02; done"
    lines = ("cd $XDG_STATE_HOME", janitor, waits, "kill -9 $$")
    with conducting(tmp_path, "\n".join(lines)) as script:
        script.wait(30)
        assert (tmp_path / "cleaned").exists()
    assert script.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_answered_by_launchday_and_its_exit_code_is_kept(
    tmp_path: Path, number: signal.Signals
) -> None:
    name = number.name.removeprefix("SIG")
    undo = f"trap 'sleep 0.2; echo undone; exit {128 + number}' {name}"
    with conducting(tmp_path, f"{undo}\necho ready\nwhile :; do sleep 0.05; done") as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "ready\n"
        os.killpg(script.pid, number)
        try:
            assert script.communicate(timeout=30)[0] == "undone\n"
        finally:
            script.kill()
    assert script.returncode == 128 + number


def test_signals_reach_the_whole_group_of_the_conductor() -> None:
    conductor = yaml.safe_load((DEPLOY.parent / "docker-compose.yml").read_text("utf-8"))[
        "services"
    ]["launchday"]
    assert conductor["init"] is True
    assert conductor["environment"]["TINI_KILL_PROCESS_GROUP"] == "1"


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
