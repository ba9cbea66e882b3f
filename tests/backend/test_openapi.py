"""Schemathesis against the backend's own OpenAPI document, over the wire, with every check."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.backend.stack import Stack, stack
from tests.target_service.postgres import throw_away_postgres
from tests.target_service.processes import ADMIN, sign_in

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).with_name("schemathesis.toml")
ADMIN_PATHS = "^/(admin|debug)/"
VIN = "LAUNCHDAY00000000"
# What is found in a car of one's own, by commands that reach it.
OWN_CAR = f'\n[parameters]\n"path.vin" = "{VIN}"\n'


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    with ExitStack() as until_end:
        settings = {}
        if request.param == "postgresql":
            settings["TARGET_DATABASE_URL"] = until_end.enter_context(throw_away_postgres()).url
        yield until_end.enter_context(stack(tmp_path_factory.mktemp("stack"), **settings))


def schemathesis(running: Stack, folder: Path, *options: str, config: str = "") -> None:
    """Run it; raises with its report when a check fails."""
    file = folder / "schemathesis.toml"
    file.write_text(CONFIG.read_text() + config)
    program = Path(sys.executable).with_name("schemathesis")
    command = [
        str(program),
        "--config-file",
        str(file),
        "run",
        f"{running.target.url}/openapi.json",
    ]
    done = subprocess.run(
        [*command, "--checks", "all", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-1000:]
    assert "Traceback" not in running.target.log.read_text()


def bearer(running: Stack) -> str:
    return f"Authorization: {sign_in(running.target)['authorization']}"


def test_a_stranger_is_told_what_is_documented_and_no_more(running: Stack, tmp_path: Path) -> None:
    schemathesis(running, tmp_path)


@pytest.mark.parametrize("config", ["", OWN_CAR], ids=["any car", "own car"])
def test_an_owner_gets_what_is_documented(running: Stack, config: str, tmp_path: Path) -> None:
    # Signing out would end the session that all the rest needs; the test before this one does.
    others = ("--exclude-path-regex", ADMIN_PATHS, "--exclude-operation-id", "sign_out")
    schemathesis(running, tmp_path, "-H", bearer(running), *others, config=config)


def test_an_operator_gets_what_is_documented(running: Stack, tmp_path: Path) -> None:
    header = f"Authorization: {ADMIN['authorization']}"
    schemathesis(running, tmp_path, "-H", header, "--include-path-regex", ADMIN_PATHS)
