"""The start page and the check before the start, without an engine."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "deploy/start.html").read_text(encoding="utf-8")

DOCKER = """#!/bin/sh
case "$*" in
  "compose version --short") echo "${COMPOSE_IS:-2.26.1}" ;;
  "version "*) echo "${ENGINE_IS-26.1.5}"; [ -n "${ENGINE_IS-26.1.5}" ] ;;
  "compose"*" config --images") echo launchday-target; echo "${IMAGE:-postgres:17.6}" ;;
  "compose"*" config") [ -z "${WRONG:-}" ] || { echo "$WRONG" >&2; exit 15; }; cat "$STACK" ;;
  "compose"*" ps "*) echo "${OWN:-}" ;;
  "image inspect postgres"*) [ -z "${MISSING:-}" ] ;;
  "image inspect launchday-target") [ -z "${UNBUILT:-}" ] ;;
  "image inspect python:"*) false ;;
  "manifest inspect "*) exit 1 ;;
  *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""
STACK = """
services:
  target:
    environment:
      GRAFANA_ADMIN_PASSWORD: "{password}"
    ports:
      - target: 8000
        published: "{port}"
        protocol: tcp
"""


def preflight(
    tmp_path: Path, says: Mapping[str, str] = {}, *, port: int = 0, password: str = ""
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "stack.yml").write_text(STACK.format(port=port, password=password))
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    return subprocess.run(
        [str(ROOT / "deploy/preflight.sh")],
        env={**os.environ, "PATH": path, "STACK": str(tmp_path / "stack.yml"), **says},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_when_nothing_is_in_the_way_the_check_is_silent(tmp_path: Path) -> None:
    done = preflight(tmp_path, port=free_port())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = preflight(tmp_path, port=port)
        assert done.returncode == 1
        assert f"port {port} of 127.0.0.1 is in use" in done.stderr
        assert preflight(tmp_path, {"OWN": f"{port} 0"}, port=port).returncode == 0, "it is ours"


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"MISSING": "1"}, "image postgres:17.6 is not here, and no registry"),
        ({"UNBUILT": "1"}, "image python:3.13.7-slim-trixie is not here, and no registry"),
        ({"COMPOSE_IS": "2.17.3"}, "compose is 2.17.3, 2.23 or newer is needed"),
        ({"ENGINE_IS": "20.10.24"}, "the engine is 20.10.24, 25 or newer is needed"),
        ({"ENGINE_IS": ""}, "the engine does not answer: "),
        ({"WRONG": "invalid TARGET_REPLICAS"}, "the settings are wrong: invalid TARGET_REPLICAS"),
    ],
)
def test_what_would_stop_the_start_is_said_in_a_line(
    tmp_path: Path, says: dict[str, str], words: str
) -> None:
    done = preflight(tmp_path, says)
    assert done.returncode == 1
    assert done.stderr.startswith(f"preflight: {words}")
    assert done.stderr.count("\n") == 1


def test_a_password_that_is_none_is_refused_and_no_password_is_not(tmp_path: Path) -> None:
    assert preflight(tmp_path).returncode == 0, "one is made"
    done = preflight(tmp_path, password="admin")
    assert done.returncode == 1
    assert "GRAFANA_ADMIN_PASSWORD is shorter than 8 characters" in done.stderr
    assert "admin\n" not in done.stderr


def test_every_place_of_the_start_page_is_a_port_of_the_stack() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    published = {
        name
        for each in services.values()
        for port in each.get("ports", [])
        for name in re.findall(r"\$\{(\w+)_PUBLISHED_PORT", port)
    }
    used = set(re.findall(r"@(\w+)@", PAGE)) - {"REGION"}
    assert used == published - {"REPORTS"}, "the page itself is there"
    environment = services["reports"]["environment"]
    assert {f"{name}_PUBLISHED_PORT" for name in used} <= environment.keys()


def test_the_commands_of_the_start_page_are_of_services_that_there_are() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert set(re.findall(r"run --rm (\w+)", PAGE)) <= services.keys()
    assert set(re.findall(r"--scale (\S+)=", PAGE)) <= services.keys()


def test_the_start_page_needs_nothing_from_elsewhere() -> None:
    assert not re.search(r"<script|src=|@import|https?://(?!127\.0\.0\.1)", PAGE)


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_the_start_page_has_the_ports_of_this_stack_and_the_reports_below_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "runs/one").mkdir(parents=True)
    (tmp_path / "runs/one/report.html").write_text("HELD")
    (tmp_path / "runs/capacity.prom").write_text("launchday_capacity 1\n")
    front, port = tmp_path / "front", free_port()
    process = subprocess.Popen(
        [str(ROOT / "deploy/front.sh"), str(port)],
        cwd=tmp_path,
        env={**os.environ, "FRONT_DIRECTORY": str(front), "GRAFANA_PUBLISHED_PORT": "3100"},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        page = ""
        for _ in range(300):
            try:
                page = read(url)
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        assert "http://127.0.0.1:3100/" in page
        assert "http://127.0.0.1:8000/status" in page
        assert not re.search(r"@[A-Z]+@", page)
        assert read(f"{url}/runs/one/report.html") == "HELD"
        assert read(f"{url}/capacity.prom") == "launchday_capacity 1\n"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
