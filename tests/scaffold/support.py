"""The shop as a process, generated files under the linters, and a generated scenario run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).parents[2]
CHROMIUM_HAR = Path(__file__).with_name("data") / "chromium.har"
BIN = Path(sys.executable).parent
RULES = "E,F,W,I,UP,B,C4,C90,PIE,SIM,RUF,PT,ASYNC,T20,TID,D100,D104"
# Seconds of load, not minutes: about 40 arrivals.
SHORT = (
    *("--baseline-rps", "8", "--multiple", "3", "--quiet-seconds", "0.5", "--rise-seconds", "0.5"),
    *("--peak-seconds", "1", "--decay-seconds", "0.5", "--tail-seconds", "0.5"),
)


@contextmanager
def shop() -> Iterator[str]:
    """The shop of shop_app.py; gives its address."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("shop_app.py"))],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        deadline = time.monotonic() + 30
        while not _answers(url):
            assert time.monotonic() < deadline, "the shop did not open"
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5):
            return True
    except urllib.error.URLError:
        return False


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())


def assert_clean(*files: Path) -> None:
    """`ruff check` and `ruff format`, as the reader's own settings may be: 88 and 100 columns."""
    ruff = str(BIN / "ruff")
    folder = files[0].parent
    for width in ("88", "100"):
        shared = ["--isolated", "--no-cache", "--line-length", width]
        # Only literals and comments are wrapped; an f-string of a long path cannot be.
        check = [ruff, "check", *shared, "--select", RULES, "--ignore", "E501"]
        for command in (check, [ruff, "format", "--diff", *shared]):
            done = subprocess.run(
                [*command, *map(str, files)], capture_output=True, text=True, cwd=folder
            )
            assert done.returncode == 0, done.stdout + done.stderr


def assert_typed(tmp_path: Path, *files: Path) -> None:
    """`mypy --strict` without any settings of ours."""
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\n")
    cache = str(tmp_path.parent / "mypy-cache")  # of all tests of this session
    options = ["--strict", "--config-file", str(config), "--cache-dir", cache]
    done = subprocess.run(
        [str(BIN / "mypy"), *options, *map(str, files)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def locust(scenario: Path, target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a scenario under plain Locust for a few seconds; its statistics are the output."""
    command = [sys.executable, "-m", "locust", "-f", str(scenario), "--headless", "--json"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LOCUST_")}
    return subprocess.run(
        # What failed is in the statistics; the exit code is for what could not run.
        [*command, "--exit-code-on-error", "0", "--host", target, *SHORT],
        capture_output=True,
        text=True,
        cwd=scenario.parent,
        timeout=120,
        check=False,
        env={**clean, "PYTHONPATH": str(ROOT / "src"), **variables},
    )


def statistics(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[int, int]]:
    """Requests and failures by name."""
    assert done.returncode == 0, done.stdout + done.stderr
    entries = cast(list[dict[str, Any]], json.loads(done.stdout[done.stdout.index("[") :]))
    return {each["name"]: (each["num_requests"], each["num_failures"]) for each in entries}
