"""The local stack on real processes; what it refuses, and what it keeps to itself."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from launchday.errors import PreflightError
from launchday.runs.processes import Processes
from launchday.runs.stack import LocalStack, RunningStack, running
from launchday.runs.stop import Stop


def start(stack: LocalStack, path: Path, until: ExitStack) -> RunningStack:
    processes = until.enter_context(Processes(path / "logs"))
    return until.enter_context(running(stack, processes, Stop()))


def test_the_admin_token_opens_the_target_and_is_new_and_nowhere_written(tmp_path: Path) -> None:
    tokens = []
    for name in ("one", "two"):
        with ExitStack() as until:
            started = start(LocalStack(profile="bimodal"), tmp_path / name, until)
            tokens.append(started.admin_token)
            headers = {"Authorization": f"Bearer {started.admin_token}"}
            url = f"{started.target_url}/debug/capacity"
            assert httpx.get(url).status_code == 401
            assert httpx.get(url, headers=headers).json()["profile"] == "bimodal"
            assert started.admin_token not in repr(started)
            assert started.edges == started.targets == {}
    assert tokens[0] != tokens[1]
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or not any(t.encode() in file.read_bytes() for t in tokens), file


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        (LocalStack(regions=("us", "mars")), "local.regions is us, mars; it may list each once"),
        (LocalStack(regions=("eu", "eu")), "each once of: us, eu, cn"),
        (LocalStack(regions=("us", "eu"), target_port=8000), "local.target_port is one for one"),
        (LocalStack(regions=("us",), database_url="postgresql://h/d"), "local.database_url is one"),
    ],
)
def test_regions_that_make_no_sense_are_refused(
    tmp_path: Path, stack: LocalStack, words: str
) -> None:
    with ExitStack() as until, pytest.raises(PreflightError, match="local") as error:
        start(stack, tmp_path, until)
    assert words in str(error.value)
