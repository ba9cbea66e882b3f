"""What a stranger imports: few names, and nothing that is not in the standard library."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import launchday

FOREIGN = """
import sys
before = set(sys.modules)
import launchday
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names) - {"launchday"}))
"""

ONE_LINE = """
import asyncio, sys
sys.modules["prometheus_client"] = None
from launchday import LoadSheddingMiddleware

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})

app = LoadSheddingMiddleware(app, limit=24)
sent = []

async def send(message):
    sent.append(message)

scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
asyncio.run(app(scope, None, send))
print(sent[0]["status"], sent[1]["body"].decode())
"""


def python(script: str) -> str:
    source = Path(launchday.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_public_names_are_sorted_complete_and_exist() -> None:
    assert launchday.__all__ == sorted(launchday.__all__)
    assert set(launchday.__all__) == {
        "FixedLimit",
        "Limit",
        "Limiter",
        "LoadSheddingMiddleware",
        "Maintenance",
        "MaintenanceMiddleware",
        "MaintenanceWindow",
        "Outcome",
        "Permit",
        "__version__",
    }
    for name in launchday.__all__:
        assert getattr(launchday, name) is not None


def test_importing_launchday_loads_no_third_party_module() -> None:
    assert python(FOREIGN) == "[]"


def test_a_stranger_without_prometheus_client_needs_one_line() -> None:
    assert python(ONE_LINE) == "200 hello"


def test_the_package_itself_depends_on_nothing() -> None:
    project = Path(launchday.__file__).parents[2] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["dependencies"] == []
