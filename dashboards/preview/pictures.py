"""Pictures of the built page, taken by a headless Chromium."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from dashboards.preview.prometheus import Failed

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH = 1400
PATIENCE_SECONDS = 180


def browser() -> str | None:
    """Path of a Chromium, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving_files(folder: Path) -> Iterator[str]:
    """URL at which the files of `folder` are served, to this machine only."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


def command(program: str, url: str, height: int, profile: str, output: Path) -> list[str]:
    """What takes one picture. Virtual time lets the page finish, however slow the machine is."""
    return [
        program,
        "--headless",
        "--no-sandbox",  # as root, and in containers, there is none; it sees only our own page
        "--disable-gpu",
        "--hide-scrollbars",
        "--force-device-scale-factor=1",
        f"--user-data-dir={profile}",
        f"--window-size={WIDTH},{height}",
        "--virtual-time-budget=15000",
        f"--screenshot={output}",
        url,
    ]


def take(program: str, url: str, height: int, output: Path) -> None:
    """Take one picture of `url` into `output`."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        made = Path(profile) / "picture.png"
        try:
            done = subprocess.run(
                command(program, url, height, profile, made),
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"Chromium took longer than {PATIENCE_SECONDS} s for {url}") from error
        if done.returncode or not made.exists():
            raise Failed(f"Chromium made no picture of {url}: {done.stderr[-2000:]}")
        shutil.move(made, output)
